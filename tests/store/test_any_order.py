"""What Zelador knows in the end does not depend on the order in which it heard of it, how often, or in which batches.

P5, F-06, F-07 on the real database: permutations and repetitions of what a gateway recorded and of a hand-made day.
`received_at` is each delivery's own, whenever it is recorded: by itself it is the order of arrival.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from bootstrap.readings import owners
from bootstrap.system import System
from core.db import Base, array
from tests.chats import (
    ANA,
    ANA_LID,
    BIA,
    GROUP,
    OWN,
    Desk,
    Document,
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
from webhooks.worker import Worker

HEARD = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RECORDED = Path(__file__).parent.parent / "payloads" / "recorded" / "webhooks.jsonl"
NEW_PHONE, BIA_LID = "5511777770007@s.whatsapp.net", "222@lid"
POLL = {"pollCreationMessage": {"name": "Qual?", "options": [{"optionName": "A"}, {"optionName": "B"}]}}
CHATTER = ("connection.update", "qrcode.updated", "status.instance", "logout.instance")


def recorded() -> list[Document]:
    """What the instance `shop1` reported: messages of every kind, an edit, a deletion, receipts, its connection."""
    lines = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    told = [line["body"] for line in lines if line["body"].get("instance") == "shop1"]
    unique = {json.dumps(body, sort_keys=True): body for body in told if line_is_of_use(body)}
    return list(unique.values())


def line_is_of_use(body: Document) -> bool:
    """Of the many contacts.update without a name one in a while is enough."""
    if body["event"] == "contacts.update":
        return "pushName" in json.dumps(body["data"])
    return body["event"] not in ("chats.update", "chats.upsert", "presence.update", "instance.create")


def connection(state: str, second: int, **data: Any) -> Document:
    body = about("connection.update", {"instance": "shop", "state": state, "statusReason": 200, **data})
    return {**body, "date_time": f"2026-11-22T03:16:{second:02}.000Z"}


DAY: list[Document] = [
    connection("connecting", 1),
    connection("open", 2, wuid=OWN),
    message("oi", id="A1", at=1, name="Ana"),
    message("é a Ana", jid=ANA_LID, id="A2", at=2, name="Aninha"),
    message("sou eu", jid=ANA_LID, alt=ANA, id="A3", at=3, name=None),
    message("número novo", jid=ANA_LID, alt=NEW_PHONE, id="A4", at=40, name="Ana"),
    sent("pois não", id="O1", at=5),
    message("pois não", id="O1", at=5, from_me=True, status="SERVER_ACK"),
    receipt("DELIVERY_ACK", id="O1"),
    receipt("READ", id="O1"),
    receipt("ERROR", id="O1"),
    edit("oi!", id="A1", at=60),
    edit("oi, tudo bem?", id="A1", at=61),
    delete(id="A2"),
    reaction("👍", to="A1", at=70, from_me=True),
    reaction("❤️", to="O1", at=71, jid=ANA_LID, name=None),
    reaction("", to="O1", at=72, jid=ANA, name=None),
    message(jid=BIA, id="B1", at=6, name="Bia", message=POLL),
    poll_votes({"A": [BIA]}, id="B1"),
    poll_votes({"A": [BIA], "B": [ANA]}, id="B1"),
    message("no grupo", jid=GROUP, id="G1", at=7, name="Bia", key={"participant": BIA_LID}),
    contact(BIA, "Beatriz", lid=BIA_LID),
    about("groups.upsert", [{"id": GROUP, "subject": "Clientes"}]),
    about("groups.upsert", [{"id": GROUP, "subject": "Clientes VIP"}]),
    {**message(), "event": "messages.set", "data": [message("antiga", id="H1", at=-900)["data"], message()["data"]]},
    message(id="M1"),
    about("chats.delete", [ANA]),
    message("nota", jid=OWN, id="N1", at=8, from_me=True),
    connection("close", 9, statusReason=401),
]

NAMES = "(SELECT array_agg(jid ORDER BY jid) FROM contact_aliases WHERE contact_aliases.contact_id = {}) AS names"
PROJECTION = {
    "contacts": f"SELECT {NAMES.format('contacts.id')}, name, named_at, phone_number, scope FROM contacts",
    "aliases": "SELECT jid, first_seen_at FROM contact_aliases",
    "conversations": f"""SELECT {NAMES.format("conversations.contact_id")}, group_jid, title, titled_at,
                                last_message_at, deleted_at FROM conversations""",
    "messages": f"""SELECT whatsapp_message_id, {NAMES.format("messages.contact_id")}, direction, kind, content, status,
                           sent_at, details, original, quoted_message_id, from_history, edited_at, messages.deleted_at,
                           votes, voted_at, jid, group_jid, conversations.id IS NULL AS is_note,
                           conversations.contact_id = messages.contact_id AS at_home
                    FROM messages LEFT JOIN conversations ON conversations.id = conversation_id""",
    "reactions": f"""SELECT whatsapp_message_id, emoji, at, author = 'me' AS ours,
                            {NAMES.format("CAST(nullif(author, 'me') AS uuid)")}
                     FROM reactions JOIN messages ON messages.id = message_id""",
    "bookings": f"SELECT {NAMES.format('bookings.contact_id')} FROM bookings WHERE status = 'pending'",
    "instances": """SELECT instance_name, status, is_connected, phone_number, profile_name, qr_code, pairing_code,
                           state, state_at, reason, reason_at, alive_at, pairing_at, phone_at, messages_sent_count,
                           messages_received_count FROM whatsapp_instances""",
    "left": "SELECT id FROM inbox",
    "aside": "SELECT DISTINCT state, reason, waits_for FROM set_aside",
}


def end_of(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return {
            name: sorted(
                json.dumps(dict(row), default=str, sort_keys=True) for row in connection.execute(text(query)).mappings()
            )
            for name, query in PROJECTION.items()
        }


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


def play(system: System, stream: Sequence[Document], order: Sequence[int], cuts: Sequence[int]) -> dict[str, list[str]]:
    """The end of the stream's deliveries in this order; a number that comes again is the same in other bytes.
    Worked off at the cuts, and at the end."""
    empty(system.engine)
    desk = Desk(system)
    desk.open(stream[0]["instance"], phone=OWN.partition("@")[0])
    heard: list[tuple[int, datetime]] = []
    for place, number in enumerate(order):
        delivery = desk.record(again(stream[number], order[:place].count(number)))
        heard.append((delivery, HEARD + timedelta(seconds=number)))
        if place in cuts:
            _work(desk, heard)
    _work(desk, heard)
    return end_of(system.engine)


def _work(desk: Desk, heard: list[tuple[int, datetime]]) -> None:
    columns = {"ids": array(number for number, _ in heard), "times": array(at for _, at in heard)}
    with desk.system.transaction() as connection:
        connection.execute(
            text("""UPDATE webhook_events SET received_at = heard.at
                    FROM unnest(CAST(:ids AS bigint[]), CAST(:times AS timestamptz[])) AS heard (id, at)
                    WHERE webhook_events.id = heard.id"""),
            columns,
        )
    heard.clear()
    desk.work()


STREAMS = {"recorded": recorded(), "day": DAY}
EXAMPLES = {"recorded": 15, "day": 40}


@pytest.mark.parametrize("name", STREAMS)
def test_the_streams_are_what_this_test_believes(system, name):
    """In their own order: nothing is parked, and there is something of everything."""
    stream = STREAMS[name]
    assert 25 <= len(stream) < 110
    assert sum(one["event"] in CHATTER for one in stream) <= 60, "a storm would rest"
    end = play(system, stream, range(len(stream)), [])
    assert end["left"] == []
    assert all("waits_for_message" in one for one in end["aside"]), "of shop1 some messages were not recorded"
    least = {"contacts": 2, "conversations": 2, "messages": 9, "bookings": 2, "instances": 1}
    assert {table: len(end[table]) >= count for table, count in least.items()} == dict.fromkeys(least, True)
    assert play(system, stream, range(len(stream)), range(len(stream))) == end, "in one batch as in many"
    assert play(system, stream, range(len(stream))[::-1], []) == end, "backwards"
    assert play(system, stream, range(len(stream))[::-1], range(len(stream))) == end, "backwards, one by one"


def test_any_order_repetition_and_batching_of_a_recorded_day_ends_alike(system):
    """P5, F-06, F-07, INV-24"""
    _ends_alike(system, "recorded")


def test_any_order_repetition_and_batching_of_a_made_up_day_ends_alike(system):
    """P3, P5, F-06, F-07, INV-24: two names of one person, edits, receipts, history, both words for what we sent"""
    _ends_alike(system, "day")


def _ends_alike(system: System, name: str) -> None:
    stream = STREAMS[name]
    expected = play(system, stream, range(len(stream)), [])
    numbers = st.integers(0, len(stream) - 1)

    @settings(
        max_examples=EXAMPLES[name],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        copies = data.draw(st.lists(numbers, max_size=6))
        order = data.draw(st.permutations([*range(len(stream)), *copies]))
        cuts = data.draw(st.lists(numbers, max_size=5))
        assert play(system, stream, order, cuts) == expected

    check()


@pytest.mark.parametrize("name", STREAMS)
def test_a_second_reading_of_all_of_it_changes_nothing(system, rows, name):
    """P3: a rebuild sets nothing off, and finds every row as it is."""
    stream = STREAMS[name]
    end = play(system, stream, range(len(stream))[::-1], range(0, len(stream), 3))
    feed, bookings = rows("SELECT * FROM feed ORDER BY user_id, id"), rows("SELECT * FROM bookings ORDER BY id")
    with system.transaction() as connection:
        connection.execute(text("DELETE FROM set_aside"))
        connection.execute(text("INSERT INTO inbox (id, lane) SELECT id, instance FROM webhook_events"))
    worker = Worker(system.transaction, owners(system.settings, anew=True), lambda _: None, name="anew")
    with system.transaction() as connection:
        connection.execute(text("UPDATE lanes SET lease_until = '-infinity'"))
    while worker.work():
        pass
    assert end_of(system.engine) == end
    kept = rows("SELECT * FROM feed WHERE type NOT IN ('status', 'connected', 'disconnected') ORDER BY user_id, id")
    assert kept == [row for row in feed if row["type"] not in ("status", "connected", "disconnected")]
    assert rows("SELECT * FROM bookings ORDER BY id") == bookings


# ---- any day at all --------------------------------------------------------------------------------------------

SOMEBODY = st.sampled_from([ANA, BIA, NEW_PHONE, ANA_LID, BIA_LID, "333@lid"])


@st.composite
def days(draw: st.DrawFn) -> list[Document]:
    """A few deliveries about six names, linked at random, in chats and in a group."""
    count = draw(st.integers(2, 8))
    return [_said(draw, number, draw(st.integers(0, count - 1))) for number in range(count)]


def _said(draw: st.DrawFn, number: int, about_number: int) -> Document:
    jid, other, name = draw(SOMEBODY), draw(st.none() | SOMEBODY), draw(st.sampled_from([None, "Ana", "Bia"]))
    facts: dict[str, Any] = {"id": f"M{number}", "at": draw(st.integers(0, 4)), "name": name}
    match draw(st.sampled_from(["chat", "chat", "ours", "group", "contact", "reaction"])):
        case "contact":
            return contact(jid, name, **({"lid": other} if other else {}), number=number)
        case "reaction":
            return reaction(
                draw(st.sampled_from(["👍", ""])), to=f"M{about_number}", at=10 + number, jid=jid, name=name
            )
        case "group":
            writer = {"participant": jid, **({"participantAlt": other} if other else {})}
            return message(jid=GROUP, key=writer, **facts)
        case where:
            return message(jid=jid, alt=other, from_me=where == "ours", **facts)


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def _any_day_ends_alike(system: System, data: st.DataObject) -> None:
    stream = data.draw(days())
    numbers = st.integers(0, len(stream) - 1)
    order = data.draw(st.permutations([*range(len(stream)), *data.draw(st.lists(numbers, max_size=2))]))
    cuts = data.draw(st.lists(numbers))
    assert play(system, stream, order, cuts) == play(system, stream, range(len(stream)), range(len(stream)))


def test_whoever_is_linked_with_whom_any_order_ends_alike(system):
    """P3, P5"""
    _any_day_ends_alike(system)
