"""Every payload we have, each alone through the worker: what the tables hold of it afterwards, field by field.

What must be there stands in tests/payloads/readings, which people wrote down and tests/unit/test_evolution_samples
holds against the payloads. C005–C012, C017, C018, H020, H027
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.factories import body_of, make_instance
from webhooks.envelope import event_name
from webhooks.inbox import Delivery

PAYLOADS = Path(__file__).parent.parent / "payloads"
RECORDED = (PAYLOADS / "recorded" / "webhooks.jsonl").read_text(encoding="utf-8").splitlines()
READINGS: dict[str, Any] = {
    name: reading
    for page in ("samples", "recorded")
    for name, reading in json.loads((PAYLOADS / "readings" / f"{page}.json").read_text()).items()
}
PHONE = "@s.whatsapp.net"
STATUS = "status@broadcast"
WORDS = {"connected": "connected", "connecting": "connecting"}


def document_of(name: str) -> dict[str, Any]:
    found: dict[str, Any]
    if name.isdigit():
        found = json.loads(RECORDED[int(name) - 1])["body"]
    else:
        found = json.loads((PAYLOADS / "evolution" / f"{name}.json").read_text())
    return found


@pytest.fixture
def stored(request, system, rows):
    """What was read in the payload, after the product has dealt with it, and a way to look at the tables."""
    document = document_of(request.param)
    instance = document.get("instance") or "user_x"
    with system.transaction() as connection:
        make_instance(connection, instance)
    body = body_of({**document, "instance": instance})
    system.inbox.record(Delivery(instance=instance, event=event_name(document["event"]), body=body))
    while system.worker.work():
        pass
    assert rows("SELECT FROM inbox") == []
    return READINGS[request.param]["events"], rows


def of(*kinds: str) -> list[str]:
    return [name for name, reading in READINGS.items() if any(event["is"] in kinds for event in reading["events"])]


def about(*kinds: str):
    def mark(test):
        return pytest.mark.parametrize("stored", of(*kinds), indirect=True)(test)

    return mark


MESSAGES = """
SELECT messages.*, conversations.contact_id AS partner, group_jid,
       (SELECT array_agg(jid ORDER BY jid) FROM contact_aliases WHERE contact_aliases.contact_id = messages.contact_id)
           AS names,
       (SELECT name FROM contacts WHERE contacts.id = messages.contact_id) AS name,
       (SELECT phone_number FROM contacts WHERE contacts.id = messages.contact_id) AS phone
FROM messages LEFT JOIN conversations ON conversations.id = conversation_id ORDER BY arrival, whatsapp_message_id
"""


def moment(value: str) -> datetime:
    return datetime.fromisoformat(value)


def called(name: str | None) -> str:
    """What a contact is called who calls themselves so: digits are no name."""
    return name if name and not name.replace(" ", "").lstrip("+").isdigit() else "Unknown"


@about("MessageReported")
def test_a_message_is_stored_field_by_field(stored):
    events, rows = stored
    expected = {event["message_id"]: event for event in events if event["chat"][0] != STATUS}
    kept = rows(MESSAGES)
    assert [row["whatsapp_message_id"] for row in kept] == sorted(expected)
    for row in kept:
        event = expected[row["whatsapp_message_id"]]
        assert row["kind"] == event["kind"]
        assert row["content"] == event["text"]
        assert row["direction"] == ("outbound" if event["from_me"] else "inbound")
        assert row["status"] == event["status"]
        assert row["details"] == event.get("details")
        assert (row["original"] is not None) == event.get("keeps_original", False)
        assert row["quoted_message_id"] == event.get("quoted_id")
        assert row["from_history"] == event.get("history", False)
        if event["sent_at"]:
            assert row["sent_at"] == moment(event["sent_at"])
        assert (row["edited_at"], row["deleted_at"]) == (None, None)


@about("MessageReported")
def test_a_message_has_its_person_and_its_conversation(stored):
    events, rows = stored
    expected = {event["message_id"]: event for event in events if event["chat"][0] != STATUS}
    for row in rows(MESSAGES):
        event = expected[row["whatsapp_message_id"]]
        in_group = event["chat"][0].endswith("@g.us")
        people = event["author"] if in_group else event["chat"]
        assert row["group_jid"] == (event["chat"][0] if in_group else None)
        assert row["names"] == (sorted(people) or None)
        if people:
            phones = {name.removesuffix(PHONE) for name in people if name.endswith(PHONE)}
            assert row["phone"] in (phones or {None})
            assert row["name"] == called(None if event["from_me"] else event["push_name"])
            assert in_group or row["partner"] == row["contact_id"]


@about("MessageReported")
def test_a_message_sets_off_what_it_should_once(stored):
    """H012, H021, H024, H025: frame, counter and booking; nothing of it for what is only history."""
    events, rows = stored
    news = [event for event in events if event["chat"][0] != STATUS and not event.get("history")]
    frames = [row["data"] for row in rows("SELECT data FROM feed WHERE type = 'message' ORDER BY id")]
    assert [(frame["messageId"], frame["text"], frame["kind"], frame["fromMe"]) for frame in frames] == [
        (event["message_id"], event["text"], event["kind"], event["from_me"]) for event in news
    ]
    received = sum(not event["from_me"] for event in news)
    counters = rows("SELECT messages_received_count AS received, messages_sent_count AS sent FROM whatsapp_instances")
    assert counters == [{"received": received, "sent": len(news) - received}]
    clients = {event["chat"][0] for event in news if not event["from_me"] and not event["chat"][0].endswith("@g.us")}
    bookings = rows("SELECT id::text, status, source FROM bookings")
    assert [(row["status"], row["source"]) for row in bookings] == [("pending", "whatsapp")] * len(clients)
    assert [frame["bookingId"] for frame in frames if "bookingId" in frame] == [row["id"] for row in bookings]


@about("StatusReported", "EditReported", "DeleteReported", "ReactionReported", "VotesReported")
def test_what_speaks_of_a_message_that_is_not_there_waits_for_it(stored):
    events, rows = stored
    speaking = [event["message_id"] for event in events if event["is"] != "MessageReported"]
    waiting = rows("SELECT state, reason, waits_for FROM set_aside")
    assert waiting == [{"state": "waiting", "reason": "waits_for_message", "waits_for": speaking[0]}]
    assert rows("SELECT FROM messages") == []


@about("ContactReported")
def test_a_contact_is_stored_with_its_names(stored):
    events, rows = stored
    kept = rows("SELECT name, (SELECT array_agg(jid ORDER BY jid) FROM contact_aliases WHERE contact_id = contacts.id)"
                " AS names FROM contacts")  # fmt: skip
    by_names = {tuple(row["names"]): row["name"] for row in kept}
    for event in events:
        if event["is"] == "ContactReported" and event["names"] != [event.get("own")]:
            assert by_names[tuple(sorted(event["names"]))] == (event.get("name") or "Unknown")


@about("ChatReported")
def test_a_chat_is_titled_or_hidden(stored):
    events, rows = stored
    groups = {row["group_jid"]: row for row in rows("SELECT * FROM conversations WHERE group_jid IS NOT NULL")}
    people = {row["jid"]: row for row in rows(
        "SELECT jid, contacts.name, conversations.deleted_at FROM contact_aliases"
        " JOIN contacts ON contacts.id = contact_id LEFT JOIN conversations USING (contact_id)")}  # fmt: skip
    for event in (event for event in events if event["is"] == "ChatReported"):
        chat, title, deleted = event["chat"][0], event.get("title"), event.get("deleted", False)
        row = groups.get(chat) or people[chat]
        assert (row["deleted_at"] is not None) == deleted
        if title:
            assert (row["title"] if chat in groups else row["name"]) == title


@about("ConnectionReported")
def test_a_connection_report_is_how_the_instance_stands(stored):
    events, rows = stored
    (event,) = events
    (row,) = rows("SELECT * FROM whatsapp_instances")
    assert row["state"] == event["state"]
    assert row["status"] == WORDS.get(event["state"], "disconnected")
    assert row["is_connected"] == (event["state"] == "connected")
    assert row["phone_number"] == event.get("phone")
    assert row["profile_name"] == event.get("profile_name")
    assert row["reason"] == (None if event.get("reason") in (None, 0, 200) else event["reason"])
    assert row["state_at"] == (moment(event["reported_at"]) if event.get("reported_at") else None)


@about("PairingReported")
def test_a_code_is_on_the_row_until_it_ends(stored):
    events, rows = stored
    (event,) = events
    pairing = event.get("pairing") or {"qr": None, "pairing_code": None}
    (row,) = rows("SELECT qr_code, pairing_code, status FROM whatsapp_instances")
    assert (row["qr_code"], row["pairing_code"]) == (pairing["qr"], pairing["pairing_code"])
    assert row["status"] == ("qr_pending" if event.get("pairing") else "disconnected")


@pytest.mark.parametrize("stored", [name for name, reading in READINGS.items() if not reading["events"]], indirect=True)
def test_what_means_nothing_leaves_nothing_but_the_log(stored):
    _, rows = stored
    for table in ("messages", "conversations", "contacts", "feed", "bookings", "set_aside"):
        assert rows(f"SELECT FROM {table}") == []
    assert len(rows("SELECT FROM webhook_events")) == 1


def test_every_reading_is_looked_at():
    kinds = {event["is"] for reading in READINGS.values() for event in reading["events"]}
    assert kinds == {
        "MessageReported", "StatusReported", "EditReported", "DeleteReported", "ReactionReported", "ContactReported",
        "ChatReported", "ConnectionReported", "PairingReported",
    }  # fmt: skip
