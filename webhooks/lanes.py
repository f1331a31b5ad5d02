"""Lanes: the events of one instance, in order, worked on by one worker at a time.

A lane is leased with an epoch. Times are compared with the database's `now()`; a worker that lost its lease
finds another epoch in the row and its transaction fails. Functions of a connection; the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from core.db import array
from core.errors import AppError

WEIGHT = 16 * 1024 * 1024  # bytes of bodies a batch; each of its lanes gives one event however large
LEASE = timedelta(seconds=20)  # a dead worker's lanes are taken over after this, within the promised 30 s

# The recursion hops from lane to lane along the index instead of reading every row of a deep one. Lanes that somebody
# holds in a transaction are passed over: one who froze there must not stop the others.
CLAIM = text("""
WITH RECURSIVE due (lane) AS (
    (SELECT lane FROM inbox WHERE lane > :after ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT i.lane FROM inbox i WHERE i.lane > due.lane ORDER BY i.lane LIMIT 1)
    FROM due WHERE due.lane IS NOT NULL
), known AS (
    SELECT lanes.lane FROM due JOIN lanes USING (lane)
    WHERE (lease_until < now() OR owner = :me) AND (retry_at IS NULL OR retry_at <= now())
    LIMIT :most FOR UPDATE OF lanes SKIP LOCKED
), new AS (
    SELECT due.lane FROM due LEFT JOIN lanes USING (lane) WHERE due.lane IS NOT NULL AND lanes.lane IS NULL LIMIT :most
)
INSERT INTO lanes AS held (lane, owner, epoch, lease_until)
SELECT lane, :me, 1, now() + :lease
FROM (SELECT lane FROM known UNION ALL SELECT lane FROM new ORDER BY lane LIMIT :most) AS free ORDER BY lane
ON CONFLICT (lane) DO UPDATE SET owner = :me, epoch = held.epoch + 1, lease_until = now() + :lease, retry_at = NULL
WHERE held.lease_until < now() OR held.owner = :me
RETURNING lane, epoch
""")
# A lane gives its first events up to a weight, and always one; sizes are known without reading the bodies.
HEADS = text("""
SELECT head.id, lane, head.attempts, head.event, head.body, head.received_at, head.due
FROM unnest(CAST(:lanes AS text[])) AS lane
CROSS JOIN LATERAL (
    SELECT first.id, attempts, event, body, received_at, count(*) OVER () AS due,
           sum(octet_length(body)) OVER (ORDER BY first.id) - octet_length(body) AS ahead
    FROM (SELECT id, attempts FROM inbox WHERE inbox.lane = lane.lane ORDER BY id LIMIT :each) AS first
    JOIN webhook_events AS logged ON logged.id = first.id
) AS head
WHERE ahead < :weight
ORDER BY lane, head.id
""")
SETTLE = text("""
UPDATE lanes SET
    finished = finished + done.n,
    lease_until = CASE WHEN done.emptied THEN '-infinity' ELSE now() + :lease END
FROM unnest(CAST(:lanes AS text[]), CAST(:epochs AS bigint[]), CAST(:counts AS bigint[]), CAST(:emptied AS boolean[]))
    AS done (lane, epoch, n, emptied)
WHERE lanes.lane = done.lane AND lanes.epoch = done.epoch AND lanes.owner = :me
""")
FINISH = text("DELETE FROM inbox WHERE id = ANY(CAST(:ids AS bigint[]))")
POSTPONE = text("""
UPDATE lanes SET retry_at = now() + :delay, finished = finished - :left WHERE lane = :lane AND owner = :me
""")
COUNT_TRY = text("UPDATE inbox SET attempts = attempts + 1 WHERE id = :id")
SET_ASIDE = text("""
INSERT INTO set_aside (event_id, lane, state, reason)
SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:lanes AS text[]), CAST(:states AS text[]), CAST(:reasons AS text[]))
ON CONFLICT (event_id) DO UPDATE SET state = excluded.state, reason = excluded.reason, at = now()
""")


class LostLease(AppError):
    """Another worker has taken a lane over: what this one did to it must not be kept."""

    code = "LOST_LEASE"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A delivery as the inbox holds it."""

    id: int
    lane: str
    attempts: int
    event: str | None
    body: bytes
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class Held:
    """A leased lane and the first of its events. `emptied`: there were no more than these."""

    lane: str
    epoch: int
    heads: tuple[Stored, ...]
    emptied: bool


@dataclass(frozen=True, kw_only=True)
class Aside:
    """An event to be kept out of its lane: `state` is parked, waiting or quarantined."""

    id: int
    lane: str
    state: str
    reason: str


def claim(connection: Connection, me: str, *, after: str, lanes: int, events: int) -> list[Held]:
    """Lease up to `lanes` due lanes beyond `after` in the alphabet and read up to `events` heads of them.

    Not synced to disk: a lease lost in a crash of the database costs nothing.
    """
    connection.execute(text("SET LOCAL synchronous_commit = off"))
    claimed = connection.execute(CLAIM, {"me": me, "after": after, "most": lanes, "lease": LEASE})
    epochs: dict[str, int] = {row.lane: row.epoch for row in claimed}
    if not epochs:
        return []
    each = max(8, events // len(epochs))
    heads: dict[str, list[Stored]] = {lane: [] for lane in sorted(epochs)}
    emptied: dict[str, bool] = {}
    for row in connection.execute(HEADS, {"lanes": array(heads), "each": each, "weight": WEIGHT // len(epochs)}):
        facts = dict(row._mapping)
        due = facts.pop("due")
        heads[row.lane].append(Stored(**facts))
        emptied[row.lane] = due < each and len(heads[row.lane]) == due
    return [
        Held(lane=lane, epoch=epochs[lane], heads=tuple(found), emptied=emptied.get(lane, True))
        for lane, found in heads.items()
    ]


def settle(connection: Connection, me: str, held: Sequence[Held]) -> None:
    """Count the heads as finished and release emptied lanes; first of all, so that it fences the rest.

    Raises LostLease.
    """
    values = {
        "me": me,
        "lease": LEASE,
        "lanes": array(lane.lane for lane in held),
        "epochs": array(lane.epoch for lane in held),
        "counts": array(len(lane.heads) for lane in held),
        "emptied": array(lane.emptied for lane in held),
    }
    if connection.execute(SETTLE, values).rowcount != len(held):
        raise LostLease("Another worker took a lane over")


def finish(connection: Connection, ids: Sequence[int], aside: Sequence[Aside] = ()) -> None:
    """Take the events out of the inbox; those in `aside` are kept where people find them."""
    connection.execute(FINISH, {"ids": array(ids)})
    if aside:
        columns = {
            "ids": array(event.id for event in aside),
            "lanes": array(event.lane for event in aside),
            "states": array(event.state for event in aside),
            "reasons": array(event.reason for event in aside),
        }
        connection.execute(SET_ASIDE, columns)


def postpone(connection: Connection, me: str, event: Stored, delay: timedelta, *, left: int) -> None:
    """Let the lane rest before `event` is tried again, and the `left` events from it on; the order is kept."""
    connection.execute(COUNT_TRY, {"id": event.id})
    connection.execute(POSTPONE, {"lane": event.lane, "delay": delay, "me": me, "left": left})
