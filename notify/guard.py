"""In front of every websocket: who may open one, and a socket that neither corrupts frames nor hangs.

Refusals are answers over HTTP: a 401 says more than a socket that closes.
"""

import math
import time
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask import Flask, g, request
from flask.typing import ResponseReturnValue
from werkzeug.routing import WebsocketMismatch
from wsproto.utilities import ProtocolError, RemoteProtocolError

from core.access import Principal
from core.errors import Forbidden, Malformed, NotNow
from core.web import failure
from notify.live import Live
from notify.locked import LockedSocket
from notify.rooms import Instance

log = structlog.get_logger()
SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")
KEY_BYTES = 16
SAID_EVERY_S = 60.0
MOST_SAID = 200  # characters of an origin
NO_HANDSHAKE = "This is no websocket handshake: it takes version 13 and one key of 16 bytes"
NO_UPGRADE = (
    "This address speaks websocket; the Upgrade or the Connection header is missing: a proxy may have taken it out"
)
NO_SOCKET = "There is no websocket at this address"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who opens a socket, and of which instance, where it is one of an instance."""

    principal: Principal
    instance: Instance | None


def install(app: Flask, live: Live) -> None:
    """Check every request that wants to become a websocket, before it does; `caller` says who it was."""

    origins = Origins(live.origins)

    @app.before_request
    def admit() -> None:
        if not (request.url_rule and request.url_rule.websocket):
            return
        if not origins.admit(request.headers.get("Origin"), request.host):
            raise Forbidden("This origin may not open sockets here", code="ORIGIN")
        if not is_handshake(request.environ):
            raise RemoteProtocolError("no handshake")
        if live.seats.full:
            raise NotNow("No more sockets on this server at the moment", code="TOO_MANY_SOCKETS")
        g.socket_caller = _caller(live, request.view_args or {})
        harden(request.environ, live.send_s)

    @app.errorhandler(ProtocolError)
    def no_handshake(_: ProtocolError) -> ResponseReturnValue:
        """We refuse it, or wsproto does."""
        answer = app.make_response(failure(Malformed(NO_HANDSHAKE, code="BAD_HANDSHAKE")))
        answer.headers["Sec-WebSocket-Version"] = "13"
        return answer

    @app.errorhandler(WebsocketMismatch)
    def no_such_way(_: WebsocketMismatch) -> ResponseReturnValue:
        """A socket's address without a handshake, or another one with it."""
        asks = request.headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in _wishes(request.environ)
        return failure(Malformed(NO_SOCKET if asks else NO_UPGRADE, code="BAD_HANDSHAKE"))


def caller() -> Caller:
    """Of the request at hand, which `admit` has let in."""
    found: Caller = g.socket_caller
    return found


def harden(environ: dict[str, Any], send_s: float) -> None:
    """Put our socket in the place of the server's, and let nobody negotiate deflate: it costs 94 KB a socket."""
    environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
    for key in SOCKET_KEYS:
        if key in environ:
            environ[key] = LockedSocket(environ[key], send_s)


def is_handshake(environ: Mapping[str, Any]) -> bool:
    """Asked before a ticket is used up; and wsproto takes any key, two of them too. HTTP/1.0 will do: proxies do."""
    is_current = environ.get("HTTP_SEC_WEBSOCKET_VERSION") == "13"
    return is_current and "upgrade" in _wishes(environ) and _is_key(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""))


class Origins:
    """Whose pages may open sockets: a page of another site must not use somebody's cookie. It says in the log who was
    refused, once a minute at most: a page sees no more than that its socket closed."""

    def __init__(self, named: frozenset[str]) -> None:
        self._named, self._said_at = named, -math.inf

    def admit(self, origin: str | None, host: str) -> bool:
        if origin is None or is_allowed(origin, host, self._named):
            return True
        if time.monotonic() - self._said_at > SAID_EVERY_S:
            self._said_at = time.monotonic()
            log.warning("origin_refused", origin=origin[:MOST_SAID])
        return False


def is_allowed(origin: str, host: str, allowed: frozenset[str]) -> bool:
    """Our own pages, and the origins that the operator has named."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return origin in allowed or (parts.scheme in ("http", "https") and parts.netloc == host)


def _caller(live: Live, place: Mapping[str, str]) -> Caller:
    """A ticket decides alone where there is one. Raises Unauthenticated, NotFound."""
    ticket = request.args.get("ticket")
    principal = live.tickets.redeem(ticket) if ticket else live.user()
    name = place.get("instance_id")
    return Caller(principal=principal, instance=live.rooms.instance(principal, name) if name else None)


def _wishes(environ: Mapping[str, Any]) -> set[str]:
    return {wish.strip() for wish in environ.get("HTTP_CONNECTION", "").lower().split(",")}


def _is_key(given: str) -> bool:
    try:
        return len(b64decode(given, validate=True)) == KEY_BYTES
    except ValueError:
        return False
