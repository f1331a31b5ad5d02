"""What the monitor's process counts of its own work, and what its silence means."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from core.errors import StorageUnavailable, Unavailable
from manager.providers.port import Found, Snapshot, State
from monitor import counters
from monitor.counters import CountingProbe, Ticks
from monitor.policy.health import Action
from monitor.pulse import Beat, Pulse, patience
from monitor.watching.probe import Target

MINUTE = timedelta(minutes=1)


class Counts:
    """How much samples have grown since."""

    def __init__(self) -> None:
        self._before = self._now()

    def grown(self) -> dict[str, float]:
        """`zelador_checks_total found=connected` → how much."""
        now = self._now()
        return {name: now[name] - self._before.get(name, 0) for name in now if now[name] != self._before.get(name, 0)}

    def _now(self) -> dict[str, float]:
        samples = [sample for family in REGISTRY.collect() for sample in family.samples]
        return {
            " ".join([one.name, *(f"{label}={value}" for label, value in sorted(one.labels.items()))]): one.value
            for one in samples
            if one.name.startswith("zelador_") and not one.name.endswith(("_created", "_bucket", "_sum"))
        }


@pytest.fixture
def counts():
    return Counts()


class Machine:
    """Its monotonic seconds."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def machine():
    return Machine()


class Gateway:
    """Three are open, one is closed, and one cannot be asked."""

    def __init__(self) -> None:
        self.away = False

    def states(self):
        if self.away:
            raise Unavailable("not there")
        return {"a": State.CONNECTED, "b": State.CONNECTED, "c": State.CONNECTED, "d": State.DISCONNECTED}

    def state(self, name: str) -> Snapshot:
        raise Unavailable("not there")

    def instances(self) -> list[Found]:
        return []


def look(gateway: Gateway) -> None:
    probe = CountingProbe(gateway)  # type: ignore[arg-type]  # what a probe asks for
    probe.look([Target(name=name) for name in "abcde"], probe.survey(5))


def test_looks_are_counted_by_what_they_found(counts):
    look(Gateway())
    assert counts.grown() == {
        "zelador_checks_total found=connected": 3,
        "zelador_checks_total found=disconnected": 1,
        "zelador_checks_total found=unreachable": 1,
    }


def test_a_server_that_does_not_answer_for_all_counts_once(counts):
    gateway = Gateway()
    gateway.away = True
    look(gateway)
    assert counts.grown() == {"zelador_checks_total found=unreachable": 1}


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        ("asked", "asked"),
        ("open", "open"),
        ("shows_code", "shows_code"),
        ("crashed", "crashed"),
        ("provider_timeout", "provider_timeout"),
        ("circuit_open", "circuit_open"),
        ("whatsapp_storage_unavailable", "whatsapp_storage_unavailable"),
        ("something that a gateway said", "other"),
        ("", "other"),
    ],
)
def test_an_attempt_is_counted_by_a_word_that_is_known(counts, outcome, shown):
    counters.tried(Action.RESTART, outcome)
    assert counts.grown() == {f"zelador_reconnect_attempts_total action=restart outcome={shown}": 1}


def test_a_step_that_went_well_is_timed_and_remembered(counts, machine):
    ticks = Ticks(machine)
    assert not ticks.went_well_within(MINUTE)
    with ticks.timed():
        machine.at += 2.0
    assert counts.grown() == {"zelador_tick_seconds_count": 1}
    machine.at += 60.0
    assert ticks.went_well_within(MINUTE)
    machine.at += 0.1
    assert not ticks.went_well_within(MINUTE)


def test_a_step_that_broke_off_is_none_that_went_well(counts, machine):
    ticks = Ticks(machine)
    with pytest.raises(StorageUnavailable), ticks.timed():
        raise StorageUnavailable("The database is not available")
    assert counts.grown() == {"zelador_tick_failures_total": 1}
    assert not ticks.went_well_within(MINUTE)


@pytest.mark.parametrize(
    ("silent_for", "interval", "beat"),
    [
        (None, MINUTE, Beat.UNKNOWN),
        (timedelta(0), MINUTE, Beat.OK),
        (3 * MINUTE, MINUTE, Beat.OK),
        (3 * MINUTE + timedelta(microseconds=1), MINUTE, Beat.STOPPED),
        (timedelta(seconds=30), timedelta(seconds=1), Beat.OK),
        (timedelta(seconds=31), timedelta(seconds=1), Beat.STOPPED),
    ],
)
def test_three_intervals_of_silence_are_an_end_and_never_less_than_half_a_minute(silent_for, interval, beat):
    assert Pulse(is_led=True, silent_for=silent_for).beat(interval) is beat


def test_the_patience_is_the_same_for_all_who_ask():
    assert (patience(MINUTE), patience(timedelta(seconds=1))) == (3 * MINUTE, timedelta(seconds=30))
