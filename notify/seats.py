"""Who is connected to this process: how many at most, whether they still may, and whether they are still there.

Everybody is looked at every few seconds, a few at a time, and the database is asked about those who have just come and
those whose rights may be others. Whose credential has ended is closed with 4401, who listens where they may not any
more with 4403, who gives no sign of life with 4408.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
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
LOOK_S = 2.0  # who comes while everybody is looked at is among the next: two such times are within the promised 5 s
MOST_EACH = 20
FEW = 25  # at once: whoever is pinged answers, and to hear so many answers holds up everybody
MANY = 500  # a question to the database


class Sitter(Protocol):
    """Somebody connected."""

    principal: Principal

    def is_there(self) -> bool:
        """Whether it gives a sign of life. Returns at once."""

    def may_stay(self) -> None:
        """Raises Forbidden or NotFound where `principal` may not listen to what it listens to."""

    def end(self, code: int, why: str) -> None:
        """Close. Returns at once."""


class Rights(Protocol):
    """core.rights.Rights."""

    def touched(self) -> Collection[UUID] | None:
        """Whose rights may be others since this was asked last; None: anybody's."""

    def changed(self, known: Collection[Principal]) -> Mapping[Principal, Principal | None]:
        """Those of whom something else is so by now. None: they may not stay at all."""


class Over(Exception):
    """The socket has to be closed, with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


class Seats:
    """`start` opens its threads; everything else may be called from any. `most` of this process."""

    def __init__(self, rights: Rights, clock: Clock, *, most: int, look_s: float = LOOK_S) -> None:
        self._rights, self._clock, self.most, self._look_s = rights, clock, most, look_s
        self._sitting: set[Sitter] = set()
        self._in_doubt: set[Sitter] = set()
        self._each: Counter[UUID] = Counter()
        self._lock, self._stopping = threading.Lock(), threading.Event()
        pulses = Rounds(self._everybody, look_s, size=FEW)
        works = {
            "pulses": (lambda: self.feel(pulses.next()), pulses.due_in),
            "rights": (self.check, lambda: look_s),
        }
        self._threads = [
            threading.Thread(target=self._keep, args=work, name=name, daemon=True) for name, work in works.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

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
            self._in_doubt.add(sitter)  # let in by what was known of them some seconds ago

    def release(self, sitter: Sitter) -> None:
        user_id = sitter.principal.user_id
        with self._lock:
            if sitter in self._sitting:
                self._sitting.discard(sitter)
                self._in_doubt.discard(sitter)
                self._each[user_id] -= 1
                if not self._each[user_id]:
                    del self._each[user_id]

    def feel(self, sitters: Collection[Sitter]) -> None:
        """Close those whose token has ended, or who give no sign of life. Needs no database."""
        now = self._clock.now()
        for sitter in sitters:
            self._feel(sitter, now)

    def check(self) -> None:
        """Close those who may not any more. For one thread. Who cannot be judged now, as the database is away, is
        judged next time. Raises StorageUnavailable."""
        if not self._sitting:
            return
        touched = self._rights.touched()
        if touched is None or touched:  # to go through everybody is too dear for nothing
            found = {one for one in self._everybody() if touched is None or one.principal.user_id in touched}
            with self._lock:
                self._in_doubt |= found & self._sitting
        with self._lock:
            in_doubt = list(self._in_doubt)
        for at in range(0, len(in_doubt), MANY):
            self._ask(in_doubt[at : at + MANY])

    def _ask(self, sitters: Collection[Sitter]) -> None:
        """Who came with a personal token stays in doubt: its end may have been moved."""
        changed = self._rights.changed([sitter.principal for sitter in sitters])
        judged = [one for one in sitters if one.principal not in changed]
        with suppress(StorageUnavailable):  # each of the others would wait as long
            # first those who are gone: nothing has to be looked up for them
            for one in sorted(set(sitters) - set(judged), key=lambda one: changed[one.principal] is not None):
                judged += [one] if self._judge(one, changed[one.principal]) else []
        with self._lock:
            self._in_doubt.difference_update(one for one in judged if not one.principal.token_id)

    @staticmethod
    def _feel(sitter: Sitter, now: datetime) -> None:
        until = sitter.principal.until
        try:
            if until and until <= now:
                sitter.end(CLOSE_ENDED, "not logged in any more")
            elif not sitter.is_there():
                sitter.end(CLOSE_LATE, "no pong")
        except Exception as error:  # it must not hold up the others
            log.error("seats_failed", exc_info=error)

    def _judge(self, sitter: Sitter, found: Principal | None) -> bool:
        """Whether it could be. Raises StorageUnavailable."""
        before = sitter.principal
        try:
            if found is None:
                sitter.end(CLOSE_ENDED, "not logged in any more")
            elif not before.sworn:  # else another socket's has changed: this token says admin while it is valid
                sitter.principal = replace(found, until=before.until)
                self._let_stay(sitter)
        except Exception as error:  # it must not hold up the others
            sitter.principal = before
            if isinstance(error, StorageUnavailable):
                raise
            log.error("seats_failed", exc_info=error)
            return False
        return True

    @staticmethod
    def _let_stay(sitter: Sitter) -> None:
        try:
            sitter.may_stay()
        except StorageUnavailable:
            raise
        except AppError:
            sitter.end(CLOSE_FORBIDDEN, "not allowed any more")

    def _everybody(self) -> list[Sitter]:
        with self._lock:
            return list(self._sitting)

    def _keep(self, work: Callable[[], None], pause_s: Callable[[], float]) -> None:
        while not self._stopping.wait(pause_s()):
            try:
                work()
            except StorageUnavailable:
                log.warning("seats_wait")
            except Exception as error:
                log.error("seats_failed", exc_info=error)
