"""The feed's numbers, and where a room begins to listen."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from core import events
from core.events import DomainEvent
from notify import feed

MINUTE = timedelta(minutes=1)


@pytest.fixture
def user(engine):
    made = uuid4()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO profiles (id) VALUES (:id)"), {"id": made})
    return made


def say(engine, user, *kinds):
    with engine.begin() as connection:
        events.record(connection, [DomainEvent(user_id=user, type=kind, data={}) for kind in kinds])


def begin(engine, user, since):
    with engine.begin() as connection:
        return feed.beginnings(connection, {user: since}, MINUTE)[user]


def test_who_is_deleted_and_comes_back_begins_anew(engine, user, rows):
    say(engine, user, "status", "message")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM profiles WHERE id = :id"), {"id": user})
    assert rows("SELECT FROM feed") == []
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO profiles (id) VALUES (:id)"), {"id": user})
    say(engine, user, "connected")
    assert rows("SELECT id, type FROM feed") == [{"id": 1, "type": "connected"}]


def test_a_room_hears_who_was_just_made_from_the_first_event_on(engine, user):
    made_at = datetime.now(UTC) - timedelta(seconds=20)
    say(engine, user, "status", "message")
    assert begin(engine, user, made_at) == 0


@pytest.mark.parametrize("ago", [timedelta(hours=1), None])
def test_a_room_hears_who_comes_from_elsewhere_from_now_on(engine, user, ago):
    """What was said in another organization a moment ago is not theirs to hear."""
    say(engine, user, "status", "message")
    assert begin(engine, user, ago and datetime.now(UTC) - ago) == 2
