"""WPPConnect Server's webhooks: every event of its table, what it means, and what is odd about it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Malformed
from manager.lifecycle import (
    InstanceRecord,
    Lifetimes,
    Standing,
    Status,
    connection_reported,
    needs_making,
    pairing_reported,
    takes_no_number,
)
from manager.providers.evolution.events import READERS as EVOLUTIONS
from manager.providers.port import (
    ConnectionReported,
    DeleteReported,
    MessageReported,
    Pairing,
    PairingReported,
    ReactionReported,
    State,
    StatusReported,
)
from manager.providers.wppconnect.events import READERS, read_event
from webhooks.envelope import event_name

HEARD = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FACTS = {"delivery_id": 7, "instance": "user_x", "received_at": HEARD}
SECONDS = 1795317373
ANA, OWN, GROUP = "5511999990001@c.us", "5511988887777@c.us", "120363000000000011@g.us"
ANA_JID, OWN_JID = "5511999990001@s.whatsapp.net", "5511988887777@s.whatsapp.net"
BYTES = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAUDBAQEAwUEBAQ"
KEY = {"fromMe": True, "remote": ANA, "id": "3EB0A", "_serialized": f"true_{ANA}_3EB0A"}
NAMES = [
    "qrcode", "phoneCode", "status-find", "closesession", "logoutsession", "onmessage", "onselfmessage", "onack",
    "onpresencechanged", "onparticipantschanged", "onreactionmessage", "onrevokedmessage", "onpollresponse",
    "onupdatelabel", "location", "unreadmessages", "incomingcall",
]  # fmt: skip


def read(event, /, **fields):
    return read_event(event_name(event), {"event": event, "session": "user_x", **fields}, dict(FACTS))


def one(event, /, **fields):
    (found,) = read(event, **fields).events
    return found


def refusal(event, /, **fields):
    with pytest.raises(Malformed) as refused:
        read(event, **fields)
    return refused.value.code


def message(**more: Any) -> dict[str, Any]:
    plain = {"id": f"false_{ANA}_3EB0A", "type": "chat", "body": "Oi", "t": SECONDS, "fromMe": False, "ack": 1}
    return {**plain, "from": ANA, "to": OWN, "chatId": ANA, "notifyName": "Ana", "sender": {"id": ANA}, **more}


# ---- names -----------------------------------------------------------------------------------------------------


def test_every_event_of_the_table_is_known_by_the_name_that_the_envelope_gives_it():
    assert {event_name(name) for name in NAMES} == set(READERS)


def test_no_event_has_a_name_of_another_gateway():
    assert not READERS.keys() & EVOLUTIONS.keys()


def test_an_unknown_event_is_said_so():
    assert refusal("onsomething") == "UNKNOWN_EVENT"


@pytest.mark.parametrize("event", ["onpresencechanged", "onparticipantschanged", "onupdatelabel", "location"])
def test_what_has_no_effect_is_known_and_yields_nothing(event):
    assert read(event, id=ANA, isOnline=True).events == ()


def test_a_session_may_be_missing_and_another_one_is_odd():
    for named in ({}, {"session": None}, {"session": "user_x"}):
        document = {"event": "status-find", "status": "inChat", **named}
        assert read_event("status.find", document, dict(FACTS)).issues == ()
    document = {"event": "status-find", "status": "inChat", "session": "old-name"}
    assert read_event("status.find", document, dict(FACTS)).issues == ("instance_mismatch",)
    assert read_event("status.find", document, dict(FACTS), called="old-name").issues == ()


# ---- sessions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state", "reason", "ended"),
    [
        ("notLogged", State.CONNECTING, None, False),
        ("isLogged", State.CONNECTING, None, False),
        ("qrReadSuccess", State.CONNECTING, None, False),
        ("inChat", State.UNKNOWN, None, False),
        ("qrReadFail", State.REFUSED, 428, False),
        ("qrReadError", State.REFUSED, 428, False),
        ("phoneNotConnected", State.DISCONNECTED, 408, False),
        ("autocloseCalled", State.DISCONNECTED, None, False),
        ("browserClose", State.DISCONNECTED, None, False),
        ("serverClose", State.DISCONNECTED, None, False),
        ("disconnectedMobile", State.DISCONNECTED, 401, True),
        ("desconnectedMobile", State.DISCONNECTED, 401, True),
    ],
)
def test_each_word_of_a_status_has_its_state(word, state, reason, ended):
    found = read("status-find", status=word)
    report = found.events[-1]
    assert isinstance(report, ConnectionReported)
    assert (report.state, report.reason, report.ended, found.issues) == (state, reason, ended, ())


def test_an_unknown_word_is_kept_for_what_it_is():
    found = read("status-find", status="deleteToken")
    assert (found.events[0].state, found.issues) == (State.UNKNOWN, ("unknown_state",))
    assert refusal("status-find") == refusal("status-find", status=7) == "UNKNOWN_SHAPE"


def test_reports_count_from_when_they_came():
    assert one("closesession", connected=False).reported_at == HEARD


def test_a_close_keeps_the_pairing_and_a_logout_ends_it():
    closed, out = one("closesession", connected=False), one("logoutsession", connected=False)
    assert (closed.state, closed.reason, closed.ended) == (State.DISCONNECTED, None, False)
    assert (out.state, out.reason, out.ended) == (State.DISCONNECTED, 401, True)


def test_a_code_comes_raw_or_as_a_picture():
    assert one("qrcode", qrcode=BYTES, urlcode="2@abc").pairing == Pairing(qr="2@abc")
    assert one("qrcode", qrcode=BYTES).pairing == Pairing(qr=f"data:image/png;base64,{BYTES}")
    found = read("qrcode", qrcode="<svg>", urlcode="dois\n")
    assert (found.events, found.issues) == ((), ("bad_qr",))
    assert refusal("qrcode") == "NO_QRCODE"


def test_a_pairing_code_comes_by_webhook():
    for code in ("K3ZT9QWB", "k3zt-9qwb"):
        assert one("phoneCode", phoneCode=code, phone="5511").pairing == Pairing(pairing_code="K3ZT9QWB")
    assert read("phoneCode", phoneCode="?").issues == ("bad_qr",)
    assert refusal("phoneCode") == "NO_QRCODE"


def story(*told: tuple[str, dict[str, Any]], standing: Standing = Standing()) -> Standing:  # noqa: B008 — frozen
    """What is known after these events, a second apart."""
    for second, (event, fields) in enumerate(told):
        at = HEARD + timedelta(seconds=second)
        for report in read_event(event_name(event), fields, {**FACTS, "received_at": at}).events:
            if isinstance(report, PairingReported):
                standing = pairing_reported(standing, report, Lifetimes(qr=timedelta(seconds=45)))
            elif isinstance(report, ConnectionReported):
                standing = connection_reported(standing, report)
    return standing


QR = ("qrcode", {"urlcode": "2@abc"})
UNPAIRED = ("status-find", {"status": "disconnectedMobile"})


def test_a_code_that_a_phone_took_is_shown_no_more():
    assert story(QR).status is Status.QR_PENDING
    assert story(QR, ("status-find", {"status": "qrReadSuccess"})).status is Status.CONNECTING
    assert story(QR, ("status-find", {"status": "autocloseCalled"})).status is Status.DISCONNECTED


def test_a_page_that_loads_again_is_connected_all_the_while():
    before = replace(story(QR, ("status-find", {"status": "qrReadSuccess"})), state=State.CONNECTED)
    assert story(("status-find", {"status": "inChat"}), standing=before).status is Status.CONNECTED


def test_what_a_phone_has_just_taken_is_not_made_anew():
    """WhatsApp may take minutes to bring the chats over; a click meanwhile must not cost the pairing."""
    facts: dict[str, Any] = {"id": uuid4(), "name": "user_x", "user_id": uuid4(), "hooked": True, "asked_at": HEARD}
    facts |= {"organization_id": None, "updated_at": None}
    for word, is_stuck in (("qrReadSuccess", False), ("notLogged", True)):
        standing = story(QR, ("status-find", {"status": word}))
        standing = replace(standing, pairing=None)
        record = InstanceRecord(**facts, status=standing.status, standing=standing)
        assert needs_making(record, HEARD + timedelta(minutes=3)) is is_stuck
        assert takes_no_number(standing) is is_stuck


def test_the_phones_end_is_forgotten_with_the_next_pairing():
    assert story(UNPAIRED).cause == 401
    again = (UNPAIRED, ("status-find", {"status": "isLogged"}), ("status-find", {"status": "browserClose"}))
    assert story(*again).cause is None


# ---- messages --------------------------------------------------------------------------------------------------


def test_a_message_has_whatsapps_own_id_and_its_names():
    found = one("onmessage", **message())
    assert isinstance(found, MessageReported)
    assert (found.message_id, found.chat, found.author, found.own) == ("3EB0A", (ANA_JID,), (ANA_JID,), OWN_JID)
    assert (found.kind, found.text, found.status, found.push_name) == ("text", "Oi", "delivered", "Ana")
    assert (found.from_me, found.history, found.details, found.original) == (False, False, None, None)
    assert found.sent_at == datetime.fromtimestamp(SECONDS, UTC)


def test_what_was_unread_at_the_start_is_a_message_too():
    assert one("unreadmessages", **message()) == one("onmessage", **message())


def test_a_message_of_ones_own_stands_in_the_others_chat():
    ours = message(id=f"true_{ANA}_3EB0B", fromMe=True, chatId=None, ack=1, **{"from": OWN, "to": ANA})
    found = one("onselfmessage", **ours)
    assert (found.message_id, found.chat, found.author, found.own) == ("3EB0B", (ANA_JID,), (), OWN_JID)
    assert (found.from_me, found.status) == (True, "sent")


def test_a_message_in_a_group_has_its_author():
    told = message(id=f"false_{GROUP}_3EB0A_{ANA}", chatId=GROUP, author=ANA, isGroupMsg=True, **{"from": GROUP})
    found = one("onmessage", **told)
    assert (found.message_id, found.chat, found.author) == ("3EB0A", (GROUP,), (ANA_JID,))


def test_a_person_may_have_two_names_and_names_may_be_objects():
    told = message(chatId={"_serialized": "77@lid"}, **{"from": "77@lid"})
    assert one("onmessage", **told).chat == ("77@lid", ANA_JID)


def test_what_nobody_can_answer_to_is_left_out():
    assert read("onmessage", **message(chatId="12@newsletter", **{"from": "12@newsletter"})).events == ()
    assert read("onmessage", **message(type="e2e_notification")).events == ()
    assert read("onmessage", **message(type="revoked")).events == ()


@pytest.mark.parametrize(
    ("fields", "kind", "text", "details"),
    [
        ({"type": "image", "caption": "Praia", "mimetype": "image/jpeg", "size": 9, "width": 4, "height": 3},
         "image", "Praia", {"mimeType": "image/jpeg", "sizeBytes": 9, "width": 4, "height": 3}),
        ({"type": "image", "isViewOnce": True}, "image", "Foto", {"viewOnce": True}),
        ({"type": "video", "isGif": True}, "video", "GIF", {"gif": True}),
        ({"type": "ptt", "duration": "3", "mimetype": "audio/ogg"}, "voice", "Mensagem de voz (0:03)",
         {"seconds": 3, "mimeType": "audio/ogg"}),
        ({"type": "audio"}, "audio", "Áudio", {}),
        ({"type": "document", "filename": "a.pdf", "caption": "a.pdf", "pageCount": 2}, "document", "Documento: a.pdf",
         {"fileName": "a.pdf", "pageCount": 2}),
        ({"type": "sticker"}, "sticker", "Figurinha", {}),
        ({"type": "ptv"}, "video_note", "Mensagem de vídeo", {}),
        ({"type": "location", "lat": -23.5, "lng": -46.6, "loc": "Loja\nRua X"}, "location", "Localização: Loja, Rua X",
         {"latitude": -23.5, "longitude": -46.6, "name": "Loja", "address": "Rua X"}),
        ({"type": "location", "lat": 1, "lng": 2, "isLive": True}, "live_location", "Localização em tempo real",
         {"latitude": 1.0, "longitude": 2.0}),
        ({"type": "poll_creation", "pollName": "Qual?", "pollOptions": [{"name": "A"}, {"name": "B"}]}, "poll",
         "Enquete: Qual? (A / B)", {"question": "Qual?", "options": ["A", "B"]}),
        ({"type": "groups_v4_invite", "inviteGrpName": "Turma"}, "invite", "Convite para o grupo: Turma",
         {"name": "Turma"}),
    ],
)  # fmt: skip
def test_a_file_in_the_body_never_becomes_the_text(fields, kind, text, details):
    found = one("onmessage", **message(body=BYTES, content=BYTES, **fields))
    assert (found.kind, found.text, found.details) == (kind, text, details or None)
    assert BYTES not in str(found)


def test_a_card_and_a_reply_have_their_text_in_the_body():
    card = "BEGIN:VCARD\nFN:Bia\nTEL;waid=5511977770000:+55 11 97777-0000\nEND:VCARD"
    found = one("onmessage", **message(type="vcard", body=card, vcardFormattedName="Bia"))
    assert (found.kind, found.text) == ("contact", "Contato: Bia")
    assert found.details == {"contacts": [{"name": "Bia", "phones": ["5511977770000"]}]}
    several = message(type="multi_vcard", vcardList=[{"displayName": "Bia", "vcard": card}], body=BYTES)
    assert one("onmessage", **several).kind == "contacts"
    chosen = {"title": "Um", "singleSelectReply": {"selectedRowId": "row1"}}
    replies: dict[str, tuple[dict[str, Any], str, list[str]]] = {
        "list_response": ({"listResponse": chosen}, "list_reply", ["row1"]),
        "buttons_response": ({"selectedId": "yes"}, "buttons_reply", ["yes"]),
        "template_button_reply": ({"selectedId": "no"}, "template_reply", ["no"]),
    }
    for kind, (fields, ours, selected) in replies.items():
        found = one("onmessage", **message(type=kind, body="Um", **fields))
        assert (found.kind, found.text, found.details) == (ours, "Um", {"selected": selected})


def test_a_kind_that_nobody_knows_is_kept_and_said_so():
    reading = read("onmessage", **message(type="hologram", body=BYTES, depth=7))
    assert (reading.events[0].kind, reading.issues) == ("unsupported", ("unknown_message",))
    assert reading.events[0].original["depth"] == 7
    assert "sender" not in reading.events[0].original


def test_a_message_says_what_it_answers_and_whom_it_names():
    for quoted in (f"false_{ANA}_3EB0Q", {"id": "3EB0Q", "_serialized": "x"}):
        assert one("onmessage", **message(quotedMsgId=quoted)).quoted_id == "3EB0Q"
    assert one("onmessage", **message(quotedStanzaID="3EB0Q")).quoted_id == "3EB0Q"
    told = message(mentionedJidList=[ANA, {"_serialized": OWN}], isForwarded=True)
    assert one("onmessage", **told).details == {"mentions": [ANA_JID, OWN_JID], "forwarded": True}


def test_a_message_without_an_id_or_a_chat_is_odd_and_one_without_a_type_is_none():
    assert read("onmessage", **message(id=None)).issues == ("no_message_id",)
    assert read("onmessage", **message(chatId=None, sender=None, **{"from": None})).issues == ("no_chat",)
    assert refusal("onmessage", body="Oi") == "UNKNOWN_SHAPE"


# ---- marks -----------------------------------------------------------------------------------------------------


ACKS = [(-5, "error"), (-1, "error"), (0, "pending"), (1, "sent"), (2, "delivered"), (3, "read"), (4, "played")]


@pytest.mark.parametrize(("number", "status"), ACKS)
def test_a_receipt_says_how_far_a_message_got(number, status):
    found = one("onack", id=KEY, ack=number, to=ANA, **{"from": OWN})
    assert isinstance(found, StatusReported)
    assert (found.message_id, found.status, found.own) == ("3EB0A", status, OWN_JID)


def test_a_receipt_may_say_nothing_of_that():
    for number in (-7, -6, 5):
        assert read("onack", id=KEY, ack=number).events == read("onack", id=KEY, ack=number).issues == ()
    for odd in (99, "3", None, True):
        assert read("onack", id=KEY, ack=odd).issues == ("unknown_status",)
    assert read("onack", id={}, ack=3).issues == ("no_message_id",)
    assert refusal("onack", id=KEY) == "UNKNOWN_SHAPE"


def test_a_deletion_names_the_message_and_not_itself():
    found = one("onrevokedmessage", id={"id": "D1"}, refId=KEY, to=OWN, **{"from": ANA})
    assert (type(found), found.message_id) == (DeleteReported, "3EB0A")
    assert one("onrevokedmessage", refId=f"false_{ANA}_3EB0A").message_id == "3EB0A"
    assert refusal("onrevokedmessage", id={"id": "D1"}) == "UNKNOWN_SHAPE"


def test_a_reaction_has_its_author_and_may_be_taken_back():
    key = {"fromMe": False, "remote": ANA, "id": "R1"}
    told = {"id": key, "msgId": KEY, "reactionText": "👍", "timestamp": SECONDS * 1000}
    found = one("onreactionmessage", **told)
    assert (type(found), found.message_id, found.emoji) == (ReactionReported, "3EB0A", "👍")
    assert (found.author, found.from_me) == ((ANA_JID,), False)
    assert found.reacted_at == datetime.fromtimestamp(SECONDS, UTC)
    assert one("onreactionmessage", **told | {"reactionText": ""}).emoji == ""
    in_group = key | {"remote": GROUP, "participant": {"_serialized": ANA}}
    assert one("onreactionmessage", **told | {"id": in_group}).author == (ANA_JID,)
    assert one("onreactionmessage", **told | {"id": key | {"fromMe": True}}).from_me


def test_a_vote_is_a_message_that_comes_once():
    told = {"msgId": KEY, "chatId": GROUP, "sender": ANA, "selectedOptions": [{"name": "A", "localId": 0}]}
    found = one("onpollresponse", timestamp=SECONDS, **told)
    assert (found.kind, found.text, found.chat, found.author) == (
        "poll_vote",
        "Voto na enquete",
        (GROUP,),
        (ANA_JID,),
    )
    assert found.details == {"pollId": "3EB0A", "selected": ["A"]}
    assert found == one("onpollresponse", timestamp=SECONDS, **told)
    assert found.message_id != one("onpollresponse", timestamp=SECONDS + 1, **told).message_id


def test_a_call_is_a_message():
    found = one("incomingcall", id="C1", peerJid=ANA, offerTime=SECONDS, isVideo=True, isGroup=False)
    assert (found.kind, found.text, found.chat, found.author) == ("call", "Ligação de vídeo", (ANA_JID,), (ANA_JID,))
    assert (found.message_id, found.sent_at) == ("C1", datetime.fromtimestamp(SECONDS, UTC))
    assert one("incomingcall", id="C1", peerJid=ANA, groupJid=GROUP, offerTime=SECONDS).chat == (GROUP,)


# ---- whatever comes --------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.just(ANA),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["id", "msgId", "refId", "type", "body", "from", "to", "chatId", "author", "sender", "fromMe", "ack", "t", "status",
     "urlcode", "qrcode", "phoneCode", "selectedOptions", "timestamp", "peerJid", "groupJid", "mentionedJidList",
     "quotedMsgId", "reactionText", "session", "pollOptions", "caption", "offerTime", "notifyName"]
)  # fmt: skip


KINDS = st.sampled_from(["chat", "image", "location", "vcard", "poll_creation", "list_response", "hologram"])


@given(event=st.sampled_from(sorted(READERS)), fields=st.dictionaries(FIELDS, JSON, max_size=8))
def test_whatever_comes_is_events_or_malformed(event, fields):
    codes = {None, "UNKNOWN_SHAPE", "NO_QRCODE"}
    try:
        found, code = read_event(event, fields, dict(FACTS)).events, None
    except Malformed as refused:
        found, code = (), refused.code
    assert code in codes
    assert all(report.instance == "user_x" for report in found)


@given(kind=KINDS, fields=st.dictionaries(FIELDS, JSON, max_size=8))
def test_whatever_a_message_holds_it_is_read(kind, fields):
    found = read_event("onmessage", message(**fields) | {"type": kind}, dict(FACTS))
    assert len(found.events) <= 1
