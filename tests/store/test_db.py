"""The way to the database, and the wake-ups on it."""

import logging
import threading
import time
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError

from core.db import questions, straight, transactions
from core.dburl import libpq_url
from core.errors import StorageUnavailable
from core.wake import Bell, Listener
from tests.waiting import until

SAID = "so entre nos dois"
USER = UUID("550e8400-e29b-41d4-a716-446655440000")


def test_an_error_does_not_quote_what_was_sent(engine):
    with engine.connect() as connection, pytest.raises(DataError) as caught:
        connection.execute(text("SELECT CAST(:said AS text), 1 / (CAST(:said AS text) IS NULL)::int"), {"said": SAID})
    assert SAID not in str(caught.value)


@pytest.mark.parametrize("kind", [questions, transactions])
def test_a_straight_question_is_answered_alike_and_a_lost_connection_is_not_used_again(engine, rows, kind):
    statement = "SELECT CAST(%s AS uuid), CAST(%s AS jsonb), pg_backend_pid()"
    asked = (str(USER), '{"a": [1]}')
    with kind(engine)() as connection:
        [(user, data, _)] = straight(connection, statement, asked)
    assert (user, data) == (USER, {"a": [1]})

    def ask_after_it_was_cut() -> None:
        with kind(engine)() as connection:
            [(_, _, pid)] = straight(connection, statement, asked)
            rows("SELECT pg_terminate_backend(:pid)", pid=pid)
            until(lambda: rows("SELECT FROM pg_stat_activity WHERE pid = :pid", pid=pid), lambda left: not left)
            cut.append(pid)
            straight(connection, statement, asked)

    cut: list[int] = []
    with pytest.raises(StorageUnavailable):
        ask_after_it_was_cut()
    with kind(engine)() as one, kind(engine)() as two:
        assert cut[0] not in [straight(connection, statement, asked)[0][2] for connection in (one, two)]


def test_a_listener_hears_and_stops_at_once(database_url, caplog):
    heard, rung = [], threading.Event()

    def hear(topics):
        heard.append(topics)
        if "ana" in topics:
            rung.set()

    bell, listener = Bell(libpq_url(database_url)), Listener(libpq_url(database_url), "test_wake", hear)
    listener.start()
    bell.start()
    while not heard:
        time.sleep(0.01)
    bell.ring("test_wake", ["ana"])
    assert rung.wait(60)
    bell.stop()
    with caplog.at_level(logging.WARNING):
        listener.stop()
    assert not listener._thread.is_alive()
    assert caplog.records == []
    listener.stop()
