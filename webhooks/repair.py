"""What people do with deliveries afterwards: look at what is set aside, replay, rebuild, and try both out first.

The API and the shell get a `Repair` from bootstrap. A replay is done by the workers, in the lanes' order. A dry run
and a rebuild are done here: in one transaction, on lanes that the workers leave alone meanwhile.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, text

from core import diff
from core.db import Transaction, array
from core.diff import Change
from core.errors import Malformed, NotFound
from core.selection import Selection
from webhooks import history, lanes, replay, retry
from webhooks.effects import Outcome, keep, take_effect
from webhooks.history import SetAsideDelivery
from webhooks.owners import Owners
from webhooks.worker import CRASHED

CHUNK = 500  # events
FREE = text("DELETE FROM set_aside WHERE event_id = ANY(CAST(:ids AS bigint[]))")
Note = Callable[..., object]


@dataclass(frozen=True, kw_only=True)
class AsidePage:
    """`last` is where the next page begins; None: there is none."""

    items: Sequence[SetAsideDelivery]
    last: tuple[datetime, int] | None


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """`replayed` deliveries; `refused` are counts by reason. Where it was done here: how many `failed` or were set
    aside again, the `changes`, and how many `frames` people would have been sent; else nothing, None and 0."""

    replayed: int
    refused: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    changes: Sequence[Change] | None = None
    frames: int = 0


@dataclass(kw_only=True)
class _Work:
    """What came of deliveries that took effect here."""

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
            names = replay.lanes_of(connection, selection)
        with self._alone_with(names) as connection:
            since = diff.mark(connection)
            chosen = replay.requeue(connection, selection, unfit=[CRASHED])
            if at_most is not None and len(chosen.ids) > at_most:
                raise Malformed(f"More than {at_most} deliveries are too many to try out here")
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

    def rebuild(self, instance: str, *, actor: str, dry_run: bool) -> Repaired:
        """Fold all that is kept of an instance anew, over what is there. Nobody is sent a frame for it.

        Raises NotFound.
        """
        with self._transaction() as connection:
            if instance not in self._anew.resolve(connection, [instance]):
                raise NotFound("There is no such instance")
        with self._alone_with([instance]) as connection:
            since = diff.mark(connection)
            ids = history.of_use(connection, instance, replay.USELESS)
            work = _work_through(connection, self._anew, ids)
            changes = self._changes(connection, since)
            if dry_run:
                connection.rollback()
            else:
                counts = Counter(change.table for change in changes)
                self._note(
                    connection,
                    actor=actor,
                    action="rebuilt",
                    subject=instance,
                    details={"deliveries": len(ids), "failed": work.failed, "changes": counts},
                )
        return Repaired(replayed=len(ids), failed=work.failed, changes=changes)

    @contextmanager
    def _alone_with(self, names: Sequence[str]) -> Iterator[Connection]:
        """A transaction during which no worker touches these lanes: theirs are the epochs before ours, and while
        we hold the rows nobody claims them."""
        me = f"repair:{uuid4().hex[:12]}"
        with self._transaction() as connection:
            lanes.take_over(connection, me, names)
        try:
            with self._transaction() as connection:
                _take_time(connection)
                lanes.lock(connection, me, names)
                yield connection
        finally:
            with self._transaction() as connection:
                lanes.release(connection, me, names)

    def _changes(self, connection: Connection, since: str) -> list[Change]:
        with self._transaction() as before:
            _take_time(before)
            return diff.changes(connection, before, diff.tables_named(before, self._tables), since)

    def _write_down(self, connection: Connection, actor: str, selection: Selection, ids: Sequence[int]) -> None:
        said = {name: value for name, value in vars(selection).items() if value is not None and name != "ids"}
        details = {**said, "deliveries": len(ids)}
        subject = selection.instance or "deliveries"
        self._note(connection, actor=actor, action="replayed", subject=subject, details=details)


def _work_through(connection: Connection, owners: Owners, ids: Sequence[int]) -> _Work:
    """Let the deliveries take effect in order; after each part those that waited for it and are awake now."""
    work, left = _Work(), sorted(ids)
    while left:
        some, left = left[:CHUNK], left[CHUNK:]
        woken = _attempt(connection, owners, some, work)
        left = sorted({*woken, *left})
    return work


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
        connection.execute(FREE, {"ids": array(ids)})
        outcome: Outcome = take_effect(connection, owners, history.read(connection, ids))
        woken = keep(connection, ids, outcome)
    work.failed.update(event.reason for event in outcome.aside.values() if event.state != "waiting")
    work.frames += len(outcome.happened)
    return list(woken)


def _take_time(connection: Connection) -> None:
    """A person waits for this, and knows that it is much."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '5min'"))


def _refuse_empty(selection: Selection) -> None:
    if selection.is_empty:
        raise Malformed("Say which deliveries: ids, instance, event, state, reason, since or until")
