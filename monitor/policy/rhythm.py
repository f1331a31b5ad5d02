"""How long an instance is usually silent: nights, weekends, and then something comes again. Pure.

The watch tells it at each good check when the last message came; a silence far longer than any it has known says that
an open connection hears nothing any more.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

STEP = timedelta(minutes=10)  # finer it need not be, and what does not change need not be written
LAPSE = timedelta(minutes=20)  # longer between two good checks, it was not listening: that silence does not count
DAYS = 14  # days on which something was heard: two weeks of them, or more where weekends are silent
KNOWN_AFTER = 7
FACTOR = 2.0
LEAST = timedelta(hours=6)
NONE = timedelta(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rhythm:
    """`heard_at`: the last message known. `listened_at`: the last good check taken in. `quiet_s`: seconds of silence,
    while it listened, since that message. `days`: the longest silence, in seconds, that ended on each of the last days
    on which one ended."""

    heard_at: datetime | None = None
    listened_at: datetime | None = None
    quiet_s: float = 0.0
    days: tuple[tuple[date, float], ...] = ()


def listened(before: Rhythm, heard_at: datetime | None, at: datetime) -> Rhythm:
    """Take in a good check. `heard_at`: when the last message of all came, None for never. Checks that follow each
    other closely are taken in together."""
    if before.listened_at is None:
        return Rhythm(heard_at=heard_at, listened_at=at)
    is_news = heard_at is not None and heard_at != before.heard_at
    is_ended = is_news and before.quiet_s >= LEAST.total_seconds()
    if NONE <= at - before.listened_at < STEP and not is_ended:
        return before
    heard_while = _while_listening(before, at)
    if not is_news or heard_at is None:
        return replace(before, listened_at=at, quiet_s=before.quiet_s + heard_while.total_seconds())
    until = min(max(heard_at - before.listened_at, NONE), heard_while)
    silence = before.quiet_s + until.total_seconds()
    quiet = min(max(at - heard_at, NONE), LAPSE)
    days = _with(before.days, at.date(), silence)
    return Rhythm(heard_at=heard_at, listened_at=at, quiet_s=quiet.total_seconds(), days=days)


def is_silent(rhythm: Rhythm, at: datetime) -> bool:
    """Whether it has been silent for longer than it ever was, by far; False while too little is known."""
    if len(rhythm.days) < KNOWN_AFTER:
        return False
    longest = max(seconds for _, seconds in rhythm.days)
    quiet = rhythm.quiet_s + _while_listening(rhythm, at).total_seconds()
    return quiet >= LEAST.total_seconds() and quiet > FACTOR * longest


def _while_listening(rhythm: Rhythm, at: datetime) -> timedelta:
    """The time since the last good check; none where there were too few, or the clock was set back."""
    passed = at - (rhythm.listened_at or at)
    return passed if NONE <= passed <= LAPSE else NONE


def _with(days: tuple[tuple[date, float], ...], day: date, silence: float) -> tuple[tuple[date, float], ...]:
    known = dict(days)
    known[day] = max(silence, known.get(day, 0.0))
    return tuple(sorted(known.items())[-DAYS:])
