"""What the monitor promises of any history (INV-01 … INV-24), as laws.

A law takes the trace that a judge left, or the judge and a history where it has to ask again, and asserts; so it can
be held against our judge and against broken ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise, permutations
from typing import Any

from pydantic import TypeAdapter

from manager.providers.port import State
from monitor.policy.health import (
    Action,
    Asked,
    Attempted,
    Checked,
    Health,
    HealthState,
    Kind,
    Observation,
    Paused,
    Policy,
    Reported,
    Resumed,
)
from tests.unit.monitored import BEGAN, CLOSE, CONNECTING, OPEN, Judge, Step, Told, check, followed, report, run

Trace = Sequence[Told]
MEMORY = TypeAdapter(Health)
BOOKKEEPING: dict[str, Any] = {"checked_at": None, "observed_at": None}
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def is_reset(told: Told) -> bool:
    """A person asked, so that a new episode begins."""
    return isinstance(told.seen, Asked) and not told.before.paused and told.before.state is not HealthState.HEALTHY


def incidents(trace: Trace) -> Iterator[list[Kind]]:
    """What was told in each incident. It ends with RECOVERED, or with a pause."""
    heard: list[Kind] = []
    for told in trace:
        if isinstance(told.seen, Paused):
            yield heard
            heard = []
        for kind in told.judgement.notices:
            heard.append(kind)
            if kind is Kind.RECOVERED:
                yield heard
                heard = []
    yield heard


def inv_01_down_is_told_after_two_failures_and_never_in_the_gateway_s_trouble(trace: Trace):
    for told in trace:
        if Kind.DOWN in told.judgement.notices:
            assert told.after.failures >= 2
            assert not told.fleet.frozen


def inv_02_no_attempt_before_three_failures(trace: Trace):
    assert all(told.after.failures >= 3 for told in trace if told.is_attempt)


def inv_03_only_a_check_that_failed_causes_an_attempt(trace: Trace):
    for told in trace:
        if told.judgement.action:
            assert isinstance(told.seen, Checked)
            assert (told.seen.state is OPEN) == (told.judgement.action is Action.REVIVE)
            assert told.seen.state not in (State.UNKNOWN, State.NOT_FOUND)


def inv_04_no_attempt_where_it_cannot_help(trace: Trace):
    for told in trace:
        if told.is_attempt:
            assert (told.before.policy, told.after.policy) == (Policy.AUTO, Policy.AUTO)
            assert told.before.pending is None


def inv_05_nothing_is_tried_while_paused_frozen_busy_pairing_or_without_a_token(trace: Trace):
    for told in trace:
        if told.judgement.action:
            until = told.before.pairing_until
            assert (told.before.paused, told.fleet.frozen, told.fleet.busy) == (False, False, False)
            assert told.fleet.token
            assert told.judgement.action is Action.REVIVE or until is None or told.seen.at >= until


def inv_06_at_most_five_attempts_an_episode(trace: Trace):
    made = 0
    for told in trace:
        made = 0 if is_reset(told) or (told.is_open_check and told.after.attempts == 0) else made + told.is_attempt
        assert made <= 5
        assert told.after.attempts == made


def inv_07_at_most_ten_attempts_a_day(trace: Trace):
    made = [told.seen.at for told in trace if told.is_attempt]
    assert all(later - first > DAY for first, later in zip(made, made[10:], strict=False))


def inv_08_attempts_are_ever_further_apart(trace: Trace):
    last: datetime | None = None
    for told in trace:
        if is_reset(told) or told.after.attempts == 0:
            last = None
        elif told.is_attempt:
            longest = min(timedelta(minutes=30), timedelta(seconds=30) * 2 ** (told.before.attempts - 1))
            assert last is None or told.seen.at - last >= longest / 2
            last = told.seen.at


def inv_09_only_ten_minutes_of_unbroken_health_refill_the_budget(trace: Trace):
    for number, told in enumerate(trace):
        if told.before.attempts and not told.after.attempts and not is_reset(told):
            assert told.is_open_check
            assert _open_for(trace[: number + 1]) >= timedelta(minutes=10)


def _open_for(trace: Trace) -> timedelta:
    """For how long, at the end, everything said that it was open, and somebody looked."""
    end = since = trace[-1].seen.at
    for told in reversed(trace):
        is_doubt = isinstance(told.seen, Reported) and told.seen.state is not OPEN
        if is_doubt or isinstance(told.seen, Resumed) or (told.is_verdict and not told.is_open_check):
            break
        if told.is_open_check:
            if since - told.seen.at > timedelta(minutes=3):
                break
            since = told.seen.at
    return end - since


def inv_10_recovery_is_told_only_of_what_was_told(trace: Trace):
    for heard in incidents(trace):
        assert heard != [Kind.RECOVERED]


def inv_11_each_kind_is_told_once_an_incident(trace: Trace):
    for heard in incidents(trace):
        assert len(heard) == len(set(heard))


def inv_12_nothing_comes_of_a_paused_one(trace: Trace):
    is_paused = False
    for told in trace:
        is_paused = isinstance(told.seen, Paused) or (is_paused and not isinstance(told.seen, Resumed))
        assert told.after.paused is is_paused
        if is_paused:
            assert (told.judgement.notices, told.judgement.action, told.judgement.again_within) == ((), None, None)
            assert not told.after.incident


def inv_13_while_it_flaps_its_turns_are_not_told(trace: Trace):
    """Told by hand: six crossings within half an hour, until there are two at most and it is well."""
    flips: list[datetime] = []
    flapping = False
    for told in trace:
        if told.before.paused or isinstance(told.seen, Resumed | Paused):
            flips, flapping = [], False
            continue
        well = [health.state is HealthState.HEALTHY for health in (told.before, told.after)]
        if told.before.state is not HealthState.UNKNOWN and well[0] is not well[1] and not told.fleet.frozen:
            flips.append(told.seen.at)
        recent = [at for at in flips if told.seen.at - at <= HOUR / 2]
        flapping = len(recent) >= 6 or (flapping and not (well[1] and len(recent) <= 2))
        if flapping:
            assert not {Kind.DOWN, Kind.RECOVERED} & set(told.judgement.notices)


def inv_13b_while_it_flaps_attempts_are_half_an_hour_apart(trace: Trace):
    made = [told for told in trace if told.is_attempt]
    for first, later in pairwise(made):
        assert not later.after.flapping or later.seen.at - first.seen.at >= HOUR / 2


def inv_14_the_gateway_s_faults_change_nothing(trace: Trace):
    for told in trace:
        if isinstance(told.seen, Checked) and told.seen.state is State.UNKNOWN:
            assert replace(told.after, **BOOKKEEPING) == replace(told.before, **BOOKKEEPING)
            assert (told.judgement.notices, told.judgement.action) == ((), None)


def inv_15_while_frozen_nothing_counts_and_nothing_is_told(trace: Trace):
    for told in trace:
        if told.fleet.frozen and not isinstance(told.seen, Asked | Resumed):
            before, after = told.before, told.after
            assert after.failures <= before.failures
            assert after.not_found <= before.not_found
            assert (told.judgement.notices, told.judgement.action) == ((), None)
            is_same = (before.state, before.policy) == (after.state, after.policy)
            assert is_same or after.state is HealthState.HEALTHY or isinstance(told.seen, Attempted)


def inv_16_an_open_check_clears_everything(trace: Trace):
    for told in trace:
        if told.is_open_check and not told.before.paused:
            found = (told.after.state, told.after.failures, told.after.policy, told.after.pending)
            assert found == (HealthState.HEALTHY, 0, Policy.AUTO, None)


def inv_17_a_report_that_is_not_open_only_makes_us_look(trace: Trace):
    for told in trace:
        if isinstance(told.seen, Reported) and told.seen.state is not OPEN:
            assert set(told.judgement.notices) <= {Kind.FLAPPING}
            assert told.judgement.action is None
            assert (told.after.failures, told.after.policy) == (told.before.failures, told.before.policy)


def inv_17b_a_report_of_an_open_tells_nobody_and_tries_nothing(trace: Trace):
    for told in trace:
        if isinstance(told.seen, Reported):
            assert set(told.judgement.notices) <= {Kind.FLAPPING}
            assert told.judgement.action is None


def inv_18_an_hour_of_health_is_well_and_quiet(judge: Judge, steps: Sequence[Step]):
    health, at = _ended(judge, steps)
    trace = followed(judge, health, OPEN, HOUR, at)
    after = trace[-1].after
    assert (after.state, after.failures, after.attempts) == (HealthState.HEALTHY, 0, 0)
    assert (after.incident, after.flapping, after.announced) == (False, False, ())
    assert [told for told in trace if told.judgement.action] == []
    late = [told for told in trace if told.seen.at - at > timedelta(minutes=40)]
    assert [told.judgement.notices for told in late if told.judgement.notices] == []


def inv_18b_a_day_without_health_ends_in_error_after_five_attempts(judge: Judge, steps: Sequence[Step]):
    health, at = _ended(judge, steps)
    trace = followed(judge, health, CLOSE, DAY, at)
    attempts = [told for told in trace if told.is_attempt]
    after = trace[-1].after
    assert len(attempts) <= 5
    if after.policy is Policy.AUTO:
        assert after.state is HealthState.ERROR
        assert Kind.GAVE_UP in after.announced
    else:
        assert after.state in (HealthState.DISCONNECTED, HealthState.ERROR)
    assert [told.judgement.notices for told in trace[-600:] if told.judgement.notices] == []


def _ended(judge: Judge, steps: Sequence[Step]) -> tuple[Health, datetime]:
    """How a history ends, once nobody pauses it."""
    woken = Step(after=timedelta(seconds=1), seen=lambda at: Resumed(at=at))
    trace = run(judge, [*steps, woken])
    return trace[-1].after, trace[-1].seen.at


def inv_21_a_clock_that_is_set_back_changes_no_count_and_no_wait(judge: Judge, steps: Sequence[Step]):
    """Set back before the second half, everything that comes of it is the same, only earlier."""
    half = len(steps) // 2
    trace = run(judge, steps[:half])
    health, at = (trace[-1].after, trace[-1].seen.at) if trace else (Health(), BEGAN)
    again = _at_once(steps[half:])
    for by in (timedelta(seconds=30), DAY):
        moved = run(judge, steps[half:], _earlier(health, by), at - by)
        assert [_came(told) for told in moved] == [_came(told) for told in run(judge, steps[half:], health, at)]
        set_back = run(judge, again, health, at - by)
        assert [_came(told) for told in set_back] == [_came(told) for told in run(judge, again, health, at)]


def _at_once(steps: Sequence[Step]) -> list[Step]:
    """The first one at the very moment of the last observation, as far as the clock can tell."""
    return [replace(steps[0], after=timedelta(0)), *steps[1:]] if steps else []


def _earlier(health: Health, by: timedelta) -> Health:
    moved: dict[str, Any] = {
        name: tuple(at - by for at in value) if isinstance(value, tuple) else value - by
        for name in ("attempted_at", "flips", "replaced_at", "failing_since", "healthy_since", "connecting_since",
                     "pairing_until", "patient_until", "next_attempt_at", "restarted_at", "checked_at", "observed_at")
        if (value := getattr(health, name))
    }  # fmt: skip
    return replace(health, **moved)


def _came(told: Told) -> tuple[object, ...]:
    after = told.after
    counts = (after.state, after.policy, after.failures, after.attempts, len(after.attempted_at), after.flapping)
    return (*counts, told.judgement.notices, told.judgement.action, told.judgement.again_within)


def inv_22_a_restart_forgets_nothing(judge: Judge, steps: Sequence[Step]):
    """Kept as JSON and loaded again after each step, it goes on as if nothing had been."""
    straight = run(judge, steps)
    health = Health()
    for told in straight:
        health = MEMORY.validate_json(MEMORY.dump_json(health, exclude_defaults=True))
        assert health == told.before
        health = told.after


def inv_24_the_order_and_number_of_reports_do_not_matter_once_we_have_looked(judge: Judge, steps: Sequence[Step]):
    """Reports in any order, and each twice, then a check: the same state as with the check alone, where none of them
    gives a reason that ends it; and with such reasons the same, whatever their order."""
    health, at = _ended(judge, steps)
    plain, ending = [report(CLOSE), report(CONNECTING), report(State.REFUSED)], [report(CLOSE, 401, 90_001)]
    for state in (OPEN, CLOSE, CONNECTING):
        alone = run(judge, [_now(check(state))], health, at)[-1].after
        orders = [[_now(one) for one in order for _ in range(2)] for order in permutations(plain)]
        found = [run(judge, [*order, _now(check(state))], health, at)[-1].after for order in orders]
        assert {_verdict(one) for one in found} == {_verdict(alone)}
        mixed = permutations([*ending, report(CLOSE, 408, 90_002), report(CLOSE, 402, 90_003), report(CONNECTING)])
        looked = [[*(_now(one) for one in order for _ in range(2)), _now(check(state))] for order in mixed]
        ended = [run(judge, order, health, at)[-1].after for order in looked]
        assert len({_verdict(one) for one in ended}) == 1
        assert state is not OPEN or {_verdict(one) for one in ended} == {_verdict(alone)}


def _now(seen: Callable[[datetime], Observation]) -> Step:
    return Step(after=timedelta(0), seen=seen)


def _verdict(health: Health) -> tuple[HealthState, Policy, int]:
    return health.state, health.policy, health.failures


def reviving_is_rare(trace: Trace):
    revived = [told.seen.at for told in trace if told.judgement.action is Action.REVIVE]
    assert all(later - first >= timedelta(hours=6) for first, later in pairwise(revived))


def held(law: str, judge: Judge, steps: Sequence[Step]) -> None:
    """Hold the law of this name against a judge."""
    if law in ASKING:
        ASKING[law](judge, steps)
    else:
        LAWS[law](run(judge, steps))


def _named(start: str) -> dict[str, Callable[..., None]]:
    return {name: law for name, law in sorted(globals().items()) if name.startswith(start)}


ASKING = {name: law for part in ("inv_18", "inv_21", "inv_22", "inv_24") for name, law in _named(part).items()}
LAWS = {**_named("inv_"), **_named("reviving_")}
