"""When silence is odd: after longer than it ever was, and never at night or on weekends."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter

from monitor.policy.rhythm import DAYS, Rhythm, is_silent, listened

MONDAY = datetime(2026, 11, 2, 0, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STEP = timedelta(minutes=10)


def office(at):
    """Every half hour, Monday to Friday from 8 to 18."""
    return at.weekday() < 5 and 8 <= at.hour < 18


def shop(at):
    """Every half hour, all days from 9 to 22."""
    return 9 <= at.hour < 22


def always(at):
    return True


class Listener:
    def __init__(self, messages, began=MONDAY):
        self.messages, self.at = messages, began
        self.rhythm, self.heard_at = Rhythm(), None
        self.alarms: list[datetime] = []

    def listen(self, lasting, *, step=STEP, deaf=False, awake=True):
        """Checks one after the other. `deaf`: messages do not come; not `awake`: it is not healthy, nobody listens."""
        end = self.at + lasting
        while self.at < end:
            self.at += step
            if not deaf and self.messages(self.at) and self.at.minute in (0, 30):
                self.heard_at = self.at
            if awake:
                if is_silent(self.rhythm, self.at):
                    self.alarms.append(self.at)
                self.rhythm = listened(self.rhythm, self.heard_at, self.at)
        return self


@pytest.mark.parametrize("messages", [office, shop, always])
@pytest.mark.parametrize("first_day", range(7))
def test_nights_and_weekends_are_no_alarm_whenever_the_learning_began(messages, first_day):
    listener = Listener(messages, MONDAY + first_day * DAY + 5 * HOUR)
    assert listener.listen(28 * DAY).alarms == []


@pytest.mark.parametrize(("messages", "least", "most"), [(always, 6, 6.5), (shop, 22, 26), (office, 100, 140)])
def test_a_silence_twice_as_long_as_ever_is_an_alarm_and_never_within_six_hours(messages, least, most):
    listener = Listener(messages, MONDAY).listen(18 * DAY + 12 * HOUR).listen(7 * DAY, deaf=True)
    silent_for = listener.alarms[0] - (MONDAY + 18 * DAY + 12 * HOUR)
    assert least * HOUR <= silent_for <= most * HOUR


def test_it_ends_with_the_first_message():
    listener = Listener(always).listen(10 * DAY).listen(12 * HOUR, deaf=True)
    assert is_silent(listener.rhythm, listener.at)
    after = listened(listener.rhythm, listener.at + timedelta(seconds=5), listener.at + timedelta(seconds=10))
    assert not is_silent(after, listener.at + timedelta(seconds=10))


@pytest.mark.parametrize("days", [0, 1, 5])
def test_too_little_known_is_no_alarm(days):
    assert Listener(always).listen(days * DAY).listen(20 * DAY, deaf=True).alarms == []


def test_one_that_never_hears_anything_is_not_missed():
    assert Listener(lambda at: False).listen(60 * DAY).alarms == []


def test_one_that_hears_something_once_a_week_is_known_too_little():
    assert Listener(lambda at: at.weekday() == 0 and at.hour == 9).listen(40 * DAY).alarms == []


def test_an_outage_teaches_nothing_and_does_not_count():
    listener = Listener(always).listen(10 * DAY)
    known = max(seconds for _, seconds in listener.rhythm.days)
    listener.listen(3 * DAY, awake=False, deaf=True).listen(10 * DAY)
    assert max(seconds for _, seconds in listener.rhythm.days) <= known + 1800
    assert listener.alarms == []
    listener.listen(3 * HOUR, deaf=True).listen(2 * DAY, awake=False, deaf=True).listen(2 * HOUR, deaf=True)
    assert listener.alarms == []
    listener.listen(2 * HOUR, deaf=True)
    assert listener.alarms != []


def test_what_was_known_before_an_outage_is_known_after_it():
    listener = Listener(office).listen(15 * DAY)
    known = listener.rhythm.days
    assert listener.listen(5 * DAY, awake=False, deaf=True).rhythm.days == known


def test_it_looks_at_two_weeks_of_days():
    listener = Listener(shop).listen(20 * DAY).listen(3 * DAY, deaf=True).listen(13 * DAY)
    assert max(seconds for _, seconds in listener.rhythm.days) > 2.5 * 86_400
    assert len(listener.rhythm.days) == DAYS
    listener.listen(3 * DAY)
    assert max(seconds for _, seconds in listener.rhythm.days) < 86_400


def test_checks_that_follow_each_other_closely_change_nothing():
    rhythm = Listener(always).listen(DAY).rhythm
    assert rhythm.listened_at
    for seconds in range(60, 600, 60):
        at = rhythm.listened_at + timedelta(seconds=seconds)
        assert listened(rhythm, at, at) is rhythm


@pytest.mark.parametrize("by", [HOUR, DAY, 40 * DAY])
def test_a_clock_set_back_or_forward_is_no_alarm(by):
    for sign in (-1, 1):
        listener = Listener(always).listen(10 * DAY)
        listener.at += sign * by
        assert listener.listen(DAY).alarms == []


def test_it_is_kept_as_json():
    memory = TypeAdapter(Rhythm)
    for rhythm in (Rhythm(), Listener(office).listen(20 * DAY).rhythm):
        assert memory.validate_json(memory.dump_json(rhythm, exclude_defaults=True)) == rhythm
