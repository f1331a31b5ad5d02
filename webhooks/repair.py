"""What people do with deliveries afterwards: look at what is set aside, replay, rebuild, and try both out first.

The API and the shell get a `Repair` from bootstrap. A replay is done by the workers, in the lanes' order. A dry run
and a rebuild are done here, on lanes that the workers leave alone meanwhile: in one transaction, or, for a rebuild of
which nobody wants to know what it changes, in one for each part, so that nobody waits for its rows.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, text

from core import diff
from core.db import Transaction
from core.diff import Change, Mark
from core.errors import Malformed, NotFound
from core.patience import wait_for_ever
from core.selection import Selection
from webhooks import aside, history, lanes, replay, retry
from webhooks.effects import Outcome, keep, take_effect
from webhooks.history import SetAsideDelivery
from webhooks.owners import Owners
from webhooks.worker import CRASHED

CHUNK = 500  # events
Note = Callable[..., object]


@dataclass(frozen=True, kw_only=True)
class AsidePage:
    """`last` is where the next page begins; None: there is none."""

    items: Sequence[SetAsideDelivery]
    last: tuple[datetime, int] | None


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """`replayed` deliveries; `refused` are counts by reason. Where it was done here: how many `failed` or were set
    aside again, the `changes`, and how many `frames` people would have been sent; else nothing, None and 0.
    `changes` are None too where they were not asked for."""

    replayed: int
    refused: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    changes: Sequence[Change] | None = None
    frames: int = 0


@dataclass(kw_only=True)
class _Work:
    """Deliveries to take effect here, those that are `left`, in order; what came of the others."""

    left: list[int]
    failed: Counter[str] = field(default_factory=Counter)
    frames: int = 0


class Repair:
    """`owners` are the worker's; `anew` the same for a rebuild: they set off no bookings, counters or replies.
    `tables` are the names of those whose changes are of interest. `note` writes the audit (core.audit.note)."""

    def __init__(
        self, transaction: Transaction, owners: Owners, anew: Owners, *, tables: Sequence[str], note: Note
    ) -> None:
        self._transaction, self._owners, self._anew = transaction, owners, anew
        self._tables, self._note = tables, note

    def find(self, selection: Selection, *, limit: int, after: tuple[datetime, int] | None = None) -> AsidePage:
        """What is set aside, newest first."""
        with self._transaction() as connection:
            found = history.find_aside(connection, selection, limit=limit + 1, after=after)
        last = found[limit - 1] if len(found) > limit else None
        return AsidePage(items=found[:limit], last=(last.at, last.id) if last else None)

    def replay(self, selection: Selection, *, actor: str) -> Repaired:
        """Put deliveries back into their lanes; the workers do them. All or nothing, and once. Raises Malformed."""
        _refuse_empty(selection)
        with self._transaction() as connection:
            _take_time(connection)
            done = replay.requeue(connection, selection)
            self._write_down(connection, actor, selection, done.ids)
        return Repaired(replayed=len(done.ids), refused=done.refused)

    def try_replay(self, selection: Selection, *, at_most: int | None = None) -> Repaired:
        """Do it here, say what has changed, and undo it. What ends workers is not tried.

        Raises Malformed, also where it would be more than `at_most` deliveries.
        """
        _refuse_empty(selection)
        with self._transaction() as connection:
            _take_time(connection)
            names = replay.lanes_of(connection, selection, unfit=[CRASHED], at_most=at_most)
        with self._taken_over(names) as me, self._alone(me, names) as connection:
            since = diff.mark(connection)
            chosen = replay.requeue(connection, selection, unfit=[CRASHED])
            work = _work_through(connection, self._owners, chosen.ids)
            changes = self._changes(connection, since)
            connection.rollback()
        return Repaired(
            replayed=len(chosen.ids),
            refused=chosen.refused,
            failed=work.failed,
            changes=changes,
            frames=work.frames,
        )

    def rebuild(self, instance: str, *, actor: str, dry_run: bool, compare: bool = False) -> Repaired:
        """Fold all that is kept of an instance anew, over what is there. Nobody is sent a frame for it.

        The changes are told of a dry run, and where `compare` asks for them. One that breaks off has done some of it;
        twice is safe. Raises NotFound.
        """
        with self._transaction() as connection:
            if self._anew.resolve(connection, [instance]).get(instance) is None:
                raise NotFound("There is no such instance")
        with self._taken_over([instance]) as me:
            if dry_run or compare:
                return self._rebuild_at_once(me, instance, actor, dry_run=dry_run)
            return self._rebuild_in_parts(me, instance, actor)

    def _rebuild_at_once(self, me: str, instance: str, actor: str, *, dry_run: bool) -> Repaired:
        with self._alone(me, [instance]) as connection:
            since = diff.mark(connection)
            ids = history.of_use(connection, instance, replay.USELESS)
            work = _work_through(connection, self._anew, ids)
            changes = self._changes(connection, since)
            if dry_run:
                connection.rollback()
            else:
                counts = Counter(change.table for change in changes)
                self._note_rebuilt(connection, actor, instance, deliveries=len(ids), failed=work.failed, changes=counts)
        return Repaired(replayed=len(ids), failed=work.failed, changes=changes)

    def _rebuild_in_parts(self, me: str, instance: str, actor: str) -> Repaired:
        """The lane stays ours between the parts; what comes meanwhile waits in it."""
        with self._alone(me, [instance]) as connection:
            ids = history.of_use(connection, instance, replay.USELESS)
            lanes.renew(connection, me, [instance])
        work = _Work(left=ids)
        while work.left:
            with self._alone(me, [instance]) as connection:
                _work_on(connection, self._anew, work)
                lanes.renew(connection, me, [instance])
        with self._transaction() as connection:
            self._note_rebuilt(connection, actor, instance, deliveries=len(ids), failed=work.failed)
        return Repaired(replayed=len(ids), failed=work.failed)

    @contextmanager
    def _taken_over(self, names: Sequence[str]) -> Iterator[str]:
        """No worker begins with these lanes, and none that is in the middle of them can end. Who has them now."""
        me = f"repair:{uuid4().hex[:12]}"
        with self._transaction() as connection:
            lanes.take_over(connection, me, names)
        try:
            yield me
        finally:
            with self._transaction() as connection:
                lanes.release(connection, me, names)

    @contextmanager
    def _alone(self, me: str, names: Sequence[str]) -> Iterator[Connection]:
        """A transaction with lanes that were taken over: while it holds their rows nobody claims them, however long
        it takes."""
        with self._transaction() as connection:
            _take_time(connection)
            lanes.lock(connection, me, names)
            yield connection

    def _changes(self, connection: Connection, since: Mark) -> list[Change]:
        with self._transaction() as before:
            _take_time(before)
            return diff.changes(connection, before, diff.tables_named(before, self._tables), since)

    def _write_down(self, connection: Connection, actor: str, selection: Selection, ids: Sequence[int]) -> None:
        said = {name: value for name, value in vars(selection).items() if value is not None and name != "ids"}
        details = {**said, "deliveries": len(ids)}
        subject = selection.instance or "deliveries"
        self._note(connection, actor=actor, action="replayed", subject=subject, details=details)

    def _note_rebuilt(self, connection: Connection, actor: str, instance: str, **details: object) -> None:
        self._note(connection, actor=actor, action="rebuilt", subject=instance, details=details)


def _work_through(connection: Connection, owners: Owners, ids: Sequence[int]) -> _Work:
    work = _Work(left=sorted(ids))
    while work.left:
        _work_on(connection, owners, work)
    return work


def _work_on(connection: Connection, owners: Owners, work: _Work) -> None:
    """Let the next part take effect, in order; those that waited for it and are awake now are next."""
    some, later = work.left[:CHUNK], work.left[CHUNK:]
    woken = _attempt(connection, owners, some, work)
    work.left = sorted({*woken, *later})


def _attempt(connection: Connection, owners: Owners, ids: Sequence[int], work: _Work) -> list[int]:
    """All at once, or where that fails each alone. Ids of those that have been woken."""
    try:
        return _take_effect(connection, owners, ids, work)
    except Exception as error:
        if connection.invalidated or not retry.may_be_one_event(error):
            raise
        if len(ids) == 1:
            work.failed[retry.reason(error)] += 1
            return []
    return [woken for one in ids for woken in _attempt(connection, owners, [one], work)]


def _take_effect(connection: Connection, owners: Owners, ids: Sequence[int], work: _Work) -> list[int]:
    with connection.begin_nested():
        outcome: Outcome = take_effect(connection, owners, history.read(connection, ids))
        aside.forget(connection, ids, aside=outcome.aside, flagged=outcome.issues)  # before `keep` wakes them
        woken = keep(connection, ids, outcome)
    work.failed.update(event.reason for event in outcome.aside.values() if event.state != "waiting")
    work.frames += len(outcome.happened)
    return list(woken)


def _take_time(connection: Connection) -> None:
    """A person waits for this, and knows that it is much."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    wait_for_ever(connection)
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '5min'"))


def _refuse_empty(selection: Selection) -> None:
    if selection.is_empty:
        raise Malformed("Say which deliveries: ids, instance, event, state, reason, since or until")
