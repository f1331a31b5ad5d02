"""Socket.IO 4 clients: they join their organization and get the `whatsapp:*` events. An adapter over the same feed,
rooms and rights as the websockets; python-socketio speaks the protocol, in plain threads.

Nothing is resumed here: who was away asks the API. Sessions live in the process, so with several web processes a
client must speak websocket at once (`transports: ["websocket"]`), or come to the same process each time.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import socketio
import structlog
from flask import Flask
from socketio.exceptions import ConnectionRefusedError as Refused
from wsproto.utilities import ProtocolError

from core.access import Principal
from core.errors import AppError, TooMany
from notify.commands import MOST_CHANNELS
from notify.dialects import WhatsApp
from notify.feed import FeedEvent
from notify.framing import CLOSE_FLOOD, LARGEST_FRAME, MINUTE_S
from notify.guard import harden, is_allowed
from notify.line import FLOOD
from notify.live import Live
from notify.mailbox import Mailbox
from notify.rooms import Room
from notify.seats import Over

log = structlog.get_logger()
PATH = "/socket.io/"
LOOK_S = 2.0
SILENT_S = 10.0  # how long a session may be without a user
MOST_WAITING = 256  # packets for a client that does not read them
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Named(WhatsApp):
    """Name and payload, as JSON."""

    def event(self, happened: FeedEvent, channel: str | None = None) -> Sequence[bytes]:  # noqa: ARG002 — rooms know it
        found = self.named(happened)
        return [json.dumps(found).encode()] if found else []


class Client:
    """One connected client and what it listens to."""

    def __init__(self, adapter: "SocketIO", sid: str, principal: Principal) -> None:
        self._adapter, self._sid, self.principal = adapter, sid, principal
        self.channels: set[str] = set()
        self._minute, self._count = 0.0, 0

    def is_there(self) -> bool:
        """python-socketio pings."""
        return True

    def may_stay(self) -> None:
        for channel in self.channels.copy():
            self._adapter.live.rooms.open(self.principal, channel)

    def count_one(self) -> None:
        """A command, on whatever transport. Raises Over with the first that is too many in a minute."""
        now = time.monotonic()
        if now - self._minute > MINUTE_S:
            self._minute, self._count = now, 0
        self._count += 1
        if self._count > FLOOD:
            raise Over(CLOSE_FLOOD, "too many commands")

    def end(self, code: int, why: str) -> None:
        log.info("socket_closed", close_code=code, why=why)
        self._adapter.server.disconnect(self._sid)


class SocketIO:
    """`answer` is a WSGI application: `/socket.io/`, and `behind` for the rest. Its thread starts with a client."""

    def __init__(self, app: Flask, live: Live, behind: Wsgi) -> None:
        self.live, self._app, self._behind = live, app, behind
        self.server = socketio.Server(
            async_mode="threading",
            async_handlers=False,
            cors_allowed_origins=lambda origin, environ: is_allowed(origin, environ.get("HTTP_HOST", ""), live.origins),
            max_http_buffer_size=LARGEST_FRAME,
        )
        self._dialect = Named()
        self._clients: dict[str, Client] = {}
        self._mailboxes: dict[str, Mailbox] = {}
        self._silent_since: dict[str, float] = {}
        self._lock, self._starting, self._woken = threading.Lock(), threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="socket-io", daemon=True)
        for handler in (self.connect, self.disconnect):
            self.server.on(handler.__name__, handler)
        self.server.on("join-organization", self.join_organization)
        self.server.on("*", self.other)

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(PATH):
            return self._behind(environ, start_response)
        is_new = "sid" not in parse_qs(environ.get("QUERY_STRING", ""))  # as Engine.IO reads it
        if is_new and (self.live.seats.full or len(self.server.eio.sockets) >= self.live.seats.most):
            start_response("503 Service Unavailable", [("Retry-After", "5"), ("Content-Length", "0")])
            return []
        self._start()
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            harden(environ, self.live.send_s)
        try:
            answer: Iterable[bytes] = self.server.handle_request(environ, start_response)
        except (ProtocolError, KeyError):
            # no key, another version (the session is closed as one that belongs to nobody); or one that has just closed
            start_response("400 Bad Request", [("Sec-WebSocket-Version", "13"), ("Content-Length", "0")])
            return []
        return answer

    def connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        client = Client(self, sid, self._who(environ, auth if isinstance(auth, Mapping) else {}))
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
                self._left(channel)

    def join_organization(self, sid: str, organization: object = None) -> dict[str, Any]:
        """The acknowledgement, for those who ask for one; a refusal is also told as `error`."""
        client = self._clients[sid]
        if not self._counted(client, sid):
            return {"success": False}
        principal = client.principal
        try:
            room = self.live.rooms.open(principal, f"org:{organization}")
            if room.channel not in client.channels:
                self._enter(client, sid, room, principal)
        except AppError as error:
            refusal = {"code": error.code, "message": error.message}
            self.server.emit("error", refusal, to=sid)
            return {"success": False, **refusal}
        return {"success": True, "channel": room.channel}

    def other(self, _: str, sid: str, *__: object) -> None:
        """A command that is not known here costs as much."""
        self._counted(self._clients[sid], sid)

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

    def _enter(self, client: Client, sid: str, room: Room, principal: Principal) -> None:
        """Nobody waits for the database but who enters. Raises TooMany, Forbidden, StorageUnavailable."""
        with self._lock:
            if len(client.channels) >= MOST_CHANNELS:
                raise TooMany("No more channels on one socket")
            client.channels.add(room.channel)  # from here on nobody takes the room's mailbox away
            is_heard = room.channel in self._mailboxes
        try:
            if not is_heard:
                self._hear(room)
            if client.principal is not principal:  # judged meanwhile, perhaps without this room
                self.live.rooms.open(client.principal, room.channel)
            self.server.enter_room(sid, room.channel)
        except BaseException:
            client.channels.discard(room.channel)
            self._left(room.channel)
            raise
        if sid not in self._clients:  # gone meanwhile
            self._left(room.channel)

    def _hear(self, room: Room) -> None:
        """Of several who enter at once one keeps its mailbox."""
        mailbox = Mailbox(user_id=None, dialect=self._dialect, wake=self._woken.set)
        self.live.hub.enter(mailbox, room)
        with self._lock:
            kept = self._mailboxes.setdefault(room.channel, mailbox)
        if kept is not mailbox:
            self.live.hub.exit(mailbox, room.channel)

    def _left(self, channel: str) -> None:
        with self._lock:
            if any(channel in client.channels for client in list(self._clients.values())):
                return
            if mailbox := self._mailboxes.pop(channel, None):
                self.live.hub.exit(mailbox, channel)

    def _run(self) -> None:
        look_at = 0.0
        while not self.live.hub.stopping:
            self._woken.wait(max(0.0, look_at - time.monotonic()))
            self._woken.clear()
            try:
                self._hand_out()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + LOOK_S
                    self._look()
            except Exception as error:  # all its clients hang on this thread
                log.error("socket_io_failed", exc_info=error)
        for session in list(self.server.eio.sockets.values()):
            session.close(wait=False)

    def _hand_out(self) -> None:
        for channel, mailbox in list(self._mailboxes.items()):
            while (frame := mailbox.take()) is not None:
                name, data = json.loads(frame)
                self.server.emit(name, data, room=channel)
            while mailbox.missed:
                self.server.emit("reset", {"channel": mailbox.missed.pop()}, room=channel)

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
