"""One monitor leads at a time, across processes and hosts: a lease row with a term, by the database's clock.

The others ask every five seconds, a third of the lease. Who led and was frozen finds its term over: locally, because it
trusts its lease for a little less than it lasts, and in each transaction, because `fence` finds another term.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import Connection, text

from core.db import Transaction
from core.errors import AppError, Conflict
from monitor.timeline import Timeline

log = structlog.get_logger()
LEASE = timedelta(seconds=15)
TRUSTED = 14 / 15  # of the lease
ASKED = 1 / 3
NAME = "monitor"
RENEW = text("""
UPDATE monitor_terms SET until = now() + :lease
WHERE name = :name AND holder = :holder AND term = :term AND until > now()
RETURNING now()
""")
# a lease that ends far ahead was given by a clock that was set back since: its holder could only wait
TAKE = text("""
INSERT INTO monitor_terms AS held (name, holder, term, until) VALUES (:name, :holder, 1, now() + :lease)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, term = held.term + 1, until = excluded.until
WHERE held.until <= now() OR held.until > now() + 2 * CAST(:lease AS interval)
RETURNING term, now() AS now
""")
# who freezes here must not keep the others from leading for longer than the lease lasts
FENCE = text("""
UPDATE monitor_terms SET ticked_at = CASE WHEN :done THEN now() ELSE ticked_at END WHERE name = :name AND term = :term
RETURNING set_config('idle_in_transaction_session_timeout', :idle, true)
""")
RESIGN = text("UPDATE monitor_terms SET until = now() WHERE name = :name AND holder = :holder AND term = :term")


class Deposed(Conflict):
    """Somebody else leads now: what was decided here must not be written."""

    code = "DEPOSED"


class Leader:
    """`term` is asked by jobs, from any thread; `start` opens the thread that keeps it, and calls `elected` at the
    beginning of each term, `beat` every five seconds."""

    def __init__(
        self,
        transaction: Transaction,
        holder: str,
        timeline: Timeline,
        monotonic: Callable[[], float] = time.monotonic,
        lease: timedelta = LEASE,
    ) -> None:
        self._transaction, self._holder, self._timeline, self._monotonic = transaction, holder, timeline, monotonic
        self._lease = lease
        self._elected: Callable[[], None] = _nothing
        self._beat: Callable[[], None] = _nothing
        self._term: int | None = None
        self._trusted_until = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    @property
    def term(self) -> int | None:
        """The term we lead in; None while somebody else leads, or may."""
        return self._term if self._monotonic() < self._trusted_until else None

    def start(self, elected: Callable[[], None], beat: Callable[[], None]) -> None:
        self._elected, self._beat = elected, beat
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let somebody else lead at once."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self.resign()

    def keep(self) -> bool:
        """Renew our term, or take the next one where nobody holds it. Whether we lead. Raises StorageUnavailable."""
        asked_at = self._monotonic()
        if self._term is not None and self._renewed():
            self._trusted_until = asked_at + self._lease.total_seconds() * TRUSTED
            return True
        self._term = self._taken()
        if self._term is None:
            return False
        self._trusted_until = asked_at + self._lease.total_seconds() * TRUSTED
        log.info("monitor_leads", term=self._term)
        self._elected()
        return True

    def resign(self) -> None:
        if self._term is None:
            return
        mine = {"name": NAME, "holder": self._holder, "term": self._term}
        self._term = None
        try:
            with self._transaction() as connection:
                connection.execute(RESIGN, mine)
        except AppError as error:  # then its time runs out
            log.warning("resigning_failed", code=error.code)

    def fence(self, connection: Connection, term: int, *, done: bool = False) -> None:
        """The first statement of a transaction that writes what was decided in this term; it holds off a new leader
        until the commit. `done`: with it a step is complete. Raises Deposed."""
        idle_ms = self._lease.total_seconds() * ASKED * 1000
        mine = {"name": NAME, "term": term, "idle": f"{idle_ms:.0f}", "done": done}
        if connection.execute(FENCE, mine).first() is None:
            raise Deposed("Another monitor leads")

    def _renewed(self) -> bool:
        mine = {"name": NAME, "holder": self._holder, "term": self._term, "lease": self._lease}
        with self._transaction() as connection:
            now = connection.execute(RENEW, mine).scalar()
        if now is None:
            log.warning("monitor_deposed", term=self._term)
            return False
        self._timeline.heard(now)
        return True

    def _taken(self) -> int | None:
        with self._transaction() as connection:
            row = connection.execute(TAKE, {"name": NAME, "holder": self._holder, "lease": self._lease}).first()
        if row is None:
            return None
        self._timeline.forget()
        self._timeline.heard(row.now)
        return int(row.term)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._beat()
                self.keep()
            except AppError as error:  # the lease lasts longer than a short trouble
                log.warning("leading_waits", code=error.code)
            except Exception as error:
                log.error("leading_failed", exc_info=error)
            self._stopping.wait(self._lease.total_seconds() * ASKED)


def _nothing() -> None:
    """Until somebody wants to know."""
