"""Instances of which "open" says nothing new: when the gateway says it of all in one answer, one statement takes note
of it, and none of them is loaded. Each is judged in full every ten minutes at least, and whenever its row has changed.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from core.db import array
from monitor.policy.health import Health, HealthState, Policy
from monitor.policy.judge import SURE
from monitor.watching.store import IS_DUE, LOOKED_AT

REST = timedelta(minutes=10)
CLEAR = text(f"""
UPDATE instance_health h SET checked_at = :at, due_at = :next
FROM whatsapp_instances wi
WHERE wi.id = h.instance_id AND {LOOKED_AT} AND {IS_DUE}
    AND h.settled_until > :at AND h.checked_at > :seen_since AND h.noticed_at = wi.updated_at
    AND coalesce(wi.gateway_name, wi.instance_name) = ANY(CAST(:open AS text[]))
""")  # noqa: S608 — constants of ours


def is_settled(health: Health) -> bool:
    """Whether one more look that sees it open changes nothing."""
    told = health.incident or health.flips or health.pending or health.deaf
    is_well = health.state is HealthState.HEALTHY and health.policy is Policy.AUTO and health.successes >= SURE
    return is_well and not told and not health.attempts and not health.paused


def settled_until(health: Health, at: datetime, luck: float) -> datetime | None:
    """Until when that may be relied on; not all at the same time."""
    return at + REST * (0.5 + luck / 2) if is_settled(health) else None


def clear(
    connection: Connection,
    gateway: str,
    open_names: Collection[str],
    at: datetime,
    interval: timedelta,
    longest: timedelta,
    gap: timedelta,
) -> int:
    """Take note that those of the settled that are due were seen open; names are the gateway's. How many."""
    values = {
        "gateway": gateway,
        "at": at,
        "horizon": at + longest,
        "next": at + interval,
        "seen_since": at - gap,
        "open": array(open_names),
    }
    return connection.execute(CLEAR, values).rowcount
