"""What reports about chats ask for: whose word it is, to whom, and what it may set off. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.changes import ME, Changes, Known, KnownAlias, Rules
from conversations.fold import fold
from conversations.identity import SPACE
from manager.lifecycle import InstanceRecord, Standing, Status
from manager.providers.port import (
    ChatReported,
    ContactReported,
    DeleteReported,
    EditReported,
    MessageReported,
    ReactionReported,
    StatusReported,
    VotesReported,
)

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HEARD = START + timedelta(hours=1)
OWN, OWN_LID, OTHER_PHONE = "5511900000000@s.whatsapp.net", "999@lid", "5511911111111@s.whatsapp.net"
ANA, ANA_LID, BIA = "5511999990001@s.whatsapp.net", "111@lid", "5521888880002@s.whatsapp.net"
GROUP, STATUS = "120363@g.us", "status@broadcast"
ORG = "org-1"
SHOP = InstanceRecord(
    id=UUID(int=1),
    name="shop",
    user_id=UUID(int=9),
    organization_id=ORG,
    status=Status.CONNECTED,
    standing=Standing(phone="5511900000000"),
    updated_at=None,
    owner_phones=("5511911111111",),
)


def at(second):
    return START + timedelta(seconds=second)


def message(*chat, message_id="M1", author=None, from_me=False, own=None, **more):
    facts: dict[str, Any] = {
        "delivery_id": 1,
        "instance": "shop",
        "reported_at": None,
        "received_at": HEARD,
        "kind": "text",
        "text": "oi",
        "status": "pending" if from_me else "delivered",
        "push_name": "Ana",
        "sent_at": START,
    }
    author = () if from_me else (chat if author is None else author)
    facts |= more
    return MessageReported(**facts, message_id=message_id, chat=chat, author=author, from_me=from_me, own=own)


def about(kind, **more):
    facts = {"delivery_id": 1, "instance": "shop", "reported_at": None, "received_at": HEARD}
    return kind(**(facts | more))


def known(*aliases, owners=(OWN, OTHER_PHONE), conversations=None, instances=(SHOP,)):
    return Known(
        instances={instance.name: instance for instance in instances},
        owners={instance.name: frozenset(owners) for instance in instances},
        aliases=dict(aliases),
        conversations=conversations or {},
    )


def alias(name, contact, *, pinned=False):
    return (ORG, name), KnownAlias(contact=contact, pinned=pinned, first_seen_at=START)


def folded(*reports, state=None, **rules) -> Changes:
    return fold(state or known(), reports, Rules(**rules))


def only(rows):
    [row] = rows.values()
    return row


# ---- a message -------------------------------------------------------------------------------------------------


def test_an_inbound_message_asks_for_contact_conversation_message_and_a_booking():
    """H012, H018, H020, H021, H027, C018"""
    changes = folded(message(ANA))
    contact, conversation, seen = only(changes.contacts), only(changes.conversations), only(changes.messages)
    assert (contact.scope, contact.organization_id, contact.user_id) == (ORG, ORG, None)
    assert (contact.phone, contact.name, contact.named_at) == ("5511999990001", "Ana", START)
    assert (conversation.instance_id, conversation.contact_id, conversation.group_jid) == (SHOP.id, contact.id, None)
    assert conversation.last_message_at == START
    assert (seen.contact_id, seen.conversation_id, seen.jid) == (contact.id, conversation.id, ANA)
    assert (seen.direction, seen.sender, seen.status, seen.books) == ("inbound", "5511999990001", "delivered", True)


def test_our_word_in_somebody_elses_chat_is_outbound_and_does_not_book():
    """X12: its contact and conversation exist; the name in it is ours."""
    changes = folded(message(ANA, from_me=True, push_name="Loja"))
    seen = only(changes.messages)
    assert (seen.direction, seen.books, seen.sender) == ("outbound", False, "5511900000000")
    assert (seen.contact_id, only(changes.contacts).name) == (only(changes.contacts).id, None)


def test_a_message_without_a_time_is_of_when_we_heard_of_it():
    assert only(folded(message(ANA, sent_at=None)).messages).sent_at == HEARD


def test_a_user_without_an_organization_has_contacts_of_their_own():
    loner = InstanceRecord(**{**_fields(SHOP), "organization_id": None})
    contact = only(folded(message(ANA), state=known(instances=(loner,))).contacts)
    assert (contact.scope, contact.organization_id, contact.user_id) == (str(loner.user_id), None, loner.user_id)


def _fields(record):
    return {name: getattr(record, name) for name in InstanceRecord.__dataclass_fields__}


def test_who_writes_under_a_lid_alone_is_a_contact_without_a_number():
    """H018"""
    changes = folded(message(ANA_LID))
    assert (only(changes.contacts).phone, only(changes.messages).sender) == (None, ANA_LID)


def test_of_two_names_the_phone_is_shown_and_kept():
    seen = only(folded(message(ANA_LID, ANA)).messages)
    assert (seen.sender, seen.jid) == ("5511999990001", ANA)


@pytest.mark.parametrize("names", [(ANA_LID, ANA), (ANA, ANA_LID)])
def test_a_known_contact_and_its_conversation_are_found_again(names):
    contact, chat = UUID(int=20), UUID(int=30)
    state = known(alias(ANA_LID, contact), conversations={(SHOP.id, contact): chat})
    changes = folded(message(*names), state=state)
    assert (only(changes.messages).contact_id, only(changes.messages).conversation_id) == (contact, chat)
    assert [name for _, name in changes.aliases] == [ANA]
    assert changes.renumbered == {contact}


def test_two_known_contacts_named_together_are_merged_and_the_loser_gives_its_conversation():
    phone, lid, chat = UUID(int=21), UUID(int=22), UUID(int=30)
    state = known(alias(ANA, phone), alias(ANA_LID, lid), conversations={(SHOP.id, lid): chat})
    changes = folded(message(ANA_LID, ANA), state=state)
    assert [(merge.survivor, merge.loser) for merge in changes.merges] == [(phone, lid)]
    assert (only(changes.messages).contact_id, only(changes.messages).conversation_id) == (phone, chat)


# ---- the owner -------------------------------------------------------------------------------------------------

SELF_CHATS = {
    "the connected number": message(OWN, from_me=True),
    "heard of as somebody else's": message(OWN),
    "by a lid with the own number": message(OWN_LID, OWN, from_me=True),
    "the account named by the delivery": message(BIA, from_me=True, own=BIA),
    "the account named by the delivery, by a lid": message(OWN_LID, BIA, from_me=True, own=BIA),
    "another phone of the owner": message(OTHER_PHONE),
    "to another phone of the owner": message(OTHER_PHONE, from_me=True),
}


@pytest.mark.parametrize("what", SELF_CHATS)
def test_what_the_owner_writes_to_themselves_is_a_note(what):
    """H010, H011, H013, H015, X10, X11, X12: no contact, no conversation, no booking."""
    changes = folded(SELF_CHATS[what])
    seen = only(changes.messages)
    assert (seen.direction, seen.contact_id, seen.conversation_id, seen.books) == ("note", None, None, False)
    assert (changes.contacts, changes.conversations, changes.aliases) == ({}, {}, {})


@pytest.mark.parametrize("what", SELF_CHATS)
def test_a_note_is_dropped_where_the_policy_says_so(what):
    """X11"""
    changes = folded(SELF_CHATS[what], owner_messages="ignore")
    assert (changes.messages, changes.contacts, changes.conversations) == ({}, {}, {})


def test_the_owner_policy_drops_nobody_elses_word():
    """X11"""
    changes = folded(message(ANA), message(ANA, message_id="M2", from_me=True), owner_messages="ignore")
    assert [seen.direction for seen in changes.messages.values()] == ["inbound", "outbound"]


@pytest.mark.parametrize("names", [(ANA_LID, OTHER_PHONE), (OTHER_PHONE, ANA_LID)])
def test_the_owner_who_writes_from_another_phone_under_a_lid_is_the_owner(names):
    """H013, H015, X12"""
    changes = folded(message(*names))
    assert only(changes.messages).direction == "note"
    assert changes.contacts == {}


def test_a_gateway_that_names_us_as_everybodys_second_name_does_not_make_everybody_one():
    changes = folded(
        message(ANA, OWN),
        message(BIA, OWN, message_id="M2"),
        about(ContactReported, names=(ANA_LID, OWN), name="Caio"),
    )
    assert len(changes.contacts) == 3
    assert {name for _, name in changes.aliases} == {ANA, BIA, ANA_LID}
    assert {seen.direction for seen in changes.messages.values()} == {"inbound"}


def test_we_are_no_contact_of_ours():
    """H015"""
    changes = folded(
        about(ContactReported, names=(OWN,), name="Loja"),
        about(ContactReported, names=(BIA, ANA_LID), name="Eu", own=BIA),
        about(ChatReported, chat=(OTHER_PHONE,), title="Eu"),
        about(ChatReported, chat=(OWN,), deleted=True),
    )
    assert changes == Changes()


# ---- groups, lists, history ------------------------------------------------------------------------------------


def test_a_group_has_one_conversation_and_its_writers_are_contacts():
    changes = folded(
        message(GROUP, author=(ANA_LID, ANA)),
        message(GROUP, message_id="M2", author=(BIA,), push_name="Bia"),
        message(GROUP, message_id="M3", from_me=True),
    )
    chat = only(changes.conversations)
    assert (chat.group_jid, chat.contact_id) == (GROUP, None)
    assert {contact.name for contact in changes.contacts.values()} == {"Ana", "Bia"}
    first, second, ours = changes.messages.values()
    assert (first.direction, first.jid, first.books, first.conversation_id) == ("inbound", ANA, False, chat.id)
    assert (second.jid, second.sender, second.books) == (BIA, "5521888880002", False)
    assert (ours.direction, ours.contact_id, ours.jid) == ("outbound", None, None)


def test_a_word_in_a_group_books_nothing_and_is_no_note():
    """H021: a booking is for who writes to us. The owner's other phone in a group is nobody's note."""
    seen = only(folded(message(GROUP, author=(OTHER_PHONE,))).messages)
    assert (seen.direction, seen.contact_id, seen.books) == ("inbound", None, False)


@pytest.mark.parametrize("author", [(), (GROUP,)])
def test_a_word_in_a_group_of_which_nobody_knows_whose_it_is_is_kept(author):
    seen = only(folded(message(GROUP, author=author)).messages)
    assert (seen.direction, seen.contact_id, seen.conversation_id is None) == ("inbound", None, False)


def test_status_broadcasts_are_kept_only_where_somebody_wants_them():
    posted = message(STATUS, author=(ANA,))
    assert folded(posted).messages == {}
    assert folded(posted).contacts == {}
    kept = folded(posted, status_broadcasts=True)
    assert (only(kept.conversations).group_jid, only(kept.messages).books) == (STATUS, False)


def test_history_never_books():
    """H021"""
    assert only(folded(message(ANA, history=True)).messages).books is False


@pytest.mark.parametrize("turned", [False, True])
def test_a_message_that_is_news_as_well_as_history_books(turned):
    reports = [message(ANA, history=True), message(ANA, delivery_id=2)]
    seen = only(folded(*(reports[::-1] if turned else reports)).messages)
    assert (seen.history, seen.books) == (False, True)


# ---- names -----------------------------------------------------------------------------------------------------


def test_the_newest_name_counts_whichever_comes_first():
    old, new = message(ANA, push_name="Aninha"), message(ANA, message_id="M2", sent_at=at(1))
    assert only(folded(old, new).contacts).name == only(folded(new, old).contacts).name == "Ana"


def test_silence_takes_no_name_away():
    changes = folded(message(ANA), about(ContactReported, names=(ANA,)), message(ANA, message_id="M2", push_name=""))
    assert only(changes.contacts).name == "Ana"


def test_a_persons_chat_is_titled_with_their_name_and_a_groups_with_its_own():
    changes = folded(
        about(ChatReported, chat=(ANA,), title="Ana Maria"), about(ChatReported, chat=(GROUP,), title="Clientes")
    )
    assert only(changes.contacts).name == "Ana Maria"
    group = only(changes.conversations)
    assert (group.group_jid, group.title, group.titled_at) == (GROUP, "Clientes", HEARD)


def test_a_chat_deleted_on_the_phone_says_when():
    chat = only(folded(about(ChatReported, chat=(ANA,), deleted=True)).conversations)
    assert (chat.deleted_at, chat.last_message_at, chat.title) == (HEARD, None, None)


# ---- later words -----------------------------------------------------------------------------------------------


def test_later_words_about_one_message_become_one_mark():
    reports = [
        about(StatusReported, message_id="M1", status="read", delivery_id=1),
        about(StatusReported, message_id="M1", status="delivered", delivery_id=2),
        about(EditReported, message_id="M1", text="b", edited_at=at(2), delivery_id=3),
        about(EditReported, message_id="M1", text="c", edited_at=at(1), delivery_id=4),
        about(DeleteReported, message_id="M1", delivery_id=5),
        about(VotesReported, message_id="M1", votes={"A": [ANA]}, delivery_id=6),
    ]
    mark = only(folded(*reports).marks)
    assert mark.id == only(folded(message(ANA)).messages).id == uuid5(SPACE, f"{SHOP.id}/M1")
    assert (mark.status, mark.edit, mark.deleted_at) == ("read", (at(2), "b"), HEARD)
    assert (mark.votes, mark.deliveries) == ((HEARD, {"A": [ANA]}), {1, 2, 3, 4, 5, 6})


def test_an_edit_without_a_time_is_of_when_we_heard_of_it():
    assert only(folded(about(EditReported, message_id="M1", text="b", edited_at=None)).marks).edit == (HEARD, "b")


def test_our_reactions_are_me_and_others_are_their_contact():
    def reaction(*author, own=None):
        said = {"author": author, "from_me": not author, "own": own}
        return about(ReactionReported, message_id="M1", emoji="👍", reacted_at=START, **said)

    changes = folded(reaction(), reaction(OWN), reaction(OWN_LID, own=OWN_LID), reaction(ANA, OWN))
    assert {author for _, author in changes.reactions} == {ME, str(only(changes.contacts).id)}
    assert [name for _, name in changes.aliases] == [ANA]


# ---- laws ------------------------------------------------------------------------------------------------------

people = st.sampled_from([(ANA,), (ANA_LID,), (ANA, ANA_LID), (BIA,), (BIA, OWN), (OWN,), (ANA_LID, BIA)])
seconds = st.integers(0, 3).map(at)
ids = st.sampled_from(["M1", "M2"])
reports = st.lists(
    st.one_of(
        st.builds(
            lambda chat, number, second, name, old: message(
                *chat, message_id=f"{number}{chat[0]}", sent_at=second, push_name=name, history=old
            ),
            people,
            ids,
            seconds,
            st.sampled_from(["Ana", "Bia", "", None]),
            st.booleans(),
        ),
        st.builds(
            lambda number, second, text: about(EditReported, message_id=number, text=text, edited_at=second),
            ids,
            seconds,
            st.sampled_from(["a", "b"]),
        ),
        st.builds(
            lambda number, status: about(StatusReported, message_id=number, status=status),
            ids,
            st.sampled_from(["sent", "delivered", "read"]),
        ),
        st.builds(
            lambda number, who, emoji, second: about(
                ReactionReported, message_id=number, author=who, emoji=emoji, reacted_at=second
            ),
            ids,
            people,
            st.sampled_from(["", "👍"]),
            seconds,
        ),
        st.builds(lambda who, name: about(ContactReported, names=who, name=name), people, st.none() | st.just("Caio")),
    ),
    max_size=6,
)


def shown(changes):
    """All but which of two equal reports of a message is kept."""
    messages = {
        number: (seen.contact_id, seen.conversation_id, seen.sent_at, seen.history, seen.books)
        for number, seen in changes.messages.items()
    }
    rows = (changes.contacts, changes.aliases, changes.conversations, changes.marks, changes.reactions)
    return (*rows, changes.renumbered, messages)


@settings(max_examples=60, deadline=None)
@given(st.data(), reports)
def test_any_order_and_repetition_of_reports_asks_for_the_same_rows(data, reports):
    """P5, F-07"""
    again = data.draw(st.lists(st.sampled_from(reports), max_size=3)) if reports else []
    assert shown(folded(*data.draw(st.permutations([*reports, *again])))) == shown(folded(*reports))


@settings(max_examples=60, deadline=None)
@given(reports)
def test_every_row_has_what_it_refers_to(reports):
    """What a message, a conversation or an alias points to is asked for as well; the owner is never among them."""
    changes = folded(*reports)
    assert {seen.contact_id for seen in changes.messages.values()} - {None} <= set(changes.contacts)
    assert {seen.conversation_id for seen in changes.messages.values()} - {None} <= set(changes.conversations)
    assert {chat.contact_id for chat in changes.conversations.values()} - {None} <= set(changes.contacts)
    assert not {(ORG, OWN), (ORG, OTHER_PHONE)} & set(changes.aliases)
