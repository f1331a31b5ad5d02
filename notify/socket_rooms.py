"""The rooms that Socket.IO clients listen in: one mailbox a room, whose events python-socketio gives to all in it."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.access import Principal
from core.errors import TooMany
from notify.commands import CROWDED, MOST_CHANNELS
from notify.dialects import WhatsApp
from notify.feed import FeedEvent
from notify.live import Live
from notify.mailbox import Mailbox
from notify.rooms import Room
from notify.socket_client import Client


class Named(WhatsApp):
    """Name and payload, as JSON."""

    def event(self, happened: FeedEvent, channel: str | None = None) -> Sequence[bytes]:  # noqa: ARG002 — rooms know it
        found = self.named(happened)
        return [json.dumps(found).encode()] if found else []


class SharedRooms:
    """`clients` by their sid. `wake` is called when there is something to hand out."""

    def __init__(self, server: Any, live: Live, clients: Mapping[str, Client], wake: Callable[[], None]) -> None:
        self._server, self._live, self._clients, self._wake = server, live, clients, wake
        self._dialect = Named()
        self._mailboxes: dict[str, Mailbox] = {}
        self._lock = threading.Lock()

    def enter(self, client: Client, sid: str, room: Room, principal: Principal) -> None:
        """`principal`: to whom the room was found open. Nobody waits for the database but who enters. Raises TooMany,
        Forbidden, StorageUnavailable."""
        with self._lock:
            if len(client.channels) >= MOST_CHANNELS:
                raise TooMany(CROWDED)
            client.channels.add(room.channel)  # from here on nobody takes the room's mailbox away
            is_heard = room.channel in self._mailboxes
        try:
            if not is_heard:
                self._hear(room)
            if client.principal is not principal:  # judged meanwhile, perhaps without this room
                self._live.rooms.open(client.principal, room.channel)
            self._server.enter_room(sid, room.channel)
        except BaseException:
            client.channels.discard(room.channel)
            self.leave(room.channel)
            raise
        if sid not in self._clients:  # gone meanwhile
            self.leave(room.channel)

    def leave(self, channel: str) -> None:
        """Somebody has: the last one takes the mailbox along."""
        with self._lock:
            if any(channel in client.channels for client in list(self._clients.values())):
                return
            if mailbox := self._mailboxes.pop(channel, None):
                self._live.hub.exit(mailbox, channel)

    def hand_out(self) -> None:
        for channel, mailbox in list(self._mailboxes.items()):
            while (frame := mailbox.take()) is not None:
                name, data = json.loads(frame)
                self._server.emit(name, data, room=channel)
            while mailbox.missed:
                self._server.emit("reset", {"channel": mailbox.missed.pop()}, room=channel)

    def _hear(self, room: Room) -> None:
        """Of several who enter at once one keeps its mailbox."""
        mailbox = Mailbox(user_id=None, dialect=self._dialect, wake=self._wake)
        self._live.hub.enter(mailbox, room)
        with self._lock:
            kept = self._mailboxes.setdefault(room.channel, mailbox)
        if kept is not mailbox:
            self._live.hub.exit(mailbox, room.channel)
