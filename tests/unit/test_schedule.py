"""The monitor's clockwork."""

import threading
from datetime import timedelta

import pytest

from monitor.schedule import Schedule
from tests.waiting import until

DAY = 86_400.0


@pytest.fixture
def started():
    """Makes schedules and ends them."""
    made: list[Schedule] = []

    def start(job, *, leads=lambda: True, **more):
        made.append(Schedule({"job": (timedelta(hours=1), job)}, leads, **more))
        made[-1].start()
        return made[-1]

    yield start
    for schedule in made:
        schedule.stop()


def test_a_job_can_be_run_at_once(started):
    ran = threading.Event()
    started(ran.set).soon("job")
    assert ran.wait(10)


def test_who_does_not_lead_does_nothing(started):
    asked, ran = threading.Event(), threading.Event()

    def leads():
        asked.set()
        return False

    started(ran.set, leads=leads).soon("job")
    assert asked.wait(10)
    assert not ran.is_set()


def test_a_job_that_fails_is_run_again(started):
    runs: list[int] = []
    twice = threading.Event()

    def job():
        runs.append(1)
        if len(runs) > 1:
            twice.set()
        raise RuntimeError("once")

    schedule = started(job)

    def asked():  # again and again: while it still tells of the first failure it is not run
        schedule.soon("job")
        return twice.is_set()

    until(asked)


def test_a_clock_that_is_set_back_keeps_no_job_waiting(started):
    """By the old time the next run would come only in a day."""
    ran, wall = threading.Event(), [DAY]
    schedule = started(ran.set, wall=lambda: wall[0])
    wall[0] = 0.0
    schedule.mind_the_clock()
    assert ran.wait(10)


def test_a_clock_that_runs_as_it_should_starts_nothing(started):
    ran = threading.Event()
    schedule = started(ran.set)
    schedule.mind_the_clock()
    assert not ran.is_set()
