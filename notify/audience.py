"""Who listens to whom in this process: users' own streams, rooms, and up to where each user's events have gone out.

Bookkeeping for the hub; it reads and writes nothing. Any thread may call it.
"""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from notify.mailbox import Mailbox
from notify.rooms import Room


@dataclass(eq=False, kw_only=True)
class Hall:
    """A room that somebody listens in. `cursors`: the last event of each user that went out there; `left`: of those who
    belong to it no more, and may come back."""

    room: Room
    mailboxes: set[Mailbox] = field(default_factory=set)
    cursors: dict[UUID, int] = field(default_factory=dict)
    left: dict[UUID, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Hearers:
    """Who gets an event: of the user's own stream, and of rooms by channel."""

    stream: Sequence[Mailbox]
    rooms: Mapping[str, Sequence[Mailbox]]


class Audience:
    def __init__(self) -> None:
        self._streams: dict[UUID, set[Mailbox]] = {}
        self._halls: dict[str, Hall] = {}
        self._halls_of: dict[UUID, set[Hall]] = {}
        self._cursors: dict[UUID, int] = {}
        self._lock = threading.Lock()

    def join(self, mailbox: Mailbox, user_id: UUID, since: int) -> None:
        with self._lock:
            mailbox.cursor = since
            mailbox.behind = False
            self._streams.setdefault(user_id, set()).add(mailbox)
            self._cursors[user_id] = min(since, self._cursors.get(user_id, since))

    def leave(self, mailbox: Mailbox, user_id: UUID) -> None:
        with self._lock:
            mailbox.behind = True  # what the hub has in hand for it comes too late
            group = self._streams.get(user_id, set())
            group.discard(mailbox)
            if not group:
                self._streams.pop(user_id, None)
                self._forget(user_id)

    def enter(self, mailbox: Mailbox, room: Room, beginnings: Mapping[UUID, int]) -> set[UUID]:
        """Whom the room has not heard so far: something may have come since their beginnings were looked up."""
        with self._lock:
            hall = self._halls.setdefault(room.channel, Hall(room=room))
            hall.mailboxes.add(mailbox)
            return self._add(hall, beginnings)

    def exit(self, mailbox: Mailbox, channel: str) -> None:
        with self._lock:
            if (hall := self._halls.get(channel)) is None:
                return
            hall.mailboxes.discard(mailbox)
            if not hall.mailboxes:
                del self._halls[channel]
                self._remove(hall, list(hall.cursors))

    def refresh(self, hall: Hall, users: Collection[UUID], beginnings: Mapping[UUID, int]) -> set[UUID]:
        """The room hears these users now; `beginnings` of those that are new. Whom it has not heard so far."""
        with self._lock:
            self._remove(hall, hall.cursors.keys() - users)
            return self._add(hall, beginnings) if hall.mailboxes else set()

    def organizations(self) -> list[Hall]:
        """The rooms to which users come, and from which they go."""
        with self._lock:
            return [hall for hall in self._halls.values() if hall.room.organization]

    def mailboxes(self) -> set[Mailbox]:
        """Of all streams and rooms."""
        with self._lock:
            groups = [*self._streams.values(), *(hall.mailboxes for hall in self._halls.values())]
        return {mailbox for group in groups for mailbox in group}

    @property
    def followed(self) -> int:
        """How many mailboxes follow a stream."""
        with self._lock:
            return sum(map(len, self._streams.values()))

    def users(self) -> list[UUID]:
        """Everybody whose events somebody here waits for."""
        with self._lock:
            return list(self._cursors)

    def cursors(self, users: Iterable[UUID]) -> dict[UUID, int]:
        """Of those whose events somebody here waits for."""
        with self._lock:
            return {user: self._cursors[user] for user in users if user in self._cursors}

    def hearers(self, user_id: UUID, event_id: int, since: int) -> Hearers:
        """Who gets this event; it counts as gone out to them. `since`: everything after it has been read.

        A room that stands before `since` came in the meantime: it gets the event with the next look.
        """
        with self._lock:
            rooms = {}
            for hall in self._halls_of.get(user_id, ()):
                if since <= hall.cursors[user_id] < event_id:
                    hall.cursors[user_id] = event_id
                    rooms[hall.room.channel] = list(hall.mailboxes)
            return Hearers(stream=list(self._streams.get(user_id, ())), rooms=rooms)

    def went_out(self, user_id: UUID, event_id: int) -> bool:
        """The event is in all mailboxes. Whether it is so for everybody who listens to the user."""
        with self._lock:
            if user_id not in self._cursors:
                return True
            kept = [mailbox.cursor for mailbox in self._streams.get(user_id, ()) if not mailbox.behind]
            kept += [hall.cursors[user_id] for hall in self._halls_of.get(user_id, ())]
            self._cursors[user_id] = min(kept, default=event_id)
            return self._cursors[user_id] >= event_id

    def _add(self, hall: Hall, beginnings: Mapping[UUID, int]) -> set[UUID]:
        new = beginnings.keys() - hall.cursors.keys()
        for user_id in new:
            cursor = beginnings[user_id]
            hall.cursors[user_id] = max(cursor, hall.left.pop(user_id, 0))
            self._halls_of.setdefault(user_id, set()).add(hall)
            self._cursors[user_id] = min(cursor, self._cursors.get(user_id, cursor))
        return set(new)

    def _remove(self, hall: Hall, users: Collection[UUID]) -> None:
        for user_id in users:
            hall.left[user_id] = hall.cursors.pop(user_id)
            self._halls_of[user_id].discard(hall)
            if not self._halls_of[user_id]:
                del self._halls_of[user_id]
            self._forget(user_id)

    def _forget(self, user_id: UUID) -> None:
        if user_id not in self._streams and user_id not in self._halls_of:
            self._cursors.pop(user_id, None)
