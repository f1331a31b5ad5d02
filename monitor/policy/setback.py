"""When a clock was set back, all that is known moves back with it: no wait grows, nothing counts twice. Pure."""

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from monitor.policy.health import Health

NOT_OURS = {"reason_at", "asked_at"}  # other clocks', compared for equality only


def timely(known: Health, at: datetime) -> Health:
    """As if no time had passed since it was last observed, where that lies ahead."""
    if known.observed_at is None or known.observed_at <= at:
        return known
    by = known.observed_at - at
    found = {one.name: getattr(known, one.name) for one in fields(known) if one.name not in NOT_OURS}
    return replace(known, **{name: moved for name, value in found.items() if (moved := _moved(value, by)) != value})


def _moved(value: Any, by: timedelta) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(one, by) for one in value)
    return value - by if isinstance(value, datetime) else value
