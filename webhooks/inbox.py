"""The inbox's entrance: a delivery is kept durably before it is answered.

Handlers of one process share commits. Each puts its row into the open batch and waits; one committer inserts
the whole batch in one statement of its own transaction, then lets all of them go. `record` is the entrance,
whichever way a delivery came.
"""

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from core.errors import NotNow

log = structlog.get_logger()
BATCH = 500  # rows; ids leave room for 999
BATCH_BYTES = 8 * 1024 * 1024  # what PostgreSQL takes well within the time a sender waits
MOST_WAITING = 20  # batches
MOST_BYTES = 128 * 1024 * 1024  # waiting; more would be more than a small server has
WAIT_S = 4.5  # with the way in and out, the promised 5 s

# One statement, one round trip, one commit. Keys are inserted in order, so that two processes with the same
# deliveries wait for each other instead of deadlocking; the id keeps the order of arrival.
RECORD = """
WITH fresh AS (
    SELECT * FROM unnest(%(keys)b::bytea[], %(instances)s::text[], %(events)s::text[], %(bodies)b::bytea[],
                         %(problems)s::text[])
        WITH ORDINALITY AS f (key, instance, event, body, problem, n)
), batch AS (
    SELECT nextval('inbox_batches') * 1000 AS base
), kept AS (
    INSERT INTO webhook_events (id, key, instance, event, body)
    SELECT base + n, key, instance, event, body FROM fresh, batch ORDER BY key
    ON CONFLICT (key) DO NOTHING
    RETURNING id, key
), queued AS (
    INSERT INTO inbox (id, lane) SELECT id, instance FROM kept JOIN fresh USING (key)
    WHERE problem IS NULL AND instance IS NOT NULL
), aside AS (
    INSERT INTO set_aside (event_id, lane, state, reason)
    SELECT id, instance, 'quarantined', problem FROM kept JOIN fresh USING (key) WHERE problem IS NOT NULL
)
SELECT key, id FROM kept
"""
FIND = "SELECT key, id FROM webhook_events WHERE key = ANY(%(keys)b::bytea[])"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What came in, scrubbed. `problem` sends it to the quarantine instead of a lane; with neither, the log has it.
    `apart` tells it from others that say the same, where the gateway never sends one twice."""

    instance: str | None
    event: str | None
    body: bytes
    problem: str | None = None
    apart: bytes = b""

    @property
    def key(self) -> bytes:
        """What makes it the same delivery. One that went to the wrong address is another than the one that did not."""
        problem = b"\1" + self.problem.encode() if self.problem else b""
        return hashlib.sha256((self.instance or "").encode() + problem + b"\0" + self.body + self.apart).digest()


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """`status`: stored, duplicate or quarantined."""

    id: int
    status: str


class _Batch:
    def __init__(self) -> None:
        self.deliveries: dict[bytes, Delivery] = {}
        self.bytes = 0
        self.done = threading.Event()
        self.fresh: dict[bytes, int] = {}
        self.known: dict[bytes, int] = {}


class Inbox:
    """`ring` is called after each commit that brought something new."""

    def __init__(
        self,
        engine: Engine,
        ring: Callable[[], None],
        *,
        wait_s: float = WAIT_S,
        batch: int = BATCH,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._engine, self._ring, self._wait_s = engine, ring, wait_s
        self._batch, self._most_waiting = batch, most_waiting
        self._batches: deque[_Batch] = deque()
        self._committing = _Batch()
        self._lock = threading.Lock()
        self._filled = threading.Event()
        self._committer: threading.Thread | None = None
        self._connection: Connection | None = None
        self._stopping = False

    def record(self, delivery: Delivery) -> Receipt:
        """Returns after the commit that holds the delivery. Raises NotNow: it may or may not be kept, send it again."""
        key = delivery.key
        batch, first = self._join(key, delivery)
        if not batch.done.wait(self._wait_s):
            raise NotNow("The storage did not answer in time")
        if (fresh := batch.fresh.get(key)) and first:
            return Receipt(id=fresh, status="quarantined" if delivery.problem else "stored")
        if known := fresh or batch.known.get(key):
            return Receipt(id=known, status="duplicate")
        raise NotNow("The storage did not take the delivery")

    @property
    def waiting(self) -> int:
        """How many different deliveries wait for a commit, or for the end of theirs."""
        with self._lock:
            busy = [] if self._committing.done.is_set() else [self._committing]
            return sum(len(batch.deliveries) for batch in [*busy, *self._batches])

    def stop(self) -> None:
        """End the committer after what it holds. Nothing may be recorded any more."""
        with self._lock:
            self._stopping = True
        self._filled.set()
        if self._committer:
            self._committer.join(timeout=self._wait_s)

    def _join(self, key: bytes, delivery: Delivery) -> tuple[_Batch, bool]:
        """Put the delivery into the open batch; False where the batch holds the same one already."""
        with self._lock:
            waiting = sum(batch.bytes for batch in self._batches)
            if self._stopping or len(self._batches) > self._most_waiting or waiting > MOST_BYTES:
                raise NotNow("Too many deliveries are waiting for the storage")
            if not self._batches or self._is_full(self._batches[-1], delivery):
                self._batches.append(_Batch())
            batch = self._batches[-1]
            if first := key not in batch.deliveries:
                batch.deliveries[key] = delivery
                batch.bytes += len(delivery.body)
            if self._committer is None:  # made here, so that a process that forks late has it in the right one
                self._committer = threading.Thread(target=self._run, name="committer", daemon=True)
                self._committer.start()
        self._filled.set()
        return batch, first

    def _is_full(self, batch: _Batch, delivery: Delivery) -> bool:
        return len(batch.deliveries) >= self._batch or (0 < batch.bytes > BATCH_BYTES - len(delivery.body))

    def _run(self) -> None:
        while not (self._stopping and not self._batches):
            self._filled.wait()
            self._filled.clear()
            while self._batches:
                with self._lock:
                    batch = self._committing = self._batches.popleft()
                self._commit(batch)
        self._hang_up()

    def _commit(self, batch: _Batch) -> None:
        """Whatever happens, everybody who waits for the batch is let go, and the thread lives on."""
        try:
            try:
                self._keep(batch)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._hang_up()  # the database was started anew since the last batch
                self._keep(batch)
            if batch.fresh:
                self._ring()
        except Exception as error:
            log.error("inbox_commit_failed", error=type(error).__name__, rows=len(batch.deliveries))
            self._hang_up()
        finally:
            batch.done.set()

    def _keep(self, batch: _Batch) -> None:
        if self._connection is None:  # the committer's own, for as long as it works
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        _keep(self._connection, batch)

    def _hang_up(self) -> None:
        """Let go of the connection; what was wrong with it must not go back into the pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()


def _keep(connection: Connection, batch: _Batch) -> None:
    """Insert all rows at once; where the rows themselves are refused, each alone."""
    try:
        batch.fresh = _insert(connection, batch.deliveries)
    except (OperationalError, InterfaceError):
        raise  # the database is away: trying row by row would only keep everybody waiting
    except (DBAPIError, ValueError):  # ValueError: text that has no UTF-8
        for key, delivery in batch.deliveries.items():
            try:
                batch.fresh |= _insert(connection, {key: delivery})
            except (OperationalError, InterfaceError):
                raise
            except (DBAPIError, ValueError) as error:
                log.error("delivery_refused", error=type(error).__name__, instance=delivery.instance)
    missing = [key for key in batch.deliveries if key not in batch.fresh]
    if missing:
        batch.known = _pairs(connection, FIND, {"keys": missing})


def _insert(connection: Connection, deliveries: dict[bytes, Delivery]) -> dict[bytes, int]:
    columns = {
        "keys": list(deliveries),
        "instances": [delivery.instance for delivery in deliveries.values()],
        "events": [delivery.event for delivery in deliveries.values()],
        "bodies": [delivery.body for delivery in deliveries.values()],
        "problems": [delivery.problem for delivery in deliveries.values()],
    }
    return _pairs(connection, RECORD, columns)


def _pairs(
    connection: Connection, statement: str, values: dict[str, list[bytes]] | dict[str, object]
) -> dict[bytes, int]:
    rows = connection.exec_driver_sql(statement, values)
    return {bytes(key): number for key, number in rows}
