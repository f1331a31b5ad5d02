"""Joining two reports of one thing: the order does not matter, nor the grouping, nor how often one came (P5)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations import lattice
from conversations.changes import ContactSeen, ConversationSeen, Mark, MessageSeen, ReactionSeen
from conversations.lattice import STATUSES, UNSUPPORTED, further
from conversations.messages import RANKS
from conversations.tables import Message
from manager.lifecycle import InstanceRecord, Standing, Status
from manager.providers.port import MessageReported

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ID = UUID(int=7)
INSTANCE = InstanceRecord(
    id=ID,
    name="user_x",
    user_id=ID,
    organization_id=None,
    status=Status.CONNECTED,
    standing=Standing(),
    updated_at=None,
)
times = st.integers(0, 3).map(lambda second: START + timedelta(seconds=second))
statuses = st.sampled_from(STATUSES)
texts = st.sampled_from(["oi", "it's", 'diz "oi"', "", "tchau\n", "ação"])
deliveries = st.frozensets(st.integers(1, 5), max_size=3)


def reported(kind, sent_at, delivery_id, text):
    return MessageReported(
        delivery_id=delivery_id,
        instance="user_x",
        reported_at=None,
        received_at=START,
        message_id="ABC",
        chat=("5511999990001@s.whatsapp.net",),
        author=("5511999990001@s.whatsapp.net",),
        from_me=False,
        kind=kind,
        text=text,
        status="delivered",
        push_name=None,
        sent_at=sent_at,
    )


def message(kind, sent_at, delivery_id, status, history, books):
    """A delivery says the same thing whenever it is read."""
    return MessageSeen(
        id=ID,
        instance=INSTANCE,
        conversation_id=ID,
        contact_id=ID,
        jid="5511999990001@s.whatsapp.net",
        direction="inbound",
        sender="5511999990001",
        sent_at=sent_at,
        status=status,
        history=history,
        books=books,
        report=reported(kind, sent_at, delivery_id, f"text {delivery_id}"),
    )


@st.composite
def reports_of_one_message(draw):
    """Three deliveries: different, or the same one again."""
    made = [
        message(
            draw(st.sampled_from(["text", UNSUPPORTED])),
            draw(times),
            number,
            draw(statuses),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for number in (1, 2, 3)
    ]
    return tuple(draw(st.sampled_from(made)) for _ in made)


votes = st.dictionaries(st.sampled_from("AB"), st.lists(st.sampled_from(["1@lid", "2@lid"]), max_size=2), max_size=2)
marks = st.builds(
    Mark,
    id=st.just(ID),
    instance=st.just(INSTANCE),
    message_id=st.just("ABC"),
    status=st.none() | statuses,
    edit=st.none() | st.tuples(times, texts),
    deleted_at=st.none() | times,
    votes=st.none() | st.tuples(times, votes),
    deliveries=deliveries,
)
reactions = st.builds(
    ReactionSeen,
    message=st.just(ID),
    author=st.just("me"),
    at=times,
    emoji=st.sampled_from(["", "👍", "❤️", "😂"]),
    instance=st.just(INSTANCE),
    message_id=st.just("ABC"),
    deliveries=deliveries,
)


def _named(named):
    name, named_at = named or (None, None)
    return ContactSeen(
        id=ID, scope="org", organization_id="org", user_id=None, phone="5511", name=name, named_at=named_at
    )


def _chat(last, titled, deleted):
    title, titled_at = titled or (None, None)
    return ConversationSeen(
        id=ID,
        instance_id=ID,
        contact_id=None,
        group_jid="1@g.us",
        last_message_at=last,
        title=title,
        titled_at=titled_at,
        deleted_at=deleted,
    )


words = st.tuples(st.sampled_from(["Ana", "Bia", "ana"]), times)
contacts = st.builds(_named, st.none() | words)
conversations = st.builds(_chat, st.none() | times, st.none() | words, st.none() | times)

Join = Callable[[Any, Any], Any]
JOINS: dict[str, tuple[Join, st.SearchStrategy[tuple[Any, ...]]]] = {
    "message": (lattice.message, reports_of_one_message()),
    "mark": (lattice.mark, st.tuples(marks, marks, marks)),
    "reaction": (lattice.reaction, st.tuples(reactions, reactions, reactions)),
    "contact": (lattice.contact, st.tuples(contacts, contacts, contacts)),
    "conversation": (lattice.conversation, st.tuples(conversations, conversations, conversations)),
}
few = settings(max_examples=50, deadline=None)
each_join = pytest.mark.parametrize("name", JOINS)


@each_join
@few
@given(data=st.data())
def test_a_join_is_commutative(name, data):
    """P5"""
    join, three = JOINS[name]
    one, other, _ = data.draw(three)
    assert join(one, other) == join(other, one)


@each_join
@few
@given(data=st.data())
def test_a_join_is_idempotent(name, data):
    """P3"""
    join, three = JOINS[name]
    one, other, _ = data.draw(three)
    assert join(one, one) == one
    assert join(join(one, other), other) == join(one, other)


@each_join
@few
@given(data=st.data())
def test_a_join_is_associative(name, data):
    """P5"""
    join, three = JOINS[name]
    one, other, third = data.draw(three)
    assert join(join(one, other), third) == join(one, join(other, third))


def test_of_three_reports_of_a_message_the_same_one_is_kept_however_they_are_grouped():
    """P5"""
    odd, late, soon = (
        message(kind, START + timedelta(seconds=second), number, "sent", False, False)
        for number, (kind, second) in enumerate([(UNSUPPORTED, 0), ("text", 2), ("text", 1)])
    )
    join = lattice.message
    assert join(join(odd, late), soon).report == join(odd, join(late, soon)).report == soon.report


def test_how_far_a_message_got_is_in_one_order_everywhere():
    assert STATUSES == ("pending", "sent", "error", "delivered", "read", "played")
    assert RANKS == '{"pending","sent","error","delivered","read","played"}'
    [check] = [str(rule.sqltext) for rule in Message.__table__.constraints if "status" in str(rule.name)]  # type: ignore[attr-defined]  # of all constraints only checks have a text
    assert sorted(word.strip("' ") for word in check.partition("(")[2].rstrip(")").split(",")) == sorted(STATUSES)


@given(st.none() | statuses, st.none() | statuses)
def test_a_status_only_climbs(one, other):
    order = [None, *STATUSES]
    assert further(one, other) == order[max(order.index(one), order.index(other))]


def test_what_we_understand_comes_before_what_we_do_not():
    later = START + timedelta(seconds=9)
    odd, plain = message(UNSUPPORTED, START, 1, "sent", True, False), message("text", later, 2, "read", False, True)
    joined = lattice.message(odd, plain)
    assert (joined.report, joined.sent_at, joined.status) == (plain.report, START, "read")
    assert (joined.history, joined.books) == (False, True)


def test_a_message_is_news_unless_all_its_reports_are_history():
    old, new = message("text", START, 1, "sent", True, False), message("text", START, 2, "sent", False, False)
    assert lattice.message(old, old).history is True
    assert lattice.message(old, new).history is False


def test_the_newest_words_count_and_the_first_deletion():
    soon, late = START, START + timedelta(seconds=1)
    one = Mark(id=ID, instance=INSTANCE, message_id="A", edit=(late, "b"), deleted_at=late, deliveries=frozenset({1}))
    other = Mark(id=ID, instance=INSTANCE, message_id="A", edit=(soon, "a"), deleted_at=soon, deliveries=frozenset({2}))
    joined = lattice.mark(one, other)
    assert (joined.edit, joined.deleted_at, joined.deliveries) == ((late, "b"), soon, frozenset({1, 2}))


def test_nobody_loses_a_name_to_silence():
    named = _named(("Ana", START))
    assert lattice.contact(named, _named(None)) == lattice.contact(_named(None), named) == named


def test_a_reaction_that_was_taken_back_last_is_gone():
    def reaction(emoji, second):
        return ReactionSeen(
            message=ID,
            author="me",
            at=START + timedelta(seconds=second),
            emoji=emoji,
            instance=INSTANCE,
            message_id="ABC",
        )

    assert lattice.reaction(reaction("", 2), reaction("👍", 1)).emoji == ""
    assert lattice.reaction(reaction("", 2), reaction("👍", 3)).emoji == "👍"
