"""The laws are strong enough: every broken policy breaks the law that is about it."""

from collections.abc import Sequence

import pytest

from monitor.policy.health import Health, Kind
from monitor.policy.judge import judge
from tests.unit.histories import drawn
from tests.unit.monitor_laws import ASKING, LAWS, held
from tests.unit.monitored import Judge, Step
from tests.unit.mutants import mutated

JUDGE, ATTEMPTS, FLAPS, REASONS, STANDING, SETBACK = (
    f"monitor.policy.{name}" for name in ("judge", "attempts", "flaps", "reasons", "standing", "setback")
)
PARTS = (REASONS, FLAPS, ATTEMPTS, SETBACK, STANDING, JUDGE)
HISTORIES = [drawn(seed) for seed in range(120)]
MUTANTS = {  # the law that it breaks, where, what stands there, and what stands there instead
    "alert at the first failure": (
        "inv_01", JUDGE,
        "after.failures >= rules.alert_at",
        "after.failures >= 1",
    ),
    "attempt at the second failure": (
        "inv_02", ATTEMPTS,
        "return health.failures >= rules.reconnect_at and",
        "return health.failures >= 2 and",
    ),
    "attempt although it needs a QR": (
        "inv_04", ATTEMPTS,
        "and health.policy is Policy.AUTO and",
        "and",
    ),
    "the budget is refilled by a brief open": (
        "inv_09", ATTEMPTS,
        "at - health.healthy_since < rules.refill_after",
        "False",
    ),
    "a brief break is forgotten": (
        "inv_09", STANDING,
        "successes=0, healthy_since=None, deaf=None",
        "successes=0, deaf=None",
    ),
    "an unseen hour is health": (
        "inv_09", JUDGE,
        "known.healthy_since is None or is_stale(known, seen.at, rules)",
        "known.healthy_since is None",
    ),
    "the day's budget is forgotten": (
        "inv_07", ATTEMPTS,
        "or a_day >= rules.attempts_a_day",
        "",
    ),
    "the episode's budget is forgotten": (
        "inv_06", ATTEMPTS,
        "or health.attempts >= rules.attempts_an_episode",
        "",
    ),
    "gaps are halved": (
        "inv_08", ATTEMPTS,
        "longest * (0.5 + luck / 2)",
        "longest * (0.25 + luck / 4)",
    ),
    "gaps do not grow": (
        "inv_08", ATTEMPTS,
        "* 2.0 ** min(attempts - 1, DOUBLINGS)",
        "",
    ),
    "a brief open cuts a wait short": (
        "inv_08", ATTEMPTS,
        "max(first_at, after.next_attempt_at or first_at)",
        "first_at",
    ),
    "a pause is ignored": (
        "inv_12", JUDGE,
        "known.paused or isinstance(seen, Paused | Resumed)",
        "isinstance(seen, Paused | Resumed)",
    ),
    "a pause leaves the incident open": (
        "inv_12", JUDGE,
        "paused=True, incident=False, announced=()",
        "paused=True",
    ),
    "frozen failures count": (
        "inv_15", JUDGE,
        "    if fleet.frozen:\n        return Judgement(health=replace(after, failing_since=",
        "    if False:\n        return Judgement(health=replace(after, failing_since=",
    ),
    "recovery is told while frozen": (
        "inv_15", JUDGE,
        "    after = refilled(after, seen.at, rules)\n    if fleet.frozen:",
        "    after = refilled(after, seen.at, rules)\n    if False:",
    ),
    "a recovery without an alert": (
        "inv_10", JUDGE,
        "if after.incident and after.successes >= SURE and not",
        "if after.successes >= SURE and not",
    ),
    "a recovery of what flaps": (
        "inv_13", JUDGE,
        "after.successes >= SURE and not after.flapping",
        "after.successes >= SURE",
    ),
    "down is told while it flaps": (
        "inv_13", JUDGE,
        "is_down and not after.flapping and",
        "is_down and",
    ),
    "flapping never ends": (
        "inv_18", FLAPS,
        "(after.flapping and not (_is_well(after) and len(flips) <= FEW))",
        "after.flapping",
    ),
    "flapping is never seen": (
        "inv_13", FLAPS,
        "MANY, FEW = 6, 2",
        "MANY, FEW = 60, 2",
    ),
    "attempts as often while it flaps": (
        "inv_13b", ATTEMPTS,
        "not health.flapping or last is None or",
        "True or",
    ),
    "a report counts": (
        "inv_17", JUDGE,
        "after = interrupted(noted(known, seen))",
        "after = interrupted(replace(noted(known, seen), failures=known.failures + 1))",
    ),
    "a report convicts": (
        "inv_17", JUDGE,
        "after = interrupted(noted(known, seen))",
        "after = replace(noted(known, seen)); after = replace(after, policy=after.pending or after.policy)",
    ),
    "everything is told again and again": (
        "inv_11", STANDING,
        "if kind not in health.announced",
        "if kind",
    ),
    "the gateway's silence is a failure": (
        "inv_14", JUDGE,
        "if seen.state is State.UNKNOWN:",
        "if False:",
    ),
    "an open leaves the policy": (
        "inv_16", STANDING,
        "        policy=Policy.AUTO,\n        failures=0",
        "        failures=0",
    ),
    "an open leaves the failures": (
        "inv_16", STANDING,
        "        policy=Policy.AUTO,\n        failures=0",
        "        policy=Policy.AUTO",
    ),
    "attempts while somebody has it in hand": (
        "inv_05", ATTEMPTS,
        "(fleet.frozen or fleet.busy or health.paused)",
        "(fleet.frozen or health.paused)",
    ),
    "attempts without a token": (
        "inv_05", ATTEMPTS,
        "fleet.token and not",
        "not",
    ),
    "attempts while a person pairs": (
        "inv_05", ATTEMPTS,
        "health.policy is Policy.AUTO and not is_pairing(health, at)",
        "health.policy is Policy.AUTO",
    ),
    "it never gives up": (
        "inv_18b", JUDGE,
        "HealthState.ERROR if is_hopeless and rules.auto_reconnect else",
        "HealthState.ERROR if False else",
    ),
    "it is revived all the time": (
        "reviving", JUDGE,
        "at - after.restarted_at >= rules.revive_every",
        "True",
    ),
    "the newest reason wins": (
        "inv_24", REASONS,
        "pending=max(pending, key=GRAVITY.index)",
        "pending=pending[-1]",
    ),
    "a clock set back is believed": (
        "inv_21", SETBACK,
        "known.observed_at is None or known.observed_at <= at",
        "True",
    ),
    "a resumption refills the budget": (
        "inv_06", STANDING,
        "        attempts=known.attempts,\n        attempted_at",
        "        attempted_at",
    ),
}  # fmt: skip


def is_broken(law: str, judge: Judge, histories: Sequence[Sequence[Step]]) -> bool:
    try:
        for steps in histories:
            held(law, judge, steps)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_policy_breaks_its_law(mutant):
    start, *change = MUTANTS[mutant]
    (law,) = [name for name in LAWS if name.startswith(f"{start}_")]
    assert is_broken(law, mutated(PARTS, *change)[JUDGE].judge, HISTORIES[: 40 if law in ASKING else None])


def test_a_copy_that_is_not_broken_breaks_none():
    copy = mutated(PARTS, JUDGE, "ALONE = Fleet()", "ALONE = Fleet()  # a copy")[JUDGE]
    assert copy.judge is not judge
    assert (copy.Kind, copy.Health) == (Kind, Health)
    assert [law for law in LAWS if is_broken(law, copy.judge, HISTORIES[:5])] == []
