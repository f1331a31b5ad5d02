"""Reconnecting by ourselves: whether we may now, and when again. Pure.

Few attempts, ever further apart: users tie reconnecting without end to bans. `luck` in [0, 1) spreads instances that
fell together.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from monitor.policy.flaps import WITHIN
from monitor.policy.health import Fleet, Health, HealthState, Policy, Rules
from monitor.policy.reasons import since

DAY = timedelta(days=1)
SPREAD = timedelta(seconds=10)  # before the first attempt, and never more than a sixth of the interval
DOUBLINGS = 20  # beyond them any delay is the longest
HELPLESS = (HealthState.HEALTHY, HealthState.CONNECTING, HealthState.ERROR)


def delay(attempts: int, rules: Rules, luck: float) -> timedelta:
    """How long to wait after that many attempts of an episode."""
    longest = min(rules.longest_delay, rules.first_delay * 2.0 ** min(attempts - 1, DOUBLINGS))
    return longest * (0.5 + luck / 2)


def lined_up(before: Health, after: Health, at: datetime, rules: Rules, luck: float) -> Health:
    """At the failure that calls for attempts: the first one waits its turn, and no brief open cuts a wait short."""
    if not before.failures < rules.reconnect_at <= after.failures:
        return after
    first_at = at + min(SPREAD, rules.interval / 6) * luck
    return replace(after, next_attempt_at=max(first_at, after.next_attempt_at or first_at))


def are_wanted(health: Health, at: datetime, rules: Rules) -> bool:
    """Whether helping is our turn at all: it failed often enough, it can help, and nobody is pairing."""
    return health.failures >= rules.reconnect_at and health.policy is Policy.AUTO and not is_pairing(health, at)


def are_spent(health: Health, at: datetime, rules: Rules) -> bool:
    a_day = len(since(health.attempted_at, at - DAY))
    return not rules.auto_reconnect or health.attempts >= rules.attempts_an_episode or a_day >= rules.attempts_a_day


def may_be_made(health: Health, at: datetime, rules: Rules, fleet: Fleet) -> bool:
    """One now, caused by a failure that a check has just seen."""
    last, due_at = max(health.attempted_at, default=None), health.next_attempt_at
    rested = not health.flapping or last is None or at - last >= WITHIN
    is_due = (due_at is None or due_at <= at) and rested and health.state not in HELPLESS
    wanted = are_wanted(health, at, rules) and not are_spent(health, at, rules)
    return wanted and is_due and fleet.token and not (fleet.frozen or fleet.busy or health.paused)


def made(health: Health, at: datetime, rules: Rules, luck: float) -> Health:
    """One was made; connecting gets its time anew."""
    attempts = health.attempts + 1
    return replace(
        health,
        attempts=attempts,
        attempted_at=(*since(health.attempted_at, at - DAY), at),
        next_attempt_at=at + delay(attempts, rules, luck),
        connecting_since=None,
    )


def were_in_vain(health: Health) -> bool:
    """Whether one was made since it began to fail."""
    return bool(health.attempted_at and health.failing_since and max(health.attempted_at) >= health.failing_since)


def refilled(health: Health, at: datetime, rules: Rules) -> Health:
    """The episode is over after unbroken health, however often it has been open for less."""
    if health.attempts == 0 or health.healthy_since is None or at - health.healthy_since < rules.refill_after:
        return health
    return replace(health, attempts=0, next_attempt_at=None)


def is_pairing(health: Health, at: datetime) -> bool:
    """Whether a person has asked for a connection, and may still be at it."""
    return health.pairing_until is not None and at < health.pairing_until
