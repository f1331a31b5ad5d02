"""Who is settled may be cleared without being judged: one more open check would change nothing."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.policy.health import Health
from monitor.policy.judge import judge
from monitor.watching.inputs import LASTING
from monitor.watching.quiet import REST, is_settled, settled_until
from tests.unit.histories import history
from tests.unit.monitored import ALONE, BEGAN, CLOSE, OPEN, RULES, check
from tests.unit.test_judge_laws import histories

MINUTE = timedelta(minutes=1)


@settings(max_examples=80)
@given(histories, st.integers(1, 180))
def test_an_open_says_nothing_new_of_the_settled(drawn, seconds):
    health, at = Health(), BEGAN
    for step in history(drawn):
        at += step.after
        health = judge(health, step.seen(at), RULES, step.fleet, step.luck).health
        if is_settled(health) and health.checked_at == at:
            after = judge(health, check(OPEN)(at + timedelta(seconds=seconds)), RULES, ALONE)
            assert LASTING(after.health) == LASTING(health)
            assert (after.notices, after.action) == ((), None)


def judged(*states):
    health = Health()
    for minute, state in enumerate(states):
        health = judge(health, check(state)(BEGAN + minute * MINUTE), RULES).health
    return health


def test_who_is_well_for_a_second_check_is_settled():
    assert not is_settled(judged(OPEN))
    assert is_settled(judged(OPEN, OPEN))


def test_who_has_just_failed_is_not():
    assert not is_settled(judged(OPEN, OPEN, CLOSE))
    assert not is_settled(judged(OPEN, OPEN, CLOSE, OPEN, OPEN))  # its flips are still remembered


def test_nobody_is_settled_for_longer_than_ten_minutes_and_not_all_end_at_once():
    well = judged(OPEN, OPEN)
    assert settled_until(well, BEGAN, 0.0) == BEGAN + REST / 2
    late = settled_until(well, BEGAN, 0.999)
    assert late is not None
    assert late < BEGAN + REST
    assert settled_until(judged(CLOSE), BEGAN, 0.5) is None
