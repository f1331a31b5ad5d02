"""The outbox as rows: what is due for a target, ours for a while, sent, put off, given up.

Functions of a connection; the caller's transaction. `alerts` writes the rows, `outbox` sends them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text

from core.db import array
from monitor.alerting.pacing import CRITICAL, GIVEN_UP_AFTER, Manner, Waiting, next_try, turn

LEASE: Final = timedelta(seconds=90)  # longer than any sending: WhatsApp may take 60 s
LOOKED_AT_MOST: Final = 200  # due deliveries of one target
CRASHED: Final = "CRASHED"

# nothing is put off for longer: what is dated later was decided by a clock that went wrong
REDATE = text("""
UPDATE alert_deliveries AS delivery SET next_at = :at FROM alert_targets AS target
WHERE target.id = delivery.target_id AND delivery.state = 'pending'
  AND delivery.next_at > :at + interval '1 hour' + greatest(
      interval '0', target.digest_minutes * interval '1 minute', target.quiet_until - target.quiet_from
          + CASE WHEN target.quiet_until < target.quiet_from THEN interval '1 day' ELSE interval '0' END
  )
""")
# the due ones' targets, but for those that somebody is sending to
DUE = text("""
SELECT delivery.target_id
FROM alert_deliveries AS delivery JOIN alert_targets AS target ON target.id = delivery.target_id
WHERE delivery.state = 'pending' AND delivery.next_at <= :at AND target.enabled
  AND delivery.target_id <> ALL(CAST(:busy AS uuid[]))
GROUP BY delivery.target_id
HAVING coalesce(max(delivery.claimed_until), '-infinity') < now()
ORDER BY min(delivery.next_at)
LIMIT :most
""")
# NO KEY: whoever records an alert for the target meanwhile need not wait
TARGET = text("""
SELECT id, sealed, language, quiet_from, quiet_until, timezone, digest_minutes FROM alert_targets
WHERE id = :id AND enabled FOR NO KEY UPDATE SKIP LOCKED
""")
# what is due, the critical first, and all that was decided before it of the same incidents
WAITING = text("""
WITH due AS (
    SELECT alert.incident_id, alert.id
    FROM alert_deliveries AS delivery JOIN alerts AS alert ON alert.id = delivery.alert_id
    WHERE delivery.target_id = :target AND delivery.state = 'pending' AND delivery.next_at <= :at
    ORDER BY alert.severity = :critical DESC, alert.id LIMIT :most
), looked AS (
    SELECT incident_id, max(id) AS newest FROM due GROUP BY incident_id
)
SELECT delivery.id, delivery.attempts, delivery.next_at, delivery.failing_since, delivery.error,
    alert.incident_id, alert.kind, alert.severity, alert.facts, alert.at, incident.opened_at,
    coalesce(incident.instance_name, incident.gateway) AS about,
    NOT EXISTS (
        SELECT FROM alerts JOIN alert_deliveries AS other ON other.alert_id = alerts.id
        WHERE alerts.incident_id = alert.incident_id AND other.target_id = delivery.target_id AND other.state = 'sent'
    ) AS unheard
FROM looked
JOIN alerts AS alert ON alert.incident_id = looked.incident_id AND alert.id <= looked.newest
JOIN alert_deliveries AS delivery ON delivery.alert_id = alert.id AND delivery.target_id = :target
JOIN incidents AS incident ON incident.id = alert.incident_id
WHERE delivery.state = 'pending' AND NOT EXISTS (
    SELECT FROM alert_deliveries WHERE target_id = :target AND state = 'pending' AND claimed_until >= now()
)
ORDER BY alert.id
FOR UPDATE OF delivery SKIP LOCKED
""")
# what was put off, and not because the target failed
PLANNED = text("""
SELECT min(delivery.next_at) FROM alert_deliveries AS delivery JOIN alerts AS alert ON alert.id = delivery.alert_id
WHERE delivery.target_id = :target AND delivery.state = 'pending' AND delivery.next_at > :at
  AND delivery.failing_since IS NULL AND delivery.next_at <> alert.at
""")
POSTPONE = text("""
UPDATE alert_deliveries AS kept SET next_at = new.at
FROM unnest(CAST(:ids AS bigint[]), CAST(:at AS timestamptz[])) AS new (id, at) WHERE kept.id = new.id
""")
CLAIM = text("""
UPDATE alert_deliveries SET claimed_until = now() + :lease, attempts = attempts + 1
WHERE id = ANY(CAST(:ids AS bigint[])) RETURNING claimed_until
""")
SENT = text("""
UPDATE alert_deliveries SET state = 'sent', sent_at = :at, claimed_until = NULL, error = NULL
WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'pending'
""")
# it takes messages again: what is between two attempts need not wait for an hour
HASTEN = text("""
UPDATE alert_deliveries SET next_at = :at
WHERE target_id = :target AND state = 'pending' AND failing_since IS NOT NULL AND error <> :crashed AND next_at > :at
""")
TAKES = text("UPDATE alert_targets SET failures = 0 WHERE id = :target AND failures > 0")
REFUSES = text("UPDATE alert_targets SET failures = failures + 1 WHERE id = :target RETURNING failures")
FAILED = text("""
UPDATE alert_deliveries SET
    state = CASE WHEN failing_since <= :given_up THEN 'failed' ELSE 'pending' END,
    failing_since = coalesce(failing_since, :at), next_at = :then, error = :code, claimed_until = NULL
WHERE target_id = :target AND state = 'pending' AND (
    id = ANY(CAST(:ids AS bigint[])) AND claimed_until = :claim
    OR :all AND next_at <= :at AND (claimed_until IS NULL OR claimed_until < now())
)
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """One message under way: the deliveries that it is, and until when they are ours."""

    target: Row[Any]
    rows: Sequence[Row[Any]]
    claim: datetime


def due(connection: Connection, at: datetime, busy: Collection[UUID], most: int) -> list[UUID]:
    """Targets for which something is due, the longest due first; none that is `busy` or served by another process."""
    connection.execute(REDATE, {"at": at})
    return list(connection.execute(DUE, {"at": at, "busy": array(sorted(busy)), "most": most}).scalars())


def claim(connection: Connection, target_id: UUID, at: datetime) -> Parcel | None:
    """The next message to the target, ours for LEASE; None where nothing may go now. What must wait is put off."""
    target = connection.execute(TARGET, {"id": target_id}).first()
    if target is None:
        return None
    values = {"target": target_id, "at": at, "critical": CRITICAL, "most": LOOKED_AT_MOST}
    rows = connection.execute(WAITING, values).all()
    chosen = turn([_waiting(row) for row in rows], _manner(target), at, _planned(connection, target, at))
    if chosen.later:
        later = sorted(chosen.later.items())
        connection.execute(POSTPONE, {"ids": array(i for i, _ in later), "at": array(t for _, t in later)})
    if not chosen.now:
        return None
    until = connection.execute(CLAIM, {"ids": array(chosen.now), "lease": LEASE}).scalars().all()[0]
    return Parcel(target=target, rows=[row for row in rows if row.id in chosen.now], claim=until)


def confirm(connection: Connection, parcel: Parcel, at: datetime) -> None:
    """It has arrived: what the target did not take before need not wait any longer."""
    target = parcel.target.id
    connection.execute(TAKES, {"target": target})
    connection.execute(SENT, {"ids": array(row.id for row in parcel.rows), "at": at})
    connection.execute(HASTEN, {"target": target, "at": at, "crashed": CRASHED})


def refuse(connection: Connection, parcel: Parcel, trouble: str, at: datetime) -> None:
    """The target did not take it: what else is due for it waits along."""
    failures = connection.execute(REFUSES, {"target": parcel.target.id}).scalar() or 1  # the target may be gone
    put_back(connection, parcel, trouble, at, failures)


def put_back(connection: Connection, parcel: Parcel, trouble: str, at: datetime, failures: int = 0) -> None:
    """`failures`: of the target, in a row; 0: it is not its fault."""
    tried = max(row.attempts + 1 for row in parcel.rows)
    since = min(row.failing_since or at for row in parcel.rows)
    values = {
        "target": parcel.target.id,
        "ids": array(row.id for row in parcel.rows),
        "claim": parcel.claim,
        "all": failures > 0,
        "at": at,
        "then": next_try(max(tried, failures), since, at),
        "given_up": at - GIVEN_UP_AFTER,
        "code": trouble,
    }
    connection.execute(FAILED, values)


def _waiting(row: Row[Any]) -> Waiting:
    return Waiting(
        id=row.id,
        incident_id=row.incident_id,
        severity=row.severity,
        at=row.at,
        next_at=row.next_at,
        attempts=row.attempts,
        failing=row.failing_since is not None,
        crashed=row.error == CRASHED,
    )


def _manner(target: Row[Any]) -> Manner:
    return Manner(
        quiet_from=target.quiet_from,
        quiet_until=target.quiet_until,
        timezone=target.timezone,
        digest=timedelta(minutes=target.digest_minutes) if target.digest_minutes else None,
    )


def _planned(connection: Connection, target: Row[Any], at: datetime) -> datetime | None:
    """When the next digest leaves anyway."""
    if not target.digest_minutes:
        return None
    planned: datetime | None = connection.execute(PLANNED, {"target": target.id, "at": at}).scalar()
    return planned
