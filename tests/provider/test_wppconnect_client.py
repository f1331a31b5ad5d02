"""The WPPConnect client against a server with that server's quirks, and one that answers whatever a test wants."""

import contextlib
import json
import threading
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest

from core.errors import (
    BadResponse,
    InvalidRecipient,
    NameInUse,
    NotConnected,
    NotOffered,
    ProviderError,
    ProviderRefused,
    RateLimited,
    TimedOut,
    Unavailable,
)
from manager.providers.http import Limits
from manager.providers.port import Hook, Pairing, PairingReported, State
from manager.providers.wppconnect.client import WppConnectClient
from manager.providers.wppconnect.events import read_event
from tests.conftest import KEY
from tests.provider.wppconnect_server import PHONE, PNG, WppConnectServer
from tests.waiting import until
from webhooks.envelope import event_name

SHORT = Limits(usual_s=5.0, slow_s=0.3, look_s=1.5)
NAME = "user_x"
INACTIVE = (
    b'{"response":null,"status":"Disconnected","message":"A sess\xc3\xa3o do WhatsApp n\xc3\xa3o est\xc3\xa1 ativa."}'
)
CLOSED = b'{"status":"CLOSED","qrcode":null}'
PROXYS = b"<html><h1>404 Not Found</h1><hr>nginx</html>"
CALLS = {
    "ping": lambda it: it.ping(),
    "version": lambda it: it.version(),
    "instances": lambda it: it.instances(),
    "state": lambda it: it.state(NAME),
    "create": lambda it: it.create(NAME, Hook(url="http://x/", token="t", jwt_key="k")),
    "identity": lambda it: it.identity(NAME),
    "connect": lambda it: it.connect(NAME),
    "restart": lambda it: it.restart(NAME),
    "logout": lambda it: it.logout(NAME),
    "delete": lambda it: it.delete(NAME),
    "send_text": lambda it: it.send_text(NAME, "5511999990001", "x"),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def server():
    with WppConnectServer(KEY).serving() as found:
        yield found


@pytest.fixture
def client(server):
    return WppConnectClient(server.url, KEY)


@pytest.fixture
def hurried(server):
    return WppConnectClient(server.url, KEY, SHORT)


@pytest.fixture(scope="module")
def rudely(one_rude):
    """One client for all, which has made its tokens."""
    return WppConnectClient(one_rude.url, KEY)


@pytest.fixture
def name():
    return f"user_{uuid4()}"


@pytest.fixture
def paired(server, client, name):
    client.connect(name)
    server.scan(name)
    assert client.state(name).state is State.CONNECTED
    return name


class Ear:
    """Hears webhooks, and remembers what came."""

    def __init__(self):
        self.heard = heard = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format, *args):
                """Silent."""

            def do_POST(self):
                heard.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.hook = Hook(url=f"http://127.0.0.1:{self.server.server_port}/hook/secret", token="t", jwt_key="k")

    @property
    def events(self):
        return [document["event"] for _, document in self.heard]

    @property
    def words(self):
        return [document["status"] for _, document in self.heard if document["event"] == "status-find"]


@pytest.fixture
def ear():
    found = Ear()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join(timeout=5)


def routes(server, name):
    return [path.rpartition("/")[2] for _, path, _, _ in server.seen if f"/{name}/" in path]


# ---- who is asking ---------------------------------------------------------------------------------------------


def test_only_the_routes_that_have_no_other_way_carry_the_secret(server, client, paired):
    client.identity(paired)
    client.send_text(paired, "5511999990001", "Oi")
    client.restart(paired)
    client.delete(paired)
    client.instances()
    with_secret = {path.rpartition("/")[2] for _, path, _, _ in server.seen if KEY in path}
    assert with_secret == {"show-all-sessions", "clear-session-data"}
    assert not any(KEY in str(headers) or KEY.encode() in body for _, _, headers, body in server.seen)


def test_the_token_is_the_same_with_every_call_and_never_in_the_path(server, client, name):
    client.connect(name)
    client.connect(name)
    (bearer,) = {headers["Authorization"] for _, path, headers, _ in server.seen if name in path}
    assert not any(bearer.removeprefix("Bearer ") in path for _, path, _, _ in server.seen)


def test_a_secret_with_odd_characters_arrives(name):
    with WppConnectServer("a/b?c#d é").serving() as server:
        client = WppConnectClient(server.url, "a/b?c#d é")
        client.ping()
        client.connect(name)
        assert [found.name for found in client.instances()] == [name]
        client.delete(name)
        assert client.state(name).state is State.NOT_FOUND


def test_a_name_that_no_session_can_have_is_never_asked_for(server, client):
    for odd in ("a:b", "../x", "a" * 72):
        with pytest.raises(NotOffered):
            client.delete(odd)
    assert server.seen == []


# ---- pairing ---------------------------------------------------------------------------------------------------


def test_a_start_hands_over_the_webhook_and_waits_for_no_code(server, client, name, ear):
    client.connect(name, hook=ear.hook)
    ((_, _, _, body),) = [one for one in server.seen if one[1].endswith("start-session")]
    assert json.loads(body) == {"waitQrCode": False, "webhook": ear.hook.url}
    assert ear.events == ["status-find", "qrcode"]
    assert {path for path, _ in ear.heard} == {"/hook/secret"}


def test_a_qr_that_is_refreshed_is_the_one_that_is_shown(server, client, name):
    assert client.connect(name).pairing is None
    first = client.state(name).pairing
    server.refresh(name)
    second = client.connect(name).pairing
    assert first.qr.startswith("2@")
    assert second.qr.startswith("2@")
    assert first != second


def test_a_browser_that_is_still_starting_is_connecting(server, client, name):
    server.slow = True
    client.connect(name)
    assert (client.state(name).state, client.state(name).pairing) == (State.CONNECTING, None)
    server.boot(name)
    assert client.state(name).pairing


def test_a_pairing_code_comes_by_webhook_alone(server, client, name, ear):
    assert client.connect(name, "5511977770009", ear.hook).pairing is None
    assert (client.state(name).state, client.state(name).pairing) == (State.CONNECTING, None)
    (document,) = [document for _, document in ear.heard if document["event"] == "phoneCode"]
    facts = {"delivery_id": 1, "instance": name, "received_at": None}
    (found,) = read_event(event_name(document["event"]), document, facts).events
    assert isinstance(found, PairingReported)
    assert found.pairing
    assert len(found.pairing.pairing_code or "") == 8
    server.scan(name)
    assert client.state(name).state is State.CONNECTED


def test_after_a_code_for_a_phone_a_qr_can_be_asked_for(server, client, name, ear):
    client.connect(name, "5511977770009", ear.hook)
    client.delete(name)
    client.connect(name, hook=ear.hook)
    assert client.state(name).pairing.qr


def test_the_code_of_a_session_that_closed_by_itself_is_not_shown(server, client, name, ear):
    client.connect(name, hook=ear.hook)
    heard = len(ear.heard)
    server.auto_close(name)
    assert (client.state(name).state, client.state(name).pairing) == (State.DISCONNECTED, None)
    assert len(ear.heard) == heard  # nobody is told
    client.connect(name, hook=ear.hook)
    assert client.state(name).pairing


def test_webhooks_of_pairing_may_lack_the_session(server, client, name, ear):
    server.nameless = True
    client.connect(name, hook=ear.hook)
    server.scan(name)
    assert ear.words == ["notLogged", "qrReadSuccess", "inChat"]
    assert not any("session" in document for _, document in ear.heard)


def test_a_start_that_never_answers_is_read_from_the_state(server, client, hurried, name):
    client.connect(name)
    server.scan(name)
    server.mute.add(name)
    assert hurried.connect(name).state is State.CONNECTED


def test_a_start_that_never_answers_and_did_nothing_has_timed_out(rude):
    rude.plays(lambda handler: handler.rfile.read(1) if "start" in handler.path else handler.answer(200, CLOSED))
    with pytest.raises(TimedOut):
        WppConnectClient(rude.url, KEY, SHORT).connect(NAME)


def test_waiting_for_the_code_of_a_paired_session_would_never_end(server, client, paired):
    """The trap that no call of ours walks into, in the stand-in too."""
    server.reboot()
    assert server._start(paired, {"waitQrCode": True}) is None
    assert all(b'"waitQrCode": true' not in body for _, _, _, body in server.seen)


def test_a_server_that_began_anew_still_has_its_sessions(server, client, paired):
    server.reboot()
    assert client.state(paired).state is State.DISCONNECTED
    with pytest.raises(NameInUse):
        client.create(paired, Hook(url="http://x/", token="t", jwt_key="k"))
    client.connect(paired)
    assert client.state(paired).state is State.CONNECTED


# ---- connected? ------------------------------------------------------------------------------------------------


def test_a_status_of_connected_is_not_believed_alone(server, client, paired):
    server.crash(paired)
    assert client.state(paired).state is State.DISCONNECTED


def test_no_library_writes_the_secret_into_a_log(rude, rudely, caplog):
    """urllib3 warns of odd headers, and names the URL."""

    def odd(handler):
        body = b'{"response":[]}'
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n odd\r\nX y\r\n\r\n%b" % (len(body), body))

    rude.plays(odd)
    with contextlib.suppress(ProviderError):
        rudely.instances()
    assert rude.seen
    assert KEY not in caplog.text


def test_a_single_no_is_a_flap(server, client, paired):
    server.flapping.add(paired)
    assert client.state(paired).state is State.CONNECTED


def test_a_browser_that_hangs_leaves_it_open(server, hurried, paired):
    server.hanging.add(paired)
    assert hurried.state(paired).state is State.UNKNOWN


def test_a_call_of_several_requests_ends_in_its_time(server, hurried, paired):
    """A start that never answers and a check that hangs use all of it: nothing more is sent."""
    server.mute.add(paired)
    server.hanging.add(paired)
    with pytest.raises(TimedOut):
        hurried.connect(paired)
    assert "close-session" not in routes(server, paired)


def test_a_browser_that_died_is_closed_and_started_again_without_a_new_pairing(server, client, paired):
    server.crash(paired)
    assert client.connect(paired).state is State.CONNECTING
    assert routes(server, paired)[-5:] == [
        "start-session", "check-connection-session", "check-connection-session", "close-session", "start-session",
    ]  # fmt: skip
    assert (client.state(paired).state, client.state(paired).pairing) == (State.CONNECTED, None)


def test_a_restart_keeps_webhook_and_pairing(server, client, name, ear):
    client.connect(name, hook=ear.hook)
    server.scan(name)
    client.restart(name)
    assert ear.events[-3:] == ["closesession", "status-find", "status-find"]
    assert ear.words[-2:] == ["isLogged", "inChat"]
    assert client.state(name).state is State.CONNECTED


def test_a_closed_one_is_no_candidate_for_a_restart(server, client, paired):
    server.reboot()
    with pytest.raises(ProviderError) as caught:
        client.restart(paired)
    assert type(caught.value) is ProviderError


def test_whose_phone_it_is_the_browser_says(server, client, paired):
    found = client.identity(paired)
    assert (found.phone, found.profile_name) == (PHONE, "Ana")
    server.crash(paired)
    assert client.identity(paired) is None


def test_a_server_without_the_devices_route_is_asked_for_the_number(rude, rudely):
    answers = {"host-device": (500, b'{"status":"error"}'), "get-phone-number": (200, b'{"response":"5511@c.us"}')}
    rude.plays(lambda handler: handler.answer(*answers[handler.path.rpartition("/")[2]]))
    assert rudely.identity(NAME).phone == "5511"


# ---- parting ---------------------------------------------------------------------------------------------------


def test_a_phone_that_parted_leaves_a_session_that_shows_a_code_again(server, client, paired):
    server.unpair(paired)
    assert client.state(paired).state is State.DISCONNECTED
    client.connect(paired)
    assert client.state(paired).pairing


def test_logging_out_what_does_not_run_deletes_its_keys(server, client, paired):
    server.reboot()
    client.logout(paired)
    assert client.state(paired).state is State.NOT_FOUND
    client.connect(paired)
    assert client.state(paired).pairing  # no way back without a phone


def test_logging_out_nobody_deletes_nothing(server, client, name):
    client.logout(name)
    assert "clear-session-data" not in routes(server, name)


def test_deleting_what_shows_a_code_ends_it(server, client, name):
    client.connect(name)
    client.delete(name)
    assert client.state(name).state is State.NOT_FOUND


def test_a_secret_of_the_command_line_is_refused_by_the_deletion_which_happens(server, client, paired):
    server.cli_secret = True
    client.delete(paired)
    assert client.state(paired).state is State.NOT_FOUND


def test_an_older_server_lists_what_runs(server, client, paired):
    server.listing = True
    assert [found.name for found in client.instances()] == [paired]


# ---- sending ---------------------------------------------------------------------------------------------------


def test_a_text_goes_out_once_to_one_number(server, client, paired):
    sent = client.send_text(paired, "5511999990001", "Olá")
    assert (sent.message_id.startswith("3EB0"), sent.status) == (True, "pending")
    bodies = [json.loads(body) for _, path, _, body in server.seen if path.endswith("send-message")]
    assert bodies == [{"phone": "5511999990001", "message": "Olá"}]


def test_a_message_that_was_taken_and_not_sent_is_a_failure(server, client, paired):
    server.failing = True
    with pytest.raises(ProviderError) as caught:
        client.send_text(paired, "5511999990001", "x")
    assert type(caught.value) is ProviderError


def test_a_group_and_a_person_without_a_number_are_told_apart(server, client, paired):
    client.send_text(paired, "120363000000000011@g.us", "x")
    client.send_text(paired, "123456789012345@lid", "x")
    bodies = [json.loads(body) for _, path, _, body in server.seen if path.endswith("send-message")]
    assert [sorted(body) for body in bodies] == [["isGroup", "message", "phone"], ["isLid", "message", "phone"]]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'"Error sending message"', ProviderError),
        (400, b'{"response":null,"status":"Connected","message":"x"}', InvalidRecipient),
        (404, INACTIVE, NotConnected),
        (500, b'{"status":"Error","message":"Erro ao enviar a mensagem.","error":{}}', ProviderError),
    ],
)
def test_a_send_that_failed_is_asked_once(rude, rudely, status, body, error):
    rude.plays(lambda handler: handler.answer(status, body))
    with pytest.raises(ProviderError) as caught:
        rudely.send_text(NAME, "5511999990001", "x")
    assert (type(caught.value), len(rude.seen)) == (error, 1)


def test_what_is_no_number_never_leaves(rude, rudely):
    with pytest.raises(InvalidRecipient):
        rudely.send_text(NAME, "status@broadcast", "x")
    assert rude.seen == []


# ---- whatever it answers ---------------------------------------------------------------------------------------


@EVERY_CALL
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"", BadResponse),
        (200, b"<html>login</html>", BadResponse),
        (200, b"[]", BadResponse),
        (302, b"", BadResponse),
        (404, PROXYS, BadResponse),
        (404, b'{"error":"not found"}', BadResponse),
        (418, b"{}", BadResponse),
        (500, b"<html>", BadResponse),
        (502, b"<html>502 Bad Gateway</html>", Unavailable),
        (503, b"", Unavailable),
        (401, b'{"error":"Check that the Session and Token are correct"}', ProviderRefused),
        (401, b'{"message":"Token is not present. Check your header and try again"}', ProviderRefused),
        (403, b"", ProviderRefused),
        (429, b"{}", RateLimited),
    ],
)
def test_each_failure_has_its_own_error(rude, rudely, call, status, body, error):
    rude.plays(lambda handler: handler.answer(status, body))
    with pytest.raises(ProviderError) as caught:
        call(rudely)
    assert (type(caught.value), caught.value.provider_status) == (error, status)


def test_a_secret_that_is_refused_is_said_so(rude, rudely):
    rude.plays(lambda handler: handler.answer(400, b'{"response":false,"message":"The token is incorrect"}'))
    with pytest.raises(ProviderRefused):
        rudely.instances()


def test_nobody_there_is_unavailable_and_no_traceback_names_the_secret(free_port):
    client = WppConnectClient(f"http://127.0.0.1:{free_port}", KEY)
    for call in (client.ping, client.instances):
        with pytest.raises(Unavailable) as caught:
            call()
        assert KEY not in "".join(traceback.format_exception(caught.value))


def test_the_limits_of_calls_are_those_of_the_server():
    """A start may take longer than half a minute, as may whatever waits for a phone."""
    assert (Limits().usual_s, Limits().slow_s, Limits().look_s) == (60.0, 90.0, 10.0)


def test_only_a_running_session_tells_the_version(server, client, paired):
    assert client.version() == "2.10.4"
    server.reboot()
    assert client.version() is None


def test_a_picture_is_the_code_where_the_raw_one_is_missing(rude, rudely):
    answer = {"status": "QRCODE", "qrcode": f"data:image/png;base64,{PNG}", "urlcode": None}
    rude.plays(lambda handler: handler.answer(200, json.dumps(answer).encode()))
    found = rudely.state(NAME).pairing
    assert found == Pairing(qr=f"data:image/png;base64,{PNG}")


def test_many_looks_at_once_agree(server, client, paired):
    found = []
    threads = [threading.Thread(target=lambda: found.append(client.state(paired).state)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=15)
    assert until(lambda: found, lambda seen: len(seen) == 8) == [State.CONNECTED] * 8
