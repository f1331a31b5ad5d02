"""The single steps of a health that `judge` puts together. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from monitor.policy.attempts import is_pairing
from monitor.policy.flaps import turned
from monitor.policy.health import Health, HealthState, Judgement, Kind, Policy, Rules

STALE_AFTER = 3  # intervals without a verdict: what was known before is not known any more
CALM = (HealthState.UNKNOWN, HealthState.HEALTHY, HealthState.UNHEALTHY)


def is_stale(health: Health, at: datetime, rules: Rules) -> bool:
    return health.checked_at is None or at - health.checked_at > STALE_AFTER * rules.interval


def well(known: Health) -> Health:
    """It is open, somebody says. The budget of attempts is not refilled by that."""
    return replace(
        known,
        state=HealthState.HEALTHY,
        policy=Policy.AUTO,
        failures=0,
        not_found=0,
        failing_since=None,
        connecting_since=None,
        pairing_until=None,
        pending=None,
        reason=None,
    )


def interrupted(known: Health) -> Health:
    """Neither counted nor told, but no longer unbroken health."""
    return replace(known, successes=0, healthy_since=None, deaf=None)


def on_its_way(known: Health, after: Health, at: datetime) -> Health:
    """It connects, says the gateway. Where it failed too often, that is believed only while a person pairs."""
    if known.state in CALM or (known.state is HealthState.DISCONNECTED and is_pairing(known, at)):
        after = replace(after, state=HealthState.CONNECTING)
    return turned(known, after, at)


def asked(known: Health, at: datetime, rules: Rules) -> Health:
    """A person takes it in hand: a new episode, and time to pair. What they were told before stays told."""
    if known.state is HealthState.HEALTHY:
        return known
    gave_up = known.state is HealthState.ERROR
    return replace(
        known,
        state=HealthState.DISCONNECTED if gave_up else known.state,
        attempts=0,
        next_attempt_at=None,
        not_found=0,
        pairing_until=at + rules.pairing_for,
        patient_until=None,
    )


def resumed(known: Health) -> Health:
    """As if new, but for what was spent until now, and for what only an open can end."""
    return Health(
        policy=Policy.AUTO if known.policy is Policy.GONE else known.policy,
        attempts=known.attempts,
        attempted_at=known.attempted_at,
        next_attempt_at=known.next_attempt_at,
        reason_at=known.reason_at,
        replaced_at=known.replaced_at,
        restarted_at=known.restarted_at,
        asked_at=known.asked_at,
        checked_at=known.checked_at,
        observed_at=known.observed_at,
    )


def told(health: Health, again_within: timedelta | None, *kinds: Kind) -> Judgement:
    """People hear each kind once in an incident; the first one opens it."""
    kinds = (Kind.FLAPPING, *kinds) if health.flapping else kinds
    news = tuple(kind for kind in kinds if kind not in health.announced)
    if news:
        health = replace(health, incident=True, announced=(*health.announced, *news))
    return Judgement(health=health, notices=news, again_within=again_within)
