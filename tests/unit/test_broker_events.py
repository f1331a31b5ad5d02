"""The broker's webhooks: what each means, of builds of 2025 and of 2026, and that its reports of a message agree."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.lattice import merit
from core.errors import Malformed
from manager.providers.broker.events import READERS, read_event
from manager.providers.evolution.events import READERS as EVOLUTIONS
from manager.providers.port import (
    DeleteReported,
    EditReported,
    MessageReported,
    ReactionReported,
    Reading,
    StatusReported,
)
from tests.unit.test_chat_fold import SHOP, folded, only
from webhooks.envelope import event_name

HEARD = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FACTS = {"delivery_id": 7, "instance": "user_x", "received_at": HEARD}
SECONDS = 1795317373
AT = "2026-11-22T03:16:13.000Z"
SENT_AT = datetime(2026, 11, 22, 3, 16, 13, tzinfo=UTC)
ANA, LID, GROUP = "5511999990001@s.whatsapp.net", "77000@lid", "120363000000000011@g.us"
SPELLINGS = (
    "MESSAGE_INBOUND",
    "MESSAGE_OUTBOUND",
    "POLL_CHOICE",
    "WHATSAPP_MESSAGES_UPSERT",
    "WHATSAPP_MESSAGES_UPDATE",
)


def read(spelling: str, payload: object, **more: object) -> Any:
    document = {"event": spelling, "instanceId": "user_x", "timestamp": SECONDS, "payload": payload, **more}
    return read_event(event_name(spelling), document, dict(FACTS))


def one(spelling: str, payload: object) -> Any:
    reading = read(spelling, payload)
    (report,) = reading.events
    assert reading.issues == ()
    return report


def refusal(spelling: str, payload: object) -> str:
    with pytest.raises(Malformed) as refused:
        read(spelling, payload)
    return refused.value.code


def raw(message: object, **more: Any) -> dict[str, Any]:
    """As Baileys has it."""
    key = {"remoteJid": ANA, "fromMe": False, "id": "A1"} | more.pop("key", {})
    return {"key": key, "messageTimestamp": SECONDS, "pushName": "Ana", "message": message, **more}


def upsert(*messages: object) -> dict[str, Any]:
    event = {"type": "notify", "messages": list(messages)}
    return {"iid": "user_x", "raw": event, "normalized": event, "messages": list(messages)}


def structured(message: dict[str, Any], contact: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """As the broker has it."""
    usual = {"owner": "user", "remoteJid": ANA, "participant": None, "phone": "+5511999990001", "displayName": "Ana",
             "isGroup": False}  # fmt: skip
    broker = {"type": "baileys", "direction": "inbound"}
    return {
        "contact": usual | (contact or {}),
        "message": {"id": "A1", "chatId": ANA, **message},
        "metadata": {"timestamp": AT, "broker": broker, "source": "baileys-acessus", **metadata},
    }


# ---- names -----------------------------------------------------------------------------------------------------


def test_every_event_is_read_and_none_is_evolutions():
    assert {event_name(spelling) for spelling in SPELLINGS} == set(READERS)
    assert not set(READERS) & set(EVOLUTIONS)


def test_an_event_that_nobody_knows_is_malformed():
    assert refusal("MESSAGE_SIDEWAYS", {}) == "UNKNOWN_EVENT"
    assert refusal("messages.upsert", {}) == "UNKNOWN_EVENT"


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("payload", "code"),
    [(None, "NO_DATA"), ("text", "BAD_DATA"), ([], "BAD_DATA"), ({}, "UNKNOWN_SHAPE"), ({"raw": 7}, "UNKNOWN_SHAPE")],
)
def test_a_payload_of_no_known_shape_is_malformed(spelling, payload, code):
    assert refusal(spelling, payload) == code


# ---- one message, told twice -----------------------------------------------------------------------------------

TWICE = {
    "text 2026": (raw({"conversation": "Oi"}), structured({"type": "text", "text": "Oi"})),
    "text 2025": (raw({"conversation": "Oi"}), structured({"type": "conversation", "conversation": "Oi"})),
    "a long text": (
        raw({"extendedTextMessage": {"text": "veja https://a.b"}}),
        structured({"type": "extendedTextMessage", "text": "veja https://a.b"}),
    ),
    "a picture 2026": (
        raw({"imageMessage": {"caption": "Eu", "mimetype": "image/jpeg", "fileLength": "123", "url": "https://x"}}),
        structured({"type": "media", "text": "Eu", "media": {"mediaType": "image", "mimetype": "image/jpeg"}}),
    ),
    "a picture 2025": (raw({"imageMessage": {"caption": "Eu"}}), structured({"type": "imageMessage", "text": "Eu"})),
    "a picture without words": (
        raw({"imageMessage": {"mimetype": "image/jpeg"}}),
        structured({"type": "media", "text": None, "media": {"mediaType": "image", "mimetype": "image/jpeg"}}),
    ),
    "a voice message": (
        raw({"audioMessage": {"ptt": True, "mimetype": "audio/ogg"}}),
        structured({"type": "media", "media": {"mediaType": "audio", "ptt": True, "mimetype": "audio/ogg"}}),
    ),
    "a document": (
        raw({"documentMessage": {"fileName": "a.pdf", "mimetype": "application/pdf", "fileLength": 9}}),
        structured({"type": "media", "media": {"mediaType": "document", "fileName": "a.pdf", "size": 9}}),
    ),
    "a sticker": (raw({"stickerMessage": {"isAnimated": True}}), structured({"type": "stickerMessage"})),
    "an answer to a list": (
        raw({"listResponseMessage": {"title": "Sim", "singleSelectReply": {"selectedRowId": "1"}}}),
        structured({"type": "listResponseMessage", "text": "Sim"}),
    ),
    "a person without a number": (
        raw({"conversation": "Oi"}, key={"remoteJid": LID}),
        structured(
            {"chatId": LID, "type": "text", "text": "Oi"}, {"remoteJid": LID, "phone": None, "displayName": "Ana"}
        ),
    ),
    "a person by both names": (
        raw({"conversation": "Oi"}, key={"remoteJid": LID, "remoteJidAlt": ANA}),
        structured({"chatId": LID, "type": "text", "text": "Oi"}),
    ),
    "in a group": (
        raw({"conversation": "Oi"}, key={"remoteJid": GROUP, "participant": ANA}),
        structured(
            {"chatId": GROUP, "type": "text", "text": "Oi"}, {"remoteJid": GROUP, "participant": ANA, "isGroup": True}
        ),
    ),
    "nobody's name": (
        raw({"conversation": "Oi"}, pushName=None),
        structured({"type": "text", "text": "Oi"}, {"displayName": "+5511999990001"}),
    ),
}
MAY_DIFFER = {"details", "original", "quoted_id"}  # the upsert brings more of them


@pytest.mark.parametrize(("baileys", "brokers"), TWICE.values(), ids=TWICE)
def test_both_reports_of_a_message_agree(baileys, brokers):
    whole, short = one("WHATSAPP_MESSAGES_UPSERT", upsert(baileys)), one("MESSAGE_INBOUND", brokers)
    alike = [field.name for field in fields(MessageReported) if field.name not in MAY_DIFFER]
    assert {name: getattr(short, name) for name in alike} == {name: getattr(whole, name) for name in alike}
    assert short.original is None
    assert whole.sent_at == SENT_AT


@pytest.mark.parametrize(("baileys", "brokers"), TWICE.values(), ids=TWICE)
def test_the_report_that_says_more_is_never_the_brokers_own(baileys, brokers):
    whole, short = one("WHATSAPP_MESSAGES_UPSERT", upsert(baileys)), one("MESSAGE_INBOUND", brokers)
    assert weight(whole) >= weight(short)


@pytest.mark.parametrize(("baileys", "brokers"), TWICE.values(), ids=TWICE)
def test_both_reports_are_one_message_of_one_person_whichever_comes_first(baileys, brokers):
    both = one("WHATSAPP_MESSAGES_UPSERT", upsert(baileys)), one("MESSAGE_INBOUND", brokers)
    whole, short = (replace(report, instance=SHOP.name) for report in both)
    for changes in (folded(whole, short), folded(short, whole)):
        kept = only(changes.messages)
        assert (kept.report.original, kept.report.details) == (whole.original, whole.details)
        assert len(changes.contacts) == len(changes.conversations) == 1


def weight(report: MessageReported) -> Any:
    """How the conversations weigh two copies of a message."""
    seen: Any = type("Seen", (), {"report": report})
    return merit(seen)


def test_digits_of_a_lid_are_no_phone():
    """Builds of 2025 take them for one."""
    report = one(
        "MESSAGE_INBOUND",
        structured(
            {"chatId": LID, "type": "conversation", "conversation": "Oi"}, {"remoteJid": LID, "phone": "+77000"}
        ),
    )
    assert report.chat == (LID,)


def test_a_jid_in_place_of_a_name_is_none():
    contact = {"remoteJid": LID, "phone": None, "displayName": LID}
    assert one("MESSAGE_INBOUND", structured({"chatId": LID, "text": "Oi"}, contact)).push_name is None


# ---- messages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contact", [{"owner": "device"}, {}])
def test_what_the_broker_sent_is_ours(contact):
    report = one("MESSAGE_OUTBOUND", structured({"type": "text", "text": "Olá"}, contact))
    assert (report.from_me, report.author, report.chat) == (True, (), (ANA,))
    assert (report.kind, report.text, report.status, report.sent_at) == ("text", "Olá", "pending", SENT_AT)


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ({"type": "buttons", "text": "Qual?", "interactive": {"type": "buttons"}}, "text", "Qual?"),
        ({"type": "templateMessage", "conversation": "Qual?"}, "text", "Qual?"),
        ({"type": "poll", "text": "Qual?"}, "poll", "Enquete: Qual?"),
        ({"type": "videoMessage", "media": {"type": "video", "caption": "Veja"}}, "video", "Veja"),
        ({"type": "media", "media": {"mediaType": "video", "caption": "Veja"}}, "video", "Veja"),
        ({"type": "locationMessage"}, "location", "Localização"),
        ({"type": "media", "media": {"mediaType": "audio"}, "text": "Ouça"}, "text", "Ouça"),
    ],
)
def test_every_content_has_its_words(message, kind, words):
    report = one("MESSAGE_OUTBOUND", structured(message))
    assert (report.kind, report.text) == (kind, words)


def test_a_content_without_words_that_nobody_knows_is_kept_as_unsupported():
    reading = read("MESSAGE_INBOUND", structured({"type": "holographMessage", "text": None}))
    assert ([report.kind for report in reading.events], reading.issues) == (["unsupported"], ("unknown_message",))


def test_a_message_without_content_says_nothing():
    assert read("MESSAGE_INBOUND", structured({"type": None, "text": None})) == Reading()


def test_a_message_without_an_id_or_a_chat_is_odd():
    assert read("MESSAGE_INBOUND", structured({"id": None, "text": "Oi"})) == Reading(issues=("no_message_id",))
    nowhere = structured({"chatId": None, "text": "Oi"}, {"remoteJid": None, "phone": None})
    assert read("MESSAGE_INBOUND", nowhere) == Reading(issues=("no_chat",))


def test_an_upsert_brings_our_own_messages_reactions_and_deletions_too():
    """The broker tells them in no other event."""
    protocol = {"protocolMessage": {"key": {"id": "A0"}, "type": "REVOKE"}}
    reaction = {"reactionMessage": {"key": {"id": "A0"}, "text": "👍", "senderTimestampMs": "1795317373000"}}
    messages = [raw({"conversation": "Eu"}, key={"fromMe": True}), raw(protocol), raw(reaction), raw(None)]
    reading = read("WHATSAPP_MESSAGES_UPSERT", upsert(*messages))
    assert [type(report) for report in reading.events] == [MessageReported, DeleteReported, ReactionReported]
    assert reading.events[0].from_me


def test_an_upsert_without_the_raw_event_is_read_too():
    assert one("WHATSAPP_MESSAGES_UPSERT", {"messages": [raw({"conversation": "Oi"})]}).text == "Oi"
    assert read("WHATSAPP_MESSAGES_UPSERT", {"messages": []}) == Reading()


def test_a_bad_message_keeps_no_other_from_being_read():
    reading = read("WHATSAPP_MESSAGES_UPSERT", upsert(7, raw({"conversation": "Oi"})))
    assert ([report.text for report in reading.events], reading.issues) == (["Oi"], ("bad_item",))


# ---- receipts --------------------------------------------------------------------------------------------------


def update(**fields: Any) -> dict[str, Any]:
    key = {"remoteJid": ANA, "fromMe": True, "id": "A1"}
    return {"iid": "user_x", "raw": {"updates": [{"key": key, "update": fields}]}}


@pytest.mark.parametrize(
    ("number", "status"),
    [(0, "error"), (1, "pending"), (2, "sent"), (3, "delivered"), (4, "read"), (5, "played"), ("READ", "read")],
)
def test_a_receipt_says_how_far_a_message_got(number, status):
    report = one("WHATSAPP_MESSAGES_UPDATE", update(status=number))
    assert isinstance(report, StatusReported)
    assert (report.message_id, report.status) == ("A1", status)


def test_an_update_may_be_an_edit():
    edited = {"editedMessage": {"message": {"conversation": "Olá"}}}
    report = one("WHATSAPP_MESSAGES_UPDATE", update(message=edited, messageTimestamp=SECONDS))
    assert isinstance(report, EditReported)
    assert (report.message_id, report.text, report.edited_at) == ("A1", "Olá", SENT_AT)


def test_an_update_of_anything_else_says_nothing():
    encrypted = [{"pollUpdateMessageKey": {"id": "V1"}, "vote": {"selectedOptions": ["aGFzaA=="]}}]
    assert read("WHATSAPP_MESSAGES_UPDATE", update(pollUpdates=encrypted)) == Reading()
    assert read("WHATSAPP_MESSAGES_UPDATE", {"raw": {"updates": []}}) == Reading()


def test_a_receipt_of_an_unknown_kind_is_odd():
    assert read("WHATSAPP_MESSAGES_UPDATE", update(status=9)) == Reading(issues=("unknown_status",))


# ---- votes -----------------------------------------------------------------------------------------------------


def choice(**more: Any) -> dict[str, Any]:
    contact = {"owner": "user", "remoteJid": ANA, "participant": None, "phone": "+5511999990001", "displayName": "Ana"}
    options = [{"id": "Sim", "text": "Sim"}, {"id": "Talvez", "text": None}]
    return {"pollId": "P1", "question": "Vem?", "chatId": ANA, "messageId": "V1", "timestamp": AT, "voterJid": ANA,
            "selectedOptions": options, "contact": contact, "aggregates": {"totalVotes": 2}, **more}  # fmt: skip


def test_a_choice_is_the_vote_that_carried_it():
    report = one("POLL_CHOICE", choice())
    assert (report.message_id, report.kind, report.text) == ("V1", "poll_vote", "Voto na enquete: Sim, Talvez")
    assert report.details == {"pollId": "P1", "selected": ["Sim", "Talvez"]}
    assert (report.chat, report.author, report.sent_at) == ((ANA,), (ANA,), SENT_AT)


def test_the_vote_that_was_read_counts_more_than_the_encrypted_one():
    encrypted = {"pollUpdateMessage": {"pollCreationMessageKey": {"id": "P1"}, "vote": {"encIv": "a"}}}
    baileys = one("WHATSAPP_MESSAGES_UPSERT", upsert(raw(encrypted, key={"id": "V1"})))
    with_choice = structured(
        {"id": "V1", "type": "poll"}, pollChoice={"pollId": "P1", "selectedOptions": [{"id": "A"}]}
    )
    for read_by_broker in (one("POLL_CHOICE", choice()), one("MESSAGE_INBOUND", with_choice)):
        assert (read_by_broker.message_id, read_by_broker.chat) == (baileys.message_id, baileys.chat)
        assert weight(read_by_broker) > weight(baileys)


def test_a_choice_in_a_group_is_the_voters():
    report = one("POLL_CHOICE", choice(chatId=GROUP, contact={"remoteJid": GROUP, "isGroup": True}))
    assert (report.chat, report.author) == ((GROUP,), (ANA,))


def test_a_choice_that_names_the_poll_alone_does_not_take_its_place():
    assert read("POLL_CHOICE", choice(messageId="P1")) == Reading()


# ---- the envelope ----------------------------------------------------------------------------------------------

HEARD_SECONDS = int(HEARD.timestamp())
OI = structured({"type": "text", "text": "Oi"})


@pytest.mark.parametrize(
    ("timestamp", "reported_at", "issues"),
    [
        (SECONDS, SENT_AT, ()),
        (AT, SENT_AT, ()),
        ("2026-11-22T03:16:13+00:00", SENT_AT, ()),
        (SECONDS * 1000, SENT_AT, ()),
        (None, None, ()),
        ("yesterday", None, ("bad_date_time",)),
        (7, None, ("bad_date_time",)),
        (True, None, ("bad_date_time",)),
        ({"at": 7}, None, ("bad_date_time",)),
        (HEARD_SECONDS + 27 * 3600, None, ("clock_skew",)),
    ],
)
def test_the_time_of_a_report_in_both_forms(timestamp, reported_at, issues):
    reading = read("MESSAGE_INBOUND", OI, timestamp=timestamp)
    assert ([report.reported_at for report in reading.events], reading.issues) == ([reported_at], issues)


def test_a_message_from_the_future_has_no_time():
    late = structured({"text": "Oi"}, timestamp=(HEARD + timedelta(days=2)).isoformat())
    reading = read("MESSAGE_INBOUND", late)
    assert ([report.sent_at for report in reading.events], reading.issues) == ([None], ("bad_timestamp",))


def test_a_delivery_that_names_another_instance_is_odd():
    assert read("MESSAGE_INBOUND", OI, instanceId="user_y").issues == ("instance_mismatch",)
    document = {"instanceId": "teste", "timestamp": AT, "payload": OI}
    assert read_event("message.inbound", document, dict(FACTS), called="teste").issues == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([ANA, LID, AT]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)
KEYS = (
    "contact", "message", "metadata", "id", "chatId", "type", "text", "media", "remoteJid", "phone", "participant",
    "timestamp", "pollChoice", "pollId", "messageId", "raw", "messages", "updates", "update", "key", "selectedOptions",
)  # fmt: skip
PAYLOADS = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)


@given(st.sampled_from(sorted(READERS)), PAYLOADS, JSON, JSON)
def test_any_json_means_something_or_is_malformed(event, payload, timestamp, instance):
    document = {"payload": payload, "timestamp": timestamp, "instanceId": instance}
    try:
        code = None if read_event(event, document, dict(FACTS)) else ""
    except Malformed as refused:
        code = refused.code
    assert code in (None, "NO_DATA", "BAD_DATA", "UNKNOWN_SHAPE")
