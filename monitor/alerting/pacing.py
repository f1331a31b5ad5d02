"""When a message may go to a target: quiet hours, digests, order, and the waits between attempts. Pure.

`monitor.alerting.outbox` asks it with what is due for one target.
"""

from collections.abc import Mapping, Sequence, Set
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
    """A delivery that is not done. `at`: when its alert was decided; `next_at`: not before; `attempts`: of its own;
    `failing`: it should have arrived, and did not; `crashed`: for a reason of ours, so nothing waits for it."""

    id: int
    incident_id: int
    severity: str
    at: datetime
    next_at: datetime
    attempts: int = 0
    failing: bool = False
    crashed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """`now`: deliveries that go out, together in one message. `later`: what is due and must wait, and until when."""

    now: tuple[int, ...] = ()
    later: Mapping[int, datetime] = field(default_factory=dict)


def turn(waiting: Sequence[Waiting], manner: Manner, at: datetime, planned: datetime | None = None) -> Turn:
    """`waiting`: what is due, and of the same incidents all that was decided before it, in that order; `planned`: when
    the target's next digest leaves anyway.

    Quiet hours hold back what is not critical. What is of one incident goes in order, so a critical one takes along
    what was decided before it, even where that was put off for the night. Of several incidents it goes first; then
    what was tried least often, so that a message which nobody takes does not stand before the others for ever.
    """
    quiet = quiet_until(manner, at)
    urgent = {one.incident_id for one in waiting if one.severity == CRITICAL and one.next_at <= at}
    go: list[Waiting] = []
    later: dict[int, datetime] = {}
    stuck: dict[int, datetime] = {}  # incident → until when
    for one in waiting:
        is_urgent = one.incident_id in urgent
        ready = min(one.next_at, at) if is_urgent and not one.failing else one.next_at
        until = max(ready, stuck.get(one.incident_id, ready))
        if quiet and not is_urgent:
            until = max(until, quiet)
        if until <= at:
            go.append(one)
            continue
        if not one.crashed:
            stuck[one.incident_id] = until
        if one.next_at <= at:
            later[one.id] = until
    return _together(go, manner.digest, later, at, planned) if manner.digest else _single(go, urgent, later)


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


def next_try(failures: int, since: datetime, at: datetime) -> datetime:
    """When to try again after so many failures in a row, the first of them at `since`, the last now. What has failed
    for GIVEN_UP_AFTER is not tried again; the last time is just then."""
    then, end = at + WAITS[min(failures, len(WAITS)) - 1], since + GIVEN_UP_AFTER
    return min(then, end) if at < end else then


def zone(name: str) -> ZoneInfo:
    """The time zone; UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _single(go: Sequence[Waiting], urgent: Set[int], later: Mapping[int, datetime]) -> Turn:
    """The first of an incident."""
    first: dict[int, Waiting] = {}
    for one in go:
        first.setdefault(one.incident_id, one)
    chosen = sorted(first.values(), key=lambda one: (one.incident_id not in urgent, one.attempts))
    return Turn(now=_ids(chosen[:1]), later=later)


def _together(
    go: Sequence[Waiting], digest: timedelta, later: Mapping[int, datetime], at: datetime, planned: datetime | None
) -> Turn:
    """All at once, when the first of them has waited long enough, or with the digest that is planned."""
    opens = min((_opens(one, digest) for one in go), default=at)
    opens = min(opens, planned or opens)
    if go and opens > at:
        return Turn(later={**later, **dict.fromkeys(_ids(go), opens)})
    return Turn(now=_ids(go[:AT_ONCE_MOST]), later=later)


def _opens(one: Waiting, digest: timedelta) -> datetime:
    """When the digest leaves that this one waits for; what was put off before waits for its own time."""
    return one.at + digest if one.next_at == one.at else one.next_at


def _ids(some: Sequence[Waiting]) -> tuple[int, ...]:
    return tuple(one.id for one in some)
