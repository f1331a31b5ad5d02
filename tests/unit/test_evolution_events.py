"""Every event in every spelling and shape: what it means, what is odd about it, and what is of no use."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Malformed
from manager.lifecycle import Standing, Status, connection_reported
from manager.providers.evolution.events import READERS, read_event
from manager.providers.evolution.values import LONGEST_NAME
from manager.providers.port import (
    ChatReported,
    ConnectionReported,
    ContactReported,
    DeleteReported,
    EditReported,
    MessageReported,
    Pairing,
    PairingReported,
    ReactionReported,
    Reading,
    State,
    StatusReported,
    VotesReported,
)
from webhooks.envelope import event_name

PAYLOADS = Path(__file__).parent.parent / "payloads"
HEARD = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FACTS = {"delivery_id": 7, "instance": "user_x", "received_at": HEARD}
SECONDS = 1795317373
ANA, LID, GROUP = "5511999990001@s.whatsapp.net", "77@lid", "120363000000000011@g.us"
OWN = "5511988887777@s.whatsapp.net"


def read(event: str, data: object, **more: object) -> Reading:
    return read_event(event, {"event": event, "data": data, "sender": OWN, **more}, dict(FACTS))


def refusal(event: str, data: object) -> str:
    with pytest.raises(Malformed) as refused:
        read(event, data)
    return refused.value.code


def message(**more: Any) -> dict[str, Any]:
    key = {"remoteJid": ANA, "fromMe": False, "id": "A1"} | more.pop("key", {})
    return {"key": key, "message": {"conversation": "Oi"}, "messageTimestamp": SECONDS, **more}


# ---- names and shapes ------------------------------------------------------------------------------------------

LIVE: dict[str, object] = {
    "connection.update": {"state": "open"},
    "status.instance": {"status": "closed"},
    "qrcode.updated": {"qrcode": {"code": "2@x"}},
    "messages.upsert": message(),
    "send.message": message(),
    "messages.set": message(),
    "messages.update": {"keyId": "A1", "status": "READ"},
    "messages.delete": {"remoteJid": ANA, "id": "A1"},
    "messages.edited": {"key": {"id": "A1"}, "type": 0},
    "send.message.update": {"key": {"id": "A1"}, "type": 0},
    "contacts.upsert": {"remoteJid": ANA},
    "contacts.update": {"remoteJid": ANA},
    "contacts.set": {"remoteJid": ANA},
    "chats.upsert": {"remoteJid": ANA, "name": "Ana"},
    "chats.update": {"remoteJid": ANA, "name": "Ana"},
    "chats.set": {"remoteJid": ANA, "name": "Ana"},
    "chats.delete": {"remoteJid": ANA},
    "groups.upsert": {"id": GROUP, "subject": "Turma"},
    "groups.update": {"id": GROUP, "subject": "Turma"},
    "group.update": {"id": GROUP, "subject": "Turma"},
    "group-participants.update": {"id": GROUP, "participants": [{"id": LID, "phoneNumber": ANA}]},
    "call": {"chatId": ANA, "from": ANA, "id": "A1", "date": "2026-11-22T03:16:13Z", "status": "offer"},
}
DATALESS = {"logout.instance", "remove.instance", "instance.delete"}
SINGLE = {"connection.update", "status.instance", "qrcode.updated"}
WITHOUT_EFFECT = READERS.keys() - LIVE.keys() - DATALESS


@pytest.mark.parametrize("event", READERS)
def test_every_spelling_of_an_event_reaches_its_reader(event):
    parts = event.replace("-", ".").split(".")
    for spelling in (event, "_".join(parts).upper(), "-".join(parts), ".".join(parts).title()):
        assert READERS[event_name(spelling)] is READERS[event]


@pytest.mark.parametrize("event", LIVE)
def test_an_event_means_something_as_an_object_and_the_same_in_an_array(event):
    alone = read(event, LIVE[event])
    assert len(alone.events) == 1
    assert alone.issues == ()
    if event in SINGLE:
        assert refusal(event, [LIVE[event]]) == "BAD_DATA"
    else:
        assert read(event, [LIVE[event]]) == alone
        assert read(event, []) == Reading(events=(), issues=())


@pytest.mark.parametrize("event", LIVE)
def test_an_event_without_its_data_is_malformed(event):
    assert refusal(event, None) == "NO_DATA"
    assert {refusal(event, odd) for odd in ("Oi", 7, True)} == {"BAD_DATA"}
    if event not in {"status.instance"}:
        assert refusal(event, {"some": "thing"}) == ("NO_QRCODE" if event == "qrcode.updated" else "UNKNOWN_SHAPE")
    if event not in SINGLE:
        assert refusal(event, [1, 2, None]) == "UNKNOWN_SHAPE"


@pytest.mark.parametrize("event", sorted(LIVE.keys() - SINGLE))
def test_a_bad_item_does_not_spoil_the_good_ones(event):
    found = read(event, [7, LIVE[event], {"some": "thing"}])
    assert found.events == read(event, LIVE[event]).events
    assert found.issues == ("bad_item",)


@pytest.mark.parametrize("event", sorted(WITHOUT_EFFECT))
def test_an_event_without_effect_is_known(event):
    for data in (None, "x", {"a": 1}, [1]):
        assert read(event, data) == Reading(events=(), issues=())


@pytest.mark.parametrize("event", ["brand.new.event", "", "messages.upser"])
def test_an_event_that_nobody_knows_is_malformed(event):
    assert refusal(event, {}) == "UNKNOWN_EVENT"


# ---- connections and codes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", sorted(DATALESS))
def test_what_is_gone_is_disconnected_for_no_reason(event):
    for data in (None, {"instanceName": "user_x"}):
        (found,) = read(event, data).events
        assert isinstance(found, ConnectionReported)
        assert (found.state, found.reason) == (State.DISCONNECTED, None)


def test_an_open_without_its_jid_takes_the_senders():
    (found,) = read("connection.update", {"state": "open"}, sender="5511999990001:3@s.whatsapp.net").events
    assert isinstance(found, ConnectionReported)
    assert found.phone == "5511999990001"


def test_an_unknown_word_for_a_state_is_unknown_and_odd():
    found = read("connection.update", {"state": "dancing", "statusReason": 10**12})
    assert isinstance(found.events[0], ConnectionReported)
    assert (found.events[0].state, found.events[0].reason) == (State.UNKNOWN, None)
    assert found.issues == ("unknown_state",)


def test_the_gateways_false_z_is_kept_as_it_is():
    (found,) = read("connection.update", {"state": "open"}, date_time="2026-11-22T00:16:13.123Z").events
    assert found.reported_at == datetime(2026, 11, 22, 0, 16, 13, 123000, tzinfo=UTC)


@pytest.mark.parametrize("odd", [5, "", "yesterday", "0000-00-00", "0001-01-01T00:00:00Z", {}, []])
def test_a_report_with_an_unreadable_time_has_none(odd):
    found = read("connection.update", {"state": "open"}, date_time=odd)
    assert found.events[0].reported_at is None
    assert found.issues == ("bad_date_time",)


def test_a_report_without_a_time_has_none():
    for more in ({}, {"date_time": None}):
        found = read("connection.update", {"state": "open"}, **more)
        assert (found.events[0].reported_at, found.issues) == (None, ())


@pytest.mark.parametrize(("ahead_h", "kept"), [(-5000, True), (14, True), (26, True), (26.1, False), (24 * 400, False)])
def test_a_time_that_no_clock_on_earth_can_show_yet_is_none(ahead_h, kept):
    at = HEARD + timedelta(hours=ahead_h)
    found = read("connection.update", {"state": "open"}, date_time=at.isoformat())
    assert found.events[0].reported_at == (at if kept else None)
    assert found.issues == (() if kept else ("clock_skew",))


def test_an_open_from_the_far_future_does_not_outlive_the_next_close():
    standing = Standing()
    for state, at in [("open", "2099-01-01T00:00:00.000Z"), ("close", "2026-11-22T12:00:01.000Z")]:
        (found,) = read("connection.update", {"state": state}, date_time=at).events
        assert isinstance(found, ConnectionReported)
        standing = connection_reported(standing, found)
    assert standing.status is Status.DISCONNECTED


@pytest.mark.parametrize("code", ["2@" + "x" * 1000, "2@código", "2@a\0b", 5, {"a": 1}])
def test_a_code_of_no_known_form_is_odd_and_no_pairing(code):
    assert read("qrcode.updated", {"qrcode": {"code": code}}) == Reading(events=(), issues=("bad_qr",))


@pytest.mark.parametrize("data", [{"qrcode": {}}, {"qrcode": None}, {"qrcode": {"code": ""}}, {"qrcode": {"count": 0}}])
def test_a_code_event_without_a_code_is_malformed(data):
    assert refusal("qrcode.updated", data) == "NO_QRCODE"


@pytest.mark.parametrize(
    ("given", "code", "issues"),
    [
        ("k3zt-9qwb", "K3ZT9QWB", ()),
        ("123456", "123456", ()),
        ("12345", None, ("bad_qr",)),
        ("<script>", None, ("bad_qr",)),
        (None, None, ()),
    ],
)
def test_a_pairing_code_is_six_to_eight_letters_and_digits(given, code, issues):
    found = read("qrcode.updated", {"qrcode": {"code": "2@x", "pairingCode": given}})
    assert isinstance(found.events[0], PairingReported)
    assert found.events[0].pairing == Pairing(qr="2@x", pairing_code=code)
    assert found.issues == issues


# ---- what becomes of messages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "status"),
    [("ERROR", "error"), ("PENDING", "pending"), ("SERVER_ACK", "sent"), ("DELIVERY_ACK", "delivered"),
     ("READ", "read"), ("PLAYED", "played"), (0, "error"), (1, "pending"), (2, "sent"), (3, "delivered"), (4, "read"),
     (5, "played"), ("4", "read")],
)  # fmt: skip
def test_a_status_is_read_as_word_and_number_in_every_version(given, status):
    shapes = [
        {"keyId": "A1", "remoteJid": ANA, "fromMe": True, "status": given, "messageId": "row"},
        {"remoteJid": ANA, "fromMe": True, "id": "A1", "status": given, "datetime": SECONDS, "owner": "user_x"},
        {"key": {"remoteJid": ANA, "fromMe": True, "id": "A1"}, "status": given},
    ]
    for data in shapes:
        (found,) = read("messages.update", data).events
        assert isinstance(found, StatusReported)
        assert (found.message_id, found.status, found.own) == ("A1", status, OWN)


@pytest.mark.parametrize(("given", "issues"), [("DELETED", ()), (None, ()), ("LOST", ("unknown_status",)),
                                               (9, ("unknown_status",)), ([], ("unknown_status",))])  # fmt: skip
def test_an_update_that_says_nothing_is_no_deletion(given, issues):
    assert read("messages.update", {"keyId": "A1", "status": given}) == Reading(events=(), issues=issues)


NEW = {"conversation": "novo"}
AT_MS = SECONDS * 1000
EDIT = {"key": {"id": "A1"}, "type": "MESSAGE_EDIT", "editedMessage": NEW, "timestampMs": str(AT_MS)}


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("messages.edited", EDIT),
        ("messages.edited", EDIT | {"type": 14, "timestampMs": {"low": AT_MS % 2**32, "high": AT_MS // 2**32}}),
        ("messages.edited", EDIT | {"timestampMs": AT_MS, "editedMessage": {"imageMessage": {"caption": "novo"}}}),
        ("send.message.update", EDIT | {"editedMessage": {"extendedTextMessage": {"text": "novo"}}}),
        ("messages.upsert", message(message={"protocolMessage": EDIT}, key={"id": "B2"})),
        ("messages.upsert", message(message={"editedMessage": {"message": {"protocolMessage": EDIT}}})),
        ("messages.upsert", message(message={"editedMessage": {"message": NEW}})),
        (
            "messages.update",
            {"keyId": "A1", "message": {"editedMessage": {"message": NEW}}, "messageTimestamp": SECONDS},
        ),
        ("messages.update", {"keyId": "B2", "message": {"editedMessage": {"message": {"protocolMessage": EDIT}}}}),
    ],
)
def test_an_edit_is_one_wherever_it_comes(event, data):
    found = read(event, data)
    (edit,) = found.events
    assert isinstance(edit, EditReported)
    assert (edit.message_id, edit.text, edit.edited_at) == ("A1", "novo", datetime.fromtimestamp(SECONDS, UTC))
    assert found.issues == ()


REVOKE = {"key": {"remoteJid": ANA, "fromMe": False, "id": "A1"}, "type": "REVOKE"}


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("messages.delete", {"remoteJid": ANA, "fromMe": False, "id": "A1", "participant": ""}),
        ("messages.delete", {"remoteJid": ANA, "fromMe": False, "id": "A1", "status": "DELETED"}),
        ("messages.delete", {"id": "row", "key": {"id": "A1", "deleted": True}, "status": "DELETED"}),
        ("messages.edited", REVOKE),
        ("messages.edited", REVOKE | {"type": 0}),
        ("messages.upsert", message(message={"protocolMessage": REVOKE}, key={"id": "B2"})),
    ],
)
def test_a_deletion_is_one_in_every_shape(event, data):
    (found,) = read(event, data).events
    assert isinstance(found, DeleteReported)
    assert found.message_id == "A1"


@pytest.mark.parametrize("chat", ["1@newsletter", "1234@broadcast"])
def test_what_becomes_of_messages_in_channels_and_lists_is_not_ours(chat):
    key = {"remoteJid": chat, "id": "A1"}
    for event, data in (
        ("messages.update", {"keyId": "A1", "remoteJid": chat, "status": "READ"}),
        ("messages.delete", key),
        ("messages.edited", EDIT | {"key": key}),
    ):
        assert read(event, data) == Reading(events=(), issues=())


@pytest.mark.parametrize(
    "kind", ["EPHEMERAL_SETTING", "HISTORY_SYNC_NOTIFICATION", "APP_STATE_SYNC_KEY_SHARE", 3, 5, 6, False]
)
def test_other_protocol_messages_mean_nothing_and_leave_no_key(kind):
    data = {"type": kind, "appStateSyncKeyShare": {"keys": [{"keyData": "CANARY"}]}}
    for event, said in (("messages.edited", data), ("messages.upsert", message(message={"protocolMessage": data}))):
        assert read(event, said) == Reading(events=(), issues=())


@pytest.mark.parametrize(
    ("edited", "issues"),
    [({}, ("unknown_message",)), ({"brandNew": {"a": 1}}, ("unknown_message",)),
     ({"protocolMessage": EDIT}, ("unknown_message",))],
)  # fmt: skip
def test_an_edit_to_nothing_we_can_read_changes_nothing(edited, issues):
    assert read("messages.edited", EDIT | {"editedMessage": edited}) == Reading(events=(), issues=issues)


def test_votes_are_told_as_the_poll_stands():
    polled = [{"name": "A", "voters": [ANA, "77:2@lid", 7]}, {"name": "B", "voters": []}, {"name": 7}, "x"]
    vote = {"pollUpdateMessage": {"pollCreationMessageKey": {"id": "POLL"}, "vote": {"selectedOptions": ["A"]}}}
    (told,) = read("messages.update", {"keyId": "POLL", "pollUpdates": polled}).events
    assert isinstance(told, VotesReported)
    assert (told.message_id, told.votes) == ("POLL", {"A": [ANA, LID], "B": []})
    (said,) = read("messages.upsert", message(message=vote, pollUpdates=polled)).events  # there only one voter's
    assert isinstance(said, MessageReported)
    assert (said.kind, said.text, said.details) == (
        "poll_vote", "Voto na enquete", {"pollId": "POLL", "selected": ["A"]},
    )  # fmt: skip


def test_encrypted_votes_say_nothing():
    raw = [{"pollUpdateMessageKey": {"id": "V"}, "vote": {"selectedOptions": [{"0": 1}]}}]
    assert read("messages.update", {"keyId": "POLL", "pollUpdates": raw}).events == ()


@pytest.mark.parametrize(("key", "author"), [({}, (ANA,)), ({"fromMe": True}, ()),
                                             ({"remoteJid": GROUP, "participant": LID}, (LID,))])  # fmt: skip
def test_a_reaction_is_somebodys(key, author):
    body = {"reactionMessage": {"key": {"id": "M9"}, "text": "❤️", "senderTimestampMs": str(SECONDS * 1000)}}
    (found,) = read("messages.upsert", message(key=key, message=body)).events
    assert isinstance(found, ReactionReported)
    assert (found.message_id, found.author, found.emoji) == ("M9", author, "❤️")
    assert found.reacted_at == datetime.fromtimestamp(SECONDS, UTC)


def test_a_reaction_taken_back_is_empty_and_one_to_nothing_is_odd():
    (found,) = read("messages.upsert", message(message={"reactionMessage": {"key": {"id": "M9"}}})).events
    assert isinstance(found, ReactionReported)
    assert found.emoji == ""
    lost = read("messages.upsert", message(message={"reactionMessage": {"text": "x"}}))
    assert lost == Reading(events=(), issues=("no_message_id",))


# ---- people, chats, groups, calls ------------------------------------------------------------------------------


def only(reading: Reading) -> Any:
    (found,) = reading.events
    return found


@pytest.mark.parametrize(
    ("data", "names", "name"),
    [
        ({"remoteJid": ANA, "pushName": "Ana"}, (ANA,), "Ana"),
        ({"id": ANA, "name": "Ana"}, (ANA,), "Ana"),
        ({"id": LID, "jid": ANA, "notify": "Ana"}, (LID, ANA), "Ana"),
        ({"remoteJid": ANA, "remoteLid": LID}, (ANA, LID), None),
        ({"remoteJid": ANA, "pushName": ""}, (ANA,), None),
        ({"remoteJid": ANA, "pushName": None}, (ANA,), None),
        ({"remoteJid": LID, "pushName": "77"}, (LID,), None),
        ({"remoteJid": ANA, "pushName": "+55 11 99999-0001", "name": "Ana"}, (ANA,), "Ana"),
    ],
)
@pytest.mark.parametrize("event", ["contacts.upsert", "contacts.update", "contacts.set"])
def test_a_contact_is_its_names_and_what_it_is_called(event, data, names, name):
    found = only(read(event, data))
    assert isinstance(found, ContactReported)
    assert (found.names, found.name) == (names, name)


@pytest.mark.parametrize(
    ("event", "data", "issues"),
    [
        ("contacts.update", {"remoteJid": GROUP, "pushName": ""}, ()),
        ("contacts.update", {"remoteJid": "status@broadcast", "pushName": "x"}, ()),
        ("contacts.update", {"remoteJid": "1@newsletter", "pushName": "x"}, ()),
        ("contacts.update", {"remoteJid": "1@bot", "pushName": "x"}, ("unknown_jid",)),
        ("contacts.upsert", {"id": "cmh5x0q2p000108l4a1b2c3d4", "pushName": "Ana"}, ()),
        ("chats.upsert", {"id": "C408B8DF1B2471EA236F96E00", "name": "Ana"}, ()),
        ("chats.upsert", {"id": "12345", "name": "Ana"}, ()),
        ("chats.upsert", {"remoteJid": ANA, "unreadMessages": 0}, ()),
        ("chats.set", {"remoteJid": ANA, "name": "5511999990001"}, ()),
        ("chats.delete", "1@newsletter", ()),
        ("groups.update", {"id": GROUP, "desc": "x"}, ()),
    ],
)
def test_what_says_nothing_about_anybody_is_passed_over(event, data, issues):
    assert read(event, [data]) == Reading(events=(), issues=issues)


@pytest.mark.parametrize("event", ["contacts.upsert", "contacts.update", "chats.upsert", "chats.update"])
def test_a_groups_name_there_is_its_last_writers(event):
    assert read(event, {"remoteJid": GROUP, "pushName": "Ana", "name": "Ana"}).events == ()


def test_a_synchronised_group_has_its_own_name():
    found = only(read("chats.set", [{"remoteJid": GROUP, "name": "Turma"}]))
    assert isinstance(found, ChatReported)
    assert (found.chat, found.title, found.deleted) == ((GROUP,), "Turma", False)


def test_a_chat_of_two_names_says_who_is_who():
    found = only(read("chats.set", [{"remoteJid": ANA, "remoteLid": LID}]))
    assert (found.chat, found.title, found.people) == ((ANA, LID), None, ((ANA, LID),))


@pytest.mark.parametrize("item", [ANA, "5511999990001:3@s.whatsapp.net", {"remoteJid": ANA}, {"id": ANA}])
def test_a_deleted_chat_is_named_by_a_jid_or_an_object(item):
    found = only(read("chats.delete", [item]))
    assert (found.chat, found.deleted) == ((ANA,), True)


def test_members_of_a_group_are_told_once_with_all_their_names():
    other = "5511999990002@s.whatsapp.net"
    data = {
        "id": GROUP,
        "action": "add",
        "participants": [{"id": LID, "phoneNumber": ANA}, {"id": "88@lid", "phoneNumber": other}, "99@lid"],
        "participantsData": [
            {"jid": LID, "phoneNumber": "5511999990001", "name": "Ana"},
            {"jid": "66@lid", "phoneNumber": "66"},
        ],
    }
    found = read("group-participants.update", data)
    assert [(one.names, one.name) for one in found.events if isinstance(one, ContactReported)] == [
        ((LID, ANA), "Ana"),
        (("88@lid", other), None),
    ]


@pytest.mark.parametrize("status", ["ringing", "timeout", "reject", "accept", "terminate", None])
def test_only_the_beginning_of_a_call_is_told(status):
    assert read("call", {**dict(LIVE["call"]), "status": status}).events == ()  # type: ignore[call-overload]  # an object


@pytest.mark.parametrize(
    ("more", "chat", "author", "from_me", "text"),
    [
        ({}, (ANA,), (ANA,), False, "Ligação de voz"),
        ({"isVideo": True}, (ANA,), (ANA,), False, "Ligação de vídeo"),
        ({"chatId": LID}, (LID, ANA), (LID, ANA), False, "Ligação de voz"),
        ({"from": OWN}, (ANA,), (), True, "Ligação de voz"),
        ({"isGroup": True, "chatId": GROUP}, (GROUP,), (ANA,), False, "Ligação de voz"),
        ({"isGroup": True, "groupJid": GROUP}, (GROUP,), (ANA,), False, "Ligação de voz"),
    ],
)
def test_a_call_is_a_message_of_its_caller(more, chat, author, from_me, text):
    found = only(read("call", {**dict(LIVE["call"]), **more}))  # type: ignore[call-overload]  # an object
    assert (found.kind, found.message_id, found.sent_at) == ("call", "A1", datetime.fromtimestamp(SECONDS, UTC))
    assert (found.chat, found.author, found.from_me, found.text) == (chat, author, from_me, text)


# ---- bad input -------------------------------------------------------------------------------------------------

ELSEWHERE = {"suffix_mismatch"}  # the entrance's


def bad_inputs() -> list[Any]:
    """The cases that reach a reader: those whose oddities are the reader's to tell."""
    cases = json.loads((PAYLOADS / "bad-webhooks.json").read_text())
    told = [case for case in cases if "issues" in case["expect"] and "body" in case["request"]]
    issues = [set(case["expect"]["issues"]) - ELSEWHERE for case in told]
    return [
        pytest.param(case["request"]["body"], codes, id=case["name"]) for case, codes in zip(told, issues, strict=True)
    ]


@pytest.mark.parametrize(("body", "issues"), bad_inputs())
def test_a_bad_input_is_told_by_its_code(body, issues):
    facts = {**FACTS, "instance": "user_42"}
    try:
        found = set(read_event(event_name(body["event"]), body, facts).issues)
    except Malformed as refused:
        found = {refused.code.lower()}
    assert found == issues


def test_all_the_codes_of_the_bad_inputs_are_tried():
    told = {code for case in bad_inputs() for code in case.values[1]}
    assert told == {"no_data", "bad_data", "no_message_id", "bad_timestamp", "clock_skew", "bad_date_time",
                    "bad_push_name", "unknown_state", "instance_mismatch", "bad_qr"}  # fmt: skip


# ---- anything --------------------------------------------------------------------------------------------------

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=9)
    | st.sampled_from([ANA, LID, GROUP, OWN, "status@broadcast", "offer", "READ", "REVOKE", "MESSAGE_EDIT", 0, 14])
)  # fmt: skip
words = st.text(max_size=4) | st.sampled_from(
    ["key", "id", "keyId", "remoteJid", "remoteJidAlt", "participant", "participants", "participantsData", "fromMe",
     "message", "conversation", "ephemeralMessage", "editedMessage", "protocolMessage", "reactionMessage", "type",
     "imageMessage", "contactMessage", "vcard", "pollCreationMessageV3", "pollUpdateMessage", "pollUpdates", "voters",
     "interactiveMessage", "nativeFlowMessage", "buttons", "orderMessage", "productMessage", "templateMessage",
     "eventMessage", "location", "startTime", "contextInfo", "mentionedJid", "externalAdReply", "options", "name",
     "qrcode", "code", "pairingCode", "base64", "state", "status", "statusReason", "messageTimestamp", "timestampMs",
     "low", "high", "wuid", "pushName", "subject", "phoneNumber", "jid", "chatId", "from", "date", "instance", "data"]
)  # fmt: skip
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6), max_leaves=25
)
CODES = {"NO_DATA", "BAD_DATA", "NO_QRCODE", "UNKNOWN_SHAPE"}


@given(
    st.sampled_from(sorted(READERS)),
    st.fixed_dictionaries({}, optional={"data": anything, "date_time": anything, "sender": anything}),
)
def test_any_json_is_a_reading_or_malformed(event, document):
    try:
        found = read_event(event, document, dict(FACTS))
    except Malformed as refused:
        code = refused.code
    else:
        code = "NO_DATA"
        assert list(found.issues) == sorted(set(found.issues))
    assert code in CODES


def storable(value: object) -> bool:
    return "\\u0000" not in json.dumps(value, allow_nan=False) and bool(json.dumps(value, ensure_ascii=False).encode())


@given(
    st.fixed_dictionaries(
        {
            "key": st.fixed_dictionaries({"remoteJid": st.just(LID) | anything, "id": st.just("A") | anything}),
            "message": st.dictionaries(words, anything, max_size=2),
            "messageTimestamp": anything,
            "pushName": anything,
            "status": anything,
            "contextInfo": anything,
        }
    )
)
def test_whatever_is_reported_of_a_message_can_be_stored(data):
    for found in read("messages.upsert", data).events:
        if isinstance(found, MessageReported):
            assert max(map(len, [found.message_id, *found.chat])) <= LONGEST_NAME
            assert storable([found.text, found.push_name, found.status, found.details, found.original])


def test_the_deepest_json_that_can_be_parsed_is_read_too():
    for inner in ("ephemeralMessage", "editedMessage", "protocolMessage", "contextInfo", "imageMessage"):
        bottom: object = {"conversation": "fundo"}
        for _ in range(450):
            bottom = {inner: {"message": bottom}}
        found = read("messages.upsert", message(message=bottom))
        assert len(found.events) <= 1
