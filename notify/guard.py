"""In front of every websocket: who may open one, and a socket that neither corrupts frames nor hangs.

Refusals are answers over HTTP: a 401 says more than a socket that closes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, g, request
from flask.typing import ResponseReturnValue
from wsproto.utilities import ProtocolError

from core.access import Principal
from core.errors import Forbidden, Malformed, NotNow
from core.web import failure
from notify.live import Live
from notify.locked import LockedSocket
from notify.rooms import Instance

SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who opens a socket, and of which instance, where it is one of an instance."""

    principal: Principal
    instance: Instance | None


def install(app: Flask, live: Live) -> None:
    """Check every request that wants to become a websocket, before it does; `caller` says who it was."""

    @app.before_request
    def admit() -> None:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return
        check_origin(live.origins)
        if live.seats.full:
            raise NotNow("No more sockets on this server at the moment", code="TOO_MANY_SOCKETS")
        g.socket_caller = _caller(live, request.view_args or {})
        harden(request.environ, live.send_s)

    @app.errorhandler(ProtocolError)
    def no_handshake(_: ProtocolError) -> ResponseReturnValue:
        """wsproto refuses it: no key, another version."""
        answer = app.make_response(failure(Malformed("This is no websocket handshake", code="BAD_HANDSHAKE")))
        answer.headers["Sec-WebSocket-Version"] = "13"
        return answer


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


def check_origin(allowed: frozenset[str]) -> None:
    """A page of another site must not use somebody's cookie. Raises Forbidden."""
    origin = request.headers.get("Origin")
    if origin is not None and not is_allowed(origin, request.host, allowed):
        raise Forbidden("This origin may not open sockets here", code="ORIGIN")


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
