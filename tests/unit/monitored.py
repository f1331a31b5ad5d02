"""An instance under the judge's eyes, for the monitor's tests: steps, and the trace that they leave."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from manager.providers.port import State
from monitor.policy.health import (
    Action,
    Attempted,
    Checked,
    Deaf,
    Fleet,
    Health,
    Judgement,
    Observation,
    Reported,
    Rules,
)

BEGAN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RULES = Rules()
ALONE = Fleet()
Judge = Callable[[Health, Observation, Rules, Fleet, float], Judgement]
OPEN, CLOSE, CONNECTING, MISSING = State.CONNECTED, State.DISCONNECTED, State.CONNECTING, State.NOT_FOUND
ATTEMPTS = (Action.CONNECT, Action.RESTART)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is observed this long after the step before."""

    after: timedelta
    seen: Callable[[datetime], Observation]
    fleet: Fleet = ALONE
    luck: float = 0.5
    shows_code: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    before: Health
    seen: Observation
    fleet: Fleet
    judgement: Judgement

    @property
    def after(self) -> Health:
        return self.judgement.health

    @property
    def is_attempt(self) -> bool:
        return self.judgement.action in ATTEMPTS

    @property
    def is_open_check(self) -> bool:
        return isinstance(self.seen, Checked) and self.seen.state is OPEN

    @property
    def is_verdict(self) -> bool:
        return isinstance(self.seen, Checked) and self.seen.state is not State.UNKNOWN


def check(state: State, deaf: Deaf | None = None) -> Callable[[datetime], Observation]:
    return lambda at: Checked(at=at, state=state, deaf=deaf)


def report(state: State, reason: int | None = None, number: int = 0) -> Callable[[datetime], Observation]:
    reason_at = BEGAN + timedelta(days=400, seconds=number)  # the gateway's clock is its own
    return lambda at: Reported(at=at, state=state, reason=reason, reason_at=reason_at if reason else None)


def run(judge: Judge, steps: Sequence[Step], health: Health | None = None, began: datetime = BEGAN) -> list[Told]:
    """What comes of it; each attempt is answered at once, as its step says."""
    health, at = health or Health(), began
    trace: list[Told] = []
    for step in steps:
        at += step.after
        judgement = judge(health, step.seen(at), RULES, step.fleet, step.luck)
        trace.append(Told(before=health, seen=step.seen(at), fleet=step.fleet, judgement=judgement))
        health = judgement.health
        if judgement.action:
            answer = Attempted(at=at, shows_code=step.shows_code)
            judgement = judge(health, answer, RULES, step.fleet, step.luck)
            trace.append(Told(before=health, seen=answer, fleet=step.fleet, judgement=judgement))
            health = judgement.health
    return trace


def checks(state: State, times: int, seconds: float = 60) -> list[Step]:
    return [Step(after=timedelta(seconds=seconds), seen=check(state)) for _ in range(times)]


def followed(judge: Judge, health: Health, state: State, lasting: timedelta, at: datetime) -> list[Told]:
    """Checks that all see the same, as the watch makes them: once a minute, and sooner where we are asked to."""
    trace: list[Told] = []
    end = at + lasting
    while at < end:
        found = run(judge, [Step(after=timedelta(0), seen=check(state))], health, at)
        trace += found
        health = found[-1].after
        soon = [told.judgement.again_within for told in found if told.judgement.again_within is not None]
        at += max(min([*soon, RULES.interval]), timedelta(seconds=1))
    return trace
