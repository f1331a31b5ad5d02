"""What the monitor makes of a gateway server: one alert, one recovery, and no instance pays for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter

from manager.providers.port import State
from monitor.policy.gateway import judge_server, take_token
from monitor.policy.health import Checked, Fleet, Health, HealthState, Rules
from monitor.policy.judge import judge
from monitor.policy.servers import Round, Server, ServerKind, ServerRules, ServerState, Trouble
from tests.unit.mutants import mutated

BEGAN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RULES = ServerRules()
UP, SUSPECT, DOWN, AUTH, MASS, RECOVERING = ServerState
MINUTE = timedelta(minutes=1)
AWAY = {"probe": False, "trouble": Trouble.UNREACHABLE}
REFUSED = {"probe": False, "trouble": Trouble.AUTH}
UNLICENSED = {"probe": False, "trouble": Trouble.LICENCE}
FINE = {"probe": True}


def of(count, trouble=Trouble.UNREACHABLE):
    return {f"user_{number}": trouble for number in range(count)}


class Ward:
    """A server, seen through one round after the other."""

    def __init__(self, judging=judge_server, enabled=100):
        self.judging, self.enabled = judging, enabled
        self.server, self.at = Server(), BEGAN
        self.told: list[ServerKind] = []
        self.frozen, self.probe_within = False, None

    def see(self, seconds=15, times=1, **found):
        for _ in range(times):
            self.at += timedelta(seconds=seconds)
            judged = self.judging(self.server, Round(at=self.at, enabled=self.enabled, **found), RULES)
            self.server, self.frozen, self.probe_within = judged.server, judged.frozen, judged.probe_within
            self.told += judged.notices
        return self

    @property
    def state(self):
        return self.server.state


def test_one_fault_is_suspicious_and_the_server_is_asked_at_once():
    ward = Ward().see(**AWAY)
    assert (ward.state, ward.told, ward.frozen, ward.probe_within) == (SUSPECT, [], False, timedelta(0))
    ward.see(**FINE)
    assert (ward.state, ward.told, ward.probe_within) == (UP, [], None)


def test_a_suspected_server_is_asked_every_15_seconds():
    ward = Ward().see(**AWAY).see(5, **AWAY)
    assert ward.probe_within == timedelta(seconds=15)
    ward.see(5)
    assert (ward.probe_within, ward.state) == (timedelta(seconds=10), SUSPECT)


def test_a_dead_gateway_is_one_alert_and_one_recovery_whatever_hangs_on_it():
    """A thousand instances, an hour without an answer: nothing is told of any of them, and nothing tried."""
    ward, rules = Ward(enabled=1000), Rules()
    before = Health(state=HealthState.HEALTHY, successes=2, healthy_since=BEGAN, checked_at=BEGAN)
    patients, told, done = [before] * 1000, [], []
    rounds = [{"troubles": of(1000)}] + [AWAY] * 240 + [FINE] * 2
    for found in rounds:
        ward.see(**found)
        fleet = Fleet(frozen=ward.frozen)
        judged = [judge(one, Checked(at=ward.at, state=State.UNKNOWN), rules, fleet) for one in patients[:3]]
        patients[:3] = [one.health for one in judged]
        told += [kind for one in judged for kind in one.notices]
        done += [one.action for one in judged if one.action]
    assert ward.told == [ServerKind.GATEWAY_DOWN, ServerKind.GATEWAY_RECOVERED]
    assert (told, done) == ([], [])
    assert {replace(one, observed_at=None) for one in patients} == {before}


def down_needs_three_faults_in_a_row(judging):
    ward = Ward(judging).see(**AWAY).see(**AWAY).see(**FINE).see(**AWAY).see(**AWAY)
    assert (ward.state, ward.told) == (SUSPECT, [])
    ward.see(**AWAY)
    assert (ward.state, ward.told, ward.frozen) == (DOWN, [ServerKind.GATEWAY_DOWN], True)


def down_by_its_instances_needs_two_of_them(judging):
    assert Ward(judging).see(troubles=of(1), times=9).told == []
    assert Ward(judging).see(troubles=of(2), times=3).told == [ServerKind.GATEWAY_DOWN]


def test_one_bad_instance_among_good_ones_accuses_nobody():
    ward = Ward()
    for _ in range(50):
        ward.see(troubles=of(1), answered=49).see(5, **FINE)
    assert (ward.state, ward.told) == (UP, [])


def down_ends_after_two_good_probes_and_two_intervals_of_grace(judging):
    ward = Ward(judging).see(**AWAY, times=3).see(**FINE)
    assert (ward.state, ward.frozen, ward.probe_within) == (DOWN, True, timedelta(seconds=15))
    ward.see(**FINE)
    assert (ward.state, ward.frozen, ward.told[1:]) == (RECOVERING, True, [ServerKind.GATEWAY_RECOVERED])
    ward.see(60, **FINE)
    assert (ward.state, ward.frozen) == (RECOVERING, True)
    ward.see(60, **FINE)
    assert (ward.state, ward.frozen) == (UP, False)
    assert ward.server.since == BEGAN + timedelta(seconds=75)  # the moment of the recovery


def test_a_relapse_in_the_grace_is_a_new_incident():
    ward = Ward().see(**AWAY, times=3).see(**FINE, times=2).see(**AWAY, times=3)
    assert ward.told == [ServerKind.GATEWAY_DOWN, ServerKind.GATEWAY_RECOVERED, ServerKind.GATEWAY_DOWN]


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (REFUSED, ServerKind.GATEWAY_AUTH),
        (UNLICENSED, ServerKind.GATEWAY_LICENCE),
        ({"troubles": of(2, Trouble.AUTH)}, ServerKind.GATEWAY_AUTH),
        ({"troubles": of(2, Trouble.LICENCE)}, ServerKind.GATEWAY_LICENCE),
        ({"troubles": of(50, Trouble.AUTH), "probe": True}, ServerKind.GATEWAY_AUTH),
    ],
)
def test_a_refused_key_is_one_alert_with_its_cause_and_a_probe_every_five_minutes(found, kind):
    ward = Ward().see(**found)
    assert (ward.state, ward.told, ward.frozen, ward.probe_within) == (AUTH, [kind], True, 5 * MINUTE)
    ward.see(300, times=100, **REFUSED if kind is ServerKind.GATEWAY_AUTH else UNLICENSED)
    assert ward.told == [kind]
    ward.see(300, **FINE)
    assert (ward.state, ward.told) == (RECOVERING, [kind, ServerKind.GATEWAY_RECOVERED])


def a_refused_server_is_asked_every_five_minutes(judging):
    ward = Ward(judging).see(**REFUSED)
    for _ in range(9):
        assert ward.probe_within == 5 * MINUTE
        ward.see(300, **REFUSED)
    assert ward.told == [ServerKind.GATEWAY_AUTH]


def test_one_refused_instance_among_answers_is_no_refusal():
    assert Ward().see(troubles=of(1, Trouble.AUTH), times=5).told == []
    assert Ward().see(troubles=of(5, Trouble.AUTH), answered=40).state is SUSPECT


def a_server_that_is_away_and_then_refuses_says_each_once(judging):
    ward = Ward(judging)
    for _ in range(5):
        ward.see(**AWAY, times=3).see(**REFUSED)
    ward.see(300, **FINE)
    assert ward.told == [ServerKind.GATEWAY_DOWN, ServerKind.GATEWAY_AUTH, ServerKind.GATEWAY_RECOVERED]


def fallen(judging=judge_server, enabled=100, share=0.4):
    ward, many = Ward(judging, enabled), int(share * enabled)
    ward.see(60, first_failed=many // 2, failing=many // 2, **FINE)
    return ward.see(60, first_failed=many - many // 2, failing=many, **FINE)


def test_many_that_fall_together_are_one_alert():
    ward = fallen()
    assert (ward.state, ward.told, ward.frozen) == (MASS, [ServerKind.GATEWAY_MASS], True)
    ward.see(60, failing=40, first_failed=40, times=10, **FINE)
    assert ward.told == [ServerKind.GATEWAY_MASS]
    ward.see(60, failing=9, **FINE)
    assert (ward.state, ward.told[1:], ward.frozen) == (RECOVERING, [ServerKind.GATEWAY_RECOVERED], True)


@pytest.mark.parametrize(
    ("enabled", "share", "state"), [(100, 0.3, MASS), (100, 0.29, UP), (4, 1.0, UP), (5, 1.0, MASS), (10, 0.4, UP)]
)
def test_mass_is_three_in_ten_and_five_at_least(enabled, share, state):
    assert fallen(judge_server, enabled, share).state is state


def four_that_fall_are_no_mass(judging):
    ward = fallen(judging, enabled=4, share=1.0)
    assert (ward.state, ward.told) == (UP, [])


def test_what_falls_slowly_is_no_mass():
    ward = Ward()
    for failing in range(8, 80, 8):
        ward.see(60, first_failed=8, failing=failing, **FINE)
    assert ward.told == []


def test_a_list_that_lacks_many_is_a_mass():
    assert Ward().see(60, missing=30, **FINE).told == [ServerKind.GATEWAY_MASS]
    assert Ward().see(60, missing=29, **FINE).told == []
    assert Ward(enabled=4).see(60, missing=4, **FINE).told == []


def after_half_an_hour_each_is_treated_by_itself_and_attempts_are_few(judging):
    ward = fallen(judging)
    ward.see(60, failing=40, times=29, **FINE)
    assert ward.frozen
    ward.see(60, failing=40, **FINE)
    assert (ward.state, ward.frozen) == (UP, False)
    ward.see(60, failing=40, first_failed=40, times=9, **FINE)
    assert (ward.state, ward.told) == (UP, [ServerKind.GATEWAY_MASS])
    assert spent(ward.server, ward.at, 10 * MINUTE, enabled=100) <= 5 * 11
    ward.see(60, failing=1, **FINE)
    assert ward.told == [ServerKind.GATEWAY_MASS, ServerKind.GATEWAY_RECOVERED]


def after_a_mass_there_are_no_attempts_for_five_minutes_and_then_few(judging):
    ward = fallen(judging).see(60, failing=0, **FINE)
    ward.see(60, times=3, **FINE)
    assert ward.frozen
    ward.see(60, **FINE)
    assert not ward.frozen
    assert spent(ward.server, ward.at, 10 * MINUTE, enabled=20) <= 11
    assert spent(ward.server, ward.at + 31 * MINUTE, 10 * MINUTE, enabled=20) > 90


def test_a_gateway_that_comes_back_with_nobody_on_it_is_a_mass_and_not_a_hundred_alerts():
    ward = Ward().see(**FINE, failing=20).see(**AWAY, failing=20, times=3).see(**FINE, failing=20, times=2)
    ward.see(60, first_failed=60, failing=80, **FINE)
    assert (ward.state, ward.told) == (RECOVERING, [ServerKind.GATEWAY_DOWN, ServerKind.GATEWAY_RECOVERED])
    ward.see(60, failing=80, **FINE)
    assert (ward.state, ward.told[2:], ward.frozen) == (MASS, [ServerKind.GATEWAY_MASS], True)
    ward.see(60, failing=29, **FINE)
    assert ward.state is RECOVERING


def test_those_who_were_ill_before_are_no_mass_and_hinder_no_recovery():
    ward = Ward().see(**FINE, failing=50).see(**AWAY, failing=50, times=3).see(**FINE, failing=50, times=2)
    ward.see(60, failing=50, times=2, **FINE)
    assert ward.state is UP
    ward.see(60, first_failed=40, failing=90, **FINE).see(60, failing=55, **FINE)
    assert ward.told[2:] == [ServerKind.GATEWAY_MASS, ServerKind.GATEWAY_RECOVERED]


def test_a_look_at_nobody_is_no_calm():
    assert fallen().see(5, failing=0).state is MASS


def test_a_version_that_whatsapp_refuses_is_named():
    ward = Ward().see(60, outdated=1, **FINE)
    assert ward.told == []
    ward.see(60, outdated=2, times=5, **FINE)
    assert (ward.told, ward.frozen) == ([ServerKind.GATEWAY_OUTDATED], True)
    ward.see(60, outdated=1, **FINE)
    assert ward.told == [ServerKind.GATEWAY_OUTDATED, ServerKind.GATEWAY_RECOVERED]


def test_a_gateway_that_dies_in_a_mass_is_told_too():
    ward = fallen().see(**AWAY, times=3)
    assert (ward.state, ward.told) == (DOWN, [ServerKind.GATEWAY_MASS, ServerKind.GATEWAY_DOWN])


def test_a_quiet_server_does_not_change():
    ward = Ward().see(**FINE, times=3)
    before = ward.server
    assert ward.see(**FINE, times=50).see(times=50).server == before


def test_a_clock_set_back_by_a_day_prolongs_nothing():
    for ward in (Ward().see(**AWAY, times=3), Ward().see(**REFUSED), fallen()):
        ward.at -= timedelta(days=1)
        ward.see(300, failing=40, times=2)
        assert ward.probe_within is None or ward.probe_within <= 5 * MINUTE
        ward.see(60, failing=0, times=2, **FINE).see(60, times=6, **FINE)
        assert (ward.state, ward.frozen) == (UP, False)


def test_it_is_kept_as_json():
    memory = TypeAdapter(Server)
    for ward in (fallen(), Ward().see(60, first_failed=8, **AWAY), Ward().see(**REFUSED)):
        assert memory.validate_json(memory.dump_json(ward.server, exclude_defaults=True)) == ward.server


def spent(server, at, lasting, enabled):
    """How many attempts the fleet may make in that time, asking every second."""
    taken = 0
    for second in range(int(lasting.total_seconds())):
        after = take_token(server, at + timedelta(seconds=second), RULES, enabled)
        server, taken = (after, taken + 1) if after else (server, taken)
    return taken


def test_the_fleet_makes_ten_attempts_a_minute_and_five_at_once():
    assert spent(Server(), BEGAN, timedelta(seconds=1), 1000) == 1
    server, at_once = Server(), 0
    while (after := take_token(server, BEGAN, RULES, 1000)) is not None:
        server, at_once = after, at_once + 1
    assert at_once == 5
    assert 104 <= spent(Server(), BEGAN, 10 * MINUTE, 1000) <= 105


def test_a_clock_set_back_keeps_the_bucket():
    server = take_token(Server(), BEGAN, RULES, 10)
    assert server is not None
    assert 9 <= spent(server, BEGAN - timedelta(days=1), MINUTE, 10) <= 15


LAWS = [
    down_needs_three_faults_in_a_row,
    down_by_its_instances_needs_two_of_them,
    a_server_that_is_away_and_then_refuses_says_each_once,
    down_ends_after_two_good_probes_and_two_intervals_of_grace,
    after_half_an_hour_each_is_treated_by_itself_and_attempts_are_few,
    four_that_fall_are_no_mass,
    after_a_mass_there_are_no_attempts_for_five_minutes_and_then_few,
    a_refused_server_is_asked_every_five_minutes,
]
MUTANTS = {  # the law that it breaks, what stands in the source, and what stands there instead
    "it is down at once": (
        down_needs_three_faults_in_a_row,
        "known.faults >= rules.down_after",
        "known.faults >= 1",
    ),
    "one instance accuses the server": (
        down_by_its_instances_needs_two_of_them,
        "len(known.blamed) >= A_FEW",
        "known.blamed",
    ),
    "it is told every time": (
        a_server_that_is_away_and_then_refuses_says_each_once,
        "kind is None or kind in after.announced",
        "kind is None",
    ),
    "it is never over": (
        down_ends_after_two_good_probes_and_two_intervals_of_grace,
        "if after.state is ServerState.RECOVERING and after.incident",
        "if False",
    ),
    "down freezes nothing": (
        down_needs_three_faults_in_a_row,
        "FROZEN = (ServerState.DOWN, ",
        "FROZEN = (",
    ),
    "there is no grace": (
        down_ends_after_two_good_probes_and_two_intervals_of_grace,
        "at + GRACE * rules.interval\n",
        "at\n",
    ),
    "one good probe is enough": (
        down_ends_after_two_good_probes_and_two_intervals_of_grace,
        "{ServerState.DOWN: rules.up_after,",
        "{ServerState.DOWN: 1,",
    ),
    "a mass is for ever": (
        after_half_an_hour_each_is_treated_by_itself_and_attempts_are_few,
        "seen.at - known.since >= rules.mass_at_most",
        "False",
    ),
    "a mass begins again and again": (
        after_half_an_hour_each_is_treated_by_itself_and_attempts_are_few,
        "if known.incident or known.state not in",
        "if known.state not in",
    ),
    "a mass of four": (
        four_that_fall_are_no_mass,
        "failed >= max(many, rules.mass_least)",
        "failed >= many",
    ),
    "after a mass nobody rests": (
        after_a_mass_there_are_no_attempts_for_five_minutes_and_then_few,
        "max(grace_until, rested_at)",
        "grace_until",
    ),
    "a refused key is asked about all the time": (
        a_refused_server_is_asked_every_five_minutes,
        "ServerState.AUTH: rules.probe_refused_every",
        "ServerState.AUTH: rules.probe_every",
    ),
}  # fmt: skip


@pytest.mark.parametrize("law", LAWS)
def test_law(law):
    law(judge_server)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_policy_breaks_its_law(mutant):
    law, *change = MUTANTS[mutant]
    copy = mutated(["monitor.policy.gateway"], "monitor.policy.gateway", *change)["monitor.policy.gateway"]
    with pytest.raises(AssertionError):
        law(copy.judge_server)
