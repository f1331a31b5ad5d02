"""The Evolution client on real sockets: the sandbox for what Evolution answers, a rude server for what it must not."""

import gzip
import socket
import threading
from uuid import uuid4

import pytest
import requests

from core.errors import (
    BadResponse,
    InstanceUnknown,
    NameInUse,
    ProviderError,
    ProviderRefused,
    RateLimited,
    TimedOut,
    Unavailable,
)
from manager.providers.evolution.client import EvolutionClient, Limits
from manager.providers.port import Hook, Pairing, Snapshot, State
from sandbox.server import Sandbox
from tests.conftest import KEY
from tests.provider.rude import Rude
from tests.waiting import until

HOOK = Hook(url="http://127.0.0.1:9/api/webhook/user/x", token="whk_token", jwt_key="jwt-key")


@pytest.fixture
def name():
    return f"user_{uuid4()}"


@pytest.fixture
def evolution(sandbox):
    return EvolutionClient(sandbox.url, KEY)


@pytest.fixture
def rude():
    with Rude().serving() as server:
        yield server


@pytest.fixture
def rudely(rude):
    return EvolutionClient(rude.url, KEY)


def post(box, path, body=None):
    answer = requests.post(f"{box.url}{path}", json=body or {}, headers={"apikey": KEY}, timeout=10)
    answer.raise_for_status()
    return answer.json()


def opened(box, evolution, name):
    evolution.create(name, HOOK)
    evolution.connect(name)
    post(box, "/sandbox/phones/scan", {"instance": name})
    until(lambda: evolution.state(name).state, lambda state: state is State.CONNECTED)


def test_a_created_instance_is_closed_and_waits_for_a_connect(evolution, name):
    assert evolution.create(name, HOOK).state is State.DISCONNECTED
    assert evolution.state(name).state is State.DISCONNECTED


def test_create_hands_over_our_hook(sandbox, evolution, name):
    evolution.create(name, HOOK)
    found = requests.get(f"{sandbox.url}/webhook/find/{name}", headers={"apikey": KEY}, timeout=10).json()
    assert (found["url"], found["enabled"], found["webhookByEvents"]) == (HOOK.url, True, False)
    assert found["headers"] == {"X-Webhook-Token": HOOK.token, "jwt_key": HOOK.jwt_key}
    assert "MESSAGES_UPSERT" in found["events"] or found["events"] == []


def test_a_name_in_use_is_said_so(evolution, name):
    evolution.create(name, HOOK)
    with pytest.raises(NameInUse):
        evolution.create(name, HOOK)


def test_connect_brings_a_qr(evolution, name):
    evolution.create(name, HOOK)
    snapshot = evolution.connect(name)
    assert snapshot.state is State.CONNECTING
    assert snapshot.pairing.qr
    assert evolution.state(name) == Snapshot(name=name, state=State.CONNECTING)


def test_connect_again_brings_the_qr_that_is_there(evolution, name):
    evolution.create(name, HOOK)
    assert evolution.connect(name).pairing == evolution.connect(name).pairing


def test_connect_while_open_brings_no_qr(sandbox, evolution, name):
    opened(sandbox, evolution, name)
    snapshot = evolution.connect(name)
    assert (snapshot.state, snapshot.pairing) == (State.CONNECTED, None)


def test_connect_before_whatsapp_has_answered_is_connecting_without_a_qr(name):
    with Sandbox(key=KEY, time_scale=0.01, qr_after_s=3600) as box:
        evolution = EvolutionClient(box.url, KEY)
        evolution.create(name, HOOK)
        snapshot = evolution.connect(name)
    assert (snapshot.state, snapshot.pairing) == (State.CONNECTING, None)


def test_the_state_of_an_unknown_instance_is_an_answer(evolution, name):
    assert evolution.state(name).state is State.NOT_FOUND


def test_an_unknown_instance_cannot_be_connected_or_hooked(evolution, name):
    with pytest.raises(InstanceUnknown):
        evolution.connect(name)
    with pytest.raises(InstanceUnknown):
        evolution.set_hook(name, HOOK)


def test_setting_the_hook_replaces_it(sandbox, evolution, name):
    evolution.create(name, HOOK)
    evolution.set_hook(name, Hook(url="http://127.0.0.1:9/new", token="new", jwt_key="new-key"))
    found = requests.get(f"{sandbox.url}/webhook/find/{name}", headers={"apikey": KEY}, timeout=10).json()
    assert (found["url"], found["headers"]) == (
        "http://127.0.0.1:9/new",
        {"X-Webhook-Token": "new", "jwt_key": "new-key"},
    )


def test_a_wrong_key_is_refused(sandbox, evolution, name):
    evolution.create(name, HOOK)
    stranger = EvolutionClient(sandbox.url, "wrong")
    for call in (stranger.connect, stranger.state, lambda it: stranger.set_hook(it, HOOK)):
        with pytest.raises(ProviderRefused):
            call(name)
    with pytest.raises(ProviderRefused):
        stranger.create(f"{name}-2", HOOK)


def test_a_name_never_leaves_its_place_in_the_path(rude, rudely):
    rude.plays(lambda handler: handler.answer(200, b'{"instance":{"state":"open"}}'))
    rudely.state("../../verify-creds?x=1#y")
    assert rude.seen[0][1] == "/instance/connectionState/..%2F..%2Fverify-creds%3Fx%3D1%23y"


def answering(status, body):
    return lambda handler: handler.answer(status, body)


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (200, b'{"error":true,"message":"[object Object]"}', ProviderError, "PROVIDER_ERROR"),
        (200, b"", BadResponse, "PROVIDER_ERROR"),
        (200, b"not json", BadResponse, "PROVIDER_ERROR"),
        (200, b'{"instance":', BadResponse, "PROVIDER_ERROR"),
        (200, b"\xff\xfe\x00", BadResponse, "PROVIDER_ERROR"),
        (200, b"[" * 100_000, BadResponse, "PROVIDER_ERROR"),
        (200, b"9" * 100_000, BadResponse, "PROVIDER_ERROR"),
        (200, b"<html>login</html>", BadResponse, "PROVIDER_ERROR"),
        (502, b"<html>502 Bad Gateway</html>", Unavailable, "PROVIDER_UNAVAILABLE"),
        (503, b"", Unavailable, "PROVIDER_UNAVAILABLE"),
        (503, b'{"code":"LICENSE_REQUIRED","message":"activate"}', ProviderRefused, "LICENSE_REQUIRED"),
        (504, b"<html>", Unavailable, "PROVIDER_UNAVAILABLE"),
        (500, b"<html>", BadResponse, "PROVIDER_ERROR"),
        (500, b'{"response":{"message":"Connection Closed"}}', ProviderError, "PROVIDER_ERROR"),
        (400, b'{"response":{"message":[["Invalid format"]]}}', ProviderError, "PROVIDER_ERROR"),
        (401, b'{"error":"Unauthorized"}', ProviderRefused, "PROVIDER_AUTH"),
        (403, b'{"response":{"message":["in use"]}}', NameInUse, "INSTANCE_ALREADY_EXISTS"),
        (404, b'{"response":{"message":["gone"]}}', InstanceUnknown, "INSTANCE_NOT_FOUND"),
        (429, b"{}", RateLimited, "RATE_LIMITED"),
    ],
)
def test_each_failure_has_its_own_error(rude, rudely, status, body, error, code):
    rude.plays(answering(status, body))
    with pytest.raises(ProviderError) as caught:
        rudely.connect("user_x")
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.provider_status) == (code, status)
    assert len(rude.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays_here(rude, rudely, status):
    with Rude().serving() as elsewhere:
        elsewhere.plays(answering(200, b"{}"))
        rude.plays(lambda handler: handler.answer(status, b"", Location=f"{elsewhere.url}/steal"))
        with pytest.raises(ProviderError):
            rudely.connect("user_x")
        assert elsewhere.seen == []


def test_the_environments_proxy_does_not_see_the_key(rude, rudely, monkeypatch):
    with Rude().serving() as proxy:
        proxy.plays(answering(200, b"{}"))
        for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        rude.plays(answering(200, b'{"instance":{"state":"open"}}'))
        assert rudely.state("user_x").state is State.CONNECTED
        assert proxy.seen == []


def test_an_answer_may_be_compressed(rude, rudely):
    rude.plays(lambda handler: handler.answer(200, gzip.compress(b'{"code":"2@x"}'), Content_Encoding="gzip"))
    assert rudely.connect("user_x").pairing == Pairing(qr="2@x")


def test_a_broken_compression_is_a_bad_answer(rude, rudely):
    rude.plays(lambda handler: handler.answer(200, b"no gzip at all", Content_Encoding="gzip"))
    with pytest.raises(BadResponse):
        rudely.connect("user_x")


def test_an_answer_may_come_in_pieces(rude, rudely):
    def chunked(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in (b'{"code":', b'"2@x"}'):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    rude.plays(chunked)
    assert rudely.connect("user_x").pairing == Pairing(qr="2@x")


def test_an_answer_without_end_is_cut(rude):
    rudely = EvolutionClient(rude.url, KEY, Limits(largest_bytes=100_000))

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    rude.plays(endless)
    with pytest.raises(BadResponse, match="too large"):
        rudely.connect("user_x")


def test_a_dripping_answer_ends_at_its_deadline(rude):
    rudely = EvolutionClient(rude.url, KEY, Limits(deadline_s=0.3))
    over = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    rude.plays(drip)
    with pytest.raises(TimedOut):
        rudely.connect("user_x")
    over.set()


def test_an_answer_that_stops_half_way_times_out(rude):
    rudely = EvolutionClient(rude.url, KEY, Limits(read_s=0.2))
    over = threading.Event()

    def stop(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        over.wait(10)

    rude.plays(stop)
    with pytest.raises(TimedOut):
        rudely.connect("user_x")
    over.set()


def test_a_silent_server_times_out(rude):
    rudely = EvolutionClient(rude.url, KEY, Limits(read_s=0.2))
    over = threading.Event()
    rude.plays(lambda _: over.wait(10))
    with pytest.raises(TimedOut):
        rudely.connect("user_x")
    over.set()


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_a_connection_that_breaks_was_sent(rude, rudely, part):
    rude.plays(lambda handler: handler.wfile.write(part))
    with pytest.raises(Unavailable) as caught:
        rudely.connect("user_x")
    assert caught.value.sent


@pytest.mark.parametrize("noise", [b"SSH-2.0-OpenSSH_9\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n"])
def test_what_is_no_http_is_a_failure_of_the_server(rude, rudely, noise):
    rude.plays(lambda handler: handler.wfile.write(noise))
    with pytest.raises((Unavailable, BadResponse)):
        rudely.connect("user_x")


def test_nobody_there_is_unavailable_and_nothing_was_sent(free_port):
    with pytest.raises(Unavailable) as caught:
        EvolutionClient(f"http://127.0.0.1:{free_port}", KEY).create("user_x", HOOK)
    assert not caught.value.sent


def test_a_host_nobody_knows_is_unavailable_and_nothing_was_sent():
    with pytest.raises(Unavailable) as caught:
        EvolutionClient("http://gateway.invalid", KEY).create("user_x", HOOK)
    assert not caught.value.sent


def test_the_key_stands_in_no_error(rude, rudely):
    rude.plays(answering(500, b'{"response":{"message":"boom"}}'))
    with pytest.raises(ProviderError) as caught:
        rudely.connect("user_x")
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value.details)


def test_a_server_that_stops_listening_mid_way_is_told_apart_from_one_never_reached():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        evolution = EvolutionClient(f"http://127.0.0.1:{listening.getsockname()[1]}", KEY)

        def hang_up():
            connection, _ = listening.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unavailable) as caught:
            evolution.create("user_x", HOOK)
        thread.join(timeout=5)
    assert caught.value.sent
