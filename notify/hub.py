"""The hub: one reader of the feed for all listeners of a process.

It reads the rows past a user's cursor when somebody rings (the patrol does, a second later, where nobody did), encodes
each event once a dialect and puts it into the mailboxes of that user's listeners, and of the rooms that hear this user;
where an owner rests its mailbox hands the frame to the socket at once, if that takes no waiting. A mailbox that is full
gets nothing more: its owner has fallen behind, reads the feed for itself and joins again. So one slow client costs
nobody else anything.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection

from core.db import Transaction
from core.errors import StorageUnavailable
from core.wake import ALL
from notify import feed
from notify.audience import Audience
from notify.dialects import Dialect
from notify.mailbox import Mailbox
from notify.patrol import Patrol
from notify.rooms import Members, Room, users_of

log = structlog.get_logger()
RETRY_S = 1.0
MANY = 500  # users a question
BREATH = 100  # events, or hearers of one, after which everybody else gets their turn


class Hub:
    """`start` opens its threads; everything else may be called from any. `question`: a transaction that only reads."""

    def __init__(self, question: Transaction, members: Members) -> None:
        self._question, self._members = question, members
        self._audience = Audience()
        self._topics: set[str] = set()
        self._alone: set[UUID] = set()
        self._lock = threading.Lock()
        self._listened, self._rung, self._stopping = threading.Event(), threading.Event(), threading.Event()
        self._patrol = Patrol(self._audience, members, self.rang)
        works = {"hub": self._follow, "patrol": lambda connection: self._patrol.walk(connection, self._stopping)}
        self._threads = [
            threading.Thread(target=self._keep, args=(work,), name=name, daemon=True) for name, work in works.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every socket go (they close with 1012) and end the reader."""
        for event in (self._stopping, self._listened, self._rung):
            event.set()
        for mailbox in self._audience.mailboxes():
            mailbox.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def listening(self) -> int:
        """How many streams are followed."""
        return self._audience.followed

    def rang(self, topics: set[str]) -> None:
        """There may be something to read for these users (`*`: for anybody), by id."""
        if topics:
            with self._lock:
                self._topics |= topics
            self._rung.set()

    def join(self, mailbox: Mailbox, user_id: UUID, since: int) -> None:
        """From now on the mailbox gets the user's events after `since`, each once, in order. May be called again."""
        self._audience.join(mailbox, user_id, since)
        self._listened.set()
        self.rang({str(user_id)})

    def leave(self, mailbox: Mailbox, user_id: UUID) -> None:
        """The user's stream is not followed any more."""
        self._audience.leave(mailbox, user_id)

    def enter(self, mailbox: Mailbox, room: Room) -> None:
        """From now on the mailbox gets the room's events too. Raises StorageUnavailable."""
        with self._question() as connection:
            users = users_of(connection, [room], self._members)[room.channel]
            beginnings = feed.beginnings(connection, users, timedelta())
        unheard = self._audience.enter(mailbox, room, beginnings)
        self._listened.set()
        self.rang(set(map(str, unheard)))

    def exit(self, mailbox: Mailbox, channel: str) -> None:
        self._audience.exit(mailbox, channel)

    def _look(self, connection: Connection, users: Iterable[UUID]) -> None:
        """Read once what is new of these users, and hand it to those who listen here."""
        cursors = self._audience.cursors(users)
        events = feed.events_after(connection, cursors) if cursors else []
        for number, event in enumerate(events, 1):
            try:
                self._hand_out(event, cursors[event.user_id])
            except Exception as error:  # one event must not hold up those of everybody else
                log.error("hub_failed", exc_info=error)
            if number % BREATH == 0:
                time.sleep(0)
        if len(events) >= feed.MOST:
            self.rang({str(event.user_id) for event in events})

    def _hand_out(self, event: feed.FeedEvent, since: int) -> None:
        made: dict[tuple[Dialect, str | None], Sequence[bytes]] = {}

        def frames(dialect: Dialect, channel: str | None = None) -> Sequence[bytes]:
            if (dialect, channel) not in made:
                made[dialect, channel] = encoded(dialect, event, channel)
            return made[dialect, channel]

        hearers = self._audience.hearers(event.user_id, event.id, since)
        for mailbox in hearers.stream:
            mailbox.put(event.id, frames(mailbox.dialect))
        for channel, mailboxes in hearers.rooms.items():
            for number, mailbox in enumerate(mailboxes, 1):
                if mailbox.user_id != event.user_id:  # whose own stream has it already
                    mailbox.shout(channel, frames(mailbox.dialect, channel))
                if number % BREATH == 0:
                    time.sleep(0)
        if not self._audience.went_out(event.user_id, event.id):
            self.rang({str(event.user_id)})

    def _keep(self, work: Callable[[Connection], None]) -> None:
        """From the first listener on until we stop, and again when it failed. With a connection of its own: to take one
        from the pool takes as long as to ask."""
        self._listened.wait()
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                with self._question() as connection:
                    work(connection)
            except StorageUnavailable:
                log.warning("hub_waits")
            except Exception as error:  # the sockets of everybody hang on these threads
                log.error("hub_failed", exc_info=error)
            if time.monotonic() - began < RETRY_S:  # else it was good for long, and the next one may be at once
                self._stopping.wait(RETRY_S)

    def _follow(self, connection: Connection) -> None:
        """Look at once at those who are rung for."""
        while not self._stopping.is_set():
            self._look_at_each(connection)
            self._look_at_rung(connection)
            self._rung.wait()
            self._rung.clear()

    def _look_at_rung(self, connection: Connection) -> None:
        with self._lock:
            topics, self._topics = self._topics, set()
        users = self._audience.users() if ALL in topics else [*_uuids(topics)]
        try:
            for at in range(0, len(users), MANY):
                self._look(connection, users[at : at + MANY])
        except StorageUnavailable:
            self.rang(topics)  # nobody will ring for them again
            raise
        except Exception:
            self._alone.update(users)  # one of them is too much for us, and the others have done nothing
            raise

    def _look_at_each(self, connection: Connection) -> None:
        """By themselves those of a look that failed. Who fails again is left until there is more to tell them."""
        while self._alone:
            user = self._alone.pop()
            try:
                self._look(connection, [user])
            except StorageUnavailable:
                self._alone.add(user)
                raise


def encoded(dialect: Dialect, event: feed.FeedEvent, channel: str | None = None) -> Sequence[bytes]:
    """The event's frames; none where it cannot be shown: it must not hold up those that come after it."""
    try:
        return dialect.event(event, channel)
    except Exception as error:
        log.error("event_not_shown", event_type=event.type, exc_info=error)
        return []


def _uuids(topics: Iterable[str]) -> Iterable[UUID]:
    for topic in topics:
        with suppress(ValueError):
            yield UUID(topic)
