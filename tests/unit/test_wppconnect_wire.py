"""What WPPConnect Server answers, and what we send it."""

from typing import Any

import pytest

from core.errors import (
    BadResponse,
    InvalidRecipient,
    NotConnected,
    ProviderError,
    ProviderRefused,
    RateLimited,
    Unavailable,
)
from manager.providers.port import Found, Hook, Pairing, Sent, Snapshot, State
from manager.providers.wppconnect import wire
from manager.providers.wppconnect.answers import Reply
from manager.providers.wppconnect.ids import address, is_ours, message_id

HOOK = Hook(url="http://here/hook", token="t", jwt_key="k")
PICTURE = "data:image/png;base64,iVBORw0KGgo="
INACTIVE = {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}
NO_WHATSAPP = {"response": None, "status": "Connected", "message": "O número 5511 não existe."}
WRONG_SECRET = {"response": False, "message": "The token is incorrect"}


@pytest.mark.parametrize(
    ("word", "state"),
    [
        (None, State.DISCONNECTED),
        ("CLOSED", State.DISCONNECTED),
        ("INITIALIZING", State.CONNECTING),
        ("QRCODE", State.CONNECTING),
        ("PHONECODE", State.CONNECTING),
        ("CONNECTED", State.CONNECTED),
        ("HIBERNATING", State.UNKNOWN),
        ({}, State.UNKNOWN),
        (7, State.UNKNOWN),
    ],
)
def test_each_status_has_its_state(word, state):
    assert wire.snapshot("user_x", {"status": word}) == Snapshot(name="user_x", state=state)


def test_an_answer_without_a_status_says_nothing():
    assert wire.snapshot("user_x", {}).state is State.UNKNOWN


def test_a_code_counts_only_while_the_status_says_so():
    old = {"qrcode": PICTURE, "urlcode": "2@old", "version": "2.10.4"}
    assert wire.snapshot("user_x", {"status": "QRCODE", **old}).pairing == Pairing(qr="2@old")
    for word in ("CLOSED", "CONNECTED", "INITIALIZING", None):
        assert wire.snapshot("user_x", {"status": word, **old}).pairing is None


def test_without_the_raw_code_the_picture_is_the_code():
    assert wire.pairing({"qrcode": PICTURE}) == Pairing(qr=PICTURE)
    assert wire.pairing({"qrcode": PICTURE.partition(",")[2], "urlcode": ""}) == Pairing(qr=PICTURE)
    for odd in ("<svg>", "data:text/html;base64,QQ==", 7, None, "", "a" * 200_000):
        assert wire.pairing({"qrcode": odd}) is None


def test_what_was_closed_opens_with_a_start():
    assert wire.started("user_x", {"status": "CLOSED", "qrcode": None}).state is State.CONNECTING
    assert wire.started("user_x", {"status": None}).state is State.CONNECTING
    assert wire.started("user_x", {"status": "CONNECTED"}).state is State.CONNECTED


def test_the_webhook_goes_with_each_start_and_no_start_waits_for_a_code():
    assert wire.start_body(None, HOOK) == {"waitQrCode": False, "webhook": HOOK.url}
    assert wire.start_body("5511", HOOK) == {"waitQrCode": False, "webhook": HOOK.url, "phone": "5511"}
    assert wire.start_body(None, None) == {}


def test_sessions_are_listed_in_both_shapes():
    assert wire.names({"response": ["user_1", "user_2"]}) == ["user_1", "user_2"]
    assert wire.names({"response": [{"session": "user_1"}, {"session": None}, 7]}) == ["user_1"]
    for odd in ({}, {"response": None}, {"response": "user_1"}):
        with pytest.raises(BadResponse):
            wire.names(odd)


def test_a_device_or_a_number_says_whose_phone_it_is():
    device = {"response": {"pushname": "Ana", "phoneNumber": "5511999990001@c.us", "battery": 7}}
    found = Found(name="user_x", stored_state=State.UNKNOWN, phone="5511999990001", profile_name="Ana")
    assert wire.identity("user_x", device) == found
    by_wid = {"response": {"wid": {"_serialized": "5511999990001:3@c.us"}, "pushname": "Ana"}}
    assert wire.identity("user_x", by_wid) == found
    bare = wire.identity("user_x", {"response": "5511999990001@c.us"})
    assert bare == Found(name="user_x", stored_state=State.UNKNOWN, phone="5511999990001")
    none: list[dict[str, Any]] = [{}, {"response": None}, {"response": {"phoneNumber": "77@lid"}}, {"response": []}]
    for nobody in none:
        assert wire.identity("user_x", nobody) is None


@pytest.mark.parametrize(
    ("to", "body"),
    [
        ("5511999990001", {"phone": "5511999990001"}),
        ("5511999990001@s.whatsapp.net", {"phone": "5511999990001"}),
        ("77@lid", {"phone": "77", "isLid": True}),
        ("1203630000@g.us", {"phone": "1203630000", "isGroup": True}),
    ],
)
def test_a_text_goes_to_one_number_or_chat(to, body):
    assert wire.text_body(to, "Oi") == {**body, "message": "Oi"}


@pytest.mark.parametrize("to", ["", "+55 11", "status@broadcast", "5511999990001,5511999990002", "x@nowhere"])
def test_what_is_no_number_is_not_sent_to(to):
    with pytest.raises(InvalidRecipient):
        wire.text_body(to, "Oi")


def test_what_was_sent_has_whatsapps_own_id():
    for given in ("true_5511@c.us_3EB0A", {"id": "3EB0A", "fromMe": True, "_serialized": "true_5511@c.us_3EB0A"}):
        for response in ([{"id": given, "ack": 1}], {"id": given, "ack": 1}):
            assert wire.sent({"status": "success", "response": response}) == Sent(message_id="3EB0A", status="sent")
    assert wire.sent({"response": []}) == Sent(message_id=None, status="pending")


@pytest.mark.parametrize("failed", [{"ack": -1}, {"ack": 0, "isSendFailure": True}])
def test_a_success_that_says_that_it_failed_is_a_failure(failed):
    with pytest.raises(ProviderError) as caught:
        wire.sent({"response": [{"id": "true_5511@c.us_3EB0A", **failed}]})
    assert type(caught.value) is ProviderError


@pytest.mark.parametrize(
    ("status", "document", "error"),
    [
        (401, {"error": "Check that the Session and Token are correct"}, ProviderRefused),
        (401, {"message": "Token is not present. Check your header and try again"}, ProviderRefused),
        (400, WRONG_SECRET, ProviderRefused),
        (400, {**WRONG_SECRET, "response": "error"}, ProviderRefused),
        (404, INACTIVE, NotConnected),
        (404, {"status": "success"}, BadResponse),
        (400, NO_WHATSAPP, InvalidRecipient),
        (400, "Error sending message", ProviderError),
        (500, {"status": ["error"], "message": "The session is not active"}, ProviderError),
        (500, {"status": "Error", "message": "Erro ao enviar a mensagem."}, ProviderError),
        (429, {}, RateLimited),
        (502, None, Unavailable),
        (503, {}, Unavailable),
        (418, {}, BadResponse),
        (200, [], BadResponse),
        (200, "text", BadResponse),
    ],
)
def test_each_answer_has_its_error_without_the_gateways_words(status, document, error):
    with pytest.raises(ProviderError) as caught:
        Reply(status=status, document=document).an_object()
    assert (type(caught.value), caught.value.provider_status) == (error, status)
    assert "5511" not in caught.value.message


def test_ids_come_as_texts_and_as_objects():
    key = {"fromMe": False, "remote": "5511@c.us", "id": "3EB0A", "_serialized": "false_5511@c.us_3EB0A"}
    for given in (key, "false_5511@c.us_3EB0A", "false_12@g.us_3EB0A_5511@c.us", "3EB0A"):
        assert message_id(given) == "3EB0A"
    assert (is_ours(key), is_ours("true_5511@c.us_3EB0A"), is_ours("3EB0A")) == (False, True, None)
    assert message_id({"_serialized": "true_5511@c.us_3EB0A"}) == "3EB0A"
    odd_ones: list[Any] = [None, 7, [], {}, {"id": 7}]
    for odd in odd_ones:
        assert (message_id(odd), address(odd), is_ours(odd)) == ("", "", None)
    assert address({"user": "5511", "server": "c.us", "_serialized": "5511@c.us"}) == "5511@c.us"
