"""History: what checks said, as intervals; uptime, and what was tried to reconnect. The caller's transaction.

Intervals of an instance never overlap; where one ends the next begins, for as long as it is under watch; neighbours
differ. `unknown` is neither up nor down: nobody looked, or nobody could tell.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, text

from core.db import array
from monitor.tables import ConnectionEvent
from monitor.views import Interval, Reconnection, Uptime

MOMENT = timedelta(microseconds=1)
END = text("""
WITH new AS (
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:verdicts AS text[]), CAST(:at AS timestamptz[]), CAST(:seen AS timestamptz[])
    ) AS new (id, verdict, at, seen)
), running AS (
    SELECT h.instance_id, h.since, h.verdict, new.verdict AS next, new.at,
           CASE WHEN h.verdict = 'unknown' OR seen IS NULL THEN new.at
                ELSE least(greatest(seen, h.since + CAST(:moment AS interval)), new.at) END AS ends
    FROM health_intervals h JOIN new ON h.instance_id = new.id
    WHERE h.until IS NULL AND new.at > h.since
)
UPDATE health_intervals h SET until = running.ends
FROM running
WHERE h.instance_id = running.instance_id AND h.since = running.since
  AND (running.verdict <> running.next OR running.ends < running.at)
RETURNING h.instance_id AS id, running.ends, running.at, running.next AS verdict
""")
BEGIN = text("""
INSERT INTO health_intervals (instance_id, since, until, verdict)
SELECT new.id, new.since, new.until, new.verdict
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[]), CAST(:verdicts AS text[])
) AS new (id, since, until, verdict)
LEFT JOIN LATERAL (
    SELECT coalesce(h.until, 'infinity') AS until FROM health_intervals h
    WHERE h.instance_id = new.id ORDER BY h.since DESC LIMIT 1
) AS last ON true
WHERE (last.until IS NULL OR last.until <= new.since)
  AND EXISTS (SELECT FROM whatsapp_instances wi WHERE wi.id = new.id)
""")
LEAVE = text("""
UPDATE health_intervals h SET until = greatest(old.until, h.since + CAST(:moment AS interval))
FROM unnest(CAST(:ids AS uuid[]), CAST(:until AS timestamptz[])) AS old (id, until)
WHERE h.instance_id = old.id AND h.until IS NULL
""")
STRETCHES = """
SELECT h.instance_id, h.verdict, h.since, coalesce(h.until, greatest(health.checked_at, h.since), h.since) AS until
FROM health_intervals h LEFT JOIN instance_health health ON health.instance_id = h.instance_id
"""
UPTIME = text(f"""
WITH stretches AS (
    {STRETCHES} WHERE h.instance_id = ANY (CAST(:ids AS uuid[])) AND (h.until IS NULL OR h.until > :from)
)
SELECT s.instance_id, windows.n, s.verdict,
       sum(extract(epoch FROM least(s.until, windows.until) - greatest(s.since, windows.since))) AS seconds
FROM stretches s JOIN unnest(CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[]))
    WITH ORDINALITY AS windows (since, until, n) ON s.since < windows.until AND s.until > windows.since
GROUP BY s.instance_id, windows.n, s.verdict
""")  # noqa: S608 — a constant of ours
INTERVALS = text(f"""
SELECT verdict, since, until FROM ({STRETCHES}) AS s
WHERE instance_id = :id AND until > :since ORDER BY since DESC LIMIT :most
""")  # noqa: S608 — a constant of ours
PRUNE = text("""
DELETE FROM health_intervals WHERE (instance_id, since) IN (
    SELECT instance_id, since FROM health_intervals WHERE until < now() - :age LIMIT :most
)
""")
PRUNE_RECONNECTIONS = text("""
DELETE FROM connection_events WHERE id IN (SELECT id FROM connection_events WHERE at < now() - :age LIMIT :most)
""")
KEPT = timedelta(days=400)
PRUNED_AT_ONCE = 5_000
DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a check at `at` said: up, down or unknown. `seen_until`: nobody had looked since then, which was for too
    long; None: there is no such hole."""

    instance_id: UUID
    verdict: str
    at: datetime
    seen_until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    since: datetime
    until: datetime


def extend(connection: Connection, verdicts: Sequence[Verdict]) -> None:
    """Carry the intervals of these instances on, one verdict an instance. One that is not newer than its running
    interval's beginning changes nothing; instances that were deleted are left out."""
    if not verdicts:
        return
    asked = sorted(verdicts, key=lambda one: one.instance_id)
    columns = {
        "ids": array(one.instance_id for one in asked),
        "verdicts": array(one.verdict for one in asked),
        "at": array(one.at for one in asked),
        "seen": array(one.seen_until for one in asked),
    }
    ended = connection.execute(END, {**columns, "moment": MOMENT}).all()
    known = {row.id for row in ended}
    begun = [part for row in ended for part in _after(row.id, row.verdict, row.ends, row.at)]
    begun += [(one.instance_id, one.at, None, one.verdict) for one in asked if one.instance_id not in known]
    ids, since, until, words = zip(*begun, strict=True)
    values = {"ids": array(ids), "since": array(since), "until": array(until), "verdicts": array(words)}
    connection.execute(BEGIN, values)


def leave(connection: Connection, last_checks: Mapping[UUID, datetime]) -> None:
    """These are not under watch any more: their history ends with their last check."""
    if last_checks:
        rows = sorted(last_checks.items())
        values = {"ids": array(number for number, _ in rows), "until": array(at for _, at in rows), "moment": MOMENT}
        connection.execute(LEAVE, values)


def uptime(
    connection: Connection, instance_ids: Collection[UUID], windows: Sequence[Window]
) -> dict[UUID, list[Uptime]]:
    """How long each instance was up, down and unknown in each window; what comes after its last check is not in it."""
    if not (instance_ids and windows):
        return {one: [Uptime() for _ in windows] for one in instance_ids}
    values = {
        "ids": array(sorted(instance_ids)),
        "since": array(window.since for window in windows),
        "until": array(window.until for window in windows),
        "from": min(window.since for window in windows),
    }
    found: dict[UUID, list[dict[str, float]]] = {one: [{} for _ in windows] for one in instance_ids}
    for row in connection.execute(UPTIME, values):
        found[row.instance_id][row.n - 1][row.verdict] = float(row.seconds)
    return {one: [Uptime(**seconds) for seconds in each] for one, each in found.items()}


def days(count: int, now: datetime) -> list[Window]:
    """The last `count` days of UTC, the oldest first, today's until now."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    begins = [today - DAY * ago for ago in range(count - 1, -1, -1)]
    return [Window(since=begin, until=min(begin + DAY, now)) for begin in begins]


def intervals(connection: Connection, instance_id: UUID, since: datetime, *, most: int) -> list[Interval]:
    """Those that reach beyond `since`, the oldest first; the `most` newest of them."""
    rows = connection.execute(INTERVALS, {"id": instance_id, "since": since, "most": most}).mappings()
    return [Interval(**row) for row in rows][::-1]


def reconnections(connection: Connection, instance_id: UUID, *, limit: int) -> list[Reconnection]:
    """The newest first."""
    table: Any = ConnectionEvent.__table__
    columns = [table.c[name] for name in Reconnection.__dataclass_fields__]
    query = select(*columns).where(ConnectionEvent.instance_id == instance_id)
    rows = connection.execute(query.order_by(ConnectionEvent.id.desc()).limit(limit)).mappings()
    return [Reconnection(**row) for row in rows]


def prune(connection: Connection, age: timedelta) -> int:
    """Drop a batch of what ended longer ago than `age`, intervals and attempts. Rows dropped."""
    values = {"age": age, "most": PRUNED_AT_ONCE}
    return sum(connection.execute(one, values).rowcount for one in (PRUNE, PRUNE_RECONNECTIONS))


def _after(instance: UUID, verdict: str, ends: datetime, at: datetime) -> Iterable[tuple[Any, ...]]:
    """What follows an interval that ended at `ends`: nobody looked until `at`, when a check brought `verdict`."""
    if ends == at:
        return [(instance, at, None, verdict)]
    if verdict == "unknown":
        return [(instance, ends, None, verdict)]
    return [(instance, ends, at, "unknown"), (instance, at, None, verdict)]
