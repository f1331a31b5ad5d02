"""Every payload we have, against what a person read in it: tests/payloads/readings, times in UTC.

The readings are themselves held against the payloads, by other means than the product's.
"""

import base64
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from manager.providers.evolution.events import READERS, read_event
from manager.providers.port import MessageReported, Pairing
from webhooks.envelope import event_name

PAYLOADS = Path(__file__).parent.parent / "payloads"
HEARD = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
Document = dict[str, Any]


def documents() -> dict[str, Document]:
    """Samples by their names, recorded deliveries by their line."""
    recorded = (PAYLOADS / "recorded" / "webhooks.jsonl").read_text(encoding="utf-8").splitlines()
    found = {path.stem: json.loads(path.read_text()) for path in (PAYLOADS / "evolution").glob("*.json")}
    return found | {str(line): json.loads(text)["body"] for line, text in enumerate(recorded, 1)}


ALL = documents()
READINGS: dict[str, Any] = {
    name: reading
    for page in ("samples", "recorded")
    for name, reading in json.loads((PAYLOADS / "readings" / f"{page}.json").read_text()).items()
}
MESSAGES = [
    (name, event)
    for name, reading in READINGS.items()
    for event in reading["events"]
    if event["is"] == "MessageReported" and event["kind"] != "call"
]


def facts_of(document: Document) -> dict[str, Any]:
    return {"delivery_id": 7, "instance": document.get("instance", "user_x"), "received_at": HEARD}


def plain(value: object) -> object:
    """As the readings write it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Pairing):
        return {"qr": value.qr, "pairing_code": value.pairing_code}
    return list(value) if isinstance(value, tuple) else value


def message_in(name: str) -> Document:
    data = ALL[name]["data"]
    found: Document = data[0] if isinstance(data, list) else data
    return found


@pytest.mark.parametrize("name", READINGS)
def test_a_payload_is_read_as_a_person_reads_it(name):
    found = read_event(event_name(ALL[name]["event"]), ALL[name], facts_of(ALL[name]))
    expected = READINGS[name]
    assert list(found.issues) == expected.get("issues", [])
    assert [type(event).__name__ for event in found.events] == [event["is"] for event in expected["events"]]
    for event, wanted in zip(found.events, expected["events"], strict=True):
        rest = {"is", "keeps_original"}
        said = {field.name: plain(getattr(event, field.name)) for field in fields(event) if field.name != "original"}
        unsaid = dict.fromkeys(said, None) | {key: False for key in ("history", "deleted", "ended") if key in said}
        beforehand = {"delivery_id": 7, "instance": facts_of(ALL[name])["instance"], "received_at": HEARD.isoformat()}
        assert said == unsaid | beforehand | {key: value for key, value in wanted.items() if key not in rest}


def test_every_sample_has_a_reading_and_every_recorded_event_too():
    assert set(READINGS) >= {name for name in ALL if not name.isdigit()}
    read = {ALL[name]["event"] for name in READINGS if name.isdigit()}
    assert read == {document["event"] for name, document in ALL.items() if name.isdigit()}


def test_every_recorded_delivery_is_understood():
    for name, document in ALL.items():
        found = read_event(event_name(document["event"]), document, facts_of(document))
        assert found.issues == () or not name.isdigit()


# ---- the readings against the payloads, without the product ----------------------------------------------------

KIND_OF = {
    "conversation": "text", "extendedTextMessage": "text", "ephemeralMessage": "text", "imageMessage": "image",
    "videoMessage": "video", "ptvMessage": "video_note", "audioMessage": "voice", "documentMessage": "document",
    "stickerMessage": "sticker", "locationMessage": "location", "liveLocationMessage": "live_location",
    "contactMessage": "contact", "contactsArrayMessage": "contacts", "pollCreationMessageV3": "poll",
    "buttonsResponseMessage": "buttons_reply", "listResponseMessage": "list_reply",
    "templateButtonReplyMessage": "template_reply", "viewOnceMessage": "interactive",
}  # fmt: skip
STATUS_OF = {"PENDING": "pending", "SERVER_ACK": "sent", "DELIVERY_ACK": "delivered"}
DETAIL_OF = {"mimetype": "mimeType", "fileName": "fileName", "seconds": "seconds", "width": "width", "height": "height",
             "degreesLatitude": "latitude", "degreesLongitude": "longitude", "address": "address"}  # fmt: skip


@pytest.mark.parametrize(("name", "reading"), MESSAGES, ids=[name for name, _ in MESSAGES])
def test_a_reading_says_of_a_message_what_the_payload_says(name, reading):
    data, key = message_in(name), message_in(name)["key"]
    assert reading["message_id"] == key["id"]
    assert reading["from_me"] is key["fromMe"]
    assert reading["kind"] == KIND_OF[data["messageType"]]
    assert reading["sent_at"] == datetime.fromtimestamp(data["messageTimestamp"], UTC).isoformat()
    assert reading["push_name"] == (data.get("pushName") or None)
    assert reading["status"] == STATUS_OF.get(data.get("status", ""), "pending" if key["fromMe"] else "delivered")
    people = {key.get(field) for field in ("remoteJid", "remoteJidAlt", "senderPn", "senderLid")} - {None}
    assert {jid.split("@")[0] for jid in reading["chat"]} == {jid.split("@")[0] for jid in people}
    in_group = reading["chat"][0].endswith(("@g.us", "@broadcast"))
    writers = {key.get("participant"), key.get("participantAlt")} - {None} if in_group else set(reading["chat"])
    assert set(reading["author"]) == (set() if key["fromMe"] else writers)


@pytest.mark.parametrize(("name", "reading"), MESSAGES, ids=[name for name, _ in MESSAGES])
def test_a_readings_details_stand_in_the_payload(name, reading):
    data = message_in(name)
    body = data["message"].get(data["messageType"], {})
    body = body if isinstance(body, dict) else {}
    details = reading.get("details", {})
    for field, detail in DETAIL_OF.items():
        assert details.get(detail) == body.get(field)
    size = body.get("fileLength")
    assert details.get("sizeBytes") == (size["low"] if isinstance(size, dict) else int(size) if size else None)
    assert reading["text"] == body.get("caption", reading["text"])
    assert reading.get("quoted_id") == ((data.get("contextInfo") or {}).get("stanzaId"))


def kept(value: Document) -> object:
    """An object without pictures, and what is numbered like an array as its bytes."""
    value = {name: one for name, one in value.items() if name not in ("base64", "jpegThumbnail")}
    if value and all(name.isdigit() for name in value):
        return base64.b64encode(bytes(value.values())).decode()
    return value


@pytest.mark.parametrize(("name", "reading"), MESSAGES, ids=[name for name, _ in MESSAGES])
def test_the_original_is_kept_without_pictures_where_there_is_more_than_a_text(name, reading):
    (found, *_) = read_event(event_name(ALL[name]["event"]), ALL[name], facts_of(ALL[name])).events
    assert isinstance(found, MessageReported)
    raw = json.loads(json.dumps(message_in(name)["message"]), object_hook=kept)
    assert found.original == (raw if reading.get("keeps_original") else None)
    assert reading.get("keeps_original", False) is (
        "conversation" not in raw and raw != {"extendedTextMessage": {"text": reading["text"]}}
    )


def test_the_samples_and_recordings_show_most_events():
    unseen = {"contacts.set", "group.update", "application.startup", "presence.update", "new.jwt.token",
              "chama.ai.action"}  # fmt: skip
    seen = {event_name(document["event"]) for document in ALL.values()}
    assert seen >= READERS.keys() - unseen
