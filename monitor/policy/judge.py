"""What one observation of an instance makes of its health, what people are told, and what is done. Pure.

`watch` makes the observations, keeps the health and carries the rest out. The rules in words: docs/monitor.md. The time
is `seen.at`, luck is the caller's die.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from manager.providers.port import State
from monitor.policy.attempts import (
    are_spent,
    are_wanted,
    is_pairing,
    lined_up,
    made,
    may_be_made,
    refilled,
    were_in_vain,
)
from monitor.policy.flaps import turned
from monitor.policy.health import (
    Action,
    Asked,
    Attempted,
    Checked,
    Deaf,
    Fleet,
    Health,
    HealthState,
    Judgement,
    Kind,
    Observation,
    Paused,
    Policy,
    Reported,
    Resumed,
    Rules,
)
from monitor.policy.reasons import confirmed, is_news, noted
from monitor.policy.setback import timely
from monitor.policy.standing import asked, interrupted, is_stale, on_its_way, resumed, told, well

ALONE = Fleet()
SURE = 2  # open checks in a row that end an incident, "not found" in a row that are believed
LOST = {Policy.NEEDS_QR: Kind.NEEDS_QR, Policy.BANNED: Kind.BANNED, Policy.CONFLICT: Kind.CONFLICT}
DOWN_ALREADY = (HealthState.UNHEALTHY, HealthState.DISCONNECTED, HealthState.ERROR)


def judge(before: Health, seen: Observation, rules: Rules, fleet: Fleet = ALONE, luck: float = 0.5) -> Judgement:
    """Fold one observation in. `luck` in [0, 1). While paused nothing but Resumed is taken in."""
    known = replace(timely(before, seen.at), observed_at=seen.at)
    if known.paused or isinstance(seen, Paused | Resumed):
        return _switched(known, seen)
    match seen:
        case Checked():
            return _checked(known, seen, rules, fleet, luck)
        case Reported():
            return _reported(known, seen, rules, fleet)
        case Attempted():
            return _attempted(known, seen, rules, fleet)
        case Asked():
            return Judgement(health=asked(known, seen.at, rules), again_within=rules.confirm_within)


def _switched(known: Health, seen: Observation) -> Judgement:
    """Whoever pauses knows of it: an open incident ends, and nobody is told."""
    if isinstance(seen, Paused):
        return Judgement(health=replace(known, paused=True, incident=False, announced=()))
    if isinstance(seen, Resumed) and known.paused:
        return Judgement(health=resumed(known), again_within=timedelta(0))
    return Judgement(health=known)


def _checked(known: Health, seen: Checked, rules: Rules, fleet: Fleet, luck: float) -> Judgement:
    if seen.state is State.UNKNOWN:  # the gateway's trouble
        return Judgement(health=known)
    if seen.state is State.CONNECTED:
        return _open(known, seen, rules, fleet)
    after = interrupted(replace(known, checked_at=seen.at))
    if fleet.frozen:
        return Judgement(health=replace(after, failing_since=known.failing_since or seen.at))
    if seen.state is State.NOT_FOUND:
        return _missing(after, seen.at, rules, fleet)
    after = replace(after, not_found=0, connecting_since=_connecting_since(known, seen, rules))
    if _has_time(after, seen, rules):
        again_within = rules.confirm_within if after.incident or seen.state is not State.CONNECTING else None
        return told(on_its_way(known, after, seen.at), again_within)
    return _failed(after, seen.at, rules, fleet, luck)


def _connecting_since(known: Health, seen: Checked, rules: Rules) -> datetime | None:
    """Only checks start this clock, and a long time without any starts it anew."""
    if seen.state is not State.CONNECTING:
        return None
    return seen.at if is_stale(known, seen.at, rules) else known.connecting_since or seen.at


def _has_time(health: Health, seen: Checked, rules: Rules) -> bool:
    """Whether not being open is no failure yet."""
    if health.connecting_since is None:
        return health.patient_until is not None and seen.at < health.patient_until
    return is_pairing(health, seen.at) or seen.at - health.connecting_since < rules.connecting_for


def _open(known: Health, seen: Checked, rules: Rules, fleet: Fleet) -> Judgement:
    """A check that saw it open. It clears everything but the budget, whatever else is going on."""
    is_fresh = known.healthy_since is None or is_stale(known, seen.at, rules)
    after = replace(
        well(known),
        checked_at=seen.at,
        successes=0 if seen.deaf else min(known.successes + 1, SURE),
        healthy_since=None if seen.deaf else seen.at if is_fresh else known.healthy_since,
        patient_until=None,
        deaf=seen.deaf,
    )
    after = refilled(after, seen.at, rules)
    if fleet.frozen:
        return Judgement(health=after)
    after = turned(known, after, seen.at)
    if seen.deaf:
        return _deaf(known, after, seen.at, rules, fleet)
    if after.incident and after.successes >= SURE and not after.flapping:
        return Judgement(health=replace(after, incident=False, announced=()), notices=(Kind.RECOVERED,))
    return told(after, rules.confirm_within if after.incident and after.successes < SURE else None)


def _deaf(known: Health, after: Health, at: datetime, rules: Rules, fleet: Fleet) -> Judgement:
    """Open, and not believed: silence needs a second look. Reviving is no attempt, and a rare thing."""
    if after.deaf is Deaf.SILENT and known.deaf is None:
        return told(after, rules.confirm_within)
    alarm = told(after, None, Kind.DEAF)
    rested = after.restarted_at is None or at - after.restarted_at >= rules.revive_every
    if not (rested and rules.auto_reconnect and fleet.token) or fleet.busy or is_pairing(known, at):
        return alarm
    revived = replace(alarm.health, restarted_at=at)
    return replace(alarm, health=revived, action=Action.REVIVE, again_within=rules.confirm_within)


def _missing(after: Health, at: datetime, rules: Rules, fleet: Fleet) -> Judgement:
    """The gateway does not know it. While somebody makes it anew that says nothing."""
    if fleet.busy or is_pairing(after, at):
        return Judgement(health=after, again_within=rules.confirm_within)
    after = replace(after, not_found=min(after.not_found + 1, SURE), connecting_since=None)
    if after.not_found < SURE:
        return Judgement(health=after, again_within=rules.confirm_within)
    gone = replace(after, state=HealthState.ERROR, policy=Policy.GONE, failing_since=after.failing_since or at)
    return told(turned(after, gone, at), None, Kind.GONE)


def _failed(known: Health, at: datetime, rules: Rules, fleet: Fleet, luck: float) -> Judgement:
    """A failure that counts."""
    policy, failures, since = confirmed(known), known.failures + 1, known.failing_since or at
    after = replace(known, policy=policy, pending=None, failures=failures, failing_since=since)
    after = lined_up(known, after, at, rules, luck)
    is_hopeless = are_wanted(after, at, rules) and are_spent(after, at, rules)
    state = HealthState.ERROR if is_hopeless and rules.auto_reconnect else _state_of(known, after, rules)
    after = turned(known, replace(after, state=state), at)
    news = told(after, None, *_bad_news(known, after, at, rules), *([Kind.GAVE_UP] if is_hopeless else []))
    if may_be_made(after, at, rules, fleet):
        action = Action.RESTART if known.connecting_since else Action.CONNECT
        tried = made(news.health, at, rules, luck)
        return replace(news, health=tried, action=action, again_within=rules.confirm_within)
    return replace(news, again_within=_until_the_next(after, at, rules, fleet))


def _state_of(known: Health, after: Health, rules: Rules) -> HealthState:
    if known.state is HealthState.ERROR and known.policy is after.policy:
        return known.state
    is_over = after.policy is not Policy.AUTO or after.failures >= rules.reconnect_at
    return HealthState.DISCONNECTED if is_over else HealthState.UNHEALTHY


def _bad_news(known: Health, after: Health, at: datetime, rules: Rules) -> list[Kind]:
    """That it is down is no news while it flaps, while a person pairs, or where something graver is wrong with it."""
    vain = [Kind.RECONNECT_FAILED] if were_in_vain(known) else []
    if after.policy in LOST:
        return [*vain, LOST[after.policy]]
    is_down = after.policy is Policy.AUTO and after.failures >= rules.alert_at
    is_news = is_down and not after.flapping and not is_pairing(after, at)
    return [Kind.DOWN, *vain] if is_news else vain


def _until_the_next(health: Health, at: datetime, rules: Rules, fleet: Fleet) -> timedelta | None:
    """The next look is for the next attempt, where that comes sooner than the next check."""
    if not are_wanted(health, at, rules) or are_spent(health, at, rules) or health.next_attempt_at is None:
        return None
    wait = rules.confirm_within if fleet.busy else health.next_attempt_at - at
    return wait if timedelta(0) < wait < rules.interval else None


def _reported(known: Health, seen: Reported, rules: Rules, fleet: Fleet) -> Judgement:
    """A word without proof: only an open changes what is known, anything else makes us look soon."""
    if seen.state is State.CONNECTED:
        after = replace(well(known), successes=max(known.successes, 1))
        is_new = known.state is not HealthState.HEALTHY or known.incident
    else:
        after = interrupted(noted(known, seen))
        is_new = known.state not in DOWN_ALREADY or seen.state is State.CONNECTING or is_news(known, seen)
    soon = rules.confirm_within if is_new else None
    if fleet.frozen:
        return Judgement(health=after, again_within=soon)
    is_connecting = seen.state is State.CONNECTING
    return told(on_its_way(known, after, seen.at) if is_connecting else turned(known, after, seen.at), soon)


def _attempted(known: Health, seen: Attempted, rules: Rules, fleet: Fleet) -> Judgement:
    """No answer is a success. A code that nobody asked for says that the pairing is lost."""
    if not seen.shows_code or known.state is HealthState.HEALTHY or is_pairing(known, seen.at):
        return Judgement(health=known, again_within=rules.confirm_within)
    lost = replace(known, state=HealthState.DISCONNECTED, policy=Policy.NEEDS_QR)
    if fleet.frozen:
        return Judgement(health=lost)
    return told(turned(known, lost, seen.at), None, Kind.RECONNECT_FAILED, Kind.NEEDS_QR)
