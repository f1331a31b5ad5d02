"""When a message may go to a target."""

from datetime import UTC, datetime, time, timedelta

import pytest

from monitor.alerting.pacing import GIVEN_UP_AFTER, Manner, Waiting, next_try, quiet_until, turn

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NIGHTLY = Manner(quiet_from=time(22), quiet_until=time(7), timezone="America/Sao_Paulo")  # UTC-3
NIGHT = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)  # 23:30 there
MORNING = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def one(number, incident=1, severity="warning", *, at=NOON, next_at=None, **more):
    return Waiting(id=number, incident_id=incident, severity=severity, at=at, next_at=next_at or at, **more)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (NIGHT, MORNING),
        (datetime(2026, 11, 23, 9, 59, tzinfo=UTC), MORNING),
        (MORNING, None),
        (NOON, None),
        (datetime(2026, 11, 23, 1, 0, tzinfo=UTC), MORNING),
    ],
)
def test_quiet_hours_go_over_midnight_in_the_targets_own_zone(at, until):
    assert quiet_until(NIGHTLY, at) == until


def test_quiet_hours_of_an_afternoon():
    siesta = Manner(quiet_from=time(12), quiet_until=time(14))
    assert quiet_until(siesta, NOON) == NOON + timedelta(hours=2)
    assert quiet_until(siesta, NOON + timedelta(hours=2)) is None
    assert quiet_until(siesta, NOON - timedelta(seconds=1)) is None


def test_quiet_hours_end_by_the_clock_on_the_wall_when_it_changes():
    berlin = Manner(quiet_from=time(22), quiet_until=time(7), timezone="Europe/Berlin")
    before_change = datetime(2026, 10, 24, 21, 0, tzinfo=UTC)  # 23:00 in summer time
    assert quiet_until(berlin, before_change) == datetime(2026, 10, 25, 6, 0, tzinfo=UTC)


def test_a_zone_that_nobody_knows_is_utc():
    assert quiet_until(Manner(quiet_from=time(11), quiet_until=time(13), timezone="Mars/Olympus"), NOON) is not None


def test_one_at_a_time_in_the_order_decided():
    assert turn([one(1), one(2), one(3, 2)], Manner(), NOON).now == (1,)


def test_what_is_of_an_incident_waits_for_what_was_decided_before_it():
    retried = NOON + timedelta(minutes=5)
    found = turn([one(1, next_at=retried), one(2), one(3, 2)], Manner(), NOON)
    assert (found.now, found.later) == ((3,), {2: retried})


def test_quiet_hours_hold_back_all_but_the_critical():
    found = turn([one(1, 1), one(2, 2, "critical"), one(3, 3, "info")], NIGHTLY, NIGHT)
    assert (found.now, found.later) == ((2,), {1: MORNING, 3: MORNING})


def test_a_critical_one_takes_along_what_comes_before_it():
    found = turn([one(1, 1), one(2, 1, "critical")], NIGHTLY, NIGHT)
    assert (found.now, found.later) == ((1,), {})


def test_a_critical_one_takes_along_what_was_put_off_for_the_night():
    found = turn([one(1, next_at=MORNING), one(2, 1, "critical")], NIGHTLY, NIGHT)
    assert (found.now, found.later) == ((1,), {})


def test_a_critical_one_does_not_overtake_what_is_tried_again():
    retried = NIGHT + timedelta(minutes=5)
    found = turn([one(1, next_at=retried, failing=True), one(2, 1, "critical")], NIGHTLY, NIGHT)
    assert (found.now, found.later) == ((), {2: retried})


def test_the_critical_goes_first_and_then_what_was_tried_least():
    waiting = [one(1, 1, attempts=1), one(2, 2), one(3, 1), one(4, 3, "critical", attempts=9), one(5, 2)]
    assert turn(waiting, Manner(), NOON).now == (4,)
    assert turn(waiting[:3], Manner(), NOON).now == (2,)
    assert turn([waiting[0], waiting[2]], Manner(), NOON).now == (1,)


def test_nothing_waits_for_what_cannot_be_said():
    hour = NOON + timedelta(hours=1)
    assert turn([one(1, next_at=hour, failing=True, crashed=True), one(2)], Manner(), NOON).now == (2,)


def test_what_comes_later_leaves_with_the_digest_that_is_planned():
    hourly, opens = Manner(digest=timedelta(hours=1)), NOON + timedelta(hours=1)
    second = one(2, at=NOON + timedelta(minutes=20))
    assert turn([second], hourly, second.at, opens).later == {2: opens}
    put_off = [one(1, next_at=opens), one(2, at=second.at, next_at=opens)]
    assert turn(put_off, hourly, opens).now == (1, 2)
    grave = one(3, 1, "critical", at=second.at)  # takes along the first, but not before its time
    assert turn([put_off[0], grave], hourly, grave.at, opens).later == {1: opens, 3: opens}


def test_a_digest_waits_for_its_window_and_then_is_one_message():
    hourly = Manner(digest=timedelta(hours=1))
    waiting = [one(1), one(2, at=NOON + timedelta(minutes=20)), one(3, 2, at=NOON + timedelta(minutes=59))]
    opens = NOON + timedelta(hours=1)
    assert turn(waiting, hourly, NOON + timedelta(minutes=30)).later == {1: opens, 2: opens}
    assert turn(waiting, hourly, opens).now == (1, 2, 3)


def test_a_digest_is_not_endless():
    waiting = [one(number, number) for number in range(100)]
    assert len(turn(waiting, Manner(digest=timedelta(minutes=1)), NOON + timedelta(hours=1)).now) == 30


def test_nothing_due_is_nothing_to_do():
    assert turn([], Manner(), NOON).now == ()
    assert turn([one(1, next_at=NOON + timedelta(seconds=1))], Manner(digest=timedelta(minutes=1)), NOON).now == ()


def test_the_waits_grow_to_an_hour_and_end_with_the_day():
    at, waits = NOON, list[float]()
    while at < NOON + GIVEN_UP_AFTER:
        then = next_try(len(waits) + 1, NOON, at)
        waits.append((then - at).total_seconds())
        at = then
    assert waits[:8] == [30, 60, 120, 300, 600, 1800, 3600, 3600]
    assert max(waits) == 3600
    assert at == NOON + GIVEN_UP_AFTER


def test_what_came_late_is_tried_as_long_as_anything_else():
    late = NOON + timedelta(days=3)
    assert turn([one(1)], Manner(), late).now == (1,)
    assert next_try(1, late, late) == late + timedelta(seconds=30)
