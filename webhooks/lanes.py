"""Lanes: the events of one instance, in order, worked on by one worker at a time.

A lane is leased with an epoch. Times are compared with the database's `now()`; a worker that lost its lease
finds another epoch in the row and its transaction fails. Functions of a connection; the caller's transaction.

`unsettled` counts the claims that ended neither in a settled batch nor in an error that the worker survived: a
worker died of one of the events. From the second on the lane is careful: it gives its events one by one, each
alone in its batch, until the bad one is found (webhooks.worker) or the lane is empty.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from core.db import array
from core.errors import AppError

WEIGHT = 16 * 1024 * 1024  # bytes of bodies a batch; each of its lanes gives one event however large …
HEAVIEST = 64 * 1024 * 1024  # … up to these; one that is larger is a batch of its own
LEASE = timedelta(seconds=20)  # a dead worker's lanes are taken over after this, within the promised 30 s
CRASHES = 2  # from then on a lane is careful, for as many events as it gave the worker that died
LEAST = 8  # events that a lane gives, however many there are

# The recursion hops from lane to lane along the index instead of reading every row of a deep one. Lanes that somebody
# holds in a transaction are passed over, new ones too (by an advisory lock, for there is no row to lock): one who froze
# there must not stop the others.
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
    SELECT lane FROM (
        SELECT due.lane FROM due LEFT JOIN lanes USING (lane)
        WHERE due.lane IS NOT NULL AND lanes.lane IS NULL LIMIT :most
    ) AS unknown WHERE pg_try_advisory_xact_lock(hashtextextended(lane, 0))
), free AS (
    SELECT lane FROM known UNION ALL SELECT lane FROM new ORDER BY lane LIMIT :most
)
INSERT INTO lanes AS held (lane, owner, epoch, lease_until, unsettled, gave)
SELECT lane, :me, 1, now() + :lease, 1, greatest(:least, :events / (SELECT count(*) FROM free)) FROM free ORDER BY lane
ON CONFLICT (lane) DO UPDATE SET
    owner = :me, epoch = held.epoch + 1, lease_until = now() + :lease, retry_at = NULL, gave = excluded.gave,
    careful = CASE WHEN held.careful = 0 AND held.unsettled >= :crashes THEN held.gave ELSE held.careful END,
    unsettled = CASE WHEN held.careful > 0 THEN held.unsettled
                     WHEN held.unsettled >= :crashes THEN 0 ELSE held.unsettled + 1 END
WHERE held.lease_until < now() OR held.owner = :me
RETURNING lane, epoch, careful > 0 AS careful,
          storm_since IS NOT NULL AND storm_minute >= date_trunc('minute', now()) - interval '1 minute' AS storming
""")
# A lane gives its first events up to a weight, and always one; sizes are known without reading the bodies. One more
# than it may give is looked at, to know whether it will be empty. `most` is what any of them may give. The lane in
# ORDER BY and the OFFSET keep the planner on the indexes, also while it believes that the tables are empty. What would
# make the batch too heavy comes without its body, and so does all that is behind it.
HEADS = text("""
SELECT head.id, wanted.lane, head.attempts, head.event, head.received_at, head.due,
       CASE WHEN sum(octet_length(head.body)) OVER in_order <= :heaviest OR row_number() OVER in_order = 1
            THEN head.body END AS body
FROM unnest(CAST(:lanes AS text[]), CAST(:each AS integer[])) AS wanted (lane, each)
CROSS JOIN LATERAL (
    SELECT first.id, attempts, event, body, received_at, n, count(*) OVER () AS due,
           sum(octet_length(body)) OVER (ORDER BY first.id) - octet_length(body) AS ahead
    FROM (
        SELECT id, attempts, row_number() OVER (ORDER BY id) AS n
        FROM (SELECT id, attempts FROM inbox WHERE inbox.lane = wanted.lane ORDER BY inbox.lane, id LIMIT :most + 1)
            AS few
    ) AS first
    CROSS JOIN LATERAL (SELECT event, body, received_at FROM webhook_events WHERE id = first.id OFFSET 0) AS logged
    WHERE n <= wanted.each + 1
) AS head
WHERE ahead < :weight AND n <= wanted.each
WINDOW in_order AS (ORDER BY wanted.lane, head.id ROWS UNBOUNDED PRECEDING)
ORDER BY wanted.lane, head.id
""")
# Of lanes that were claimed and give nothing: as if they had not been.
UNCLAIM = text("""
UPDATE lanes SET
    lease_until = '-infinity',
    unsettled = CASE WHEN careful > 0 THEN unsettled ELSE greatest(unsettled - 1, 0) END
WHERE lane = ANY(CAST(:lanes AS text[])) AND owner = :me
""")
ORPHANS = text("""
DELETE FROM inbox WHERE lane = ANY(CAST(:lanes AS text[]))
AND NOT EXISTS (SELECT FROM webhook_events WHERE webhook_events.id = inbox.id)
""")
SETTLE = text("""
UPDATE lanes SET
    finished = finished + done.n,
    unsettled = 0,
    careful = CASE WHEN done.emptied THEN 0 ELSE greatest(careful - done.n, 0) END,
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
TRY_ALONE = text("""
UPDATE lanes SET unsettled = unsettled + 1 WHERE lane = :lane AND epoch = :epoch AND owner = :me RETURNING unsettled
""")
FORGIVE = text("""
UPDATE lanes SET unsettled = 0 FROM unnest(CAST(:lanes AS text[]), CAST(:epochs AS bigint[])) AS held (lane, epoch)
WHERE lanes.lane = held.lane AND lanes.epoch = held.epoch AND owner = :me AND unsettled > 0
""")
# Who is robbed in the middle of a batch has not died of it.
TAKE_OVER = text("""
INSERT INTO lanes (lane, owner, epoch, lease_until)
SELECT lane, :me, 1, now() + :lease FROM unnest(CAST(:lanes AS text[])) AS lane ORDER BY lane
ON CONFLICT (lane) DO UPDATE SET owner = :me, epoch = lanes.epoch + 1, lease_until = now() + :lease,
    unsettled = CASE WHEN lanes.lease_until > now() THEN greatest(lanes.unsettled - 1, 0) ELSE lanes.unsettled END
""")
LOCK = text("""
SELECT lane FROM lanes WHERE lane = ANY(CAST(:lanes AS text[])) AND owner = :me ORDER BY lane FOR UPDATE
""")
RENEW = text("""
UPDATE lanes SET lease_until = clock_timestamp() + :lease WHERE lane = ANY(CAST(:lanes AS text[])) AND owner = :me
""")
RELEASE = text("UPDATE lanes SET lease_until = '-infinity' WHERE lane = ANY(CAST(:lanes AS text[])) AND owner = :me")


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
    """A leased lane and the first of its events. `emptied`: there were no more than these. `careful`: its one
    event must be tried alone (`try_alone`). `cut`: lanes behind these gave nothing, the batch was heavy enough."""

    lane: str
    epoch: int
    heads: tuple[Stored, ...]
    emptied: bool
    careful: bool = False
    cut: bool = False

    @property
    def tried(self) -> bool:
        """Whether it has rested because of the event that is its first."""
        return self.heads[0].attempts > 0


def claim(connection: Connection, me: str, *, after: str, lanes: int, events: int) -> list[Held]:
    """Lease up to `lanes` due lanes beyond `after` in the alphabet and read up to `events` heads of them.

    A lane that gives none is not among them; rows of which the log knows nothing are thrown away. Not synced to disk:
    a lease lost in a crash of the database costs nothing.
    """
    connection.execute(text("SET LOCAL synchronous_commit = off"))
    limits = {"most": lanes, "events": events, "least": LEAST, "crashes": CRASHES, "lease": LEASE}
    claimed = {row.lane: row for row in connection.execute(CLAIM, {"me": me, "after": after, **limits})}
    if not claimed:
        return []
    each = _shares(claimed, events)
    wanted = {"lanes": array(each), "each": array(each.values()), "most": max(each.values())}
    weights = {"weight": WEIGHT // len(each), "heaviest": HEAVIEST}
    heads: dict[str, list[Stored]] = {}
    due: dict[str, int] = {}
    for number, lane, attempts, event, received_at, n, body in connection.execute(HEADS, wanted | weights):
        due[lane] = n
        if body is not None:
            head = Stored(id=number, lane=lane, attempts=attempts, event=event, body=body, received_at=received_at)
            heads.setdefault(lane, []).append(head)
    _unclaim(connection, me, claimed.keys() - heads.keys(), orphaned=claimed.keys() - due.keys())
    return [
        Held(
            lane=lane,
            epoch=claimed[lane].epoch,
            heads=tuple(found),
            emptied=len(found) == due[lane],
            careful=claimed[lane].careful,
            cut=len(heads) < len(due),
        )
        for lane, found in heads.items()
    ]


def _unclaim(connection: Connection, me: str, idle: Collection[str], *, orphaned: Collection[str]) -> None:
    if idle:
        connection.execute(UNCLAIM, {"me": me, "lanes": array(idle)})
    if orphaned:
        connection.execute(ORPHANS, {"lanes": array(orphaned)})


def _shares(claimed: Mapping[str, Any], events: int) -> dict[str, int]:
    """How many events each lane may give, in the order of the alphabet. One that storms gives all it has: it rests
    after each batch, and they are folded to one."""
    fair = max(LEAST, events // len(claimed))
    return {
        lane: 1 if claimed[lane].careful else events if claimed[lane].storming else fair for lane in sorted(claimed)
    }


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


def finish(connection: Connection, ids: Sequence[int]) -> None:
    """Take the events out of the inbox."""
    connection.execute(FINISH, {"ids": array(ids)})


def postpone(connection: Connection, me: str, event: Stored, delay: timedelta, *, left: int) -> None:
    """Let the lane rest before `event` is tried again, and the `left` events from it on; the order is kept."""
    connection.execute(COUNT_TRY, {"id": event.id})
    connection.execute(POSTPONE, {"lane": event.lane, "delay": delay, "me": me, "left": left})


def try_alone(connection: Connection, me: str, lane: Held) -> int:
    """Note that a careful lane's event is about to be tried; how often it has been, with this time. To be committed
    before it is; not synced to disk, for it outlives the worker's crash without. Raises LostLease."""
    connection.execute(text("SET LOCAL synchronous_commit = off"))
    tried: int | None = connection.execute(TRY_ALONE, {"lane": lane.lane, "epoch": lane.epoch, "me": me}).scalar()
    if tried is None:
        raise LostLease("Another worker took the lane over")
    return tried


def forgive(connection: Connection, me: str, held: Sequence[Held]) -> None:
    """What kept these from being settled was no crash."""
    values = {"me": me, "lanes": array(lane.lane for lane in held), "epochs": array(lane.epoch for lane in held)}
    connection.execute(FORGIVE, values)


def take_over(connection: Connection, me: str, names: Collection[str]) -> None:
    """Lease these lanes whoever has them; a worker in the middle of a batch loses it and does it again later."""
    connection.execute(TAKE_OVER, {"me": me, "lanes": array(names), "lease": LEASE})


def lock(connection: Connection, me: str, names: Collection[str]) -> None:
    """Keep lanes taken over to the end of the transaction, however long it takes. Raises LostLease."""
    if len(connection.execute(LOCK, {"me": me, "lanes": array(names)}).all()) != len(names):
        raise LostLease("A worker took a lane over")


def renew(connection: Connection, me: str, names: Collection[str]) -> None:
    """Let the lease of lanes taken over begin anew, before the transaction that has locked them ends."""
    connection.execute(RENEW, {"me": me, "lanes": array(names), "lease": LEASE})


def release(connection: Connection, me: str, names: Collection[str]) -> None:
    connection.execute(RELEASE, {"me": me, "lanes": array(names)})
