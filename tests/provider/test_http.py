"""The transport on real sockets: deadlines that hold, connections that are kept and given up, what was sent and what
not."""

import contextlib
import json
import socket
import threading
import time

import pytest

import manager.providers.exchange as http
from core.errors import BadResponse, ProviderError, TimedOut, Unavailable
from manager.providers.deadlines import Deadlines
from manager.providers.http import Limits, Request, Transport
from tests.provider.rude import Rude
from tests.waiting import until

SHORT_S = 0.3
MUCH_S = 30.0  # for a machine that stands still now and then; who never ends meets the suite's own limit
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def asking(url, method="GET", within_s=SHORT_S, limits=None):
    return Transport(url, limits or Limits()).ask(Request(method=method, path="/x", within_s=within_s))


@contextlib.contextmanager
def listening(serve):
    """A server that does `serve(connection, over)` with each connection; yields its address."""
    over, threads = threading.Event(), []

    def accept(server):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threads.append(threading.Thread(target=play, args=(connection,)))
                threads[-1].start()

    def play(connection):
        with connection, contextlib.suppress(OSError):
            serve(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=accept, args=(server,))
        accepting.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(timeout=5)


def dripping(first, drop):
    def serve(connection, over):
        connection.recv(65536)
        connection.sendall(first)
        while not over.wait(0.02):
            connection.sendall(drop)

    return serve


DRIPS = {
    "status line": dripping(b"HTTP/1.1 200 O", b"K"),
    "headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X"),
    "whole headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n"),
    "100 Continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    "endless body": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "chunk's size": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "nothing": dripping(b"", b""),
    "half a body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b""),
}


@pytest.mark.parametrize("serve", DRIPS.values(), ids=DRIPS)
def test_the_callers_time_is_over_at_its_deadline(serve):
    begun = time.monotonic()
    with listening(serve) as address, pytest.raises(ProviderError) as caught:
        asking(f"http://{address}")
    taken = time.monotonic() - begun
    assert type(caught.value) is TimedOut
    assert SHORT_S <= taken < MUCH_S


def test_a_tls_greeting_that_drips_ends_at_the_deadline_and_nothing_was_sent():
    begun = time.monotonic()
    greeting = dripping(b"\x16\x03\x03\x40\x00\x02", b"\0")
    with listening(greeting) as address, pytest.raises(Unavailable) as caught:
        asking(f"https://{address}")
    assert not caught.value.sent
    assert time.monotonic() - begun < MUCH_S


def test_a_server_that_does_not_take_our_body_ends_at_the_deadline():
    body = "x" * 20_000_000
    with listening(lambda _, over: over.wait(10)) as address, pytest.raises(TimedOut):
        Transport(f"http://{address}", Limits()).ask(
            Request(method="POST", path="/x", within_s=SHORT_S, body={"text": body})
        )


def test_a_certificate_nobody_vouches_for_is_refused_before_the_key_is_sent():
    def serve(connection, over):
        connection.recv(65536)
        connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # a fatal alert

    with listening(serve) as address, pytest.raises(Unavailable) as caught:
        asking(f"https://{address}", within_s=MUCH_S)
    assert not caught.value.sent


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("part", "error"),
    [
        (b"", Unavailable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", BadResponse),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", BadResponse),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", BadResponse),
        (b"HTTP/1.1 banana\r\n\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", BadResponse),
    ],
)
def test_an_answer_that_breaks_off_or_is_none(method, part, error):
    def serve(connection, _):
        connection.recv(65536)
        connection.sendall(part)

    with listening(serve) as address, pytest.raises(ProviderError) as caught:
        asking(f"http://{address}", method, MUCH_S)
    assert type(caught.value) is error
    assert getattr(caught.value, "sent", True)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "gateway.invalid", "a" * 70 + ".invalid"])
def test_where_nobody_is_nothing_was_sent(free_port, host):
    with pytest.raises(Unavailable) as caught:
        asking(f"http://{host.format(port=free_port)}", "POST", MUCH_S)
    assert not caught.value.sent


def test_an_answer_may_come_in_pieces():
    def serve(connection, _):
        connection.recv(65536)
        for piece in (
            b"HTTP/1.1 201 Created\r\nTransfer-Enco",
            b"ding: chunked\r\nX-Y: Z\r\n\r\n1\r\n{",
            b"\r\n1\r\n}\r\n0\r\n\r\n",
        ):
            connection.sendall(piece)

    with listening(serve) as address:
        found = asking(f"http://{address}", within_s=MUCH_S)
    assert (found.status, found.body, found.headers["x-y"]) == (201, b"{}", "Z")


@pytest.fixture
def keeping():
    with Rude(keeps=True).serving() as server:
        server.plays(lambda handler: handler.answer(200, b"{}"))
        yield server


def ask(transport, method="GET"):
    return transport.ask(Request(method=method, path="/x", within_s=MUCH_S))


def kept(transport):
    prepared = transport._exchange._prepared(Request(method="GET", path="/x", within_s=MUCH_S))
    pool = transport._exchange._adapter.get_connection_with_tls_context(prepared, verify=True)
    return [connection for connection in pool.pool.queue if connection and connection.sock]


def test_a_get_uses_the_connection_of_the_last_call(keeping):
    transport = Transport(keeping.url, Limits())
    for method in ("POST", "GET", "GET"):
        assert ask(transport, method).body == b"{}"
        (connection,) = kept(transport)
        connection.idle_since += 60  # a slow machine may pause for longer than one is kept
    assert len(set(keeping.ports)) == 1


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_what_has_an_effect_goes_over_a_new_connection(keeping, method):
    transport = Transport(keeping.url, Limits())
    ask(transport)
    ask(transport, method)
    assert len(set(keeping.ports)) == 2


@pytest.mark.parametrize("age", [{"made_at": http.KEEP_FOR_S + 1}, {"idle_since": http.KEEP_IDLE_S + 1}])
def test_an_old_or_idle_connection_is_not_used_again(keeping, age):
    """So a name that has a new address is looked up again, and Node's five seconds never bite."""
    transport = Transport(keeping.url, Limits())
    ask(transport)
    (connection,) = kept(transport)
    for fact, seconds in age.items():
        setattr(connection, fact, getattr(connection, fact) - seconds)
    ask(transport)
    assert len(set(keeping.ports)) == 2


def test_a_kept_connection_that_died_is_replaced_once_for_a_get():
    lives = []

    def serve(connection, over):
        lives.append(connection)
        connection.recv(65536)
        if len(lives) == 1:
            connection.sendall(GOOD)
            connection.recv(65536)  # and hang up without an answer
        else:
            connection.sendall(GOOD)
            over.wait(10)

    with listening(serve) as address:
        transport = Transport(f"http://{address}", Limits())
        assert ask(transport).status == 200
        assert ask(transport).status == 200
    assert len(lives) == 2


def test_a_new_connection_that_dies_is_not_replaced():
    calls = []

    def serve(connection, _):
        calls.append(connection.recv(65536))

    with listening(serve) as address, pytest.raises(Unavailable):
        asking(f"http://{address}", within_s=MUCH_S)
    assert len(calls) == 1


def test_a_connection_that_the_server_has_closed_is_not_used():
    def serve(connection, _):
        connection.recv(65536)
        connection.sendall(GOOD)

    with listening(serve) as address:
        transport = Transport(f"http://{address}", Limits())
        for _ in range(3):
            assert ask(transport).status == 200


def test_no_more_connections_are_kept_than_calls_may_be_in_flight(keeping):
    transport = Transport(keeping.url, Limits())
    together = threading.Barrier(http.KEEP + 4)
    keeping.plays(lambda handler: (together.wait(MUCH_S), handler.answer(200, b"{}")))
    threads = [threading.Thread(target=ask, args=(transport,)) for _ in range(http.KEEP + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(MUCH_S)
    assert len(kept(transport)) == http.KEEP


def test_a_body_is_json(keeping):
    bodies = []

    def play(handler):
        bodies.append(handler.sent)
        handler.answer(200, b"{}")

    keeping.plays(play)
    request = Request(method="POST", path="/x", within_s=MUCH_S, body={"text": "Olá \ud83d"}, headers={"apikey": "k"})
    Transport(keeping.url, Limits()).ask(request)
    ((_, _, headers),) = keeping.seen
    assert json.loads(bodies[0]) == {"text": "Olá \ud83d"}
    assert (headers["Content-Type"], headers["apikey"]) == ("application/json", "k")


def test_one_thread_serves_all_deadlines_and_ends_when_there_is_nothing_to_do():
    deadlines = Deadlines(idle_s=0.05)
    with deadlines.within(60), deadlines.within(0.01) as soon, deadlines.within(60) as late:
        thread = deadlines._thread
        until(lambda: soon.over)
        assert not late.over
    assert thread
    thread.join(MUCH_S)
    assert not thread.is_alive()
    with deadlines.within(0.01) as again:
        until(lambda: again.over)


def test_a_connection_made_after_the_deadline_is_shut_at_once():
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadlines(idle_s=0.05).within(0.001) as watch:
        until(lambda: watch.over)
        watch.hold(ours)
        assert ours.recv(1) == b""
