"""The socket between server and websocket: a ping never waits and never breaks a frame."""

from typing import Any

import gevent
import gevent.socket

from notify.framing import PING_FRAME, text_frame
from notify.locked import LockedSocket


class Narrow:
    """A socket that takes the pieces that it is told to, as one whose buffer is almost full."""

    def __init__(self, *room: int) -> None:
        self._room, self.taken, self.timeout = [*room], b"", None
        self.heard: list[bytes | Exception] = []

    def setsockopt(self, *_: int) -> None:
        """It has no buffers."""

    def settimeout(self, timeout: Any) -> None:
        self.timeout = timeout

    def send(self, data: bytes, *_: int) -> int:
        size = self._room.pop(0) if self._room else len(data)
        if not size:
            raise BlockingIOError
        self.taken += bytes(data[:size])
        return min(size, len(data))

    def shutdown(self, _: int) -> None:
        """Nobody is at the other end."""

    def close(self) -> None:
        """As above."""

    def recv(self, _: int) -> bytes:
        found = self.heard.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def test_half_a_ping_is_finished_by_the_next_frame():
    inner = Narrow(1, 1)
    sock = LockedSocket(inner, 1.0)
    sock.ping()
    assert inner.taken == PING_FRAME[:1]
    assert sock.send(text_frame("x")) == 3
    sock.ping()
    assert inner.taken == PING_FRAME + text_frame("x") + PING_FRAME


def test_half_a_ping_is_finished_by_the_next_ping():
    inner = Narrow(1, 0)
    sock = LockedSocket(inner, 1.0)
    for _ in range(3):
        sock.ping()
    assert inner.taken == PING_FRAME
    assert inner.timeout is None


def test_half_a_ping_is_finished_before_the_last_word():
    inner = Narrow(1)
    sock = LockedSocket(inner, 1.0)
    sock.ping()
    inner.heard = [b"\x81\xff" + (2**40).to_bytes(8)]
    assert sock.recv(100) == b""
    assert inner.taken[:3] == PING_FRAME + b"\x88"


def test_who_is_being_closed_is_not_pinged():
    """It would wait for the client's last words without a deadline from then on."""
    inner = Narrow()
    inner.heard = [b""]
    sock = LockedSocket(inner, 1.0)
    sock.close()
    deadline = inner.timeout
    sock.ping()
    assert (inner.taken, inner.timeout) == (b"", deadline)


def test_a_reader_does_not_mind_a_pings_timeout():
    inner = Narrow()
    inner.heard = [BlockingIOError(), b"\x8a\x80\0\0\0\0"]
    assert LockedSocket(inner, 1.0).recv(100) == b"\x8a\x80\0\0\0\0"


def test_under_gevent_a_ping_does_not_wait_for_room():
    """Its sockets wait in spite of MSG_DONTWAIT."""
    inner, other = gevent.socket.socketpair()
    with inner, other:
        sock = LockedSocket(inner, 1.0)
        inner.settimeout(0)
        try:
            while inner.send(b"x" * 65536):
                pass
        except BlockingIOError:
            inner.settimeout(None)
        with gevent.Timeout(5):
            sock.ping()


def test_what_has_room_is_written_at_once():
    inner = Narrow()
    assert LockedSocket(inner, 1.0).send_at_once(b"frame") is None
    assert (inner.taken, inner.timeout) == (b"frame", None)


def test_half_a_frame_is_finished_by_its_writer():
    inner = Narrow(2)
    sock = LockedSocket(inner, 1.0)
    assert [sock.send_at_once(frame) for frame in (b"frame", b"next")] == [b"", b"next"]
    sock.send(b"")
    sock.send(b"next")
    assert inner.taken == b"framenext"


def test_what_has_no_room_is_left_to_the_writer_whole():
    inner = Narrow(0)
    assert LockedSocket(inner, 1.0).send_at_once(b"frame") == b"frame"
    assert (inner.taken, inner.timeout) == (b"", None)


def test_nothing_is_written_at_once_to_who_is_being_closed():
    inner = Narrow()
    inner.heard = [b""]
    sock = LockedSocket(inner, 1.0)
    sock.close()
    assert sock.send_at_once(b"frame") == b"frame"
    assert inner.taken == b""
