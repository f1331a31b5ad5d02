"""Flapping: an instance that comes and goes is one trouble, not as many as it has turns. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from monitor.policy.health import Health, HealthState
from monitor.policy.reasons import since

WITHIN = timedelta(minutes=30)
MANY, FEW = 6, 2  # flips within that time: with so many it flaps, with so few and healthy it does no more


def turned(before: Health, after: Health, at: datetime) -> Health:
    """`after` with its flips: crossings between healthy and anything else that is a verdict."""
    flips = since(after.flips, at - WITHIN)
    if before.state is not HealthState.UNKNOWN and _is_well(before) is not _is_well(after):
        flips = (*flips, at)
    flapping = len(flips) >= MANY or (after.flapping and not (_is_well(after) and len(flips) <= FEW))
    is_same = (flips, flapping) == (after.flips, after.flapping)
    return after if is_same else replace(after, flips=flips, flapping=flapping)


def _is_well(health: Health) -> bool:
    return health.state is HealthState.HEALTHY
