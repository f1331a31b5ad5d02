"""What the monitor makes of what it sees: the ladder, each reason, flapping, pauses, budgets."""

from dataclasses import replace
from datetime import timedelta

import pytest

from manager.providers.port import State
from monitor.policy.attempts import delay
from monitor.policy.health import (
    Action,
    Asked,
    Attempted,
    Checked,
    Deaf,
    Fleet,
    Health,
    HealthState,
    Kind,
    Paused,
    Policy,
    Reported,
    Resumed,
    Rules,
)
from monitor.policy.judge import judge
from tests.unit.monitored import (
    BEGAN,
    CLOSE,
    CONNECTING,
    MISSING,
    OPEN,
    RULES,
    Step,
    check,
    checks,
    followed,
    report,
    run,
)

MINUTE = timedelta(minutes=1)
WELL = Health(state=HealthState.HEALTHY, healthy_since=BEGAN, checked_at=BEGAN, observed_at=BEGAN, successes=2)


class Patient:
    """An instance, seen through one observation after the other."""

    def __init__(self, health: Health = WELL, rules: Rules = RULES, luck: float = 0.0) -> None:
        self.health, self.rules, self.luck, self.at = health, rules, luck, BEGAN
        self.told: list[Kind] = []
        self.done: list[Action] = []
        self.again: timedelta | None = None

    def sees(self, observation, fleet=None):
        found = judge(self.health, observation, self.rules, fleet or Fleet(), self.luck)
        self.health, self.again = found.health, found.again_within
        self.told += found.notices
        self.done += [found.action] if found.action else []
        return self

    def check(self, state=CLOSE, times=1, every=60, deaf=None, **fleet):
        for _ in range(times):
            self.at += timedelta(seconds=every)
            self.sees(Checked(at=self.at, state=state, deaf=deaf), Fleet(**fleet))
        return self

    def report(self, state=CLOSE, reason=None, number=0, every=1, **fleet):
        self.at += timedelta(seconds=every)
        return self.sees(report(state, reason, number)(self.at), Fleet(**fleet))

    def ask(self):
        return self.sees(Asked(at=self.at))

    def pause(self):
        return self.sees(Paused(at=self.at))

    def resume(self):
        return self.sees(Resumed(at=self.at))

    def answer(self, *, shows_code=False, **fleet):
        return self.sees(Attempted(at=self.at, shows_code=shows_code), Fleet(**fleet))

    @property
    def state(self):
        return self.health.state


def test_the_seed_s_ladder():
    patient = Patient()
    patient.check(CLOSE)
    assert (patient.state, patient.health.failures, patient.told, patient.done) == (HealthState.UNHEALTHY, 1, [], [])
    patient.check(CLOSE)
    assert (patient.state, patient.told, patient.done) == (HealthState.UNHEALTHY, [Kind.DOWN], [])
    patient.check(CLOSE)
    assert (patient.state, patient.told, patient.done) == (HealthState.DISCONNECTED, [Kind.DOWN], [Action.CONNECT])
    patient.answer().check(OPEN, every=15)
    assert (patient.state, patient.told, patient.again) == (HealthState.HEALTHY, [Kind.DOWN], timedelta(seconds=15))
    patient.check(OPEN, every=15)
    assert patient.told == [Kind.DOWN, Kind.RECOVERED]
    assert (patient.health.incident, patient.health.announced) == (False, ())
    patient.check(OPEN, times=60)
    assert (patient.told, patient.done) == ([Kind.DOWN, Kind.RECOVERED], [Action.CONNECT])


def test_what_never_comes_back_is_tried_five_times_and_then_given_up():
    trace = followed(judge, WELL, CLOSE, timedelta(days=1), BEGAN + MINUTE)
    told = [kind for one in trace for kind in one.judgement.notices]
    assert told == [Kind.DOWN, Kind.RECONNECT_FAILED, Kind.GAVE_UP]
    assert sum(one.is_attempt for one in trace) == 5
    assert trace[-1].after.state is HealthState.ERROR


@pytest.mark.parametrize(("luck", "seconds"), [(0.0, 0), (0.5, 5), (0.999, 9.99)])
def test_the_first_attempt_is_spread_over_ten_seconds(luck, seconds):
    patient = Patient(luck=luck).check(CLOSE, times=3)
    if luck:
        assert (patient.done, patient.again) == ([], timedelta(seconds=seconds))
        patient.check(CLOSE, every=seconds)
    assert patient.done == [Action.CONNECT]


@pytest.mark.parametrize(
    ("attempts", "least", "most"),
    [(1, 15, 30), (2, 30, 60), (3, 60, 120), (6, 480, 960), (7, 900, 1800), (5000, 900, 1800)],
)
def test_after_each_attempt_the_wait_is_twice_as_long(attempts, least, most):
    assert delay(attempts, RULES, 0.0) == timedelta(seconds=least)
    assert timedelta(seconds=most) * 0.99 < delay(attempts, RULES, 0.999) < timedelta(seconds=most)


def test_without_auto_reconnect_there_is_only_the_button():
    patient = Patient(rules=Rules(auto_reconnect=False)).check(CLOSE, times=100)
    assert (patient.told, patient.done) == ([Kind.DOWN, Kind.GAVE_UP], [])
    assert patient.state is HealthState.DISCONNECTED


@pytest.mark.parametrize(
    ("reason", "kind", "policy"),
    [
        (401, Kind.NEEDS_QR, Policy.NEEDS_QR),
        (411, Kind.NEEDS_QR, Policy.NEEDS_QR),
        (402, Kind.BANNED, Policy.BANNED),
        (403, Kind.BANNED, Policy.BANNED),
        (406, Kind.BANNED, Policy.BANNED),
    ],
)
def test_a_final_reason_is_told_once_when_a_check_confirms_it_and_nothing_is_tried(reason, kind, policy):
    patient = Patient().report(CLOSE, reason)
    assert (patient.told, patient.state, patient.again) == ([], HealthState.HEALTHY, timedelta(seconds=15))
    patient.check(CLOSE, every=15)
    assert (patient.told, patient.state, patient.health.policy) == ([kind], HealthState.DISCONNECTED, policy)
    patient.check(CLOSE, times=1500)
    assert (patient.told, patient.done) == ([kind], [])


@pytest.mark.parametrize("reason", [None, 405, 408, 428, 440, 500, 503, 515, 7, 999999])
def test_any_other_reason_may_pass_and_climbs_the_ladder(reason):
    patient = Patient().report(CLOSE, reason).check(CLOSE, times=3)
    assert (patient.told, patient.done) == ([Kind.DOWN], [Action.CONNECT])


def test_the_limit_of_codes_needs_a_person():
    patient = Patient().report(State.REFUSED, 428).check(CLOSE, every=15)
    assert (patient.told, patient.health.policy) == ([Kind.NEEDS_QR], Policy.NEEDS_QR)


def test_three_replacements_in_ten_minutes_are_a_conflict_and_no_open_between_them_hides_it():
    patient = Patient()
    for number in (1, 2, 3):
        patient.report(CLOSE, 440, number, every=100).check(OPEN, every=15)
    assert (patient.told, patient.health.policy) == ([], Policy.AUTO)
    patient.report(CLOSE, 440, 4).check(CLOSE, every=15)
    assert (patient.told, patient.health.policy) == ([Kind.CONFLICT], Policy.CONFLICT)
    patient.check(CLOSE, times=60)
    assert patient.done == []


@pytest.mark.parametrize("every", [1, 400])
def test_one_replacement_told_thrice_or_three_far_apart_are_no_conflict(every):
    numbers = (1, 1, 1) if every == 1 else (1, 2, 3)
    patient = Patient()
    for number in numbers:
        patient.report(CLOSE, 440, number, every=every)
    assert patient.check(CLOSE, every=15).health.policy is Policy.AUTO


def test_a_bad_session_is_tried_twice():
    patient = Patient().report(CLOSE, 500).check(CLOSE, times=20)
    assert patient.done == [Action.CONNECT, Action.CONNECT]
    assert patient.told == [Kind.DOWN, Kind.RECONNECT_FAILED, Kind.NEEDS_QR]


def test_a_restart_and_a_logout_after_a_good_pairing_are_nobody_s_business():
    """Evolution says 515, then 401, of a phone that has just been paired."""
    patient = Patient(Health()).ask().check(CONNECTING, every=15)
    patient.report(CLOSE, 515, 1).report(CLOSE, 401, 2)
    patient.check(CLOSE, every=15).check(CLOSE, every=15)
    assert (patient.health.failures, patient.told, patient.again) == (0, [], timedelta(seconds=15))
    patient.check(CONNECTING, every=15).check(OPEN, every=15).check(OPEN, every=15)
    assert (patient.told, patient.done, patient.state) == ([], [], HealthState.HEALTHY)
    assert patient.health.pending is None


def test_patience_ends_after_a_minute_and_is_not_given_twice():
    patient = Patient().report(CLOSE, 515, 1).check(CLOSE, every=50).report(CLOSE, 515, 2).check(CLOSE, every=15)
    assert patient.health.failures == 1


def test_connecting_for_ever_fails_after_two_minutes_and_is_restarted():
    patient = Patient().check(CONNECTING, times=2)
    assert (patient.state, patient.health.failures) == (HealthState.CONNECTING, 0)
    patient.check(CONNECTING)
    assert (patient.state, patient.health.failures, patient.told) == (HealthState.UNHEALTHY, 1, [])
    patient.check(CONNECTING, times=2)
    assert (patient.told, patient.done) == ([Kind.DOWN], [Action.RESTART])
    patient.check(CONNECTING, every=15)
    assert (patient.health.failures, patient.state) == (3, HealthState.DISCONNECTED)  # it has its time anew
    patient.check(CONNECTING, times=200)
    assert patient.done == [Action.RESTART] * 5
    assert patient.told == [Kind.DOWN, Kind.RECONNECT_FAILED, Kind.GAVE_UP]


def test_connecting_while_a_person_pairs_takes_its_time():
    patient = Patient(Health()).ask().check(CONNECTING, times=4)
    assert (patient.state, patient.health.failures) == (HealthState.CONNECTING, 0)
    patient.check(CONNECTING)
    assert (patient.state, patient.health.failures) == (HealthState.UNHEALTHY, 1)


def test_one_that_is_not_found_twice_is_gone():
    patient = Patient().check(MISSING)
    assert (patient.told, patient.again, patient.state) == ([], timedelta(seconds=15), HealthState.HEALTHY)
    patient.check(MISSING, every=15)
    assert (patient.told, patient.state, patient.health.policy) == ([Kind.GONE], HealthState.ERROR, Policy.GONE)
    patient.check(MISSING, times=100)
    assert (patient.told, patient.done) == ([Kind.GONE], [])
    patient.check(OPEN, times=2)
    assert patient.told == [Kind.GONE, Kind.RECOVERED]


@pytest.mark.parametrize("between", [OPEN, CLOSE, CONNECTING])
def test_one_that_is_not_found_once_and_then_seen_is_not_gone(between):
    patient = Patient().check(MISSING).check(between).check(MISSING)
    assert Kind.GONE not in patient.told


def test_one_that_is_made_anew_is_not_gone():
    assert Patient().check(MISSING, times=5, busy=True).told == []
    assert Patient(Health()).ask().check(MISSING, times=5, every=15).told == []


def test_a_day_of_flapping_is_one_alert_and_five_attempts():
    """One open to four closes, for 24 hours."""
    cycle = [*checks(OPEN, 1), *checks(CLOSE, 4)]
    trace = run(judge, [replace(step, luck=0.0) for step in cycle * 288], WELL)
    told = [kind for one in trace for kind in one.judgement.notices]
    assert told.count(Kind.DOWN) == 1
    assert told.count(Kind.FLAPPING) == 1
    assert Kind.RECOVERED not in told
    assert sum(one.is_attempt for one in trace) <= 5


def test_what_flapped_and_is_quiet_again_is_recovered_once():
    patient = Patient()
    for _ in range(6):
        patient.check(CLOSE).check(OPEN)
    assert patient.told == [Kind.FLAPPING]
    patient.check(OPEN, times=40)
    assert patient.told == [Kind.FLAPPING, Kind.RECOVERED]
    assert not patient.health.flapping


def test_a_report_alone_never_alerts_and_makes_us_look():
    patient = Patient()
    for number, reason in enumerate((401, 402, 403, 440, 500, None)):
        patient.report(CLOSE, reason, number)
        assert patient.again == timedelta(seconds=15)
    assert (patient.told, patient.done, patient.state, patient.health.failures) == ([], [], HealthState.HEALTHY, 0)


def test_a_report_of_what_is_known_makes_nobody_hurry():
    patient = Patient().check(CLOSE).report(CLOSE)
    assert patient.again is None


def test_an_open_report_and_the_check_that_confirms_it_are_a_recovery():
    patient = Patient().check(CLOSE, times=2).report(OPEN)
    assert (patient.told, patient.again) == ([Kind.DOWN], timedelta(seconds=15))
    patient.report(OPEN).report(OPEN)
    assert patient.told == [Kind.DOWN]
    patient.check(OPEN, every=15)
    assert patient.told == [Kind.DOWN, Kind.RECOVERED]


def test_an_answer_with_a_code_says_that_the_pairing_is_lost():
    patient = Patient().check(CLOSE, times=3).answer(shows_code=True)
    assert patient.told == [Kind.DOWN, Kind.RECONNECT_FAILED, Kind.NEEDS_QR]
    assert (patient.health.policy, patient.state) == (Policy.NEEDS_QR, HealthState.DISCONNECTED)
    patient.check(CLOSE, times=100)
    assert (len(patient.told), patient.done) == (3, [Action.CONNECT])


def test_an_answer_with_a_code_that_a_person_asked_for_says_nothing():
    assert Patient().check(CLOSE, times=3).ask().answer(shows_code=True).health.policy is Policy.AUTO


def test_any_open_check_makes_it_ours_again():
    patient = Patient().report(CLOSE, 401).check(CLOSE, times=5).check(OPEN, times=2)
    assert (patient.told, patient.health.policy) == ([Kind.NEEDS_QR, Kind.RECOVERED], Policy.AUTO)
    patient.report(CLOSE, 401).check(CLOSE, times=3)  # the same report once more: it was answered by the open
    assert patient.told == [Kind.NEEDS_QR, Kind.RECOVERED, Kind.DOWN]


def test_a_person_who_asks_has_five_minutes_and_a_new_episode():
    patient = Patient().check(CLOSE, times=60)
    assert (patient.state, len(patient.done)) == (HealthState.ERROR, 5)
    patient.ask()
    assert (patient.state, patient.health.attempts, patient.again) == (
        HealthState.DISCONNECTED,
        0,
        timedelta(seconds=15),
    )
    patient.check(CLOSE, times=4)
    assert len(patient.done) == 5
    patient.check(CLOSE, times=60)
    assert (len(patient.done), patient.state) == (10, HealthState.ERROR)
    assert patient.told == [Kind.DOWN, Kind.RECONNECT_FAILED, Kind.GAVE_UP]
    patient.ask().check(CLOSE, times=60)
    assert (len(patient.done), patient.state) == (10, HealthState.ERROR)  # ten a day


def test_that_it_is_down_is_not_told_to_whom_is_pairing():
    patient = Patient().check(CLOSE).ask().check(CLOSE, times=3)
    assert patient.told == []
    patient.check(CLOSE, times=2)
    assert patient.told == [Kind.DOWN]


def test_a_pause_ends_the_incident_in_silence_and_a_resumption_looks_at_once():
    patient = Patient().check(CLOSE, times=3).pause()
    assert (patient.health.incident, patient.health.paused, patient.again) == (False, True, None)
    patient.check(OPEN, times=9).check(CLOSE, times=9).report(CLOSE, 401).ask().answer(shows_code=True)
    assert (patient.told, patient.done) == ([Kind.DOWN], [Action.CONNECT])
    patient.resume()
    assert (patient.state, patient.again, patient.health.failures) == (HealthState.UNKNOWN, timedelta(0), 0)
    assert patient.health.attempts == 1
    patient.check(CLOSE, times=2)
    assert patient.told == [Kind.DOWN, Kind.DOWN]


def test_what_needs_a_person_still_does_after_a_pause_and_is_told_anew():
    patient = Patient().report(CLOSE, 401).check(CLOSE).pause().resume().check(CLOSE)
    assert patient.told == [Kind.NEEDS_QR, Kind.NEEDS_QR]


def test_sending_that_fails_is_told_and_revived_once_in_six_hours():
    patient = Patient().check(OPEN, deaf=Deaf.SENDS_FAIL)
    assert (patient.told, patient.done, patient.state) == ([Kind.DEAF], [Action.REVIVE], HealthState.HEALTHY)
    patient.check(OPEN, times=60 * 13, deaf=Deaf.SENDS_FAIL)
    assert (patient.told, patient.done) == ([Kind.DEAF], [Action.REVIVE] * 3)
    assert patient.health.attempts == 0
    patient.check(OPEN, times=2)
    assert patient.told == [Kind.DEAF, Kind.RECOVERED]


def test_silence_is_believed_at_the_second_look():
    patient = Patient().check(OPEN, deaf=Deaf.SILENT)
    assert (patient.told, patient.done, patient.again) == ([], [], timedelta(seconds=15))
    patient.check(OPEN, deaf=Deaf.SILENT)
    assert (patient.told, patient.done) == ([Kind.DEAF], [Action.REVIVE])


@pytest.mark.parametrize("fleet", [{"frozen": True}, {"busy": True}, {"token": False}])
def test_nothing_is_revived_while_it_may_not(fleet):
    patient = Patient().check(OPEN, times=3, deaf=Deaf.SENDS_FAIL, **fleet)
    assert patient.done == []
    assert (patient.told == []) is ("frozen" in fleet)


@pytest.mark.parametrize("fleet", [{"busy": True}, {"token": False}])
def test_an_attempt_waits_until_it_may_be_made(fleet):
    patient = Patient().check(CLOSE, times=9, **fleet)
    assert patient.done == []
    assert patient.check(CLOSE).done == [Action.CONNECT]


def test_while_the_gateway_is_in_trouble_nothing_counts_and_nobody_is_told():
    patient = Patient().check(CLOSE).check(CLOSE, times=30, frozen=True)
    assert (patient.health.failures, patient.told, patient.done) == (1, [], [])
    patient.check(OPEN, times=5, frozen=True)
    assert (patient.state, patient.told) == (HealthState.HEALTHY, [])


def test_a_recovery_waits_for_the_gateway_s():
    patient = Patient().check(CLOSE, times=2).check(OPEN, times=5, frozen=True)
    assert patient.told == [Kind.DOWN]
    assert patient.check(OPEN).told == [Kind.DOWN, Kind.RECOVERED]


def test_what_the_gateway_does_not_answer_is_not_the_instance_s_fault():
    before = Patient().check(CLOSE)
    after = Patient(before.health)
    after.check(State.UNKNOWN, times=100)
    assert replace(after.health, observed_at=None) == replace(before.health, observed_at=None)
    assert after.told == []


def test_brief_opens_do_not_refill_the_budget_and_ten_minutes_do():
    patient = Patient().check(CLOSE, times=10)
    spent = patient.health.attempts
    patient.check(OPEN, times=9).check(CLOSE).check(OPEN, times=10)
    assert patient.health.attempts == spent > 0
    assert patient.check(OPEN).health.attempts == 0


def test_what_nobody_saw_is_not_unbroken_health():
    patient = Patient().check(CLOSE, times=10).check(OPEN, times=2).check(OPEN, every=3600)
    assert patient.health.attempts > 0


def test_a_machine_that_slept_holds_nothing_against_those_who_were_connecting():
    assert Patient().check(CONNECTING).check(CONNECTING, every=3600).health.failures == 0


def test_a_clock_set_back_by_a_day_delays_no_attempt():
    patient = Patient().check(CLOSE, times=3)
    patient.at -= timedelta(days=1)
    patient.check(CLOSE, times=2)
    assert len(patient.done) == 2


def test_what_is_well_and_checked_again_does_not_change():
    patient = Patient().check(OPEN, times=3)
    before, after = patient.health, patient.check(OPEN, times=500).health
    assert replace(after, checked_at=None, observed_at=None) == replace(before, checked_at=None, observed_at=None)


@pytest.mark.parametrize("state", [OPEN, CLOSE, CONNECTING])
def test_the_first_verdict_is_no_flip(state):
    (told,) = run(judge, [Step(after=MINUTE, seen=check(state))])
    assert told.after.flips == ()


def test_a_report_without_a_time_is_taken_in_once():
    patient = Patient()
    for _ in range(4):
        patient.sees(Reported(at=patient.at, state=CLOSE, reason=440))
    assert len(patient.health.replaced_at) == 1
