"""One websocket: whole frames out, commands in, and its end. Knows nothing of what is said on it."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from simple_websocket import ConnectionClosed, Server

from notify import frames
from notify.dialects import Dialect
from notify.framing import CLOSE_BAD, CLOSE_FLOOD, MINUTE_S, text_frame
from notify.locked import LINGER_S
from notify.seats import Over

QUIET = 0.6  # ping intervals after a ping without a sign of life: the pong is missing
FLOOD = 60  # commands a minute
BAD_FRAMES = 10


class Line:
    """All of it is for the handler's thread, but `wake`."""

    def __init__(self, server: Server, dialect: Dialect, ping_s: float) -> None:
        self._server, self._dialect, self._ping_s = server, dialect, ping_s
        self._pinged_at = 0.0
        self._minute, self._count, self._bad = 0.0, 0, 0
        server.ws = server.ws.connection  # it speaks alike, and the handshake that it came from has 4 KB
        self.wake = server.event.set

    def send(self, frame: bytes) -> None:
        """Raises ConnectionClosed, OSError; TimeoutError where the client does not read."""
        if not self._server.connected:
            raise ConnectionClosed(self._server.close_reason)
        self._server.sock.send(frame)

    def hand(self, frame: bytes) -> bytes | None:
        """Write it at once, from any thread; what is left for `send`, None where nothing is."""
        return self._server.sock.send_at_once(frame) if self._server.connected else frame

    def say(self, text: str) -> None:
        self.send(text_frame(text))

    def heard(self) -> Iterator[Mapping[str, Any]]:
        """The commands that have come; what is none is answered here. Raises Over, ConnectionClosed, OSError.

        The event is cleared first: what comes from here on ends the next wait. (`receive` would clear it too, after
        a turn of everybody else's, which costs as much as sending a frame.)
        """
        self._server.event.clear()
        while self._server.input_buffer:
            text = self._server.receive(timeout=0)
            self._count_one()
            if (asked := frames.command(text)) is not None:
                yield asked
                continue
            self._bad += 1
            if self._bad > BAD_FRAMES:
                raise Over(CLOSE_BAD, "too many bad frames")
            self.say(self._dialect.error("BAD_FRAME", "A frame is a JSON object with a type"))
        if not self._server.connected:
            raise ConnectionClosed(self._server.close_reason)

    def wait(self, limit_s: float | None = None) -> None:
        """Until something happens on either side. (A limit costs a timer: 700 bytes.)"""
        self._server.event.wait(limit_s)

    def is_there(self) -> bool:
        """Whether it gave a sign of life; asks for one where there was none for a while. From any thread, at once.

        (simple-websocket pings by itself, with a selector and a timer a socket: 4 KB, and 20 times the CPU.)
        """
        now, heard_at = time.monotonic(), float(self._server.sock.heard_at)
        if self._pinged_at > heard_at:  # counted from here: nobody is late who has not been asked
            return now - self._pinged_at <= QUIET * self._ping_s
        if now - heard_at >= self._ping_s:
            self._pinged_at = now
            self._server.sock.ping()
        return True

    def close(self, code: int, why: str) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            self._server.close(code, why)

    def let_go(self) -> None:
        """Give the client a moment to take the last frame; closed under it, the reading thread would sleep on."""
        self._server.thread.join(timeout=LINGER_S)
        if self._server.thread.is_alive():
            self._server.sock.hang_up()

    def _count_one(self) -> None:
        if time.monotonic() - self._minute > MINUTE_S:
            self._minute, self._count = time.monotonic(), 0
        self._count += 1
        if self._count > FLOOD:
            raise Over(CLOSE_FLOOD, "too many frames")
