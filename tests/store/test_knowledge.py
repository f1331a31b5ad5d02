"""What messages set off, on the real database: contacts, conversations, messages, bookings, counters and the feed.

Deliveries go in through the inbox and are worked off by the worker, as in the product.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from bootstrap.readings import owners
from bootstrap.system import System, build
from conversations import merging
from conversations.changes import Rules
from conversations.identity import MOST_NAMES
from conversations.owner import ConversationOwner
from conversations.service import Conversations
from core.errors import Conflict, NotFound
from tests.chats import (
    ANA,
    ANA_LID,
    BIA,
    GROUP,
    OWN,
    SENT,
    Desk,
    about,
    again,
    contact,
    delete,
    edit,
    message,
    poll_votes,
    reaction,
    receipt,
    sent,
)
from tests.conftest import KEY
from webhooks.owners import Owners
from webhooks.worker import Worker

AT = datetime.fromtimestamp(SENT, UTC)
IMAGE = {"imageMessage": {"caption": "olha", "mimetype": "image/jpeg"}}
STRANGE = {"hologramMessage": {"text": "oi"}}


@pytest.fixture
def desk(system: System) -> Desk:
    return Desk(system)


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """One instance, of the organization `org`, connected with the number OWN."""
    desk.open(phone=OWN.partition("@")[0])
    return desk


@pytest.fixture
def one(rows):
    def look(query: str, **values: object) -> Any:
        [row] = rows(query, **values)
        return row

    return look


@pytest.fixture
def feed(rows):
    """The feed of an instance's user: type and data."""

    def look(desk: Desk, name: str = "shop") -> list[tuple[str, dict[str, Any]]]:
        found = rows("SELECT type, data FROM feed WHERE user_id = :user ORDER BY id", user=desk.users[name])
        return [(row["type"], row["data"]) for row in found]

    return look


@pytest.fixture
def whole(rows):
    """Nothing is left, lost or points to somebody else than it says."""

    def check(waiting: int = 0) -> None:
        assert rows("SELECT id FROM inbox") == []
        aside = rows("SELECT event_id, state, reason FROM set_aside WHERE state <> 'waiting'")
        assert aside == []
        assert len(rows("SELECT FROM set_aside")) == waiting
        nameless = "SELECT id FROM contacts WHERE id NOT IN (SELECT contact_id FROM contact_aliases)"
        assert rows(nameless) == [], "a contact that nobody will ever find again"
        elsewhere = """SELECT messages.id FROM messages JOIN conversations ON conversations.id = conversation_id
                       WHERE group_jid IS NULL AND conversations.contact_id IS DISTINCT FROM messages.contact_id"""
        assert rows(elsewhere) == [], "a message in somebody else's conversation"

    return check


PEOPLE = """
SELECT array_agg(jid ORDER BY jid) AS names, phone_number AS phone, name FROM contacts
LEFT JOIN contact_aliases ON contact_id = contacts.id GROUP BY contacts.id ORDER BY 1
"""
COUNTERS = "SELECT messages_sent_count AS sent, messages_received_count AS received FROM whatsapp_instances"


# ---- what a message sets off -----------------------------------------------------------------------------------


def test_an_inbound_message_sets_off_everything_once(shop, one, rows, feed, whole):
    """H012, H018, H020, H021, H024, H025, H027, C016, C018, C019"""
    shop.tell(message("Olá!", name="Ana"))
    instance = one("SELECT * FROM whatsapp_instances")
    person, chat = one("SELECT * FROM contacts"), one("SELECT * FROM conversations")
    said, booking = one("SELECT * FROM messages"), one("SELECT * FROM bookings")
    assert person["phone_number"] == "5511999990001"
    assert (person["name"], person["named_at"], person["organization_id"], person["user_id"]) == (
        "Ana",
        AT,
        "org",
        None,
    )
    assert (person["scope"], person["pinned"]) == ("org", False)
    assert rows("SELECT scope, jid, contact_id, first_seen_at FROM contact_aliases") == [
        {"scope": "org", "jid": ANA, "contact_id": person["id"], "first_seen_at": AT}
    ]
    assert (chat["instance_id"], chat["contact_id"], chat["group_jid"]) == (instance["id"], person["id"], None)
    assert (chat["last_message_at"], chat["deleted_at"]) == (AT, None)
    assert (said["instance_id"], said["contact_id"], said["conversation_id"]) == (
        instance["id"],
        person["id"],
        chat["id"],
    )
    assert (said["whatsapp_message_id"], said["direction"], said["kind"]) == ("M1", "inbound", "text")
    assert (said["content"], said["status"], said["sent_at"]) == ("Olá!", "delivered", AT)
    assert (said["jid"], said["from_history"], said["original"], said["details"]) == (ANA, False, None, None)
    assert (booking["contact_id"], booking["organization_id"]) == (person["id"], "org")
    assert (booking["status"], booking["source"]) == ("pending", "whatsapp")
    assert one(COUNTERS) == {"sent": 0, "received": 1}
    assert feed(shop) == [
        (
            "message",
            {
                **of_shop(one),
                "messageId": "M1",
                "conversationId": str(chat["id"]),
                "contactId": str(person["id"]),
                "contactName": "Ana",
                "from": "5511999990001",
                "fromMe": False,
                "text": "Olá!",
                "kind": "text",
                "at": "2026-11-22T03:16:13.000Z",
                "bookingId": str(booking["id"]),
            },
        )
    ]
    whole()


def of_shop(one) -> dict[str, str]:
    """What each event of the shop begins with."""
    return {"instanceName": "shop", "instanceId": str(one("SELECT id FROM whatsapp_instances")["id"])}


def test_a_bare_string_is_a_message(shop, one):
    """C017, X34"""
    shop.tell(message(message="Olá!"))
    assert one("SELECT content, kind, original FROM messages") == {"content": "Olá!", "kind": "text", "original": None}


def test_the_second_message_books_nothing_more(shop, one, feed):
    """H019, H021, H024, H025: one pending a contact; only the message that made it names it."""
    shop.tell(message(), message("de novo", id="M2", at=5))
    assert one("SELECT count(*) FROM bookings")["count"] == 1
    assert one("SELECT last_message_at FROM conversations")["last_message_at"] == AT + timedelta(seconds=5)
    assert ["bookingId" in data for _, data in feed(shop)] == [True, False]
    assert one(COUNTERS) == {"sent": 0, "received": 2}


def test_who_was_served_may_book_again(shop, rows):
    """H021"""
    shop.tell(message())
    with shop.system.transaction() as connection:
        connection.execute(text("UPDATE bookings SET status = 'completed'"))
    shop.tell(message(id="M2", at=5))
    assert sorted(row["status"] for row in rows("SELECT status FROM bookings")) == ["completed", "pending"]


def test_no_booking_is_made_where_nobody_wants_any(engine, database_url, settings_of, sandbox, rows, feed):
    """H021: AUTO_BOOKING=0"""
    built = build(settings_of(AUTO_BOOKING="0", EVOLUTION_API_URL=sandbox.url, EVOLUTION_API_KEY=KEY), database_url)
    try:
        desk = Desk(built)
        desk.open()
        desk.tell(message())
        assert rows("SELECT FROM bookings") == []
        assert "bookingId" not in feed(desk)[0][1]
    finally:
        built.stop()


def test_our_word_to_somebody_is_outbound(shop, one, rows, feed):
    """X12, H024: contact and conversation exist, no booking; the name in it is ours."""
    shop.tell(sent("Pois não?", name="Loja"))
    said = one("SELECT direction, status, jid, contact_id FROM messages")
    assert (said["direction"], said["status"], said["jid"]) == ("outbound", "pending", ANA)
    assert one("SELECT id, name FROM contacts") == {"id": said["contact_id"], "name": "Unknown"}
    assert (rows("SELECT FROM bookings"), one(COUNTERS)) == ([], {"sent": 1, "received": 0})
    assert [(data["fromMe"], data["from"], data["contactName"]) for _, data in feed(shop)] == [
        (True, "5511900000000", None)
    ]


def test_a_nameless_contact_is_unknown_until_somebody_says_a_name(shop, one):
    """H018"""
    shop.tell(message(name=None))
    assert one("SELECT name FROM contacts")["name"] == "Unknown"
    shop.tell(message(id="M2", at=5, name="Ana"))
    assert one("SELECT name FROM contacts")["name"] == "Ana"


def test_a_name_is_not_overwritten_by_none_empty_or_digits_nor_by_an_older_one(shop, one):
    """H018, H019"""
    shop.tell(message(at=10, name="Ana"))
    for number, name in enumerate(["", None, "5511999990001", "+55 11 99999 0001"]):
        shop.tell(message(id=f"N{number}", at=20 + number, name=name), contact(ANA, name))
    shop.tell(message(id="OLD", at=1, name="Aninha"))
    assert one("SELECT name FROM contacts")["name"] == "Ana"
    shop.tell(message(id="NEW", at=99, name="Ana Maria"))
    assert one("SELECT name FROM contacts")["name"] == "Ana Maria"


def test_a_number_with_and_without_the_ninth_digit_are_two_contacts(shop, rows):
    shop.tell(message(jid="5511999990001@s.whatsapp.net"), message(jid="551199990001@s.whatsapp.net", id="M2"))
    assert {row["phone"] for row in rows(PEOPLE)} == {"5511999990001", "551199990001"}


def test_fifty_copies_in_other_bytes_are_one_message(shop, one, rows, feed, whole):
    """P3, H015, H024"""
    shop.tell_at_once(*(again(message(), copy) for copy in range(25)))
    shop.tell(*(again(message(), copy) for copy in range(25, 50)))
    assert [len(rows(f"SELECT FROM {table}")) for table in ("contacts", "conversations", "messages", "bookings")] == [
        1
    ] * 4
    assert one(COUNTERS) == {"sent": 0, "received": 1}
    assert len(feed(shop)) == 1
    whole()


def test_fifty_senders_at_the_same_moment_are_one_message(shop, one, rows, feed, whole):
    """P3"""
    start = threading.Barrier(50)
    documents = [message(f"oi {number}", id=f"M{number}") for number in range(4)]

    def send(_: int) -> None:
        start.wait(20)
        for document in documents:
            shop.record(document)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(send, range(50)))
    shop.work()
    assert len(rows("SELECT FROM webhook_events")) == len(rows("SELECT FROM messages")) == len(feed(shop)) == 4
    assert (len(rows("SELECT FROM bookings")), one(COUNTERS)["received"]) == (1, 4)
    whole()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("how", ["tell", "tell_at_once"])
def test_what_we_sent_and_what_came_back_are_one_message(shop, one, feed, turned, how):
    """P5: send.message and messages.upsert of one id"""
    both = [sent("oi"), message("oi", from_me=True, status="SERVER_ACK")]
    getattr(shop, how)(*(both[::-1] if turned else both))
    assert one("SELECT direction, status, content FROM messages") == {
        "direction": "outbound",
        "status": "sent",
        "content": "oi",
    }
    assert one(COUNTERS) == {"sent": 1, "received": 0}
    assert [kind for kind, _ in feed(shop)].count("message") == 1


def test_nobody_hears_of_an_instance_without_a_user_and_it_works_all_the_same(shop, one, rows):
    with shop.system.transaction() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET user_id = NULL, organization_id = NULL"))
    shop.tell(message(), receipt("READ"), reaction("👍"))
    assert (rows("SELECT FROM feed"), one("SELECT status FROM messages")["status"]) == ([], "read")


# ---- the owner -------------------------------------------------------------------------------------------------

NOTES = {
    "the chat with oneself": message(jid=OWN, from_me=True),
    "by a lid, the own number second": message(jid="999@lid", alt=OWN, from_me=True),
    "from the owner's other phone": message(jid="5511911111111@s.whatsapp.net"),
    "with a device": message(jid="5511900000000:12@s.whatsapp.net", from_me=True),
}


@pytest.mark.parametrize("what", NOTES)
@pytest.mark.parametrize("policy", ["note", "ignore"])
def test_the_owner_is_no_client(engine, database_url, settings_of, sandbox, rows, feed, what, policy):
    """H010, H011, H013, H014, H015, X10, X11, X12: neither contact nor booking in both policies."""
    built = build(
        settings_of(OWNER_MESSAGE_POLICY=policy, EVOLUTION_API_URL=sandbox.url, EVOLUTION_API_KEY=KEY), database_url
    )
    try:
        desk = Desk(built)
        desk.open(phone="5511900000000", others=["5511911111111"])
        desk.tell(NOTES[what])
        for table in ("contacts", "conversations", "bookings", "inbox", "set_aside"):
            assert rows(f"SELECT * FROM {table}") == []
        notes = rows("SELECT direction, contact_id, conversation_id FROM messages")
        kept = [{"direction": "note", "contact_id": None, "conversation_id": None}]
        assert notes == (kept if policy == "note" else [])
        assert len(feed(desk)) == len(notes)
        assert rows(COUNTERS) == [{"sent": 0, "received": 0}]
    finally:
        built.stop()


def test_the_chat_with_oneself_by_lid_is_a_note_where_the_delivery_names_the_account(shop, rows):
    """X12"""
    shop.tell({**message(jid="999@lid", alt=OWN, from_me=True), "sender": OWN})
    assert rows("SELECT * FROM contacts") == []
    assert rows("SELECT direction FROM messages") == [{"direction": "note"}]


def test_the_owner_who_writes_from_another_phone_under_a_lid_does_not_book(desk, rows):
    """H013, H015"""
    desk.open(phone="5511900000000", others=["5511911111111"])
    desk.tell(message(jid="998@lid", alt="5511911111111@s.whatsapp.net"))
    assert rows("SELECT * FROM bookings") == []
    assert rows("SELECT * FROM contacts") == []


def test_who_has_just_connected_is_the_owner_of_the_next_message(desk, rows):
    """X12: the same as in batches of one"""
    desk.open()
    opened = about("connection.update", {"instance": "shop", "state": "open", "statusReason": 200, "wuid": OWN})
    desk.tell_at_once(message(), opened, message(jid=OWN, id="M2", at=9, from_me=True))
    assert rows("SELECT direction FROM messages ORDER BY sent_at") == [{"direction": "inbound"}, {"direction": "note"}]


def test_an_instance_without_a_number_asks_its_organization(desk, rows):
    """X10: by the receiving instance first, the organization only as fallback"""
    desk.open("first", phone="5511900000000")
    desk.open("second")
    desk.tell(message(jid=OWN, shop="second"))
    assert rows("SELECT direction FROM messages") == [{"direction": "note"}]
    with desk.system.transaction() as connection:
        connection.execute(
            text("UPDATE whatsapp_instances SET phone_number = '5511922222222' WHERE instance_name = 'second'")
        )
    desk.tell(message(jid=OWN, shop="second", id="M2", at=3))
    assert rows("SELECT direction FROM messages ORDER BY sent_at") == [{"direction": "note"}, {"direction": "inbound"}]


def test_a_gateway_that_calls_everybody_by_our_number_makes_nobody_us(shop, rows, whole):
    """H015"""
    for number in range(5):
        shop.tell(message(jid=f"551190001{number:04}@s.whatsapp.net", alt=OWN, id=f"M{number}"))
    assert len(rows("SELECT FROM contacts")) == 5
    assert rows("SELECT FROM contact_aliases WHERE jid = :own", own=OWN) == []
    whole()


# ---- instances, organizations, users -----------------------------------------------------------------------------


def test_two_instances_of_an_organization_share_contacts_and_not_conversations(desk, rows, whole):
    """H018, H019, H021: the booking is the contact's, so that there is one."""
    desk.open("first")
    desk.open("second")
    desk.tell_at_once(message(shop="first"), message(shop="second"), message(shop="second", id="M2"))
    [person] = rows("SELECT id FROM contacts")
    chats = rows("SELECT instance_id, contact_id FROM conversations")
    assert len({chat["instance_id"] for chat in chats}) == len(chats) == 2
    assert {chat["contact_id"] for chat in chats} == {person["id"]}
    assert (len(rows("SELECT FROM messages")), len(rows("SELECT FROM bookings"))) == (3, 1)
    assert sorted(row["received"] for row in rows(COUNTERS)) == [1, 2]
    whole()


def test_users_without_an_organization_do_not_share(desk, rows):
    """H018"""
    mine, theirs = desk.open("first", organization=None), desk.open("second", organization=None)
    desk.tell(message(shop="first"), message(shop="second"))
    people = rows("SELECT scope, user_id, organization_id FROM contacts")
    assert {(row["scope"], row["user_id"]) for row in people} == {(str(mine), mine), (str(theirs), theirs)}
    assert len(rows("SELECT FROM bookings WHERE organization_id IS NULL")) == 2


# ---- groups and history ----------------------------------------------------------------------------------------


def test_a_group_is_one_conversation_with_a_title_and_books_nothing(shop, one, rows, whole):
    named = about("groups.upsert", [{"id": GROUP, "subject": "Clientes"}])
    first = message(jid=GROUP, key={"participant": ANA_LID, "participantAlt": ANA})
    shop.tell(first, named, message(jid=GROUP, id="M2", at=5, name="Bia", key={"participant": BIA}))
    chat = one("SELECT * FROM conversations")
    assert (chat["group_jid"], chat["contact_id"], chat["title"]) == (GROUP, None, "Clientes")
    assert {(*row["names"], row["name"]) for row in rows(PEOPLE)} == {(ANA_LID, ANA, "Ana"), (BIA, "Bia")}
    assert (rows("SELECT FROM bookings"), one(COUNTERS)["received"]) == ([], 2)
    whole()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("how", ["tell", "tell_at_once"])
def test_a_message_that_is_news_as_well_as_history_is_news_once(shop, one, rows, feed, turned, how):
    """H021, H024, P5"""
    old = {**message(), "event": "messages.set", "data": [message()["data"]]}
    getattr(shop, how)(*([message(), old] if turned else [old, message()]))
    assert one("SELECT from_history FROM messages") == {"from_history": False}
    assert (len(rows("SELECT FROM bookings")), one(COUNTERS)["received"], len(feed(shop))) == (1, 1, 1)


def test_history_is_kept_and_sets_nothing_off(shop, one, rows, feed, whole):
    """H021, H024"""
    shop.tell({**message(), "event": "messages.set", "data": [message()["data"], message(id="M2", jid=BIA)["data"]]})
    assert rows("SELECT from_history FROM messages") == [{"from_history": True}] * 2
    assert len(rows("SELECT FROM contacts")) == len(rows("SELECT FROM conversations")) == 2
    assert (rows("SELECT FROM bookings"), one(COUNTERS), feed(shop)) == ([], {"sent": 0, "received": 0}, [])
    whole()


@pytest.mark.parametrize("posts_first", [False, True])
def test_what_is_dropped_says_nothing_of_who_is_who_in_any_order(shop, rows, posts_first):
    """P5"""
    posted = message(jid="status@broadcast", id="S1", key={"participant": ANA_LID, "participantAlt": ANA})
    chats = [message(), message(jid=ANA_LID, id="M2")]
    shop.tell(*([posted, *chats] if posts_first else [*chats, posted]))
    assert len(rows("SELECT FROM contacts")) == 2


# ---- later words -----------------------------------------------------------------------------------------------

LATER = {
    "receipt": receipt("READ"),
    "edit": edit("oi, Bia"),
    "newer edit": edit("oi, Caio", at=90),
    "delete": delete(),
    "reaction": reaction("👍"),
    "reaction taken back": reaction("", at=80),
    "our reaction": reaction("❤️", from_me=True),
}
MESSAGE = "SELECT content, original, status, edited_at, deleted_at IS NOT NULL AS deleted FROM messages"
REACTIONS = "SELECT author = 'me' AS ours, emoji FROM reactions ORDER BY 1"


def test_each_later_word_has_its_effect_and_people_hear_of_it(shop, one, rows, feed):
    """H024"""
    shop.tell(message(), *LATER.values())
    person, chat = one("SELECT id FROM contacts"), one("SELECT id FROM conversations")
    assert one(MESSAGE) == {
        "content": "oi, Caio",
        "original": {"conversation": "oi"},
        "status": "read",
        "edited_at": AT + timedelta(seconds=90),
        "deleted": True,
    }
    assert rows(REACTIONS) == [{"ours": False, "emoji": ""}, {"ours": True, "emoji": "❤️"}]
    where = {**of_shop(one), "messageId": "M1", "conversationId": str(chat["id"])}
    hers = {**where, "change": "reaction", "author": str(person["id"])}
    assert feed(shop)[1:] == [
        ("message_status", {**of_shop(one), "messageId": "M1", "status": "read"}),
        ("message_changed", {**where, "change": "edited", "text": "oi, Bia"}),
        ("message_changed", {**where, "change": "edited", "text": "oi, Caio"}),
        ("message_changed", {**where, "change": "deleted"}),
        ("message_changed", {**hers, "emoji": "👍"}),
        ("message_changed", {**hers, "emoji": ""}),
        ("message_changed", {**where, "change": "reaction", "author": "me", "emoji": "❤️"}),
    ]


@pytest.mark.parametrize("word", list(LATER))
def test_a_word_that_overtook_its_message_waits_for_it(shop, one, rows, feed, whole, word):
    """F-07"""
    shop.tell(LATER[word])
    assert rows("SELECT lane, state, reason, waits_for FROM set_aside") == [
        {"lane": "shop", "state": "waiting", "reason": "waits_for_message", "waits_for": "M1"}
    ]
    assert feed(shop) == []
    shop.tell(message(id="M2"))
    whole(waiting=1)
    shop.tell(message())
    whole()
    assert [kind for kind, _ in feed(shop)][:2] == ["message", "message"]
    assert len(feed(shop)) == 3


def test_later_words_end_alike_in_every_order(shop, one, rows, whole):
    """P5, F-07: each order of four words and their message, and who came before it waited"""
    words = [message(), receipt("READ"), edit("a", at=60), edit("b", at=90), delete()]
    ends = set()
    for number, order in enumerate(itertools.permutations(words)):
        shop.tell_at_once(*(_of(document, f"Z{number}") for document in order))
    whole()
    for row in rows(MESSAGE):
        ends.add((row["content"], str(row["original"]), row["status"], row["edited_at"], row["deleted"]))
    assert ends == {("b", "{'conversation': 'oi'}", "read", AT + timedelta(seconds=90), True)}
    assert one("SELECT count(*) FROM messages")["count"] == 120


@pytest.mark.parametrize("seed", range(4))
def test_later_words_one_at_a_time_end_alike_too(shop, one, rows, whole, seed):
    """P5, F-07"""
    documents = [message(), *LATER.values()]
    turned = documents[seed * 2 :] + documents[: seed * 2]
    shop.tell(*(turned if seed % 2 else turned[::-1]))
    assert (one(MESSAGE)["content"], one(MESSAGE)["original"]) == ("oi, Caio", {"conversation": "oi"})
    assert (one(MESSAGE)["status"], one(MESSAGE)["deleted"]) == ("read", True)
    assert rows(REACTIONS) == [{"ours": False, "emoji": ""}, {"ours": True, "emoji": "❤️"}]
    whole()


def _of(document: dict[str, Any], number: str) -> dict[str, Any]:
    """The same about another message."""
    data = {**document["data"]}
    for key in ("id", "keyId"):
        if key in data:
            data[key] = number
    if "key" in data:
        data["key"] = {**data["key"], "id": number}
    return {**document, "data": data}


def test_a_status_only_climbs(shop, one, feed):
    """pending < sent < error < delivered < read < played"""
    shop.tell(sent())
    for status, shown in [
        ("SERVER_ACK", "sent"),
        ("ERROR", "error"),
        ("SERVER_ACK", "error"),
        ("DELIVERY_ACK", "delivered"),
        ("ERROR", "delivered"),
        ("PLAYED", "played"),
        ("READ", "played"),
    ]:
        shop.tell(again(receipt(status), len(feed(shop)) * 100 + 1))
        assert one("SELECT status FROM messages")["status"] == shown
    told = [data["status"] for kind, data in feed(shop) if kind == "message_status"]
    assert told == ["sent", "error", "delivered", "played"]


def test_a_delivery_about_two_messages_waits_for_both(shop, rows, whole):
    """F-07"""
    both = [receipt("READ", id=number)["data"] for number in ("M1", "M2")]
    shop.tell(about("messages.update", both))
    shop.tell(message())
    whole(waiting=1)
    shop.tell(message(id="M2"))
    whole()
    assert rows("SELECT status FROM messages") == [{"status": "read"}] * 2


def test_a_word_of_another_instance_wakes_nobody(shop, whole):
    """F-07: message ids are the instance's own."""
    shop.open("other")
    shop.tell(receipt("READ"), message(shop="other"))
    whole(waiting=1)


def test_a_poll_shows_its_newest_votes(shop, one, feed):
    poll = {"pollCreationMessage": {"name": "Qual?", "options": [{"optionName": "A"}, {"optionName": "B"}]}}
    shop.tell(message(message=poll), poll_votes({"A": [ANA]}), poll_votes({"A": [ANA], "B": [BIA]}))
    assert one("SELECT votes FROM messages")["votes"] == {"A": [ANA], "B": [BIA]}
    assert [data["votes"] for _, data in feed(shop)[1:]] == [{"A": [ANA]}, {"A": [ANA], "B": [BIA]}]


@pytest.mark.parametrize("how", ["tell", "tell_at_once"])
@pytest.mark.parametrize("turned", [False, True])
def test_two_edits_of_one_moment_end_alike(shop, one, how, turned):
    """P5"""
    edits = [edit("z's"), edit("not")]
    shop.tell(message())
    getattr(shop, how)(*(edits[::-1] if turned else edits))
    assert one("SELECT content FROM messages")["content"] == "z's"


@pytest.mark.parametrize("how", ["tell", "tell_at_once"])
def test_of_two_states_of_a_poll_in_one_commit_the_later_counts(shop, one, how):
    """P5: the inbox numbers what it commits together one after the other, and all of it has one time."""
    poll = {"pollCreationMessage": {"name": "Qual?", "options": [{"optionName": "A"}, {"optionName": "B"}]}}
    shop.tell(message(message=poll))
    first = shop.record(poll_votes({"A": [ANA]}))
    if how == "tell":
        shop.work()
    second = shop.record(poll_votes({"A": [ANA], "B": [BIA]}))
    with shop.system.transaction() as connection:
        for statement in (
            """UPDATE webhook_events SET id = :first + 1,
               received_at = (SELECT received_at FROM webhook_events WHERE id = :first) WHERE id = :second""",
            "UPDATE inbox SET id = :first + 1 WHERE id = :second",
        ):
            connection.execute(text(statement), {"first": first, "second": second})
    shop.work()
    assert one("SELECT votes FROM messages")["votes"] == {"A": [ANA], "B": [BIA]}


# ---- contents --------------------------------------------------------------------------------------------------


def test_the_original_is_kept_of_media_and_not_of_text(shop, rows):
    shop.tell(message(), message(id="M2", at=1, message=IMAGE))
    assert rows("SELECT kind, content, original FROM messages ORDER BY sent_at") == [
        {"kind": "text", "content": "oi", "original": None},
        {"kind": "image", "content": "olha", "original": IMAGE},
    ]


def test_an_edited_caption_leaves_the_original_as_it_came(shop, one):
    shop.tell(message(message=IMAGE), edit("olha só"))
    assert one("SELECT content, original FROM messages") == {"content": "olha só", "original": IMAGE}


def test_what_nobody_understands_is_shown_as_such_and_reported_once(shop, one, rows):
    shop.tell(message(message=STRANGE), again(message(message=STRANGE), 2))
    assert one("SELECT kind, content, original FROM messages") == {
        "kind": "unsupported",
        "content": "Mensagem não suportada",
        "original": STRANGE,
    }
    [odd] = rows("SELECT state, reason, fingerprint FROM set_aside")
    assert (odd["state"], odd["reason"]) == ("quarantined", "unknown_message")
    assert odd["fingerprint"]


@pytest.mark.parametrize("how", ["tell", "tell_at_once"])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_understood_at_last_replaces_what_was_not(shop, one, feed, how, turned):
    """P5"""
    both = [message(message=STRANGE), message("oi")]
    getattr(shop, how)(*(both[::-1] if turned else both))
    assert one("SELECT kind, content, original FROM messages") == {"kind": "text", "content": "oi", "original": None}
    assert one(COUNTERS)["received"] == len(feed(shop)) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_first_words_of_an_edited_message_stay_in_any_order(shop, one, order):
    """P5"""
    words = [message(message=STRANGE), message("oi"), edit("oi, Bia")]
    shop.tell(*(words[place] for place in order))
    assert one("SELECT kind, content, original FROM messages") == {
        "kind": "text",
        "content": "oi, Bia",
        "original": {"conversation": "oi"},
    }


ODD_WORDS = [
    "NULL",
    "",
    '{"a",b}',
    'barra \\ e "aspas"',
    "linha\nnova",
    "👩‍👩‍👧 ação",
    "'; DROP TABLE messages; --",
    "%s :name $1",
]


@pytest.mark.parametrize("words", ODD_WORDS)
def test_words_are_kept_as_they_are(shop, one, rows, feed, words):
    """H020: whatever they mean to SQL, arrays or JSON"""
    shop.tell(message(words, name=f"x{words}"), edit(f"{words}!", at=5), reaction(words, at=9))
    found = one("SELECT content, original FROM messages")
    assert (found["content"], found["original"]) == (f"{words}!", {"conversation": words})
    assert one("SELECT name FROM contacts")["name"] == f"x{words}"
    assert rows("SELECT emoji FROM reactions") == [{"emoji": words}]
    assert feed(shop)[0][1]["text"] == words


def test_a_newer_message_brings_a_deleted_chat_back(shop, one, rows, whole):
    """H027: the conversation is the same one; an older deletion told late changes nothing."""
    shop.tell(message(), about("chats.delete", [ANA]))
    gone = one("SELECT id, deleted_at, last_message_at FROM conversations")
    assert gone["deleted_at"] > gone["last_message_at"]
    shop.tell(message(id="M2", at=400_000_000))
    back = one("SELECT id, deleted_at, last_message_at FROM conversations")
    assert (back["id"], back["deleted_at"]) == (gone["id"], gone["deleted_at"])
    assert back["last_message_at"] > back["deleted_at"]
    whole()


# ---- phones ----------------------------------------------------------------------------------------------------

NEW_PHONE = "5511777770007@s.whatsapp.net"


@pytest.mark.parametrize("how", ["tell", "tell_at_once"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_who_has_two_phones_has_the_newer_number_in_any_order(shop, one, whole, how, order):
    """P5"""
    words = [
        message(jid=ANA_LID, alt=ANA, id="M1", at=1),
        message(jid=ANA_LID, alt=NEW_PHONE, id="M2", at=50),
        message(jid=ANA_LID, alt=ANA, id="M3", at=99),
    ]
    getattr(shop, how)(*(words[place] for place in order))
    found = one(PEOPLE)
    assert (found["names"], found["phone"]) == ([ANA_LID, NEW_PHONE, ANA], "5511777770007")
    assert one("SELECT count(*) FROM bookings WHERE status = 'pending'")["count"] == 1
    whole()


# ---- merges ----------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(shop: Desk) -> Desk:
    """Ana as two contacts, by phone and by lid: each with a conversation, a booking and a reaction."""
    shop.tell(
        message("pelo telefone", at=10, name="Ana do telefone"),
        message("pelo lid", jid=ANA_LID, id="L1", at=20, name="Ana do lid"),
        reaction("👍", to="L1", jid=ANA_LID, at=30, name="Ana do lid"),
        reaction("👎", to="L1", at=40, name=None),
        reaction("😂", to="M1", jid=ANA_LID, at=50, name=None),
    )
    return shop


TOGETHER = message("sou eu", jid=ANA_LID, alt=ANA, id="T1", at=60, name=None)


def test_two_contacts_named_together_become_one_with_all_they_had(twins, one, rows, whole):
    """H019, P5: the newest name, the phone, one pending booking, the newest reaction"""
    lost = one("SELECT contact_id FROM contact_aliases WHERE jid = :jid", jid=ANA_LID)["contact_id"]
    kept = one("SELECT contact_id FROM contact_aliases WHERE jid = :jid", jid=ANA)["contact_id"]
    bookings = {row["contact_id"]: row["id"] for row in rows("SELECT id, contact_id FROM bookings")}
    twins.tell(TOGETHER)
    assert one(PEOPLE) == {"names": [ANA_LID, ANA], "phone": "5511999990001", "name": "Ana do lid"}
    chat = one("SELECT * FROM conversations")
    assert (chat["contact_id"], chat["last_message_at"]) == (kept, AT + timedelta(seconds=60))
    assert rows("SELECT DISTINCT contact_id, conversation_id FROM messages") == [
        {"contact_id": kept, "conversation_id": chat["id"]}
    ]
    assert rows("SELECT id, status, contact_id FROM bookings ORDER BY status") == [
        {"id": bookings[lost], "status": "cancelled", "contact_id": kept},
        {"id": bookings[kept], "status": "pending", "contact_id": kept},
    ]
    assert rows("SELECT author, emoji FROM reactions ORDER BY at") == [
        {"author": str(kept), "emoji": "👎"},
        {"author": str(kept), "emoji": "😂"},
    ]
    entry = one("SELECT * FROM audit")
    assert (entry["actor"], entry["action"], entry["subject"], entry["scope"]) == (
        "zelador",
        "contact.merged",
        str(kept),
        "org",
    )
    assert (entry["details"]["loser"], entry["details"]["names"]) == (str(lost), [ANA_LID])
    assert entry["details"]["seenTogether"] == [ANA, ANA_LID]
    whole()


@pytest.fixture
def noted(shop: Desk) -> Desk:
    """Ana's number stands in `contacts`, as another program writes it there by SQL: without an alias."""
    with shop.system.transaction() as connection:
        row = "INSERT INTO contacts (scope, organization_id, phone_number, name) VALUES ('org', 'org', :phone, 'Nota')"
        connection.execute(text(row), {"phone": ANA.partition("@")[0]})
    return shop


def test_who_writes_from_a_number_that_another_program_wrote_down_is_that_contact(noted, one, whole):
    before = one("SELECT id FROM contacts")
    noted.tell(message("oi"), message("oi de novo", id="M2", at=1))
    assert one("SELECT id FROM contacts") == before
    assert one(PEOPLE) == {"names": [ANA], "phone": "5511999990001", "name": "Ana"}
    assert one("SELECT count(*) AS messages FROM messages WHERE contact_id = :id", **before) == {"messages": 2}
    whole()


def test_such_a_number_is_merged_with_a_lid_as_any_other(noted, one, whole):
    before = one("SELECT id FROM contacts")
    noted.tell(message(jid=ANA_LID, id="L1"), TOGETHER)
    assert one("SELECT id FROM contacts") == before
    assert one(PEOPLE)["names"] == [ANA_LID, ANA]
    whole()


def test_a_merge_is_done_once(twins, rows, whole):
    """P3"""
    twins.tell(TOGETHER, again(TOGETHER, 2))
    assert len(rows("SELECT FROM audit")) == 1
    whole()


@pytest.mark.parametrize("who", ["survivor", "loser"])
def test_a_conversation_that_one_of_the_two_has_is_kept(shop, one, whole, who):
    names = (ANA, ANA_LID) if who == "survivor" else (ANA_LID, ANA)
    shop.tell(message(jid=names[0]), contact(names[1], "Ana"))
    chat = one("SELECT id FROM conversations")["id"]
    shop.tell(TOGETHER)
    assert one("SELECT id, contact_id FROM conversations") == {
        "id": chat,
        "contact_id": one("SELECT id FROM contacts")["id"],
    }
    whole()


def test_a_merge_reaches_the_conversations_of_all_instances(desk, rows, whole):
    desk.open("first")
    desk.open("second")
    desk.tell(
        message(shop="first"),
        message(jid=ANA_LID, id="L1", shop="first"),
        message(jid=ANA_LID, id="L1", shop="second"),
        {**TOGETHER, "instance": "first"},
        message("e agora?", jid=ANA_LID, id="L2", at=90, shop="second"),
    )
    assert len(rows("SELECT FROM contacts")) == 1
    assert sorted(row["count"] for row in rows("SELECT count(*) FROM messages GROUP BY conversation_id")) == [2, 3]
    whole()


@pytest.mark.parametrize("how", ["tell", "tell_at_once"])
def test_a_merge_while_both_go_on_talking_loses_nothing(shop, one, rows, whole, how):
    """P5: one batch or several"""
    words = [
        message(id="A1"),
        message(jid=ANA_LID, id="B1", at=1),
        message(id="A2", at=2),
        {**TOGETHER, "data": {**TOGETHER["data"]}},
        message(jid=ANA_LID, id="B2", at=3),
        message(id="A3", at=4),
    ]
    getattr(shop, how)(*words)
    assert one("SELECT count(*) FROM messages")["count"] == 6
    assert len(rows("SELECT FROM contacts")) == len(rows("SELECT FROM conversations")) == 1
    assert one("SELECT count(*) FROM bookings WHERE status = 'pending'")["count"] == 1
    whole()


@pytest.mark.parametrize(
    "lids", [("111@lid", "222@lid"), ("222@lid", "111@lid"), ("5@lid", "6@lid"), ("6@lid", "5@lid")]
)
def test_three_contacts_become_one_where_only_the_losers_have_conversations(shop, rows, whole, lids):
    """P5"""
    shop.tell(contact(ANA, "Ana"), message(jid=lids[0], id="A"), message(jid=lids[1], id="B"))
    shop.tell(message(jid=lids[0], alt=ANA, id="C", key={"senderLid": lids[1]}))
    whole()
    assert len(rows("SELECT FROM contacts")) == len(rows("SELECT FROM conversations")) == 1
    assert len(rows("SELECT FROM messages")) == 3


def _crowd(desk: Desk, name: str, size: int) -> None:
    """`size` phones that are all called by one name."""
    for number in range(size):
        desk.tell(
            message(jid=name, alt=f"55119000{name[:1]}{number:04}@s.whatsapp.net", id=f"{name}{number}", at=number)
        )


def test_two_contacts_of_many_names_are_not_merged(shop, rows):
    """No person has more than MOST_NAMES names."""
    _crowd(shop, "1@lid", MOST_NAMES // 2)
    _crowd(shop, "2@lid", MOST_NAMES // 2)
    shop.tell(message(jid="1@lid", alt="2@lid", id="T", at=500))
    assert sorted(len(row["names"]) for row in rows(PEOPLE)) == [MOST_NAMES // 2 + 1] * 2
    assert rows("SELECT FROM audit") == []


@pytest.mark.parametrize("at", [500, -500])
def test_a_refused_merge_leaves_both_as_they_are(shop, rows, whole, at):
    _crowd(shop, "1@lid", MOST_NAMES // 2)
    _crowd(shop, "2@lid", MOST_NAMES // 2)
    with shop.system.transaction() as connection:
        connection.execute(text("DELETE FROM messages WHERE jid LIKE '551190001%'"))
        connection.execute(
            text("""DELETE FROM conversations WHERE contact_id =
                    (SELECT contact_id FROM contact_aliases WHERE jid = '1@lid')""")
        )
    shop.tell(message(jid="1@lid", alt="2@lid", id="T", at=at))
    assert len(rows("SELECT FROM messages WHERE whatsapp_message_id = 'T'")) == 1
    whole()


def test_a_gateway_that_calls_everybody_by_one_name_does_not_make_everybody_one(shop, rows):
    """C018, H018"""
    _crowd(shop, "1@lid", MOST_NAMES + 10)
    assert max(len(row["names"]) for row in rows(PEOPLE)) <= MOST_NAMES


# ---- and two again ---------------------------------------------------------------------------------------------


def split(desk: Desk, entry: int) -> UUID:
    with desk.system.transaction() as connection:
        return merging.split(connection, entry, "operator")


def test_a_merge_can_be_undone_and_is_not_done_again(twins, one, rows, whole):
    """C018: both are as before, and what was said since goes to whom it came from."""
    kept = one("SELECT contact_id FROM contact_aliases WHERE jid = :jid", jid=ANA)["contact_id"]
    lost = one("SELECT contact_id FROM contact_aliases WHERE jid = :jid", jid=ANA_LID)["contact_id"]
    before = rows("SELECT id, contact_id, status FROM bookings ORDER BY id")
    twins.tell(TOGETHER, message("depois", jid=ANA_LID, id="L2", at=70, name=None))
    assert split(twins, one("SELECT id FROM audit")["id"]) == lost
    assert rows("SELECT id, name, phone_number, pinned FROM contacts ORDER BY name") == [
        {"id": lost, "name": "Ana do lid", "phone_number": None, "pinned": True},
        {"id": kept, "name": "Ana do telefone", "phone_number": "5511999990001", "pinned": True},
    ]
    messages = rows("SELECT whatsapp_message_id AS id, contact_id FROM messages ORDER BY 1")
    assert {row["id"]: row["contact_id"] for row in messages} == {"L1": lost, "L2": lost, "M1": kept, "T1": kept}
    chats = {row["contact_id"]: row["last_message_at"] for row in rows("SELECT * FROM conversations")}
    assert chats == {kept: AT + timedelta(seconds=60), lost: AT + timedelta(seconds=70)}
    assert rows("SELECT id, contact_id, status FROM bookings ORDER BY id") == before
    whole()
    twins.tell(message("os dois", jid=ANA_LID, alt=ANA, id="T2", at=80, name=None))
    assert len(rows("SELECT FROM contacts")) == 2
    assert one("SELECT contact_id FROM messages WHERE whatsapp_message_id = 'T2'")["contact_id"] == kept
    assert [row["action"] for row in rows("SELECT action FROM audit ORDER BY id")] == [
        "contact.merged",
        "contact.split",
    ]
    whole()


def test_a_split_is_written_down_with_who_did_it(twins, one):
    twins.tell(TOGETHER)
    entry = one("SELECT id, subject FROM audit")
    lost = split(twins, entry["id"])
    undone = one("SELECT * FROM audit WHERE action = 'contact.split'")
    assert (undone["actor"], undone["subject"], undone["scope"]) == ("operator", entry["subject"], "org")
    assert undone["details"] == {"undone": entry["id"], "loser": str(lost)}


def test_only_a_merge_can_be_undone_and_only_once(twins, one, rows):
    twins.tell(TOGETHER)
    merged = one("SELECT id FROM audit")["id"]
    split(twins, merged)
    state = rows("SELECT * FROM contacts ORDER BY id")
    undone = one("SELECT id FROM audit WHERE action = 'contact.split'")["id"]
    for entry in (merged, undone):
        with pytest.raises(Conflict):
            split(twins, entry)
    with pytest.raises(NotFound):
        split(twins, undone + 1)
    assert rows("SELECT * FROM contacts ORDER BY id") == state


def test_a_merge_whose_survivor_is_gone_cannot_be_undone(twins, one):
    twins.tell(TOGETHER)
    first = one("SELECT id FROM audit")["id"]
    twins.tell(message(jid="333@lid", id="Z1"))
    twins.tell(message(jid="333@lid", alt="5511000000000@s.whatsapp.net", id="Z2"))
    twins.tell(message(jid="5511000000000@s.whatsapp.net", alt=ANA_LID, id="Z3"))
    assert one("SELECT count(*) FROM contacts")["count"] == 1
    with pytest.raises(Conflict):
        split(twins, first)


def test_a_merge_is_not_undone_twice_though_the_contact_is_gone_again(twins, one, whole):
    twins.tell(TOGETHER)
    entry = one("SELECT id FROM audit")["id"]
    split(twins, entry)
    twins.tell(message(jid="5511000000000@s.whatsapp.net", id="Z1"))
    twins.tell(message(jid="5511000000000@s.whatsapp.net", alt=ANA_LID, id="Z2"))
    assert one("SELECT count(*) FROM contacts")["count"] == 2
    with pytest.raises(Conflict):
        split(twins, entry)
    whole()


def test_a_split_makes_no_chat_for_who_only_wrote_in_a_group(shop, rows, one):
    shop.tell(
        message(),
        message(jid=GROUP, id="G1", key={"participant": ANA_LID}),
        message(jid=GROUP, id="G2", key={"participant": ANA_LID, "participantAlt": ANA}),
    )
    split(shop, one("SELECT id FROM audit")["id"])
    assert len(rows("SELECT FROM contacts")) == 2
    assert rows("SELECT FROM conversations WHERE last_message_at IS NULL") == []


def test_a_split_leaves_no_empty_chat_with_who_had_none(shop, rows, one):
    shop.tell(contact(ANA, "Ana"), message(jid=ANA_LID, id="L1"))
    shop.tell(contact(ANA, "Ana", lid=ANA_LID))
    split(shop, one("SELECT id FROM audit")["id"])
    assert len(rows("SELECT FROM contacts")) == 2
    assert len(rows("SELECT FROM conversations")) == 1


def test_after_a_split_the_survivor_may_be_called_something_new(shop, one, rows):
    """H018"""
    shop.tell(message(name="Ana"))
    Conversations(shop.system.transaction).keep_contact(
        ("org", None),
        phone=BIA.partition("@")[0],
        name="Cliente VIP",
        at=AT + timedelta(days=1),
    )
    shop.tell(message(alt=BIA, id="M2", at=5))
    assert rows("SELECT name FROM contacts") == [{"name": "Cliente VIP"}]
    split(shop, one("SELECT id FROM audit")["id"])
    shop.tell(message(id="M3", at=9, name="Ana Maria"), message(jid=BIA, id="M4", at=9, name="Bia"))
    assert {row["name"] for row in rows(PEOPLE)} == {"Ana Maria", "Cliente VIP"}


# ---- races -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Slow:
    """An owner that, between what it has read and what it writes, lets somebody else go first; once."""

    owner: ConversationOwner
    read: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def keys(self, incoming: Any) -> Any:
        return self.owner.keys(incoming)

    def load(self, connection: Connection, keys: Any) -> Any:
        state = self.owner.load(connection, keys)
        self.read.set()
        assert self.go.wait(20)
        return state

    def fold(self, state: Any, incoming: Any) -> Any:
        return self.owner.fold(state, incoming)

    def apply(self, connection: Connection, changes: Any) -> Any:
        return self.owner.apply(connection, changes)


MakeSlow = Callable[[], tuple[Worker, Slow]]


@pytest.fixture
def make_slow(system: System) -> Iterator[MakeSlow]:
    """A worker of the product that stops once between reading and writing, and what makes it go on."""
    made: list[Slow] = []

    def make() -> tuple[Worker, Slow]:
        slow = Slow(ConversationOwner(rules=Rules()))
        made.append(slow)
        usual = owners(system.settings)
        by_kind = {
            kind: slow if isinstance(owner, ConversationOwner) else owner for kind, owner in usual.by_kind.items()
        }
        theirs = Owners(resolve=usual.resolve, translate=usual.translate, by_kind=by_kind)
        return Worker(system.transaction, theirs, lambda _: None, name=f"slow:{uuid4().hex[:6]}"), slow

    yield make
    for slow in made:
        slow.go.set()


RACES = {
    "both see a new person": ([], message(), message()),
    "one by lid, one by both names": ([], message(jid=ANA_LID), message(jid=ANA_LID, alt=ANA)),
    "one by both names, one by lid": ([], message(jid=ANA_LID, alt=ANA), message(jid=ANA_LID)),
    "one by phone, one by both names": ([], message(), message(jid=ANA_LID, alt=ANA)),
    "two merge the same": ([message(id="A"), message(jid=ANA_LID, id="B")], TOGETHER, TOGETHER),
    "one merges, who writes as the survivor": (
        [message(id="A"), message(jid=ANA_LID, id="B")],
        message(at=9),
        TOGETHER,
    ),
    "one merges, who writes as the loser": (
        [message(id="A"), message(jid=ANA_LID, id="B")],
        message(jid=ANA_LID, at=9),
        TOGETHER,
    ),
    "one merges, who writes as a loser that has no chat": (
        [message(id="A", shop="second"), contact(ANA_LID, "Ana")],
        message(jid=ANA_LID, at=9),
        TOGETHER,
    ),
}


def ends_as_one(rows, whole, messages: int) -> None:
    whole()
    [person] = rows("SELECT id FROM contacts")
    assert rows("SELECT DISTINCT contact_id FROM messages") == [{"contact_id": person["id"]}]
    assert len(rows("SELECT FROM messages")) == messages
    assert len(rows("SELECT FROM bookings WHERE status = 'pending'")) == 1
    chats = rows("SELECT instance_id FROM conversations")
    assert len({chat["instance_id"] for chat in chats}) == len(chats)


@pytest.mark.parametrize("what", RACES)
def test_who_wrote_with_old_knowledge_tries_again(desk, make_slow, rows, whole, what):
    """P3, P5: one contact and nothing lost, though the other worker has committed in between"""
    before, slow_document, fast_document = RACES[what]
    worker, slow = make_slow()
    desk.open("shop")
    desk.open("second")
    desk.tell(*before)
    desk.record({**slow_document, "instance": "shop"})
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(worker.work)
        assert slow.read.wait(20)
        desk.tell({**fast_document, "instance": "second"})
        slow.go.set()
        assert working.result(30) == 1
    desk.work()
    ends_as_one(rows, whole, len(before) + 2 - sum(document["event"] == "contacts.upsert" for document in before))


@pytest.mark.parametrize("what", RACES)
def test_two_workers_at_the_same_moment_make_one_contact(desk, make_slow, rows, whole, what):
    """P3, P5: both have read before either writes"""
    before, *documents = RACES[what]
    desk.open("shop")
    desk.open("second")
    desk.tell(*before)
    with ThreadPoolExecutor(2) as pool:
        workers, working = [make_slow(), make_slow()], []
        for (worker, slow), document, name in zip(workers, documents, ("shop", "second"), strict=True):
            desk.record({**document, "instance": name})
            working.append(pool.submit(worker.work))
            assert slow.read.wait(20)
        for _, slow in workers:
            slow.go.set()
        assert [done.result(30) for done in working] == [1, 1]
    desk.work()
    ends_as_one(rows, whole, len(before) + 2 - sum(document["event"] == "contacts.upsert" for document in before))


def test_a_split_while_a_worker_has_the_old_knowledge_is_respected(twins, make_slow, one, whole):
    """H019"""
    lost = one("SELECT contact_id FROM contact_aliases WHERE jid = :jid", jid=ANA_LID)["contact_id"]
    twins.tell(TOGETHER)
    worker, slow = make_slow()
    twins.record(message("quem sou eu?", jid=ANA_LID, id="L9", at=99))
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(worker.work)
        assert slow.read.wait(20)
        split(twins, one("SELECT id FROM audit")["id"])
        slow.go.set()
        assert working.result(30) == 1
    twins.work()
    assert one("SELECT contact_id FROM messages WHERE whatsapp_message_id = 'L9'")["contact_id"] == lost
    whole()
