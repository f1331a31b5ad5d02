"""Evolution's JSON in our words: every payload we have, every encoding of a time, and whatever else may come."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Malformed
from manager.lifecycle import Standing, Status, connection_reported
from manager.providers.evolution import wire
from manager.providers.port import ConnectionReported, MessageReported, Pairing, PairingReported, Snapshot, State
from webhooks.envelope import event_name

PAYLOADS = Path(__file__).parent.parent / "payloads"
SAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted((PAYLOADS / "evolution").glob("*.json"))}
HEARD = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FACTS = {"delivery_id": 7, "instance": "user_x", "received_at": HEARD}
ANA, LID = "5511900000012@s.whatsapp.net", "100000000000011@lid"
BRUNO = "5511900000010@s.whatsapp.net"
GROUP, OTHER_GROUP = "120363000000000011@g.us", "120363000000000001@g.us"
QR_TEXT = "2@EXAMPLEref0123456789,EXAMPLEnoisekeyBase64=,EXAMPLEidentityKeyBase64=,EXAMPLEadvSecretBase64="


def lines(name):
    return [json.loads(line) for line in (PAYLOADS / "recorded" / name).read_text(encoding="utf-8").splitlines()]


def read(document):
    return wire.parse_event(event_name(document["event"]), document, dict(FACTS))


TEXTS = {  # sample: chat, author, sent by us, text, status
    "messages.upsert__ad_click_to_whatsapp": ([ANA], [ANA], False, "Exemplo de texto (conversation)", "delivered"),
    "messages.upsert__conversation_fromme_v1": ([BRUNO], [], True, "Exemplo de texto (conversation)", "pending"),
    "messages.upsert__conversation_fromme_v2": (
        ["5511900000014@s.whatsapp.net"],
        [],
        True,
        "Exemplo de texto (conversation)",
        "sent",
    ),
    "messages.upsert__conversation_in_v1": ([BRUNO], [BRUNO], False, "Exemplo de texto (conversation)", "delivered"),
    "messages.upsert__conversation_in_v22": ([ANA], [ANA], False, "Oii", "delivered"),
    "messages.upsert__conversation_in_v2_rack": (
        [ANA, "100000000000003@lid"],
        [ANA, "100000000000003@lid"],
        False,
        "Exemplo de texto (conversation)",
        "delivered",
    ),
    "messages.upsert__conversation_lid_only_no_phone": ([LID], [LID], False, "Oi", "delivered"),
    "messages.upsert__conversation_lid_senderPn": ([LID, ANA], [LID, ANA], False, "eae", "delivered"),
    "messages.upsert__conversation_v1_b": (
        [OTHER_GROUP],
        ["100000000000001@lid"],
        False,
        "Exemplo de texto (conversation)",
        "delivered",
    ),
    "messages.upsert__ephemeral_chat_conversation": ([ANA], [ANA], False, "Exemplo", "delivered"),
    "messages.upsert__ephemeral_wrapper_text": ([ANA], [ANA], False, "Exemplo", "delivered"),
    "messages.upsert__extendedtext_group_ephemeral_v1": (
        ["120363000000000002@g.us"],
        ["100000000000002@lid"],
        False,
        "Exemplo de texto (text)",
        "delivered",
    ),
    "messages.upsert__extendedtext_in_v1": ([ANA], [ANA], False, "Exemplo", "delivered"),
    "messages.upsert__fromme_phone_lid": ([LID, ANA], [], True, "Exemplo", "sent"),
    "messages.upsert__group_conversation_v230": ([GROUP], [LID], False, "Vdd", "delivered"),
    "messages.upsert__group_lid_participantAlt": ([GROUP], [LID, ANA], False, "Exemplo", "delivered"),
    "messages.upsert__lid_remoteJidAlt_v236": ([LID, ANA], [LID, ANA], False, "Exemplo", "delivered"),
    "messages.upsert__pn_senderLid_v230": ([ANA, LID], [ANA, LID], False, "...", "delivered"),
    "send.message__text": ([ANA], [], True, "Exemplo", "pending"),
    "send.message__text_v1": ([ANA], [], True, "Exemplo", "pending"),
}
CONNECTIONS = {  # sample: state, reason, phone, profile name
    "connection.update__close_401_logged_out": (State.DISCONNECTED, 401, None, None),
    "connection.update__close_401_v1": (State.DISCONNECTED, 401, None, None),
    "connection.update__close_405_v1": (State.DISCONNECTED, 405, None, None),
    "connection.update__connecting": (State.CONNECTING, 200, None, None),
    "connection.update__connecting_v1": (State.CONNECTING, 200, None, None),
    "connection.update__open": (State.CONNECTED, 200, "5511900000001", "Empresa Exemplo"),
    "connection.update__refused_428_qr_limit_v1": (State.REFUSED, 428, None, None),
}
PAIRINGS = {
    "qrcode.updated__limit_reached": None,
    "qrcode.updated__pairing_code": Pairing(qr=QR_TEXT, pairing_code="K3ZT9QWB"),
    "qrcode.updated__qr": Pairing(qr=QR_TEXT),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_sample_of_a_text_message_is_read(name):
    chat, author, from_me, text, status = TEXTS[name]
    (found,) = read(SAMPLES[name])
    assert isinstance(found, MessageReported)
    assert (list(found.chat), list(found.author), found.from_me) == (chat, author, from_me)
    assert (found.text, found.kind, found.status) == (text, "text", status)
    assert found.message_id == SAMPLES[name]["data"]["key"]["id"]
    assert found.sent_at == datetime.fromtimestamp(int(SAMPLES[name]["data"]["messageTimestamp"]), UTC)
    assert (found.delivery_id, found.instance, found.received_at) == (7, "user_x", HEARD)


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_sample_of_a_connection_report_is_read(name):
    (found,) = read(SAMPLES[name])
    assert isinstance(found, ConnectionReported)
    assert (found.state, found.reason, found.phone, found.profile_name) == CONNECTIONS[name]
    assert found.reported_at == datetime.fromisoformat(SAMPLES[name]["date_time"]).replace(tzinfo=UTC)


@pytest.mark.parametrize("name", PAIRINGS)
def test_a_sample_of_a_code_is_read(name):
    (found,) = read(SAMPLES[name])
    assert isinstance(found, PairingReported)
    assert found.pairing == PAIRINGS[name]


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - TEXTS.keys() - CONNECTIONS.keys() - PAIRINGS.keys()))
def test_other_samples_mean_nothing_yet(name):
    assert read(SAMPLES[name]) == []


def said_in(body):
    """The text of a recorded message, where there is one."""
    message = body["data"]["message"] if body["event"] in ("messages.upsert", "send.message") else {}
    message = message.get("ephemeralMessage", {}).get("message", message)
    return message.get("conversation", message.get("extendedTextMessage", {}).get("text"))


def test_every_recorded_text_is_read_and_nothing_else_is_taken_for_one():
    bodies = [delivery["body"] for delivery in lines("webhooks.jsonl")]
    texts = 0
    for body in bodies:
        found = [one for one in read(body) if isinstance(one, MessageReported)]
        assert [one.text for one in found] == [text for text in [said_in(body)] if text is not None]
        for one in found:
            key = body["data"]["key"]
            assert (one.message_id, one.from_me) == (key["id"], key["fromMe"])
            assert one.chat[0].partition("@")[0] == key["remoteJid"].partition("@")[0]
            assert one.sent_at == datetime.fromtimestamp(body["data"]["messageTimestamp"], UTC)
        texts += len(found)
    assert texts > 30


def test_every_recorded_connection_report_and_code_is_read():
    kinds = {"connection.update": ConnectionReported, "qrcode.updated": PairingReported}
    for delivery in lines("webhooks.jsonl"):
        body = delivery["body"]
        found = [one for one in read(body) if not isinstance(one, MessageReported)]
        assert [type(one) for one in found] == [kind for kind in [kinds.get(body["event"])] if kind]
        assert all(one.reported_at for one in found)


def test_an_open_without_its_jid_takes_the_senders():
    document = {"event": "connection.update", "sender": "5511999990001:3@s.whatsapp.net", "data": {"state": "open"}}
    (found,) = read(document)
    assert found.phone == "5511999990001"


def test_an_unknown_word_for_a_state_is_unknown():
    (found,) = read({"event": "connection.update", "data": {"state": "dancing", "statusReason": 10**12}})
    assert (found.state, found.reason) == (State.UNKNOWN, None)


AT = datetime(2026, 11, 22, 3, 16, 13, tzinfo=UTC)
SECONDS = int(AT.timestamp())


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        str(SECONDS),
        float(SECONDS),
        SECONDS * 1000,
        str(SECONDS * 1000),
        {"low": SECONDS, "high": 0, "unsigned": True},
        {"low": SECONDS - 2**32, "high": 0, "unsigned": False},
        {"low": SECONDS},
        "2026-11-22T03:16:13Z",
        "2026-11-22T03:16:13.000Z",
        "2026-11-22T00:16:13-03:00",
        "2026-11-22T03:16:13",
    ],
)
def test_a_time_is_read_in_every_encoding(value):
    assert wire.moment(value) == AT


@pytest.mark.parametrize(
    "value",
    [
        None, True, "", "soon", "١٢", 0, -1, 1, 10**30, -(10**30), 1e308, float("inf"), float("nan"), "1e9",
        [], {}, {"high": 1}, {"low": "x"}, {"low": 10**40, "high": 10**40}, "9" * 5000, "0001-01-01", "9999-12-31",
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(value):
    assert wire.moment(value) is None


def test_the_gateways_false_z_is_kept_as_it_is():
    (found,) = read({"event": "connection.update", "date_time": "2026-11-22T00:16:13.123Z", "data": {"state": "open"}})
    assert found.reported_at == datetime(2026, 11, 22, 0, 16, 13, 123000, tzinfo=UTC)


@pytest.mark.parametrize("odd", [None, 5, "", "yesterday", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"])
def test_a_report_with_an_odd_time_has_none(odd):
    (found,) = read({"event": "connection.update", "date_time": odd, "data": {"state": "open"}})
    assert found.reported_at is None


@pytest.mark.parametrize(("ahead_h", "kept"), [(-5000, True), (14, True), (26, True), (26.1, False), (24 * 400, False)])
def test_a_time_that_no_clock_on_earth_can_show_yet_is_none(ahead_h, kept):
    at = HEARD + timedelta(hours=ahead_h)
    (found,) = read({"event": "connection.update", "date_time": at.isoformat(), "data": {"state": "open"}})
    assert found.reported_at == (at if kept else None)


def test_an_open_from_the_far_future_does_not_outlive_the_next_close():
    said = [("open", "2099-01-01T00:00:00.000Z"), ("close", "2026-11-22T12:00:01.000Z")]
    standing = Standing()
    for state, at in said:
        (found,) = read({"event": "connection.update", "date_time": at, "data": {"state": state}})
        standing = connection_reported(standing, found)
    assert standing.status is Status.DISCONNECTED


def message(**more):
    key = {"remoteJid": "5511999990001@s.whatsapp.net", "fromMe": False, "id": "A1"} | more.pop("key", {})
    data = {"key": key, "message": {"conversation": "Oi"}, "messageTimestamp": SECONDS} | more
    return {"event": "messages.upsert", "data": data}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("😀", "😀"),
        ("\ufeffa", "\ufeffa"),
        ("", ""),
    ],
)
def test_text_is_kept_as_far_as_a_database_can_hold_it(given, kept):
    (found,) = read(message(message={"conversation": given}, pushName=given))
    assert (found.text, found.push_name) == (kept, kept or None)


@given(st.text(st.characters(exclude_categories=())))
def test_clean_text_can_be_stored(text):
    clean = wire.clean(text)
    assert "\0" not in clean
    assert clean.encode().decode() == clean


@pytest.mark.parametrize(
    ("key", "chat"),
    [
        ({"remoteJid": "5511999990001:12@s.whatsapp.net"}, ["5511999990001@s.whatsapp.net"]),
        ({"remoteJid": "5511999990001@c.us"}, ["5511999990001@s.whatsapp.net"]),
        ({"remoteJid": "5511999990001"}, ["5511999990001@s.whatsapp.net"]),
        ({"remoteJidAlt": "5511999990001@s.whatsapp.net"}, ["5511999990001@s.whatsapp.net"]),
        ({"remoteJidAlt": "77:3@lid"}, ["5511999990001@s.whatsapp.net", "77@lid"]),
        ({"remoteJidAlt": "7" * 500 + "@lid"}, ["5511999990001@s.whatsapp.net"]),
        ({"remoteJidAlt": {"not": "a text"}}, ["5511999990001@s.whatsapp.net"]),
    ],
)
def test_a_chat_is_known_by_its_jids_without_devices(key, chat):
    (found,) = read(message(key=key))
    assert list(found.chat) == chat


@pytest.mark.parametrize(
    "odd",
    [
        message(key={"id": None}),
        message(key={"id": ""}),
        message(key={"id": "A" * 5000}),
        message(key={"remoteJid": None}),
        message(key={"remoteJid": "@"}),
        message(key={"remoteJid": "status@broadcast"}),
        message(key={"remoteJid": "123@newsletter"}),
        message(message=None),
        message(message={"imageMessage": {"caption": "Oi"}}),
        message(message={"conversation": {"not": "a text"}}),
        {"event": "messages.upsert", "data": None},
        {"event": "messages.upsert", "data": "Oi"},
        {"event": "messages.upsert", "data": []},
        {"event": "messages.upsert", "data": {"message": {"conversation": "Oi"}}},
        {"event": "messages.upsert", "data": [None, 7, [], {}, {"message": {"conversation": "Oi"}}]},
        {"event": "messages.upsert"},
    ],
)
def test_what_is_no_text_message_is_not_reported(odd):
    assert read(odd) == []


@pytest.mark.parametrize("event", ["messages.upsert", "send.message"])
def test_an_array_of_messages_is_one_report_each(event):
    first, second = message()["data"], message(key={"id": "A2"}, message={"conversation": "Tudo bem?"})["data"]
    found = read({"event": event, "data": [first, {"no": "key"}, second]})
    assert [(one.message_id, one.text) for one in found] == [("A1", "Oi"), ("A2", "Tudo bem?")]
    assert found[0] == read({"event": event, "data": first})[0]


def test_a_wrapped_text_is_found_and_an_endless_wrapping_is_not_followed():
    wrapped: dict[str, object] = {"conversation": "fundo"}
    for wrapper in ("deviceSentMessage", "ephemeralMessage", "viewOnceMessageV2"):
        wrapped = {wrapper: {"message": wrapped}}
    assert wire.text_of(wrapped) == "fundo"
    for _ in range(10):
        wrapped = {"ephemeralMessage": {"message": wrapped}}
    assert wire.text_of(wrapped) is None


@pytest.mark.parametrize("code", ["", "2@" + "x" * 1000, "2@código", "2@a\0b", 5, None, {"a": 1}])
def test_what_cannot_be_a_qr_code_is_none(code):
    assert read({"event": "qrcode.updated", "data": {"qrcode": {"code": code}}}) == []


@pytest.mark.parametrize(
    ("given", "code"), [("k3zt-9qwb", "K3ZT9QWB"), ("123456", "123456"), ("12345", None), ("<script>", None)]
)
def test_a_pairing_code_is_six_to_eight_letters_and_digits(given, code):
    document = {"event": "qrcode.updated", "data": {"qrcode": {"code": "2@x", "pairingCode": given}}}
    assert read(document)[0].pairing == Pairing(qr="2@x", pairing_code=code)


def test_a_qr_event_without_a_code_or_an_end_is_malformed():
    with pytest.raises(Malformed):
        read({"event": "qrcode.updated", "data": {"something": "else"}})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
keys = st.text() | st.sampled_from(
    ["key", "id", "remoteJid", "participant", "fromMe", "message", "conversation", "ephemeralMessage", "qrcode", "code",
     "pairingCode", "state", "statusReason", "messageTimestamp", "low", "high", "wuid", "pushName", "count", "instance"]
)  # fmt: skip
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=20
)


@given(
    st.sampled_from(sorted(wire.READERS)),
    st.fixed_dictionaries({}, optional={"data": anything, "date_time": anything, "sender": anything}),
)
def test_any_json_is_a_list_of_events_or_malformed(event, document):
    try:
        found = wire.parse_event(event, document, dict(FACTS))
    except Malformed:
        return
    assert isinstance(found, list)


@given(
    st.fixed_dictionaries(
        {
            "key": st.fixed_dictionaries({"remoteJid": st.just("1@lid") | anything, "id": st.just("A") | anything}),
            "message": st.dictionaries(st.sampled_from([*wire.WRAPPERS, "conversation"]), anything, max_size=2),
            "messageTimestamp": anything,
            "pushName": anything,
            "status": anything,
        }
    )
)
def test_any_message_can_be_stored_or_is_not_reported(data):
    for found in wire.parse_event("messages.upsert", {"data": data}, dict(FACTS)):
        assert isinstance(found, MessageReported)
        assert max(map(len, [found.message_id, *found.chat])) <= wire.LONGEST_NAME
        json.dumps([found.text, found.push_name, found.status], ensure_ascii=False).encode()


@given(anything)
def test_any_answer_makes_a_snapshot_and_a_reason(answer):
    assert isinstance(wire.snapshot("user_x", answer).state, State)
    assert isinstance(wire.reason_text(answer), str)


ASKED = ("/instance/create", "/instance/connect/", "/instance/connectionState/", "/instance/restart/")


def answers():
    """Recorded successes of the calls that answer with an instance."""
    for exchange in lines("http.jsonl"):
        path, answer = exchange["request"]["path"], exchange["response"]
        if path.startswith(ASKED) and answer["status"] < 300:
            yield exchange["name"], answer["body"]


@pytest.mark.parametrize(("name", "body"), list(answers()))
def test_a_recorded_answer_is_understood(name, body):
    found = wire.snapshot("user_x", body)
    instance = body.get("instance", {})
    word = instance.get("state") or instance.get("status")
    code = body.get("qrcode", body).get("code")
    if body.get("error"):
        assert found.state is State.UNKNOWN  # the client refuses it before it comes here
    elif word:
        assert found.state is wire.STATES[word]
    else:
        assert found.state is State.CONNECTING
    assert (found.pairing.qr if found.pairing else None) == code


def test_an_answer_without_a_code_yet_is_connecting():
    assert wire.snapshot("user_x", {"count": 0}) == Snapshot(name="user_x", state=State.CONNECTING)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"response": {"message": "text"}}, "text"),
        ({"response": {"message": ["in a list"]}}, "in a list"),
        ({"response": {"message": [["in two lists", "more"]]}}, "in two lists"),
        ({"response": {"message": [{"exists": False}]}}, ""),
        ({"message": "at the top"}, "at the top"),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_reason_of_a_failure_is_found_wherever_it_stands(body, reason):
    assert wire.reason_text(body) == reason


def test_an_offset_in_a_messages_time_becomes_utc():
    found = wire.moment(AT.astimezone(timezone(timedelta(hours=-3))).isoformat())
    assert found is not None
    assert found.tzinfo is UTC
