"""Clients that break the rules, byte by byte, and clients that read slowly: each gets its code, nobody else waits."""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bootstrap.system import System
from notify.conversation import Conversation
from notify.framing import LARGEST_FRAME, MOST_FRAMES
from notify.live import PING_S, Live
from tests.bursts import burst
from tests.factories import make_instance
from tests.live import GUARD_S, hear, line, parts_of, raw_socket, reading_threads, say, subscribed, tell, tiny
from tests.waiting import until

TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = 0x81, 0x00, 0x82, 0x88, 0x89, 0x8A


@pytest.fixture(scope="module")
def system(place: Path, database_url: str) -> Iterator[System]:
    built = parts_of(place, database_url)
    built.bell.start()
    yield built
    built.stop()


@pytest.fixture(scope="module")
def server(system: System) -> Iterator[str]:
    """For somebody without an instance."""
    with system.transaction() as connection:
        user, _ = make_instance(connection)
    with tiny(system, user) as (base, _):
        yield base


@pytest.fixture(autouse=True)
def _emptied(engine: Engine) -> None:
    """The database is left empty."""


@pytest.fixture
def user(system):
    with system.transaction() as connection:
        return make_instance(connection)[0]


def frame(payload: bytes, kind: int = TEXT, *, masked: bool = True) -> bytes:
    size, mask = len(payload), os.urandom(4) if masked else b""
    bit = 0x80 if masked else 0
    head = bytes([kind, bit | size]) if size < 126 else struct.pack("!BBH", kind, bit | 126, size)
    hidden = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if masked else payload
    return head + mask + hidden


def frames_until_eof(client: socket.socket) -> list[tuple[int, bytes]]:
    """Kind and payload of each whole frame, up to the close frame."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(1 << 20):
            data += piece
    found = []
    while len(data) >= 2:
        size, head = data[1], 2
        if size == 126:
            size, head = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, head = int.from_bytes(data[2:10]), 10
        found.append((data[0], data[head : head + size]))
        assert len(data) >= head + size, "half a frame"
        if data[0] == CLOSE:
            break
        data = data[head + size :]
    return found


def code_of(client: socket.socket) -> int:
    kind, payload = frames_until_eof(client)[-1]
    assert kind == CLOSE
    return int.from_bytes(payload[:2])


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(b"{}", masked=False), 1002, id="unmasked"),
        pytest.param(frame(b"{}", kind=TEXT | 0x30), 1002, id="reserved bits"),
        pytest.param(frame(b"x", kind=TEXT | 0x40), 1002, id="deflate that nobody agreed to"),
        pytest.param(frame(b"p" * 126, kind=PING), 1002, id="control frame of 126 bytes"),
        pytest.param(bytes.fromhex("88810000000003"), 1002, id="close with one byte"),
        pytest.param(frame((1005).to_bytes(2), kind=CLOSE), 1002, id="close with 1005"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 1002, id="HTTP after the upgrade"),
        pytest.param(bytes.fromhex("81ff000001000000000000000000"), 1009, id="2^40 bytes announced"),
        pytest.param(frame(b"x" * (LARGEST_FRAME + 1)), 1009, id="too large"),
        pytest.param(
            frame(b"x" * 1024, kind=0x01) + frame(b"x" * 1024, kind=CONTINUATION) * 64, 1009, id="65 pieces of 1 kB"
        ),
        pytest.param(frame(b"", kind=0x01) + frame(b"", kind=CONTINUATION) * 50_000, 4429, id="50,000 empty pieces"),
        pytest.param(frame(b"", kind=PING) * 5_000, 4429, id="5,000 pings"),
        pytest.param(frame(b"", kind=PONG) * 5_000, 4429, id="5,000 pongs"),
        pytest.param(frame(b"\xff\xfe"), 1007, id="no UTF-8"),
    ],
)
def test_a_broken_frame_closes_with_its_code(server, sent, code):
    with raw_socket(server) as client:
        with contextlib.suppress(ConnectionError):  # it does not wait for the end of a flood
            client.sendall(sent)
        assert code_of(client) == code


def test_a_flood_in_small_pieces_is_counted_all_the_same(server):
    with raw_socket(server) as client:
        flood = frame(b"", kind=PING) * (MOST_FRAMES + 10)
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(flood), 5):
                client.sendall(flood[at : at + 5])
        assert code_of(client) == 4429


def test_a_connection_reset_in_the_middle_of_a_frame_frees_its_seat(system, user):
    with tiny(system, user) as (base, live):
        client = raw_socket(base)
        until(lambda: live.hub.listening, lambda n: n == 1)
        client.sendall(frame(b"x" * 100)[:50])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        until(lambda: live.seats.taken, lambda n: n == 0)


def test_who_answers_no_ping_is_closed_with_4408(system, user):
    with tiny(system, user, ping_s=0.5, look_s=0.1) as (base, live), raw_socket(base) as client:
        assert code_of(client) == 4408
        until(lambda: live.seats.taken, lambda n: n == 0)


def test_who_answers_pings_stays(system, user):
    with tiny(system, user, look_s=3600) as (base, live), line(base) as client:
        hear(subscribed(client))
        [sitter] = live.seats._everybody()
        assert isinstance(sitter, Conversation)
        sock = sitter._line._server.sock
        sock.heard_at = silent = time.monotonic() - PING_S
        live.seats.feel([sitter])  # asks
        until(lambda: sock.heard_at, lambda heard_at: heard_at > silent)
        live.seats.feel([sitter])
        for _ in range(2):  # it may answer one when it has been told to close
            say(client, type="ping")
            assert hear(client) == {"type": "pong"}


def test_who_stops_reading_is_closed_with_4410_and_holds_nobody_up(system, user):
    """The frames that were on their way arrive whole, then the close frame: when the client reads again."""
    with tiny(system, user, send_s=10.0) as (base, live), line(base) as other, raw_socket(base) as slow:
        hear(subscribed(other))
        until(lambda: live.hub.listening, lambda n: n == 2)
        burst(system, user, *range(1, 201), filler="x" * 40_000)
        assert [hear(other)["id"] for _ in range(200)] == list(range(1, 201))
        until(lambda: live.seats.taken, lambda n: n == 1)
        tell(system, user, 201)
        assert hear(other)["id"] == 201
        received = frames_until_eof(slow)
    kind, payload = received[-1]
    assert (kind, int.from_bytes(payload[:2]), payload[2:]) == (CLOSE, 4410, b"too slow")
    assert 1 < len(received) < 200
    until(reading_threads, lambda n: n == 0, guard_s=GUARD_S)


def test_who_reads_slowly_but_steadily_gets_everything(system, user):
    with tiny(system, user, send_s=20.0) as (base, live), raw_socket(base) as client:
        until(lambda: live.hub.listening, lambda n: n == 1)
        tell(system, user, *range(1, 61), filler="x" * 40_000)
        received = b""
        while b'"number":60' not in received[-20_000:]:
            received += client.recv(20_000)
        assert received.count(b"filler") == 60


def sent_until_stopped(client: socket.socket, live: Live) -> list[tuple[int, bytes]]:
    """The first events have come and the client reads no further, the process ends, the client reads on."""
    until(lambda: client.recv(1 << 16, socket.MSG_PEEK), lambda seen: b'"number"' in seen)
    live.hub.stop()
    return frames_until_eof(client)


@pytest.mark.parametrize("missed", [False, True])
def test_who_has_to_go_gets_nothing_more_of_what_waits(system, user, missed):
    """Of the live stream, and of the history."""
    with tiny(system, user) as (base, live):
        if missed:
            tell(system, user, *range(1, 41), filler="x" * 40_000)
        with raw_socket(base) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
            until(lambda: live.hub.listening, lambda n: n == 1)
            if missed:
                client.sendall(frame(b'{"type":"subscribe","since":0}'))
            else:
                tell(system, user, *range(1, 21), filler="x" * 40_000)
            received = sent_until_stopped(client, live)
    kind, payload = received[-1]
    assert (kind, int.from_bytes(payload[:2])) == (CLOSE, 1012)
    assert len(received) < 15
