"""In front of every websocket: who may open one, and a socket that neither corrupts frames nor hangs.

Refusals are answers over HTTP: a 401 says more than a socket that closes.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request
from flask.typing import ResponseReturnValue
from wsproto.utilities import ProtocolError

from core.access import Principal
from core.errors import Forbidden, Malformed
from core.web import failure

LINGER_S = 2.0  # for the client to take the close frame and hang up
SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")


class LockedSocket:
    """One whole frame at a time, bounded in time, and closed so that the last frame arrives.

    simple-websocket writes with `send` (a part of a frame may be left) and from two threads (its pings).
    """

    def __init__(self, inner: Any, timeout: float) -> None:
        self._inner, self._lock, self._stuck = inner, threading.Lock(), False
        inner.settimeout(timeout)

    def send(self, data: bytes, *_: Any) -> int:
        """Raises OSError when the client does not take it; from then on at once, for half a frame may be out."""
        with self._lock:
            if self._stuck:
                raise BrokenPipeError
            try:
                self._inner.sendall(data)
            except OSError:
                self._stuck = True
                with contextlib.suppress(OSError):
                    self._inner.shutdown(socket.SHUT_RDWR)  # wakes the reading thread
                raise
        return len(data)

    def close(self) -> None:
        """Say EOF, and read away what the client still says: closed over it, TCP resets and drops our last frame."""
        until = time.monotonic() + LINGER_S
        with contextlib.suppress(OSError):
            self._inner.shutdown(socket.SHUT_WR)
            while (left := until - time.monotonic()) > 0:
                self._inner.settimeout(left)
                if not self._inner.recv(65536):
                    break
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def install(app: Flask, user: Callable[[], Principal], origins: frozenset[str], send_s: float) -> None:
    """Check every request that wants to become a websocket, before it does."""

    @app.before_request
    def admit() -> None:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return
        check_origin(origins)
        user()
        request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)  # deflate costs 94 KB a socket
        for key in SOCKET_KEYS:
            if key in request.environ:
                request.environ[key] = LockedSocket(request.environ[key], send_s)

    @app.errorhandler(ProtocolError)
    def no_handshake(_: ProtocolError) -> ResponseReturnValue:
        """wsproto refuses it: no key, another version."""
        answer = app.make_response(failure(Malformed("This is no websocket handshake", code="BAD_HANDSHAKE")))
        answer.headers["Sec-WebSocket-Version"] = "13"
        return answer


def check_origin(allowed: frozenset[str]) -> None:
    """A page of another site must not use somebody's cookie. Raises Forbidden."""
    origin = request.headers.get("Origin")
    if origin is None or origin in allowed:
        return
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or parts.netloc != request.host:
        raise Forbidden("This origin may not open sockets here", code="ORIGIN")
