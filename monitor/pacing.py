"""When a message may go to a target: quiet hours, digests, order, and the waits between attempts. Pure.

`monitor.outbox` asks it with all that waits for one target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

WAITS: Final = tuple(timedelta(seconds=s) for s in (30, 60, 120, 300, 600, 1800, 3600))  # then hourly
GIVEN_UP_AFTER: Final = timedelta(hours=24)
AT_ONCE_MOST: Final = 30  # alerts in one message
CRITICAL: Final = "critical"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How a target wants to be spoken to. Quiet hours are in its own time zone, and may go over midnight."""

    quiet_from: time | None = None
    quiet_until: time | None = None
    timezone: str = "UTC"
    digest: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A delivery that is not done. `at`: when its alert was decided; `next_at`: not before."""

    id: int
    incident_id: int
    severity: str
    at: datetime
    next_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """`now`: deliveries that go out, together in one message. `later`: what is due and must wait, and until when."""

    now: tuple[int, ...] = ()
    later: Mapping[int, datetime] = field(default_factory=dict)


def turn(waiting: Sequence[Waiting], manner: Manner, at: datetime) -> Turn:
    """`waiting` is all that waits for the target, in the order it was decided.

    Quiet hours hold back what is not critical. What is of one incident goes in order, so a critical one takes along
    what was decided before it.
    """
    quiet = quiet_until(manner, at)
    urgent = {one.incident_id for one in waiting if one.severity == CRITICAL and one.next_at <= at}
    go: list[Waiting] = []
    later: dict[int, datetime] = {}
    stuck: dict[int, datetime] = {}  # incident → until when
    for one in waiting:
        until = max(one.next_at, stuck.get(one.incident_id, one.next_at))
        if quiet and one.incident_id not in urgent:
            until = max(until, quiet)
        if until <= at:
            go.append(one)
            continue
        stuck[one.incident_id] = until
        if one.next_at <= at:
            later[one.id] = until
    return _together(go, manner.digest, later, at) if manner.digest else Turn(now=_ids(go[:1]), later=later)


def quiet_until(manner: Manner, at: datetime) -> datetime | None:
    """When the quiet hours end that `at` lies in; None outside of them."""
    if manner.quiet_from is None or manner.quiet_until is None:
        return None
    local = at.astimezone(zone(manner.timezone))
    begin, end, moment = manner.quiet_from, manner.quiet_until, local.time()
    is_quiet = begin <= moment < end if begin <= end else moment >= begin or moment < end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=moment >= end)
    return datetime.combine(day, end, local.tzinfo).astimezone(UTC)


def next_try(attempts: int, decided_at: datetime, at: datetime) -> datetime | None:
    """When to try again after so many attempts, of which the last has just failed; None: no more."""
    end = decided_at + GIVEN_UP_AFTER
    return None if at >= end else min(at + WAITS[min(attempts, len(WAITS)) - 1], end)


def zone(name: str) -> ZoneInfo:
    """The time zone; UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _together(go: Sequence[Waiting], digest: timedelta, later: Mapping[int, datetime], at: datetime) -> Turn:
    """All at once, when the first of them has waited long enough."""
    opens = min((one.at for one in go), default=at) + digest
    if go and opens > at:
        return Turn(later={**later, **dict.fromkeys(_ids(go), opens)})
    return Turn(now=_ids(go[:AT_ONCE_MOST]), later=later)


def _ids(some: Sequence[Waiting]) -> tuple[int, ...]:
    return tuple(one.id for one in some)
