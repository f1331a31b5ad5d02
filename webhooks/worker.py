"""The worker: from deliveries in the inbox to effects, feed rows and "finished", in one commit.

It knows neither instances nor messages: bootstrap hands it the `Owners` who do. A batch that fails is done again
event by event, so that the one at fault is found and parked, and stops nobody. An event that ends the whole
process, or hangs it, is found by the next workers, who try it alone.
"""

import itertools
import threading
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from core import events
from core.db import Transaction, sqlstate, storage_error
from core.errors import LostRace
from webhooks import aside, lanes, retry, storms
from webhooks.aside import Aside
from webhooks.effects import Outcome, keep, take_effect
from webhooks.lanes import Held, LostLease, Stored
from webhooks.owners import Owners
from webhooks.watchdog import Watchdog, end_process

log = structlog.get_logger()
BATCH = 500  # events
LANES = 64
POLL_S = 0.1
PAUSE_S = 1.0
TRIES_ALONE = 3
CRASHED = "crashed_worker"
IMPATIENT = text("SET LOCAL lock_timeout = '200ms'")
HASTY = text("SET LOCAL lock_timeout = '20ms'")  # the next one may want the same rows as the one that waited in vain
LOCKED = "55P03"
RACES = ("23505", "23503")  # a unique key or a foreign row, seen by the next try
EVENTS = Counter("zelador_events", "Deliveries worked off", ["outcome"])
DRIFT = Counter("zelador_schema_drift", "Deliveries that were not understood, or not whole", ["event"])


class Worker:
    """`rung` is told the users whose feed has grown, after the commit. `give_up` ends a process that hangs."""

    def __init__(
        self,
        transaction: Transaction,
        owners: Owners,
        rung: Callable[[list[str]], None],
        *,
        name: str,
        give_up: Callable[[], None] = end_process,
    ) -> None:
        self._transaction, self._owners, self._rung, self._name = transaction, owners, rung, name
        self.watchdog = Watchdog(give_up)
        self._after = ""
        self._survived: Sequence[Held] = ()

    def work(self) -> int:
        """One batch over many lanes. Returns how many deliveries it dealt with. Raises StorageUnavailable."""
        with self.watchdog.watch():
            held = self._claim()
            if not held and self._after:  # the end of a sweep: those before it may be due again
                self._after = ""
                held = self._claim()
            if held:
                self._settle(held)
            return sum(len(lane.heads) for lane in held)

    def run(self, stopping: threading.Event, rung: threading.Event) -> None:
        """Work until told to stop: at once after a wake-up, and every 100 ms anyhow."""
        threading.Thread(target=self.watchdog.run, args=(stopping,), name="watchdog", daemon=True).start()
        while not stopping.is_set():
            try:
                if self.work() == 0:
                    rung.wait(POLL_S)
                    rung.clear()
            except Exception as error:  # whatever it is, the next worker would meet it too
                log.warning("worker_waits", reason=retry.reason(error))
                stopping.wait(PAUSE_S)

    def _claim(self) -> list[Held]:
        """The next lanes of the alphabet, so that each comes round however many are due."""
        with self._transaction() as connection:
            if self._survived:
                lanes.forgive(connection, self._name, self._survived)
            held = lanes.claim(connection, self._name, after=self._after, lanes=LANES, events=BATCH)
        self._survived = ()
        self._after = held[-1].lane if held and (len(held) == LANES or held[-1].cut) else ""
        return held

    def _settle(self, held: Sequence[Held]) -> None:
        """All lanes at once; after them those that failed before, and careful ones, each alone."""
        try:
            for tried in (False, True):
                if together := [lane for lane in held if not lane.careful and lane.tried == tried]:
                    self._settle_all(together)
            for lane in held:
                if lane.careful:
                    self._settle_alone(lane)
        except LostLease:
            self._survived = held
            log.warning("lease_lost", worker=self._name)
        except Exception:
            self._survived = held
            raise

    def _settle_all(self, held: Sequence[Held]) -> None:
        try:
            self._together(held)
        except LostLease:
            raise
        except Exception as error:
            if not retry.may_be_one_event(error):
                raise
            log.warning("batch_failed", reason=retry.reason(error), worker=self._name)
            self._one_by_one(held)

    def _settle_alone(self, lane: Held) -> None:
        """Of a lane that has brought workers down: count the try before it, so that the next worker knows."""
        with self._transaction() as connection:
            tried = lanes.try_alone(connection, self._name, lane)
        if tried <= TRIES_ALONE:
            self._settle_all([lane])
        else:
            self._park_head(lane)

    def _park_head(self, lane: Held) -> None:
        """The event that ended every process that tried it."""
        outcome = Outcome()
        for event in lane.heads:
            outcome.aside[event.id] = _parked(event, CRASHED)
        with self._transaction() as connection:
            lanes.settle(connection, self._name, [lane])
            keep(connection, list(outcome.aside), outcome)
        self._tell(outcome, done=0)

    def _together(self, held: Sequence[Held]) -> None:
        """Nobody's rows are waited for longer than a moment: the events of all the others would wait too."""
        stored = [event for lane in held for event in lane.heads]
        with self._transaction() as connection:
            connection.execute(IMPATIENT)
            lanes.settle(connection, self._name, held)
            outcome = take_effect(connection, self._owners, stored)
            keep(connection, [event.id for event in stored], outcome)
            turns = storms.calm(connection, held, outcome)
            events.record(connection, outcome.happened)
        self._tell(outcome, done=len(stored) - len(outcome.aside))
        storms.tell(turns)

    def _one_by_one(self, held: Sequence[Held]) -> None:
        """The same, each event under a savepoint. An event that must be tried again stops its own lane only, and
        one whose rows somebody holds is tried again rather than waited for, with all others behind it."""
        outcome = Outcome()
        with self._transaction() as connection:
            connection.execute(IMPATIENT)
            lanes.settle(connection, self._name, held)
            left = sum(self._one_lane(connection, lane, outcome) for lane in held)
            turns = storms.calm(connection, held, outcome)
        self._tell(outcome, done=sum(len(lane.heads) for lane in held) - left - len(outcome.aside))
        storms.tell(turns)

    def _one_lane(self, connection: Connection, lane: Held, outcome: Outcome) -> int:
        """How many of the heads have to wait for another try."""
        for done, event in enumerate(lane.heads):
            try:
                with connection.begin_nested():
                    alone = take_effect(connection, self._owners, [event])
                    keep(connection, [event.id], alone)
                    events.record(connection, alone.happened)
                outcome.add(alone)
            except Exception as failed:
                if connection.invalidated:
                    raise
                error = _judged(failed)
                if sqlstate(failed) == LOCKED:
                    connection.execute(HASTY)
                if delay := retry.again_in(error, event.attempts):
                    left = len(lane.heads) - done
                    lanes.postpone(connection, self._name, event, delay, left=left)
                    return left
                outcome.aside[event.id] = _parked(event, retry.reason(failed))
                lanes.finish(connection, [event.id])
                aside.put(connection, [outcome.aside[event.id]])
        return 0

    def _tell(self, outcome: Outcome, *, done: int) -> None:
        """What is said once it is committed. One that waits is nothing that anybody has to look at."""
        EVENTS.labels("done").inc(done)
        by_state = sorted(outcome.aside.values(), key=lambda event: event.state)
        for state, group in itertools.groupby(by_state, key=lambda event: event.state):
            EVENTS.labels(state).inc(len(list(group)))
        for event in by_state:
            if event.fingerprint:
                DRIFT.labels(event.event if event.event in self._owners.known_events else "other").inc()
            if event.state != "waiting":
                log.warning(
                    "delivery_set_aside", id=event.id, instance=event.lane, state=event.state, reason=event.reason
                )
        if outcome.happened:
            self._rung(sorted({str(event.user_id) for event in outcome.happened}))


def _parked(event: Stored, reason: str) -> Aside:
    return Aside(id=event.id, lane=event.lane, event=event.event, state="parked", reason=reason)


def _judged(error: Exception) -> Exception:
    """The error as retry.again_in wants it."""
    if isinstance(error, OperationalError):
        return storage_error(error)
    return LostRace("A row was there already, or no more") if sqlstate(error) in RACES else error
