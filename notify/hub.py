"""The hub: one reader of the feed for all sockets of a process.

It reads the rows past each user's cursor when somebody rings, and once a second anyhow, encodes each event
once and puts it into the mailboxes of that user's sockets. A mailbox that is full gets nothing more: its socket
has fallen behind, reads the feed for itself and joins again. So one slow client costs nobody else anything.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from core.db import Transaction
from core.errors import StorageUnavailable
from core.wake import ALL
from notify import feed, frames

log = structlog.get_logger()
MAILBOX = 256  # frames
MAILBOX_CHARS = 500_000  # a mailbox holds at most this and one frame: 1 MB
POLL_S = 1.0


@dataclass(eq=False, kw_only=True)
class Subscriber:
    """One socket's mailbox of encoded frames. `wake` is called when something was put in.

    The hub alone puts, the socket alone takes. `behind`: something did not fit after `cursor`, nothing more will come.
    """

    user_id: UUID
    cursor: int
    wake: Callable[[], None]
    behind: bool = False
    _mailbox: deque[str] = field(default_factory=deque)
    _put: int = 0
    _taken: int = 0

    def put(self, event_id: int, frame: str) -> None:
        """Ids have no gaps: where one is missing, the socket reads the feed for itself."""
        if self.behind or event_id <= self.cursor:
            return
        if event_id == self.cursor + 1 and len(self._mailbox) < MAILBOX and self._put - self._taken < MAILBOX_CHARS:
            self._mailbox.append(frame)
            self._put += len(frame)
            self.cursor = event_id
        else:
            self.behind = True
        self.wake()

    def take(self) -> str | None:
        """The oldest frame; None when there is none."""
        if not self._mailbox:
            return None
        frame = self._mailbox.popleft()
        self._taken += len(frame)
        return frame


class Hub:
    """`start` opens its thread; `rang` and `frame` may be called from any."""

    def __init__(self, transaction: Transaction, enrich: frames.Enrich = frames.as_recorded) -> None:
        self._transaction, self._enrich = transaction, enrich
        self._subscribers: dict[UUID, list[Subscriber]] = {}
        self._cursors: dict[UUID, int] = {}
        self._topics: set[str] = set()
        self._lock = threading.Lock()
        self._rung, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let every socket go (they close with 1012) and end the reader."""
        self._stopping.set()
        self._rung.set()
        with self._lock:
            everybody = [subscriber for group in self._subscribers.values() for subscriber in group]
        for subscriber in everybody:
            subscriber.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def listening(self) -> int:
        """How many sockets hang on it."""
        with self._lock:
            return sum(len(group) for group in self._subscribers.values())

    def rang(self, topics: set[str]) -> None:
        """Somebody wrote to the feeds of these users (`*`: of anybody)."""
        with self._lock:
            self._topics |= topics
        self._rung.set()

    def join(self, user_id: UUID, since: int, wake: Callable[[], None]) -> Subscriber:
        """Receive the user's events after `since`, each once, in order."""
        subscriber = Subscriber(user_id=user_id, cursor=since, wake=wake)
        with self._lock:
            self._subscribers.setdefault(user_id, []).append(subscriber)
            self._cursors[user_id] = min(since, self._cursors.get(user_id, since))
        self.rang({str(user_id)})
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        with self._lock:
            group = self._subscribers.get(subscriber.user_id, [])
            if subscriber in group:
                group.remove(subscriber)
            if not group:
                self._subscribers.pop(subscriber.user_id, None)
                self._cursors.pop(subscriber.user_id, None)

    def look(self, topics: set[str]) -> int:
        """Read once what is new for those who listen here. Returns how many events were handed out."""
        with self._lock:
            wanted = {user: cursor for user, cursor in self._cursors.items() if ALL in topics or str(user) in topics}
        if not wanted:
            return 0
        with self._transaction() as connection:
            events = feed.events_after(connection, wanted)
        for event in events:
            self._hand_out(event)
        if len(events) >= feed.MOST:
            self.rang({str(event.user_id) for event in events})
        return len(events)

    def frame(self, event: feed.FeedEvent) -> str:
        """The event as every socket sends it."""
        return frames.event(event, self._enrich)

    def _hand_out(self, event: feed.FeedEvent) -> None:
        frame = self.frame(event)
        with self._lock:
            group = self._subscribers.get(event.user_id)
            if not group:
                return
            for subscriber in group:
                subscriber.put(event.id, frame)
            self._cursors[event.user_id] = min((s.cursor for s in group if not s.behind), default=event.id)

    def _run(self) -> None:
        """Those who were rung for at once, and everybody once a second however much is rung."""
        everybody_at = 0.0
        while not self._stopping.is_set():
            self._rung.wait(max(0.0, everybody_at - time.monotonic()))
            self._rung.clear()
            with self._lock:
                topics, self._topics = self._topics, set()
            if time.monotonic() >= everybody_at:
                topics, everybody_at = {ALL}, time.monotonic() + POLL_S
            try:
                self.look(topics)
            except StorageUnavailable:
                log.warning("hub_waits")
                self._stopping.wait(POLL_S)
            except Exception as error:  # the sockets of everybody hang on this thread
                log.error("hub_failed", exc_info=error)
                self._stopping.wait(POLL_S)
