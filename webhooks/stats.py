"""How the inbox stands, for operators and metrics; and what is thrown away when its time is over."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from core.db import array

STATS = text("""
SELECT (SELECT count(*) FROM inbox) AS pending,
       (SELECT extract(epoch FROM now() - received_at) FROM webhook_events
        WHERE id = (SELECT min(id) FROM inbox)) AS oldest_age_s,
       (SELECT count(*) FROM inbox JOIN lanes USING (lane) WHERE lease_until > now()) AS processing,
       (SELECT coalesce(sum(finished), 0) FROM lanes) AS processed_total,
       (SELECT count(*) FROM set_aside WHERE state = 'parked') AS parked,
       (SELECT count(*) FROM set_aside WHERE state = 'waiting') AS waiting,
       (SELECT count(*) FROM set_aside WHERE state = 'quarantined') AS quarantined,
       (SELECT count(*) FROM lanes WHERE storm_since IS NOT NULL
        AND storm_minute >= date_trunc('minute', now()) - interval '1 minute') AS storms,
       (SELECT coalesce(sum(coalesced), 0) FROM lanes) AS coalesced_total
""")
# Locked first and looked at once more by a second statement: in between somebody may have replayed one, and who wants
# to do it afterwards waits for the lock (webhooks.replay).
OLD = text("""
SELECT id FROM webhook_events AS old
WHERE received_at < now() - :age
  AND NOT EXISTS (SELECT FROM inbox WHERE inbox.id = old.id)
  AND NOT EXISTS (SELECT FROM set_aside WHERE event_id = old.id)
ORDER BY received_at LIMIT :most FOR UPDATE SKIP LOCKED
""")
PRUNE = text("""
DELETE FROM webhook_events AS old
WHERE id = ANY(CAST(:ids AS bigint[]))
  AND NOT EXISTS (SELECT FROM inbox WHERE inbox.id = old.id)
  AND NOT EXISTS (SELECT FROM set_aside WHERE event_id = old.id)
""")
PRUNE_ASIDE = text("""
DELETE FROM set_aside WHERE event_id IN (
    SELECT event_id FROM set_aside WHERE state IN ('waiting', 'quarantined') AND at < now() - :age LIMIT :most
)
""")
ASIDE_KEPT = timedelta(days=30)
PRUNED_AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """Counts of deliveries; `oldest_age_s` in seconds, None with nothing pending. `storms` counts instances that
    bring too much of the same (webhooks.storms), `coalesced_total` what the log does not hold because of it."""

    pending: int
    oldest_age_s: float | None
    processing: int
    parked: int
    waiting: int
    quarantined: int
    processed_total: int
    storms: int
    coalesced_total: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def queue_stats(connection: Connection) -> QueueStats:
    row = connection.execute(STATS).one()
    age = None if row.oldest_age_s is None else round(float(row.oldest_age_s), 3)
    counts = {name: int(value) for name, value in row._mapping.items() if name != "oldest_age_s"}
    return QueueStats(oldest_age_s=age, **counts)


def prune(connection: Connection, age: timedelta) -> int:
    """Drop one batch of finished deliveries older than `age`; what is unfinished or set aside stays. Rows dropped."""
    old = connection.execute(OLD, {"age": age, "most": PRUNED_AT_ONCE}).scalars().all()
    return connection.execute(PRUNE, {"ids": array(old)}).rowcount if old else 0


def prune_aside(connection: Connection, age: timedelta) -> int:
    """Forget one batch of what waits or is quarantined for longer than `age`; what was parked waits for a person.

    Rows dropped.
    """
    return connection.execute(PRUNE_ASIDE, {"age": age, "most": PRUNED_AT_ONCE}).rowcount
