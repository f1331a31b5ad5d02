"""The monitor's own time: the database's, without its jumps."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.timeline import Timeline

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Machine:
    """A monotonic clock."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def timeline(machine):
    made = Timeline(machine)
    made.heard(NOON)
    return made


def test_the_first_reading_is_believed(timeline):
    assert timeline.now() == NOON


def test_it_goes_on_by_the_machine_s_own_clock(timeline, machine):
    machine.seconds += 30
    assert timeline.now() == NOON + timedelta(seconds=30)


@pytest.mark.parametrize("jump", [timedelta(seconds=100), timedelta(seconds=-100), timedelta(seconds=4)])
def test_a_jump_is_followed_by_a_tenth_of_the_time_that_passes(timeline, machine, jump):
    machine.seconds += 60
    timeline.heard(NOON + timedelta(seconds=60) + jump)
    off = timeline.now() - (NOON + timedelta(seconds=60))
    assert abs(off) == min(abs(jump), timedelta(seconds=6))
    assert (off > timedelta(0)) == (jump > timedelta(0))


def test_it_arrives_where_the_database_is_in_the_end(timeline, machine):
    for _ in range(100):
        machine.seconds += 60
        timeline.heard(NOON + timedelta(seconds=90 + machine.seconds - 1_000))
    assert timeline.now() == NOON + timedelta(seconds=90 + machine.seconds - 1_000)


@pytest.mark.parametrize("leap", [timedelta(days=1), timedelta(days=-1), timedelta(minutes=3)])
def test_a_leap_is_believed(timeline, machine, leap):
    machine.seconds += 60
    timeline.heard(NOON + timedelta(seconds=60) + leap)
    assert timeline.now() == NOON + timedelta(seconds=60) + leap


def test_it_never_runs_backwards(timeline, machine):
    before = timeline.now()
    for _ in range(50):
        machine.seconds += 5
        timeline.heard(before - timedelta(seconds=100))
        assert timeline.now() > before
        before = timeline.now()


def test_forgotten_it_believes_the_next_reading(timeline, machine):
    timeline.forget()
    timeline.heard(NOON + timedelta(hours=3))
    assert timeline.now() == NOON + timedelta(hours=3)
