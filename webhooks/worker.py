"""The worker: from deliveries in the inbox to effects, feed rows and "finished", in one commit.

It knows neither instances nor messages. Bootstrap hands it `translate` (a delivery → provider events) and
`Owners`, who load, fold and apply. A batch that fails is done again event by event, so that the one at fault
is found and parked, and stops nobody.
"""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from core import events
from core.db import Transaction, sqlstate, storage_error
from core.errors import AppError, Malformed
from core.events import DomainEvent
from webhooks import lanes, retry
from webhooks.lanes import Aside, Held, LostLease, Stored

log = structlog.get_logger()
BATCH = 500  # events
LANES = 64
POLL_S = 0.1
PAUSE_S = 1.0
RACES = ("23505", "23503")  # a unique key or a foreign row, seen by the next try
EVENTS = Counter("zelador_events", "Deliveries worked off", ["outcome"])


class Owner(Protocol):
    """Who knows what some kinds of provider events mean. `fold` is pure; the others use the caller's transaction."""

    def keys(self, incoming: Sequence[Any]) -> Any: ...
    def load(self, connection: Connection, keys: Any) -> Any: ...
    def fold(self, state: Any, incoming: Sequence[Any]) -> Any: ...
    def apply(self, connection: Connection, changes: Any) -> list[DomainEvent]: ...


Translate = Callable[[Stored, Any], Sequence[Any]]
Resolve = Callable[[Connection, Collection[str]], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Owners:
    """`resolve` finds what a lane's name stands for; `translate` reads a delivery, or raises Malformed;
    `by_kind` says who owns which type of provider event. Nobody owns it: the log keeps it, for later."""

    resolve: Resolve
    translate: Translate
    by_kind: Mapping[type, Owner]


class Worker:
    """`rung` is told the users whose feed has grown, after the commit."""

    def __init__(
        self, transaction: Transaction, owners: Owners, rung: Callable[[list[str]], None], *, name: str
    ) -> None:
        self._transaction, self._owners, self._rung, self._name = transaction, owners, rung, name
        self._after = ""

    def work(self) -> int:
        """One batch over many lanes. Returns how many deliveries it dealt with. Raises StorageUnavailable."""
        held = self._claim()
        if not held and self._after:  # the end of a sweep: those before it may be due again
            self._after = ""
            held = self._claim()
        if not held:
            return 0
        try:
            self._settle_all(held)
        except LostLease:
            log.warning("lease_lost", worker=self._name)
        return sum(len(lane.heads) for lane in held)

    def run(self, stopping: threading.Event, rung: threading.Event) -> None:
        """Work until told to stop: at once after a wake-up, and every 100 ms anyhow."""
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
            held = lanes.claim(connection, self._name, after=self._after, lanes=LANES, events=BATCH)
        self._after = held[-1].lane if len(held) == LANES else ""
        return held

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

    def _together(self, held: Sequence[Held]) -> None:
        stored = [event for lane in held for event in lane.heads]
        with self._transaction() as connection:
            lanes.settle(connection, self._name, held)
            happened, aside = self._take_effect(connection, stored)
            lanes.finish(connection, [event.id for event in stored], aside)
            events.record(connection, happened)
        self._tell(happened, len(stored) - len(aside), aside)

    def _one_by_one(self, held: Sequence[Held]) -> None:
        """The same, each event under a savepoint. An event that must be tried again stops its own lane only."""
        happened: list[DomainEvent] = []
        aside: list[Aside] = []
        with self._transaction() as connection:
            lanes.settle(connection, self._name, held)
            left = sum(self._one_lane(connection, lane, happened, aside) for lane in held)
        self._tell(happened, sum(len(lane.heads) for lane in held) - left - len(aside), aside)

    def _one_lane(self, connection: Connection, lane: Held, happened: list[DomainEvent], aside: list[Aside]) -> int:
        """How many of the heads have to wait for another try."""
        for done, event in enumerate(lane.heads):
            try:
                with connection.begin_nested():
                    produced, odd = self._take_effect(connection, [event])
                    lanes.finish(connection, [event.id], odd)
                    events.record(connection, produced)
                happened += produced
                aside += odd
            except Exception as failed:
                if connection.invalidated:
                    raise
                error = _judged(failed)
                if delay := retry.again_in(error, event.attempts):
                    left = len(lane.heads) - done
                    lanes.postpone(connection, self._name, event, delay, left=left)
                    return left
                parked = Aside(id=event.id, lane=event.lane, state="parked", reason=retry.reason(failed))
                lanes.finish(connection, [event.id], [parked])
                aside.append(parked)
        return 0

    def _take_effect(self, connection: Connection, stored: Sequence[Stored]) -> tuple[list[DomainEvent], list[Aside]]:
        by_owner, aside = self._share(connection, stored)
        happened = []
        for owner, incoming in by_owner.items():
            state = owner.load(connection, owner.keys(incoming))
            happened += owner.apply(connection, owner.fold(state, incoming))
        return happened, aside

    def _share(self, connection: Connection, stored: Sequence[Stored]) -> tuple[Mapping[Owner, list[Any]], list[Aside]]:
        """Provider events by their owner, in order; deliveries that are of no use to anybody."""
        known = self._owners.resolve(connection, {event.lane for event in stored})
        by_owner: dict[Owner, list[Any]] = defaultdict(list)
        aside = []
        for event in stored:
            if event.lane not in known:
                aside.append(Aside(id=event.id, lane=event.lane, state="quarantined", reason="unknown_instance"))
                continue
            try:
                for incoming in self._owners.translate(event, known[event.lane]):
                    if owner := self._owners.by_kind.get(type(incoming)):
                        by_owner[owner].append(incoming)
            except Malformed as error:
                aside.append(Aside(id=event.id, lane=event.lane, state="quarantined", reason=error.code.lower()))
        return by_owner, aside

    def _tell(self, happened: Sequence[DomainEvent], done: int, aside: Sequence[Aside]) -> None:
        EVENTS.labels("done").inc(done)
        for state, group in itertools.groupby(sorted(aside, key=lambda a: a.state), key=lambda a: a.state):
            EVENTS.labels(state).inc(len(list(group)))
        for event in aside:
            log.warning("delivery_set_aside", id=event.id, instance=event.lane, state=event.state, reason=event.reason)
        if happened:
            self._rung(sorted({str(event.user_id) for event in happened}))


class LostRace(AppError):
    """Somebody else wrote the same thing at the same moment; the next try sees it."""

    code, retryable = "LOST_RACE", True


def _judged(error: Exception) -> Exception:
    """The error as retry.again_in wants it."""
    if isinstance(error, OperationalError):
        return storage_error(error)
    return LostRace("A row was there already, or no more") if sqlstate(error) in RACES else error
