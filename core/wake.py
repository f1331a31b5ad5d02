"""Wake-ups between processes: a hint that rows have come. Rows are the truth and polling is the floor.

`Bell` sends, `Listener` hears; both on connections of their own, never inside a transaction that writes rows
(a NOTIFY there would make commits queue up behind each other).
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable

import psycopg
import structlog

from core.db import PATIENCE

log = structlog.get_logger()
GAP_S = 0.05  # at most 20 NOTIFY a second and process
# a hint need not reach the disk: the server sends it at once, not when its log is synced. (Also through a pooler, which
# would refuse the same as an option of the connection.)
NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)"
MAX_PAYLOAD = 7_900  # PostgreSQL's limit is 8,000 bytes
ALL = "*"
RETRY_S = 1.0


class Bell:
    """Collects what was rung and sends one coalesced NOTIFY per channel, at most every 50 ms."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._rung: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def ring(self, channel: str, topics: Iterable[str] | None = None) -> None:
        """Wake listeners of `channel`; `topics` says what for (user ids), none means everything."""
        with self._lock:
            self._rung.setdefault(channel, set()).update(topics or [ALL])
        self._due.set()

    def _run(self) -> None:
        while self._due.wait() and not self._stopping.is_set():  # no connection before there is a need
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=3, **PATIENCE) as connection:
                    self._serve(connection)
            except psycopg.Error as error:
                log.warning("bell_lost", error=type(error).__name__)
                self._stopping.wait(RETRY_S)

    def _serve(self, connection: psycopg.Connection) -> None:
        while self._due.wait() and not self._stopping.is_set():
            self._due.clear()
            with self._lock:
                rung, self._rung = self._rung, {}
            for channel, topics in rung.items():
                connection.execute(NOTIFY, (channel, payload(topics)))
            self._stopping.wait(GAP_S)


def payload(topics: set[str]) -> str:
    """The topics as one NOTIFY payload, or `*` where they do not fit."""
    joined = ",".join(sorted(topics))
    return ALL if ALL in topics or len(joined) > MAX_PAYLOAD else joined


class Listener:
    """Calls `heard(topics)` for every wake-up on a channel, from a thread of its own; reconnects by itself."""

    def __init__(self, url: str, channel: str, heard: Callable[[set[str]], None]) -> None:
        self._url, self._channel, self._heard = url, channel, heard
        self._connection: psycopg.Connection | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"listen-{channel}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._hang_up()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _hang_up(self) -> None:
        """Wake the thread that waits for notices: to it the server is gone."""
        if connection := self._connection:
            with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(psycopg.Error):
                self._listen()
            self._stopping.wait(RETRY_S)

    def _listen(self) -> None:
        with psycopg.connect(self._url, autocommit=True, connect_timeout=3, **PATIENCE) as connection:
            connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel)))
            self._connection = connection
            self._heard({ALL})  # something may have come while nobody listened
            while not self._stopping.is_set():
                for notice in connection.notifies(stop_after=1):
                    self._heard(set(notice.payload.split(",")))
