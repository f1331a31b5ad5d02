"""Who is connected to this process: how many at most, whether they still may, and whether they are still there.

Everybody is looked at every few seconds, many at a time; whose credential has ended is closed with 4401, who listens
where they may not any more with 4403, who gives no sign of life with 4408.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from core.access import Principal
from core.clock import Clock
from core.errors import AppError, StorageUnavailable
from notify.framing import CLOSE_CROWDED, CLOSE_ENDED, CLOSE_FORBIDDEN, CLOSE_LATE
from notify.rounds import Rounds

log = structlog.get_logger()
LOOK_S = 3.0
MOST_EACH = 20
Changed = Callable[[Collection[Principal]], Mapping[Principal, Principal | None]]  # of whom something else is so


class Sitter(Protocol):
    """Somebody connected."""

    principal: Principal

    def is_there(self) -> bool:
        """Whether it gives a sign of life. Returns at once."""

    def may_stay(self) -> None:
        """Raises Forbidden or NotFound where `principal` may not listen to what it listens to."""

    def end(self, code: int, why: str) -> None:
        """Close. Returns at once."""


class Over(Exception):
    """The socket has to be closed, with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


class Seats:
    """`start` opens its thread; everything else may be called from any. `most` of this process."""

    def __init__(self, changed: Changed, clock: Clock, *, most: int, look_s: float = LOOK_S) -> None:
        self._changed, self._clock, self.most, self._look_s = changed, clock, most, look_s
        self._sitting: set[Sitter] = set()
        self._each: Counter[UUID] = Counter()
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="seats", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def taken(self) -> int:
        return len(self._sitting)

    @property
    def full(self) -> bool:
        return self.taken >= self.most

    @contextmanager
    def seat(self, sitter: Sitter) -> Iterator[None]:
        """Counted, and looked after, while it lasts. Raises Over where the user has too many."""
        self.take(sitter)
        try:
            yield
        finally:
            self.release(sitter)

    def take(self, sitter: Sitter) -> None:
        """Until it is released. Raises Over."""
        user_id = sitter.principal.user_id
        with self._lock:
            if self._each[user_id] >= MOST_EACH:
                raise Over(CLOSE_CROWDED, "too many sockets")
            self._each[user_id] += 1
            self._sitting.add(sitter)

    def release(self, sitter: Sitter) -> None:
        user_id = sitter.principal.user_id
        with self._lock:
            if sitter in self._sitting:
                self._sitting.discard(sitter)
                self._each[user_id] -= 1
                if not self._each[user_id]:
                    del self._each[user_id]

    def look(self, sitters: Collection[Sitter] | None = None) -> None:
        """Close those of them, or of everybody, who may not any more. Raises StorageUnavailable.

        What needs no database comes first: while that is away, clients are pinged and tokens end all the same.
        """
        now = self._clock.now()
        staying = [one for one in (self._everybody() if sitters is None else sitters) if self._stays(one, now)]
        changed = self._changed([sitter.principal for sitter in staying]) if staying else {}
        for sitter in staying:
            if sitter.principal in changed:
                self._judge(sitter, changed[sitter.principal])

    @staticmethod
    def _stays(sitter: Sitter, now: datetime) -> bool:
        """Whether its token lasts and it gives a sign of life; ended where not."""
        until = sitter.principal.until
        if until and until <= now:
            sitter.end(CLOSE_ENDED, "not logged in any more")
            return False
        if not sitter.is_there():
            sitter.end(CLOSE_LATE, "no pong")
            return False
        return True

    def _judge(self, sitter: Sitter, found: Principal | None) -> None:
        if found is None:
            sitter.end(CLOSE_ENDED, "not logged in any more")
            return
        before = sitter.principal
        if before.sworn:  # another socket's principal has changed: this one's token says admin while it is valid
            return
        sitter.principal = replace(found, until=before.until)
        try:
            sitter.may_stay()
        except StorageUnavailable:
            sitter.principal = before  # asked again with the next look
        except AppError:
            sitter.end(CLOSE_FORBIDDEN, "not allowed any more")

    def _everybody(self) -> list[Sitter]:
        with self._lock:
            return list(self._sitting)

    def _run(self) -> None:
        rounds = Rounds(self._everybody, self._look_s)
        while not self._stopping.wait(rounds.due_in()):
            try:
                self.look(rounds.next())
            except StorageUnavailable:
                log.warning("seats_wait")
            except Exception as error:
                log.error("seats_failed", exc_info=error)
