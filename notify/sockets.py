"""`/ws`: the client speaks first, gets a snapshot or what it missed, then the stream.

One writer a socket: the handler's loop over its mailbox. `notify.guard` stands in front of it.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from flask import Flask
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server

from core.access import Principal
from core.db import Transaction
from core.errors import StorageUnavailable
from notify import feed, frames, guard
from notify.hub import Hub, Subscriber

log = structlog.get_logger()
SEND_S = 10.0  # seconds a client has to take one frame
PING_S = 25
FIRST_FRAME_S = 10.0
LOOK_S = 1.0  # how soon a socket without a subscription notices that the process ends
LARGEST_FRAME = 16 * 1024
FLOOD = 60  # client frames a minute
BAD_FRAMES = 10
CLOSE_RESTART, CLOSE_TRY_LATER, CLOSE_BAD, CLOSE_LATE, CLOSE_FLOOD = 1012, 1013, 4400, 4408, 4429


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What the sockets need of others: who is calling, the user's status, the feed. The times are tests' seams."""

    user: Callable[[], Principal]
    status: Callable[[UUID], dict[str, object]]
    transaction: Transaction
    hub: Hub
    origins: frozenset[str]
    first_frame_s: float = FIRST_FRAME_S
    send_s: float = SEND_S


class Over(Exception):
    """The socket has to be closed, with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


def install(app: Flask, lines: Lines) -> None:
    """Add `/ws` and the guard to the application."""
    app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": PING_S, "max_message_size": LARGEST_FRAME}
    guard.install(app, lines.user, lines.origins, lines.send_s)

    def live(server: Server) -> None:
        Conversation(server, lines, lines.user().user_id).hold()

    Sock(app).route("/ws")(live)


class Conversation:
    """One socket, from the first frame to the close."""

    def __init__(self, server: Server, lines: Lines, user_id: UUID) -> None:
        self._server, self._lines, self._user_id = server, lines, user_id
        self._heard_at: list[float] = []
        self._bad = 0

    def hold(self) -> None:
        """Until either side closes."""
        try:
            self._stream(self._start(self._subscription()))
        except (ConnectionClosed, OSError):
            return  # the client has gone, or takes nothing; what it missed it will ask for
        except Over as over:
            self._close(over.code, over.why)
        except StorageUnavailable:
            self._close(CLOSE_TRY_LATER, "storage unavailable")
        finally:
            # it gives the client a moment to take the last frame; closed under it by the server, it would sleep on
            self._server.thread.join(timeout=guard.LINGER_S)

    def _subscription(self) -> int | None:
        """The first frame's `since`; None asks for a snapshot."""
        until = time.monotonic() + self._lines.first_frame_s
        while (left := until - time.monotonic()) > 0:
            for asked in self._heard():
                since = asked.get("since")
                if asked["type"] == "subscribe" and (since is None or _is_id(since)):
                    return since
                self._server.send(frames.error("SUBSCRIBE_FIRST", "Send subscribe first"))
            self._end_with_the_process()
            self._server.event.wait(min(left, LOOK_S))
        raise Over(CLOSE_LATE, "no subscribe in time")

    def _start(self, since: int | None) -> int:
        """Send what was missed, or the snapshot; the id after which the stream goes on."""
        with self._lines.transaction() as connection:
            stream = feed.stream(connection, self._user_id)
        if since is not None and stream.holds(since):
            return self._catch_up(since) if since < stream.head else since
        if since is not None:
            self._server.send(frames.bare("reset"))
        # read after the head: what comes in between is in both, and says the same twice
        self._server.send(frames.snapshot(self._lines.status(self._user_id), stream.head))
        return stream.head

    def _catch_up(self, cursor: int) -> int:
        """Send the feed from here to its end, at the client's own pace."""
        while True:
            with self._lines.transaction() as connection:
                events = feed.events_after(connection, {self._user_id: cursor})
            for event in events:
                self._server.send(self._lines.hub.frame(event))
                cursor = event.id
            self._answer()
            self._end_with_the_process()
            if len(events) < feed.MOST:
                return cursor

    def _stream(self, cursor: int) -> None:
        """Follow the hub; whenever that was too fast, catch up and follow again."""
        while True:
            subscriber = self._lines.hub.join(self._user_id, cursor, self._server.event.set)
            try:
                self._follow(subscriber)
            finally:
                self._lines.hub.leave(subscriber)
            cursor = self._catch_up(subscriber.cursor)

    def _follow(self, subscriber: Subscriber) -> None:
        """Until the socket has fallen behind. The reader of the socket and the hub set the same event."""
        while True:
            self._answer()  # clears the event, so it comes first: what is set from here on ends the wait below
            self._end_with_the_process()
            behind = subscriber.behind  # before the mailbox is emptied: then nothing comes after it
            while (frame := subscriber.take()) is not None:
                self._server.send(frame)
            if behind:
                return
            self._server.event.wait(PING_S)

    def _answer(self) -> None:
        """Answer what the client said meanwhile."""
        for asked in self._heard():
            if asked["type"] == "ping":
                self._server.send(frames.bare("pong"))
            else:
                self._server.send(frames.error("UNKNOWN_TYPE", "This command is not known"))

    def _heard(self) -> Iterator[Mapping[str, Any]]:
        """The commands that have come; what is none is answered here."""
        while (text := self._server.receive(timeout=0)) is not None:
            now = time.monotonic()
            self._heard_at = [at for at in self._heard_at if at > now - 60] + [now]
            if len(self._heard_at) > FLOOD:
                raise Over(CLOSE_FLOOD, "too many frames")
            if (asked := frames.command(text)) is not None:
                yield asked
                continue
            self._bad += 1
            if self._bad > BAD_FRAMES:
                raise Over(CLOSE_BAD, "too many bad frames")
            self._server.send(frames.error("BAD_FRAME", "A frame is a JSON object with a type"))

    def _end_with_the_process(self) -> None:
        if self._lines.hub.stopping:
            raise Over(CLOSE_RESTART, "restart")

    def _close(self, code: int, why: str) -> None:
        log.info("socket_closed", close_code=code, why=why)
        with contextlib.suppress(ConnectionClosed, OSError):
            self._server.close(code, why)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
