"""One monitor leads: terms by the database's clock, and what a leader of yesterday may still write."""

import time

import pytest
from sqlalchemy import text

from core.db import transactions
from monitor.leader import Deposed, Leader
from monitor.timeline import Timeline


class Machine:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def make(engine):
    def leader(name: str, machine: Machine | None = None) -> Leader:
        return Leader(transactions(engine), name, Timeline(), machine or time.monotonic)

    return leader


def expire(engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE monitor_terms SET until = now() - interval '1 second'"))


def test_the_first_who_asks_leads_and_the_others_follow(make):
    first, second = make("a"), make("b")
    assert (first.keep(), second.keep()) == (True, False)
    assert (first.term, second.term) == (1, None)


def test_keeping_it_is_the_same_term(make):
    leader = make("a")
    assert [leader.keep() for _ in range(3)] == [True] * 3
    assert leader.term == 1


def test_who_takes_over_has_a_higher_term(make, engine):
    first, second = make("a"), make("b")
    first.keep()
    expire(engine)
    assert second.keep()
    assert second.term == 2
    assert not first.keep()
    assert first.term is None


def test_the_lease_is_trusted_for_a_little_less_than_it_lasts(make):
    machine = Machine()
    leader = make("a", machine)
    leader.keep()
    machine.seconds = 13.9
    assert leader.term == 1
    machine.seconds = 14.0
    assert leader.term is None


def test_a_frozen_leader_s_writes_are_refused(make, engine):
    first, second = make("a"), make("b")
    first.keep()
    old = first.term
    expire(engine)
    second.keep()
    with pytest.raises(Deposed), engine.begin() as connection:
        first.fence(connection, old)
    with engine.begin() as connection:
        second.fence(connection, second.term)


def test_the_fence_says_when_the_monitor_was_last_seen(make, engine, rows):
    leader = make("a")
    leader.keep()
    assert rows("SELECT ticked_at FROM monitor_terms")[0]["ticked_at"] is None
    with engine.begin() as connection:
        leader.fence(connection, leader.term)
    assert rows("SELECT ticked_at FROM monitor_terms")[0]["ticked_at"] is None  # only begun
    with engine.begin() as connection:
        leader.fence(connection, leader.term, done=True)
    assert rows("SELECT ticked_at IS NOT NULL AS seen FROM monitor_terms")[0]["seen"]


def test_who_resigns_lets_the_next_lead_at_once(make):
    first, second = make("a"), make("b")
    first.keep()
    first.resign()
    assert second.keep()
    assert (first.term, second.term) == (None, 2)


def test_who_finds_its_lease_over_begins_a_new_term(make, engine):
    """The whole machine may have slept: what was decided before is of another time."""
    leader = make("a")
    leader.keep()
    expire(engine)
    assert leader.keep()
    assert leader.term == 2


def test_a_lease_given_by_a_clock_that_was_set_back_is_taken(make, engine):
    first, second = make("a"), make("b")
    first.keep()
    with engine.begin() as connection:
        connection.execute(text("UPDATE monitor_terms SET until = until + interval '1 day'"))
    assert second.keep()
    assert second.term == 2
