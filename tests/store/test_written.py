"""What was written since one asked last: once it is committed, however long ago it was written."""

import os
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from core import events
from core.access import Principal
from core.db import make_engine, questions
from core.errors import StorageUnavailable
from core.events import DomainEvent
from core.postgres import EmbeddedPostgres
from core.rights import KEPT, Rights, prune
from core.written import FAR, Reader, _goes_on
from tests.waiting import until

NAMES = ("anna", "bela")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def users(engine):
    made = [uuid4() for _ in NAMES]
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO profiles (id) VALUES (:a), (:b)"), dict(zip("ab", made, strict=True)))
    return made


@pytest.fixture
def reader(engine):
    """What one reader of the feed's heads finds fresh, question by question."""
    heads, question = Reader("feed_heads", "user_id, last_id"), questions(engine)

    def fresh():
        with question() as connection:
            found = heads.fresh(connection)
        return None if found is None else {row.user_id: row.last_id for row in found}

    return fresh


def say(connection, user):
    events.record(connection, [DomainEvent(user_id=user, type="notice", data={})])


def test_at_first_nobody_knows_and_then_what_was_written_since(engine, users, reader):
    with engine.begin() as connection:
        say(connection, users[0])
    assert reader() is None
    assert reader() == {}
    for last_id in (2, 3):
        with engine.begin() as connection:
            say(connection, users[0])
        assert reader() == {users[0]: last_id}
    assert reader() == {}


def test_what_was_begun_before_a_question_and_committed_after_it_is_found(engine, users, reader):
    """Also when others, who began later, were committed and read before it."""
    reader()
    with engine.connect() as slow:
        say(slow, users[0])
        with engine.begin() as connection:
            say(connection, users[1])
        assert reader() == {users[1]: 1}
        reader()
        slow.commit()
    assert reader()[users[0]] == 1
    assert reader() == {}


def test_numbers_of_another_server_are_no_news(engine, users, reader):
    reader()
    with engine.begin() as connection:
        say(connection, users[0])
        connection.execute(text("UPDATE feed_heads SET written = 9000000000000000"))
    assert reader() == {}


def test_nobody_goes_again_and_again_through_all_that_was_written_since_an_old_transaction(engine, users, reader):
    numbers = "DO $$ BEGIN FOR n IN 1..{} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    reader()
    with engine.connect() as forgotten, questions(engine)() as others:
        say(forgotten, users[0])
        others.exec_driver_sql(numbers.format(FAR - 100))
        assert reader() == {}
        with engine.begin() as connection:
            say(connection, users[1])
        assert reader() == reader() == {users[1]: 1}
        others.exec_driver_sql(numbers.format(100))
        assert reader() is None
        assert reader() is None
        forgotten.commit()
    assert reader() is None
    assert reader() == {}


def test_a_server_that_has_recovered_from_a_crash_may_count_anew(place):
    """One killed process of it is enough, and when it began stays the same."""
    server = EmbeddedPostgres(place / "crashed", options={"fsync": "off"})
    engine = make_engine(server.attach(), statement_timeout_ms=30_000)
    question, reader = questions(engine), Reader("heads", "id")

    def fresh(reader):
        with suppress(StorageUnavailable), question() as connection:
            return [reader.fresh(connection)]

    with question() as connection:
        connection.exec_driver_sql("CREATE TABLE heads (id int, written bigint)")
    assert [fresh(reader), fresh(reader)] == [[None], [[]]]
    with question() as connection:
        os.kill(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one(), signal.SIGKILL)
    until(lambda: fresh(Reader("heads", "id")))
    assert [fresh(reader), fresh(reader)] == [[None], [[]]]
    engine.dispose()
    server.detach(stop=True)


@pytest.mark.parametrize(
    ("after", "nobody_knows"),
    [
        ({}, False),
        ({"oldest": 99}, True),  # another server, which has counted less
        ({"server": NOON + timedelta(hours=1)}, True),  # it was started anew
        ({"recovered": NOON + timedelta(hours=1)}, True),  # it has recovered from a crash
        ({"next": 101 + FAR}, True),  # somebody's transaction has been open for long
        ({"asked_at": NOON + timedelta(minutes=31)}, True),  # what was written meanwhile may be thrown away by now
        ({"oldest": 200, "asked_at": NOON + timedelta(minutes=29)}, False),
    ],
)
def test_a_reader_begins_anew_where_it_may_have_missed_something(after, nobody_knows):
    start = NOON - timedelta(days=1)
    place: Any = SimpleNamespace(oldest=100, next=101, server=start, recovered=start, asked_at=NOON)
    assert _goes_on(place, SimpleNamespace(**vars(place) | after)) is not nobody_knows  # type: ignore[arg-type]


def test_a_reader_that_forgets_begins_anew(engine, users):
    heads, question = Reader("feed_heads", "user_id, last_id"), questions(engine)
    with question() as connection:
        assert [heads.fresh(connection), heads.fresh(connection)] == [None, []]
        heads.forget()
        assert heads.fresh(connection) is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE profiles SET role = 'admin' WHERE id = :user",
        "UPDATE profiles SET organization_id = 'org_new' WHERE id = :user",
        "UPDATE api_tokens SET revoked_at = now() WHERE user_id = :user",
        "UPDATE api_tokens SET expires_at = now() WHERE user_id = :user",
        "DELETE FROM api_tokens WHERE user_id = :user",
        "DELETE FROM profiles WHERE id = :user",
    ],
)
def test_who_changes_rights_by_whatever_means_is_noted(engine, users, change):
    rights = Rights(questions(engine))
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO api_tokens (user_id, token_hash, name) VALUES (:user, '\\x01', 'x')"), {"user": users[0]}
        )
    assert rights.touched() is None
    assert rights.touched() == set()
    with engine.begin() as connection:
        connection.execute(text(change), {"user": users[0]})
        assert rights.touched() == set()  # not before it is so for everybody
    assert rights.touched() == {users[0]}
    assert rights.touched() == set()


def test_what_has_nothing_to_do_with_rights_is_not_noted(engine, users):
    rights = Rights(questions(engine))
    rights.touched()
    with engine.begin() as connection:
        connection.execute(text("UPDATE profiles SET email = 'a@example.org', updated_at = now()"))
    assert rights.touched() == set()


def test_those_are_named_of_whom_something_else_is_so(engine, users):
    rights = Rights(questions(engine))
    gone = Principal(user_id=uuid4())
    same, other = (Principal(user_id=user) for user in users)
    with engine.begin() as connection:
        connection.execute(text("UPDATE profiles SET role = 'admin' WHERE id = :user"), {"user": other.user_id})
    assert rights.changed([gone, same, other]) == {gone: None, other: Principal(user_id=other.user_id, role="admin")}


def test_old_notes_are_dropped(engine, users, rows):
    with engine.begin() as connection:
        connection.execute(text("UPDATE profiles SET role = 'admin'"))
        connection.execute(
            text("UPDATE rights_changes SET at = now() - CAST('2 hours' AS interval) WHERE user_id = :user"),
            {"user": users[0]},
        )
        assert prune(connection, KEPT) == 1
    left = rows("SELECT user_id FROM rights_changes WHERE user_id IN (:a, :b)", a=users[0], b=users[1])
    assert left == [{"user_id": users[1]}]
