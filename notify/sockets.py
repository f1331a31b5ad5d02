"""`/ws`: the client speaks first, gets a snapshot or what it missed, then the stream.

One writer a socket: this handler's loop over its mailbox. The guard in front makes each frame one write with a
deadline, refuses compression, and closes what floods.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from flask import Flask, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server

from core.access import Principal
from core.db import Transaction
from core.errors import Forbidden, StorageUnavailable
from notify import feed, frames
from notify.hub import Hub, Subscriber

log = structlog.get_logger()
SEND_S = 10  # seconds a client has to take one frame
PING_S = 25
FIRST_FRAME_S = 10
LARGEST_FRAME = 16 * 1024
FLOOD = 60  # client frames a minute
SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")
BAD_FRAMES = 10
CLOSE_RESTART, CLOSE_BAD, CLOSE_LATE, CLOSE_SLOW, CLOSE_FLOOD = 1012, 4400, 4408, 4410, 4429


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What the sockets need of others: who is calling, the user's status, the feed."""

    user: Callable[[], Principal]
    status: Callable[[UUID], dict[str, object]]
    transaction: Transaction
    hub: Hub
    origins: frozenset[str]


class LockedSocket:
    """One whole frame at a time, bounded in time.

    simple-websocket writes with `send` (a part of a frame may be left) and from two threads (its pings).
    """

    def __init__(self, inner: Any, timeout: float) -> None:
        self._inner, self._lock = inner, threading.Lock()
        inner.settimeout(timeout)

    def send(self, data: bytes, *_: Any) -> int:
        with self._lock:
            self._inner.sendall(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def install(app: Flask, lines: Lines) -> None:
    """Add `/ws` and the guard to the application."""
    app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": PING_S, "max_message_size": LARGEST_FRAME}
    sock = Sock(app)

    @app.before_request
    def guard() -> None:
        if not _is_websocket():
            return
        request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)  # deflate costs 94 KB a socket
        for key in SOCKET_KEYS:
            if key in request.environ:
                request.environ[key] = LockedSocket(request.environ[key], SEND_S)
        check_origin(lines.origins)
        lines.user()  # refused before the upgrade: a 401 is clearer than a socket that closes

    def live(server: Server) -> None:
        Conversation(server, lines, lines.user().user_id).hold()

    sock.route("/ws")(live)


def check_origin(allowed: frozenset[str]) -> None:
    """A page of another site must not use somebody's cookie. Raises Forbidden."""
    origin = request.headers.get("Origin")
    if origin is None or origin in allowed:
        return
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or parts.netloc != request.host:
        raise Forbidden("This origin may not open sockets here", code="ORIGIN")


class Conversation:
    """One socket, from the first frame to the close."""

    def __init__(self, server: Server, lines: Lines, user_id: UUID) -> None:
        self._server, self._lines, self._user_id = server, lines, user_id
        self._heard_at: list[float] = []
        self._bad = 0

    def hold(self) -> None:
        """Until either side closes."""
        try:
            since = self._subscription()
            if since is not None:
                self._stream(since)
        except (ConnectionClosed, OSError):
            return  # the client has gone; what it missed it will ask for
        except StorageUnavailable:
            self._close(1013, "storage unavailable")

    def _subscription(self) -> int | None:
        """The first frame's `since`: -1 for a snapshot. None: the socket was closed."""
        until = time.monotonic() + FIRST_FRAME_S
        while (left := until - time.monotonic()) > 0:
            text = self._server.receive(timeout=left)
            if text is None:
                break
            if (asked := self._understood(text)) is None:
                if self._bad > BAD_FRAMES:
                    self._close(CLOSE_BAD, "too many bad frames")
                    return None
                continue
            since = asked.get("since")
            if asked["type"] == "subscribe" and (since is None or _is_id(since)):
                return -1 if since is None else int(since)
            self._server.send(frames.error("SUBSCRIBE_FIRST", "Send subscribe first"))
        self._close(CLOSE_LATE, "no subscribe in time")
        return None

    def _stream(self, since: int) -> None:
        """The reader of the socket and the hub set the same event: an idle socket costs nothing."""
        event = self._server.event
        subscriber = self._lines.hub.join(self._user_id, self._start(since), event.set)
        try:
            while self._deliver(subscriber) and self._listen():
                event.wait(PING_S)
                event.clear()
        finally:
            self._lines.hub.leave(subscriber)

    def _start(self, since: int) -> int:
        """Send the snapshot where one is due; the id after which the stream begins."""
        with self._lines.transaction() as connection:
            stream = feed.stream(connection, self._user_id)
        if since >= 0 and stream.holds(since):
            return since
        if since >= 0:
            self._server.send(frames.bare("reset"))
        # read after the head: what comes in between is in both, and says the same twice
        self._server.send(frames.snapshot(self._lines.status(self._user_id), stream.head))
        return stream.head

    def _deliver(self, subscriber: Subscriber) -> bool:
        """Send what is there. False: the socket was closed."""
        while subscriber.mailbox:
            self._server.send(subscriber.mailbox.popleft())
        if subscriber.overflowed:
            return self._close(CLOSE_SLOW, "too slow")
        if self._lines.hub.stopping:
            return self._close(CLOSE_RESTART, "restart")
        return True

    def _listen(self) -> bool:
        """Answer what the client said meanwhile. False: the socket was closed."""
        while (text := self._server.receive(timeout=0)) is not None:
            now = time.monotonic()
            self._heard_at = [at for at in self._heard_at if at > now - 60] + [now]
            if len(self._heard_at) > FLOOD:
                return self._close(CLOSE_FLOOD, "too many frames")
            if (asked := self._understood(text)) is not None:
                self._answer(asked["type"])
            elif self._bad > BAD_FRAMES:
                return self._close(CLOSE_BAD, "too many bad frames")
        return True

    def _understood(self, text: str | bytes) -> Any:
        if (asked := frames.command(text)) is None:
            self._bad += 1
            self._server.send(frames.error("BAD_FRAME", "A frame is a JSON object with a type"))
        return asked

    def _answer(self, kind: str) -> None:
        if kind == "ping":
            self._server.send(frames.bare("pong"))
        else:
            self._server.send(frames.error("UNKNOWN_TYPE", "This command is not known"))

    def _close(self, code: int, why: str) -> bool:
        log.info("socket_closed", close_code=code, why=why)
        self._server.close(code, why)
        return False


def _is_websocket() -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
