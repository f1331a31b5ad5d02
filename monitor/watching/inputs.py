"""What a row and a look say about an instance, as observations for the judge. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from operator import attrgetter

from manager.providers.port import State
from monitor.policy.health import (
    Action,
    Asked,
    Checked,
    Deaf,
    Fleet,
    Health,
    HealthState,
    Kind,
    Observation,
    Reported,
    Rules,
)
from monitor.policy.judge import judge
from monitor.policy.rhythm import is_silent
from monitor.policy.servers import Round
from monitor.watching.probe import Look
from monitor.watching.watched import Counted, Watched

LASTING = attrgetter(*(one.name for one in fields(Health) if one.name not in ("checked_at", "observed_at")))
ENDED = (State.DISCONNECTED, State.NOT_FOUND, State.REFUSED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What all observations of an instance came to."""

    health: Health
    notices: tuple[Kind, ...]
    action: Action | None
    again_within: timedelta | None


def observations(one: Watched, found: State | None, at: datetime) -> list[Observation]:
    """What a person asked for, what webhooks reported since last time, what our look found; in this order."""
    seen: list[Observation] = []
    if one.asked_at and one.asked_at != one.health.asked_at:
        seen.append(Asked(at=at))
    if one.updated_at != one.noticed_at:
        seen.append(Reported(at=at, state=one.told_state, reason=one.reason, reason_at=one.reason_at))
    if found is not None:
        seen.append(Checked(at=at, state=found, deaf=deaf(one, at) if found is State.CONNECTED else None))
    return seen


def deaf(one: Watched, at: datetime) -> Deaf | None:
    if one.sends_fail:
        return Deaf.SENDS_FAIL
    return Deaf.SILENT if is_silent(one.rhythm, at) else None


def judged(one: Watched, seen: Iterable[Observation], rules: Rules, fleet: Fleet, luck: float) -> Outcome:
    """All of it taken in, one after the other."""
    health, action, soonest = one.health, None, None
    notices: tuple[Kind, ...] = ()
    for observation in seen:
        found = judge(health, observation, rules, fleet, luck)
        health, notices, action = found.health, notices + found.notices, found.action or action
        soonest = _sooner(soonest, found.again_within)
    if health.asked_at != one.asked_at:
        health = replace(health, asked_at=one.asked_at)
    return Outcome(health=health, notices=notices, action=action, again_within=soonest)


def is_quiet(before: Health, outcome: Outcome) -> bool:
    """Whether nothing is new but that somebody looked."""
    return LASTING(outcome.health) == LASTING(before) and not outcome.notices and outcome.action is None


def verdict(found: State, health: Health) -> str:
    """What goes into the history: only an open is up, only what is over is down."""
    if found is State.CONNECTED:
        return "up"
    return "down" if found in ENDED or health.state is not HealthState.CONNECTING else "unknown"


def round_of(at: datetime, look: Look, due: Sequence[Watched], counted: Counted) -> Round:
    """What the look says about the server."""
    failing = [one for one in due if look.states.get(one.gateway_name) in ENDED]
    fine = [one for one in due if look.states.get(one.gateway_name) is State.CONNECTED]
    first = [one for one in failing if one.health.failing_since is None]
    recovered = [one for one in fine if one.health.failing_since is not None]
    return Round(
        at=at,
        probe=look.probe,
        trouble=look.trouble,
        answered=look.answered,
        troubles=look.troubles,
        enabled=counted.enabled,
        failing=counted.failing + len(first) - len(recovered),
        first_failed=len(first),
        outdated=counted.outdated,
        missing=look.missing,
    )


def steps_between(before: Health, after: Health) -> Iterator[str]:
    """What changed about the verdict, as codes for an incident's timeline."""
    if after.failures > before.failures:
        yield "check_failed"
    if after.state is not before.state:
        yield f"now_{after.state}"
    if after.policy is not before.policy:
        yield f"policy_{after.policy}"


def _sooner(one: timedelta | None, other: timedelta | None) -> timedelta | None:
    known = [within for within in (one, other) if within is not None]
    return min(known, default=None)
