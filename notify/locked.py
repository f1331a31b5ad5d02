"""A socket that writes whole frames, bounded in time, counts what comes in, and lets the last frame arrive.

It stands between the server's socket and simple-websocket, which writes with `send` (a part of a frame may be left)
and from two threads (answers to pings). Pings go out from a third, and frames for who rests from the hub's.
"""

import contextlib
import socket
import threading
import time
from typing import Any

from notify.framing import CLOSE_SLOW, PING_FRAME, Meter, close_frame

LINGER_S = 2.0  # for the client to take the close frame and hang up
PATIENCE_BYTES = 64 * 1024  # the kernel keeps (twice) so much for a client that does not read …
FAREWELL_BYTES = 256 * 1024  # … and this much once it is told goodbye, so that there is room for it


class LockedSocket:
    """`send_s`: how long a client may take for a frame. `heard_at`: when it last sent anything."""

    def __init__(self, inner: Any, send_s: float) -> None:
        self._inner, self._lock, self._send_s = inner, threading.Lock(), send_s
        self._meter, self._over = Meter(), False
        self._rest = b""  # of what the kernel took half of: it goes out before anything else
        self.heard_at = time.monotonic()
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PATIENCE_BYTES)
        inner.settimeout(None)  # a client may be silent for long

    def send(self, data: bytes, *_: Any) -> int:
        """Raises OSError when the client does not take it, and from then on at once. TimeoutError: it was too slow."""
        with self._lock:
            if self._over:
                raise BrokenPipeError
            left, until = memoryview(self._rest + data), time.monotonic() + self._send_s
            self._rest = b""
            self._inner.settimeout(self._send_s / 2)  # one piece; so it takes at most half as long again as it may
            try:
                while left:
                    left = left[self._inner.send(left) :]
                    if left and time.monotonic() > until:
                        raise TimeoutError
            except TimeoutError:
                self._part(bytes(left) + close_frame(CLOSE_SLOW, "too slow"))
                raise
            except OSError:
                self._part(b"")
                raise
            self._inner.settimeout(None)
        return len(data)

    def send_at_once(self, data: bytes) -> bytes | None:
        """As far as that takes no waiting. What `send` has to write: all of it, b"" where the rest is kept for the next
        one, None where all is written."""
        if not self._lock.acquire(blocking=False):
            return data
        try:
            if self._over or self._rest:
                return data
            self._now(data)
        except OSError:
            return data  # the writer finds out
        finally:
            self._lock.release()
        return b"" if self._rest else None

    def ping(self) -> None:
        """Ask for a sign of life. Never waits: who has no room for it is being written to anyhow."""
        if self._lock.acquire(blocking=False):
            try:
                if not self._over:
                    self._now(self._rest or PING_FRAME)
            except OSError:
                pass  # the writer or the reader finds out
            finally:
                self._lock.release()

    def _now(self, data: bytes) -> None:
        """By the timeout, not MSG_DONTWAIT: gevent's sockets wait in spite of the flag."""
        self._inner.settimeout(0)
        try:
            self._rest = data[self._inner.send(data) :]
        finally:
            self._inner.settimeout(None)

    def recv(self, size: int) -> bytes:
        """What came; b"" as at the end when it is more than anybody may send."""
        data = self._heard(size)
        self.heard_at = time.monotonic()
        fault = self._meter.fault(data, self.heard_at)
        if fault is None:
            return data
        with self._lock:
            if not self._over:
                self._part(close_frame(*fault))
        return b""

    def close(self) -> None:
        """Say EOF, and read away what the client still says: closed over it, TCP resets and drops our last frame."""
        until = time.monotonic() + LINGER_S
        with contextlib.suppress(OSError):
            self._inner.shutdown(socket.SHUT_WR)
            with self._lock:
                self._over = True  # a ping would take our deadline away
            while (left := until - time.monotonic()) > 0:
                self._inner.settimeout(left)
                if not self._inner.recv(65536):
                    break
        self._inner.close()

    def hang_up(self) -> None:
        """Wake whoever waits for the client to say something."""
        with contextlib.suppress(OSError):
            self._inner.shutdown(socket.SHUT_RDWR)

    def _heard(self, size: int) -> bytes:
        """Where a deadline is met here, it was a writer's, or a ping's."""
        while True:
            try:
                data: bytes = self._inner.recv(size)
            except (TimeoutError, BlockingIOError):
                if self._over:
                    raise
            else:
                return data

    def _part(self, last: bytes) -> None:
        """Nothing is written after this. The kernel delivers it when the client reads again, if it does."""
        self._over = True
        with contextlib.suppress(OSError):
            self._inner.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FAREWELL_BYTES)
            self._inner.settimeout(0)
            self._inner.send(self._rest + last)
            self._inner.shutdown(socket.SHUT_WR)
        self._inner.settimeout(LINGER_S)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
