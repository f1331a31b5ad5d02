"""Socket.IO 4 clients: they join their organization and get the `whatsapp:*` events. An adapter over the same feed,
rooms and rights as the websockets; python-socketio speaks the protocol, in plain threads.

Nothing is resumed here: who was away asks the API. Sessions live in the process, so with several web processes a
client must speak websocket at once (`transports: ["websocket"]`), or come to the same process each time.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import socketio
import structlog
from flask import Flask
from socketio.exceptions import ConnectionRefusedError as Refused

from core.access import Principal
from core.errors import AppError
from notify.commands import UNKNOWN, organization_channel, place_of
from notify.framing import CLOSE_BAD, LARGEST_FRAME
from notify.guard import Origins, harden, is_allowed, is_handshake
from notify.line import BAD_FRAMES
from notify.live import Live
from notify.packets import SAYS_NOTHING, Body, Wire, is_sound
from notify.seats import Over
from notify.socket_client import Client
from notify.socket_rooms import SharedRooms

log = structlog.get_logger()
PATH = "/socket.io/"
LOOK_S = 2.0
SILENT_S = 10.0  # how long a session may be without a user
MOST_WAITING = 256  # packets for a client that does not read them
REFUSALS = {  # each with the headers that say more
    "400 Bad Request": [("Sec-WebSocket-Version", "13")],
    "403 Forbidden": [],
    "503 Service Unavailable": [("Retry-After", "5")],
}
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class SocketIO:
    """`answer` is a WSGI application: `/socket.io/`, and `behind` for the rest. Its thread starts with a client."""

    def __init__(self, app: Flask, live: Live, behind: Wsgi) -> None:
        self.live, self._app, self._behind = live, app, behind
        self.server = socketio.Server(
            async_mode="threading",
            async_handlers=False,
            cors_allowed_origins=lambda origin, environ: is_allowed(origin, environ.get("HTTP_HOST", ""), live.origins),
            max_http_buffer_size=LARGEST_FRAME,
            logger=SAYS_NOTHING,
            engineio_logger=SAYS_NOTHING,
        )
        self.server.eio._async = {**self.server.eio._async, "websocket": Wire}
        self.server.eio.on("message", self._heard)
        self._origins = Origins(live.origins)
        self._clients: dict[str, Client] = {}
        self._silent_since: dict[str, float] = {}
        self._starting, self._woken = threading.Lock(), threading.Event()
        self._rooms = SharedRooms(self.server, live, self._clients, self._woken.set)
        self._thread = threading.Thread(target=self._run, name="socket-io", daemon=True)
        for handler in (self.connect, self.disconnect):
            self.server.on(handler.__name__, handler)
        self.server.on("join-organization", self.join_organization)
        self.server.on("*", self.other)

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(PATH):
            return self._behind(environ, start_response)
        if refusal := self._refusal(environ):
            start_response(refusal, [*REFUSALS[refusal], ("Content-Length", "0")])
            return []
        self._start()
        if _is_upgrade(environ):
            harden(environ, self.live.send_s)
        environ["wsgi.input"] = Body(environ["wsgi.input"])
        try:
            answer: Iterable[bytes] = self.server.handle_request(environ, start_response)
        except KeyError:  # the session has just closed
            start_response("400 Bad Request", [("Content-Length", "0")])
            return []
        return answer

    def connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        principal = self._who(environ, auth if isinstance(auth, Mapping) else {})
        client = Client(principal, self.live.rooms, partial(self.server.disconnect, sid))
        try:
            self.live.seats.take(client)
        except Over as over:
            raise Refused(over.why) from None
        self._clients[sid] = client

    def disconnect(self, sid: str, _: str = "") -> None:
        client = self._clients.pop(sid, None)
        if client:
            self.live.seats.release(client)
            for channel in client.channels.copy():
                self._rooms.leave(channel)

    def join_organization(self, sid: str, organization: object = None, *_: object) -> dict[str, Any]:
        """The acknowledgement, for those who ask for one; a refusal is also told as `error`."""
        client = self._clients[sid]
        if not self._counted(client, sid):
            return {"success": False}
        organization = str(organization) if type(organization) is int else organization
        principal = client.principal
        try:
            room = self.live.rooms.open(principal, organization_channel(organization))
            if room.channel not in client.channels:
                self._rooms.enter(client, sid, room, principal)
        except AppError as error:
            return self._refuse(sid, error.code, error.message, **place_of("join-organization", organization))
        return {"success": True, "channel": room.channel}

    def other(self, _: str, sid: str, *__: object) -> dict[str, Any]:
        """A command that is not known here costs as much."""
        if not self._counted(self._clients[sid], sid):
            return {"success": False}
        return self._refuse(sid, *UNKNOWN)

    def _refuse(self, sid: str, code: str, message: str, **place: str) -> dict[str, Any]:
        refusal = {"code": code, "message": message, **place}
        self.server.emit("error", refusal, to=sid)
        return {"success": False, **refusal}

    def _refusal(self, environ: Mapping[str, Any]) -> str | None:
        """The status that a request gets without python-socketio."""
        if not self._origins.admit(environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", "")):
            return "403 Forbidden"
        if _is_upgrade(environ) and not is_handshake(environ):
            return "400 Bad Request"
        is_new = "sid" not in parse_qs(environ.get("QUERY_STRING", ""))  # as Engine.IO reads it
        is_full = self.live.seats.full or len(self.server.eio.sockets) >= self.live.seats.most
        return "503 Service Unavailable" if is_new and is_full else None

    def _heard(self, eio_sid: str, said: object) -> None:
        """A packet of somebody, connected or not."""
        session = self.server.eio.sockets.get(eio_sid)
        if session is None or session.closed:
            return
        if not is_sound(self.server.packet_class, said):
            self._count_bad(session)
            return
        try:
            self.server._handle_eio_message(eio_sid, said)
        except Exception as error:  # nobody else would tell
            if not session.closed:  # else the libraries stumbled over what was gone meanwhile
                log.error("socket_io_failed", exc_info=error)

    def _count_bad(self, session: Any) -> None:
        """Not only of clients: nobody has to say who they are to send some."""
        session.session["bad"] = session.session.get("bad", 0) + 1
        if session.session["bad"] > BAD_FRAMES:
            client = self._clients.get(self.server.manager.sid_from_eio_sid(session.sid, "/"))
            whose = {"user_id": str(client.principal.user_id)} if client else {}
            log.info("socket_closed", close_code=CLOSE_BAD, why="too many bad packets", **whose)
            session.close(wait=False)

    def _counted(self, client: Client, sid: str) -> bool:
        """Whether it may go on; else its session has ended, so that it cannot connect on it anew."""
        try:
            client.count_one()
        except Over as over:
            session = self._session(sid)
            client.end(over.code, over.why)
            if session:
                session.close(wait=False)
            return False
        return True

    def _session(self, sid: str) -> Any:
        """Engine.IO's, of a client of ours; None when it has closed."""
        found = self.server.eio.sockets.get(self.server.manager.eio_sid_from_sid(sid, "/"))
        return found if found and not found.closed else None

    def _start(self) -> None:
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()

    def _who(self, environ: dict[str, Any], auth: Mapping[str, Any]) -> Principal:
        """`auth: {ticket}` or `{token}` of the client, else the first request's headers."""
        bearer = {"HTTP_AUTHORIZATION": f"Bearer {auth['token']}"} if "token" in auth else {}
        try:
            if "ticket" in auth:
                return self.live.tickets.redeem(str(auth["ticket"]))
            with self._app.request_context({**environ, **bearer, "REQUEST_METHOD": "GET"}):
                return self.live.user()
        except AppError as error:
            raise Refused(error.message, {"code": error.code}) from None

    def _run(self) -> None:
        look_at = 0.0
        while not self.live.hub.stopping:
            self._woken.wait(max(0.0, look_at - time.monotonic()))
            self._woken.clear()
            try:
                self._rooms.hand_out()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + LOOK_S
                    self._look()
            except Exception as error:  # all its clients hang on this thread
                log.error("socket_io_failed", exc_info=error)
        for session in list(self.server.eio.sockets.values()):
            session.close(wait=False)

    def _look(self) -> None:
        """Let clients go whose session closed while they connected; close sessions that belong to nobody, and those of
        clients that do not read.
        """
        for sid in [sid for sid in list(self._clients) if not self._session(sid)]:
            self.server.disconnect(sid)
            self.disconnect(sid)  # where python-socketio does not count it as connected
        now, sessions = time.monotonic(), dict(self.server.eio.sockets)
        nobody = {sid for sid in sessions if self.server.manager.sid_from_eio_sid(sid, "/") not in self._clients}
        self._silent_since = {sid: self._silent_since.get(sid, now) for sid in nobody}
        for sid, session in sessions.items():
            silent = now - self._silent_since.get(sid, now) > SILENT_S
            if silent or session.queue.qsize() > MOST_WAITING:
                session.close(wait=False, abort=not silent)


def _is_upgrade(environ: Mapping[str, Any]) -> bool:
    return str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"
