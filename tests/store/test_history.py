"""History: intervals against a simple model, uptime, what was tried; unknown is neither up nor down."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from monitor import history
from monitor.history import Verdict, Window
from monitor.views import Interval, Uptime
from tests.factories import make_instance

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PATIENCE = 3 * MINUTE


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def new_instance(transaction) -> UUID:
    with transaction() as connection:
        user, _ = make_instance(connection)
        query = "SELECT id FROM whatsapp_instances WHERE user_id = :user"
        found: UUID = connection.execute(text(query), {"user": user}).scalar_one()
        return found


@pytest.fixture
def instance(transaction) -> Callable[[], UUID]:
    return lambda: new_instance(transaction)


@pytest.fixture
def check(transaction):
    """One round of the watch: the verdicts of these instances at one time, with the health's `checked_at` behind it."""

    def look(minutes, verdicts, *, seen_until=None):
        moment = at(minutes)
        said = [
            Verdict(instance_id=one, verdict=verdict, at=moment, seen_until=seen_until)
            for one, verdict in verdicts.items()
        ]
        with transaction() as connection:
            history.extend(connection, said)
            mark_checked(connection, verdicts, moment)

    return look


def mark_checked(connection, instances, moment):
    upsert = """
    INSERT INTO instance_health (instance_id, checked_at) SELECT unnest(CAST(:ids AS uuid[])), :at
    ON CONFLICT (instance_id) DO UPDATE SET checked_at = excluded.checked_at
    """
    connection.execute(text(upsert), {"ids": list(instances), "at": moment})


@pytest.fixture
def kept(transaction):
    """An instance's intervals as (verdict, since, until) in minutes."""

    def look(one):
        with transaction() as connection:
            found = history.intervals(connection, one, BEGIN - DAY, most=1000)
        return [(each.verdict, (each.since - BEGIN) / MINUTE, (each.until - BEGIN) / MINUTE) for each in found]

    return look


def test_the_same_verdict_is_one_interval_until_the_last_check(instance, check, kept):
    one = instance()
    for minute in range(6):
        check(minute, {one: "up"})
    assert kept(one) == [("up", 0, 5)]


def test_another_verdict_ends_it(instance, check, kept):
    one = instance()
    for minute, verdict in enumerate(["up", "up", "down", "down", "unknown", "up"]):
        check(minute, {one: verdict})
    assert kept(one) == [("up", 0, 2), ("down", 2, 4), ("unknown", 4, 5), ("up", 5, 5)]


def test_where_nobody_looked_it_is_unknown(instance, check, kept):
    one = instance()
    check(0, {one: "up"})
    check(10, {one: "up"}, seen_until=at(2))
    check(20, {one: "down"}, seen_until=at(11))
    check(30, {one: "unknown"}, seen_until=at(21))
    check(40, {one: "up"}, seen_until=at(31))
    assert kept(one) == [
        ("up", 0, 2),
        ("unknown", 2, 10),
        ("up", 10, 11),
        ("unknown", 11, 20),
        ("down", 20, 21),
        ("unknown", 21, 40),
        ("up", 40, 40),
    ]


def test_an_old_verdict_changes_nothing(instance, check, kept):
    one = instance()
    check(5, {one: "up"})
    check(5, {one: "down"})
    check(3, {one: "down"})
    check(6, {one: "up"})
    assert kept(one) == [("up", 5, 6)]


def test_many_instances_are_one_round(instance, check, kept):
    some = [instance() for _ in range(3)]
    check(0, dict(zip(some, ("up", "down", "unknown"), strict=True)))
    check(1, dict(zip(some, ("up", "up", "unknown"), strict=True)))
    assert [kept(one) for one in some] == [[("up", 0, 1)], [("down", 0, 1), ("up", 1, 1)], [("unknown", 0, 1)]]


def test_an_instance_that_was_deleted_keeps_nobody_from_being_kept(instance, check, kept, transaction):
    gone, here = instance(), instance()
    with transaction() as connection:
        connection.execute(text("DELETE FROM whatsapp_instances WHERE id = :id"), {"id": gone})
        said = [Verdict(instance_id=one, verdict="up", at=at(0)) for one in (gone, here)]
        history.extend(connection, said)
    assert kept(gone) == []
    assert len(kept(here)) == 1


def test_nothing_to_extend_is_nothing(transaction):
    with transaction() as connection:
        history.extend(connection, [])
        history.leave(connection, {})


def test_what_is_not_under_watch_has_a_hole_and_no_interval(instance, check, kept, transaction):
    one = instance()
    check(0, {one: "up"})
    with transaction() as connection:
        history.leave(connection, {one: at(5)})
    check(60, {one: "up"})
    assert kept(one) == [("up", 0, 5), ("up", 60, 60)]


ROUNDS = st.lists(
    st.tuples(st.integers(min_value=1, max_value=12), st.sampled_from(["up", "down", "unknown"])),
    min_size=1,
    max_size=12,
)


def model(checks):
    """Minute by minute: what was said last, or unknown from the last check on where the next came too late."""
    said = []
    for (minute, verdict), (following, _) in pairwise(checks):
        late = following - minute > PATIENCE / MINUTE
        said += ["unknown" if late else verdict] * (following - minute)
    return said


@given(rounds=ROUNDS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_intervals_cover_the_time_under_watch_and_neighbours_differ(rounds, transaction, check, kept):
    """Against the model; a check that finds nobody late keeps what was said since the one before."""
    one, checks = new_instance(transaction), list(moments(rounds))
    for (minute, verdict), before in zip(checks, [None, *checks], strict=False):
        late = before is not None and minute - before[0] > PATIENCE / MINUTE
        check(minute, {one: verdict}, seen_until=at(before[0]) if late else None)
    found = kept(one)
    assert all(before[2] == after[1] for before, after in pairwise(found))
    assert all(before[0] != after[0] for before, after in pairwise(found))
    assert (found[0][1], found[-1][2]) == (checks[0][0], checks[-1][0])
    covered = [next(verdict for verdict, since, until in found if since <= m + 0.5 < until) for m in minutes_of(checks)]
    assert covered == model(checks)


def moments(rounds):
    return zip(accumulate(step for step, _ in rounds), (verdict for _, verdict in rounds), strict=True)


def minutes_of(checks):
    return range(checks[0][0], checks[-1][0])


def test_uptime_keeps_up_down_and_unknown_apart(instance, check, transaction):
    one, other = instance(), instance()
    check(0, {one: "up", other: "unknown"})
    check(30, {one: "down", other: "unknown"})
    check(40, {one: "unknown"})
    check(60, {one: "up"})
    windows = [
        Window(since=at(0), until=at(60)),
        Window(since=at(20), until=at(35)),
        Window(since=at(90), until=at(99)),
    ]
    with transaction() as connection:
        found = history.uptime(connection, [one, other], windows)
    assert found[one] == [Uptime(up=1800, down=600, unknown=1200), Uptime(up=600, down=300), Uptime()]
    assert [each.share for each in found[one]] == [0.75, pytest.approx(2 / 3), None]
    assert found[other][0] == Uptime(unknown=1800)
    assert found[other][0].share is None


def test_uptime_asks_the_database_once_for_all_days(instance, check, transaction):
    one = instance()
    check(0, {one: "up"})
    check(2 * 24 * 60, {one: "down"})
    check(3 * 24 * 60, {one: "down"})
    asked = []
    with transaction() as connection:
        event.listen(connection, "before_cursor_execute", lambda *facts: asked.append(facts[2]))
        days = history.days(5, BEGIN + 3 * DAY + timedelta(hours=6))
        found = history.uptime(connection, [one], [*days, Window(since=days[0].since, until=days[-1].until)])[one]
    assert len(asked) == 1
    assert [each.share for each in found] == [None, 1, 1, 0, None, pytest.approx(2 / 3)]


def test_days_are_those_of_utc_and_todays_ends_now():
    now = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
    first, second = history.days(2, now)
    assert first == Window(since=datetime(2026, 11, 21, tzinfo=UTC), until=datetime(2026, 11, 22, tzinfo=UTC))
    assert second == Window(since=datetime(2026, 11, 22, tzinfo=UTC), until=now)


def test_only_the_newest_intervals_are_read(instance, check, transaction):
    one = instance()
    for minute in range(6):
        check(minute, {one: ("up", "down")[minute % 2]})
    with transaction() as connection:
        found = history.intervals(connection, one, at(0), most=2)
    assert found == [
        Interval(verdict="up", since=at(4), until=at(5)),
        Interval(verdict="down", since=at(5), until=at(5)),
    ]


def test_what_was_tried_is_read_newest_first(instance, transaction):
    one, other = instance(), instance()
    insert = """
    INSERT INTO connection_events (instance_id, at, action, number, reason, outcome, ended_at)
    VALUES (:one, :at, 'connect', :number, 408, :outcome, :ended)
    """
    with transaction() as connection:
        for number, outcome in ((1, "asked"), (2, None)):
            ended = at(number + 1) if outcome else None
            values = {"one": one, "at": at(number), "number": number, "outcome": outcome, "ended": ended}
            connection.execute(text(insert), values)
        found = history.reconnections(connection, one, limit=10)
        assert history.reconnections(connection, other, limit=10) == []
    assert [(each.number, each.action, each.outcome) for each in found] == [
        (2, "connect", None),
        (1, "connect", "asked"),
    ]


def test_what_is_old_is_dropped_and_what_runs_stays(instance, check, transaction, rows):
    one = instance()
    long_ago = -500 * 24 * 60
    check(long_ago, {one: "up"})
    check(long_ago + 5, {one: "down"})
    check(0, {one: "down"})
    with transaction() as connection:
        assert history.prune(connection, history.KEPT) == 1
        assert history.prune(connection, history.KEPT) == 0
    assert [row["verdict"] for row in rows("SELECT verdict FROM health_intervals")] == ["down"]
