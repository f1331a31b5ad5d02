"""The broker's client against a stand-in of both kinds of builds, and against a server that answers as a test wants."""

import base64
import json

import pytest

from core.errors import (
    BadResponse,
    InstanceUnknown,
    InvalidRecipient,
    NameInUse,
    NotConnected,
    NotOffered,
    ProviderError,
    ProviderRefused,
    RateLimited,
    Unavailable,
)
from manager.providers.blame import blames_server
from manager.providers.broker.answers import NotYet, WrongAddress
from manager.providers.broker.client import BrokerClient
from manager.providers.guarded import Breaker, Guarded, Policy
from manager.providers.port import Found, Hook, State
from tests.conftest import KEY
from tests.provider.broker_server import BrokerServer

HOOK = Hook(url="http://127.0.0.1:9/hook", token="whk_token", jwt_key="jwt-key")
NAME = "user_7b1d2c3e-0000-4000-8000-000000000001"
PHONE = "5511999990001"
PAGE = b"<!DOCTYPE html><h1>Welcome</h1>"
CALLS = {
    "ping": lambda it: it.ping(),
    "instances": lambda it: it.instances(),
    "states": lambda it: it.states(),
    "state": lambda it: it.state(NAME),
    "identity": lambda it: it.identity(NAME),
    "create": lambda it: it.create(NAME, HOOK),
    "connect": lambda it: it.connect(NAME),
    "restart": lambda it: it.restart(NAME),
    "logout": lambda it: it.logout(NAME),
    "delete": lambda it: it.delete(NAME),
    "send_text": lambda it: it.send_text(NAME, PHONE, "x"),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture(params=[False, True], ids=["2025", "2026"])
def broker(request):
    """A build of either kind, with an instance that nobody is paired with."""
    with BrokerServer(KEY, told=request.param).serving() as server:
        BrokerClient(server.url, KEY).create(NAME, HOOK)
        yield server


@pytest.fixture
def told():
    """A build of 2026, with an instance."""
    with BrokerServer(KEY, told=True).serving() as server:
        BrokerClient(server.url, KEY).create(NAME, HOOK)
        yield server


@pytest.fixture
def untold():
    """A build of 2025, with an instance."""
    with BrokerServer(KEY, told=False).serving() as server:
        BrokerClient(server.url, KEY).create(NAME, HOOK)
        yield server


def client(server):
    return BrokerClient(server.url, KEY)


def asked(server, call):
    """What the call asks the server."""
    server.seen.clear()
    call(client(server))
    return [line.replace(NAME, "NAME") for line in server.seen]


def answering(status, body, **headers):
    return lambda handler: handler.answer(status, body, **headers)


def by_path(**answers):
    """Answer (status, body) by the first of these that the path ends in, `_` being `/`."""

    def play(handler):
        path = handler.path.replace("/", "_")
        status, body = next(answer for end, answer in answers.items() if path.endswith(end))
        handler.answer(status, body)

    return play


def raised(call):
    with pytest.raises(ProviderError) as caught:
        call()
    return caught.value


# ---- what it asks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["", "/", "/instances", "/instances/"])
def test_the_address_is_taken_with_the_route_of_the_instances_and_without(broker, tail):
    assert BrokerClient(f"{broker.url}{tail}", KEY).state(NAME).state is State.CONNECTING


def test_the_key_goes_in_its_header(rude):
    rude.plays(answering(200, b"[]"))
    client(rude).ping()
    (_, path, headers) = rude.seen[0]
    assert (path, headers["x-api-key"]) == ("/instances", KEY)


def test_the_status_route_is_never_asked_for_it_is_that_of_messages(broker):
    it = client(broker)
    for call in (*CALLS.values(), lambda it: it.connect(NAME, PHONE)):
        try:
            call(it)
        except ProviderError:
            continue
    assert not [line for line in broker.seen if line.endswith("/status")]


def test_each_call_asks_no_more_than_it_needs(told):
    assert asked(told, CALLS["ping"]) == ["GET /instances"]
    assert asked(told, CALLS["states"]) == ["GET /instances"]
    assert asked(told, CALLS["state"]) == ["GET /instances/NAME", "GET /instances/NAME/qr.png"]
    told.scan(NAME)
    assert asked(told, CALLS["state"]) == ["GET /instances/NAME"]
    assert asked(told, CALLS["connect"]) == ["GET /instances/NAME"]
    assert asked(told, CALLS["restart"]) == ["GET /instances/NAME"]
    assert asked(told, CALLS["send_text"]) == ["POST /instances/NAME/send-text"]


def test_a_name_that_it_would_change_is_not_even_asked_for(broker):
    broker.seen.clear()
    with pytest.raises(NotOffered):
        client(broker).create("Maria Silva", HOOK)
    assert broker.seen == []


def test_its_webhook_is_its_operators(broker):
    broker.seen.clear()
    client(broker).set_hook(NAME, HOOK)
    with pytest.raises(NotOffered):
        client(broker).hook(NAME)
    assert broker.seen == []
    assert client(broker).silent


# ---- pairing ---------------------------------------------------------------------------------------------------


def test_the_qr_is_a_picture(broker):
    head, _, body = client(broker).connect(NAME).pairing.qr.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body).startswith(b"\x89PNG")


def test_the_qr_is_another_one_once_the_broker_has_another(broker):
    before = client(broker).state(NAME).pairing.qr
    broker.instances[NAME].qr = "2@the-next-one"
    assert client(broker).state(NAME).pairing.qr != before


def test_no_qr_is_no_pairing_yet(broker):
    broker.instances[NAME].qr = None
    for seen in (client(broker).state(NAME), client(broker).connect(NAME)):
        assert (seen.state, seen.pairing) == (State.CONNECTING, None)


def test_a_pairing_code_comes_alone(broker):
    pairing = client(broker).connect(NAME, PHONE).pairing
    assert (pairing.qr, len(pairing.pairing_code)) == (None, 8)


def test_a_number_that_a_code_was_made_for_is_not_paired_yet(broker):
    """Builds of 2025 say `connected` from then on."""
    client(broker).connect(NAME, PHONE)
    assert client(broker).state(NAME).state is State.CONNECTING
    assert client(broker).identity(NAME) == Found(name=NAME, stored_state=State.CONNECTING)


@pytest.mark.parametrize("trouble", ["is_opening", "has_socket"])
def test_a_pairing_code_waits_for_the_socket_and_is_no_trouble_of_the_server(broker, trouble):
    setattr(broker.instances[NAME], trouble, trouble == "is_opening")
    it = client(broker)
    found = raised(lambda: it.connect(NAME, PHONE))
    assert (type(found), found.code, found.retryable) == (NotYet, "PROVIDER_BUSY", True)
    breaker = Breaker(Policy(failures=1))

    def it_gets_there(waited_s: float) -> None:
        assert waited_s < 2
        setattr(broker.instances[NAME], trouble, trouble != "is_opening")

    gateway = Guarded(lambda: it, Policy(failures=1), breaker, sleep=it_gets_there)
    assert gateway.connect(NAME, PHONE).pairing
    assert breaker.state == "closed"


@pytest.mark.parametrize("body", [PAGE, b"", b"{}"])
def test_a_qr_that_is_no_picture_is_not_shown(rude, body):
    rude.plays(by_path(png=(200, body), instances_x=(200, b'{"connectionState":"connecting","hasLastQr":true}')))
    assert type(raised(lambda: client(rude).connect("x"))) is BadResponse


def test_an_instance_that_goes_before_its_qr_was_fetched_is_unknown(rude):
    rude.plays(by_path(png=(404, b"instance_not_found"), instances_x=(200, b'{"connected":false}')))
    assert type(raised(lambda: client(rude).connect("x"))) is InstanceUnknown
    assert client(rude).state("x").state is State.NOT_FOUND


def test_a_scan_connects_and_says_whose_phone_it_is(broker):
    broker.scan(NAME)
    assert client(broker).state(NAME).state is State.CONNECTED
    found = Found(name=NAME, stored_state=State.CONNECTED, phone=PHONE, profile_name="Ana")
    assert client(broker).identity(NAME) == found
    assert client(broker).instances() == [found]


def test_nobody_is_nobodys(broker):
    assert client(broker).identity("user_of-nobody") is None


# ---- how it stands ---------------------------------------------------------------------------------------------


def test_a_connection_that_broke_is_closed_and_comes_back_by_itself(told):
    told.scan(NAME)
    told.drop(NAME)
    seen = client(told).state(NAME)
    assert (seen.state, seen.pairing, seen.ended) == (State.DISCONNECTED, None, False)
    assert client(told).states() == {NAME: State.DISCONNECTED}


def test_a_phone_that_parted_has_ended_the_session(told):
    told.scan(NAME)
    told.unpair(NAME)
    seen = client(told).state(NAME)
    assert (seen.state, seen.ended) == (State.DISCONNECTED, True)


def test_codes_that_nobody_scanned_are_used_up_and_a_look_does_not_begin_anew(told):
    told.run_out(NAME)
    assert client(told).state(NAME).state is State.REFUSED
    assert client(told).state(NAME).state is State.REFUSED
    assert client(told).connect(NAME).pairing is None  # now its socket is started
    assert client(told).connect(NAME).pairing.qr


def test_restarting_does_nothing_to_an_open_one_and_fails_on_one_that_is_closed(told):
    told.scan(NAME)
    assert client(told).restart(NAME).state is State.CONNECTED
    told.drop(NAME)
    assert type(raised(lambda: client(told).restart(NAME))) is ProviderError


def test_a_build_that_shows_instances_in_its_list_only_is_understood(rude):
    rows = json.dumps([{"id": "x", "connected": True, "user": {"id": f"{PHONE}:1@s.whatsapp.net", "name": "Ana"}}])
    rude.plays(by_path(_instances=(200, rows.encode()), _instances_x=(404, PAGE), _instances_y=(404, PAGE)))
    it = client(rude)
    assert (it.state("x").state, it.state("y").state) == (State.CONNECTED, State.NOT_FOUND)
    assert it.identity("x").phone == PHONE


# ---- parting ---------------------------------------------------------------------------------------------------


def test_logging_out_an_open_one_shows_a_new_qr(told):
    told.scan(NAME)
    assert asked(told, CALLS["logout"])[1:] == ["POST /instances/NAME/logout"]
    assert client(told).state(NAME).pairing.qr


def test_one_that_is_away_loses_its_session_and_does_not_come_back_by_itself(told):
    told.scan(NAME)
    told.drop(NAME)
    assert asked(told, CALLS["logout"])[1:] == ["POST /instances/NAME/session/wipe"]
    assert told.instances[NAME].user is None


def test_a_build_of_2025_loses_the_instance_for_it_would_say_connected_for_ever(untold):
    untold.scan(NAME)
    assert asked(untold, CALLS["logout"])[1:] == ["DELETE /instances/NAME"]
    assert client(untold).state(NAME).state is State.NOT_FOUND


def test_a_build_of_2025_is_never_asked_to_wipe_for_it_would_exit(untold):
    for happens in (lambda _: None, untold.scan, untold.drop, untold.unpair):
        if NAME not in untold.instances:
            client(untold).create(NAME, HOOK)
        happens(NAME)
        client(untold).logout(NAME)
        assert not untold.has_exited


@pytest.mark.parametrize("happens", ["scan", "run_out", None])
def test_nobody_is_logged_out_twice(told, happens):
    if happens:
        getattr(told, happens)(NAME)
        client(told).logout(NAME)
    assert asked(told, CALLS["logout"]) == ["GET /instances/NAME"]


def test_the_brokers_own_instance_cannot_be_deleted(broker):
    assert type(raised(lambda: client(broker).delete("default"))) is ProviderError


# ---- sending ---------------------------------------------------------------------------------------------------


def test_a_text_is_sent_once(broker):
    broker.scan(NAME)
    sent = client(broker).send_text(NAME, PHONE, "Olá 😀")
    assert (sent.message_id[:4], sent.status) == ("3EB0", "pending")
    assert broker.instances[NAME].sent == [(PHONE, "Olá 😀")]


def test_a_foreign_number_is_not_even_asked_for(broker):
    """The broker would write to somebody in Brazil: it puts a 55 before eleven digits."""
    broker.scan(NAME)
    broker.seen.clear()
    for to in ("12025550123", "77@lid", "120363000000000011@g.us"):
        with pytest.raises(InvalidRecipient):
            client(broker).send_text(NAME, to, "Olá")
    assert broker.seen == []


def test_a_broker_that_pauses_for_risk_sends_later(broker):
    broker.scan(NAME)
    broker.is_paused = True
    found = raised(lambda: client(broker).send_text(NAME, PHONE, "x"))
    assert (type(found), found.details) == (RateLimited, {})


def test_an_empty_text_is_a_failure_of_its_own(broker):
    broker.scan(NAME)
    assert type(raised(lambda: client(broker).send_text(NAME, PHONE, " "))) is ProviderError


SENDS = [
    (503, b'{"error":"instance_offline","state":"close"}', NotConnected),
    (503, b'{"error":"socket_unavailable","detail":"x","message":"Connection Closed"}', NotConnected),
    (503, '{"error":"socket indisponível"}'.encode(), NotConnected),
    (500, b'{"error":"internal_server_error","message":"send timeout"}', ProviderError),
    (500, b'{"error":"send_failed","detail":"x"}', ProviderError),
    (404, b'{"error":"whatsapp_not_found"}', InvalidRecipient),
    (404, b'{"error":"instance_not_found"}', InstanceUnknown),
    (400, '{"error":"to inválido. Use E.164: 55DDDNUMERO"}'.encode(), ProviderError),
    (429, b'{"error":"rate limit exceeded"}', RateLimited),
    (429, b'{"error":"risk_paused"}', RateLimited),
]


@pytest.mark.parametrize(("status", "body", "error"), SENDS)
def test_what_a_send_may_answer_while_it_is_open(rude, status, body, error):
    rude.plays(by_path(text=(status, body), instances_x=(200, b'{"connectionState":"open"}')))
    found = raised(lambda: client(rude).send_text("x", PHONE, "Olá"))
    assert (type(found), found.provider_status, blames_server(found)) == (error, status, False)
    assert [path for method, path, _ in rude.seen if method == "POST"] == ["/instances/x/send-text"]


def test_a_wait_that_the_broker_asks_for_is_told(rude):
    rude.plays(answering(429, b'{"error":"rate limit exceeded"}', Retry_After="7"))
    found = raised(lambda: client(rude).send_text("x", PHONE, "Olá"))
    assert found.details == {"retry_after_s": 7.0}


# ---- what else may answer --------------------------------------------------------------------------------------

ANSWERS = [
    (401, b'{"error":"unauthorized"}', ProviderRefused),
    (401, PAGE, ProviderRefused),
    (403, b"", ProviderRefused),
    (200, PAGE, BadResponse),
    (200, b"", BadResponse),
    (200, b"7", BadResponse),
    (404, PAGE, WrongAddress),
    (404, b'{"error":"Not Found"}', WrongAddress),
    (301, b"", WrongAddress),
    (302, PAGE, WrongAddress),
    (418, b"", BadResponse),
    (500, PAGE, BadResponse),
    (502, PAGE, Unavailable),
    (503, PAGE, Unavailable),
    (503, b'{"error":"poll_service_unavailable"}', Unavailable),
    (504, b"", Unavailable),
    (429, PAGE, RateLimited),
    (500, b'{"error":"internal_server_error","message":"x"}', ProviderError),
]


@EVERY_CALL
@pytest.mark.parametrize(("status", "body", "error"), ANSWERS)
def test_each_failure_has_its_own_error(rude, call, status, body, error):
    rude.plays(answering(status, body))
    found = raised(lambda: call(client(rude)))
    assert (type(found), found.provider_status) == (error, status)


@pytest.mark.parametrize("status", [404, 301])
def test_a_wrong_address_is_a_matter_of_configuration(rude, status):
    rude.plays(answering(status, PAGE))
    found = raised(lambda: client(rude).ping())
    assert (found.code, found.http_status) == ("WHATSAPP_NOT_CONFIGURED", 503)
    assert "no broker at its address" in found.message
    assert blames_server(found)


def test_a_broker_in_broker_mode_is_told_by_name(untold):
    untold.in_broker_mode = True
    found = raised(lambda: client(untold).ping())
    assert (type(found), found.code) == (WrongAddress, "WHATSAPP_NOT_CONFIGURED")
    assert "BROKER_MODE" in found.message


def test_a_wrong_key_is_told_apart(broker):
    found = raised(lambda: BrokerClient(broker.url, "wrong").ping())
    assert (type(found), found.code) == (ProviderRefused, "PROVIDER_AUTH")


def test_a_name_in_use_is_told_apart(broker):
    found = raised(lambda: client(broker).create(NAME, HOOK))
    assert (type(found), found.provider_status) == (NameInUse, 409)


@pytest.mark.parametrize("body", [b"{}", b"null", b'{"instances":[]}'])
def test_a_list_must_be_a_list(rude, body):
    rude.plays(answering(200, body))
    for call in ("ping", "instances", "states"):
        assert type(raised(lambda name=call: CALLS[name](client(rude)))) is BadResponse
