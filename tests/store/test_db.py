"""The way to the database, and the wake-ups on it."""

import logging
import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError

from core.dburl import libpq_url
from core.wake import Bell, Listener

SAID = "so entre nos dois"


def test_an_error_does_not_quote_what_was_sent(engine):
    with engine.connect() as connection, pytest.raises(DataError) as caught:
        connection.execute(text("SELECT CAST(:said AS text), 1 / (CAST(:said AS text) IS NULL)::int"), {"said": SAID})
    assert SAID not in str(caught.value)


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
    assert rung.wait(10)
    bell.stop()
    with caplog.at_level(logging.WARNING):
        began = time.monotonic()
        listener.stop()
        took = time.monotonic() - began
    assert took < 0.5
    assert not listener._thread.is_alive()
    assert caplog.records == []
    listener.stop()
