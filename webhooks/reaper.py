"""A deadline for bodies that do not come. One thread shuts the reading side of sockets that are overdue.

A WSGI server's `read` waits for as long as the sender drips; shutting the socket makes it return what it has.
Works alike under threads and gevent. Where the server does not show its socket there is no deadline.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

DEADLINE_S = 12.0
LOOK_EVERY_S = 0.5
SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")


class Reaper:
    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._watched: dict[int, tuple[float, socket.socket]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._some = threading.Event()

    @contextlib.contextmanager
    def watch(self, environ: dict[str, Any]) -> Iterator[None]:
        """Give the block until the deadline to read from this request's socket."""
        connection = next((environ[key] for key in SOCKET_KEYS if key in environ), None)
        if connection is None:
            yield
            return
        self._watched[id(environ)] = (time.monotonic() + self._deadline_s, connection)
        if self._thread is None:
            self._start()
        self._some.set()
        try:
            yield
        finally:
            self._watched.pop(id(environ), None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._some.wait():
            self._some.clear()
            while self._watched:
                time.sleep(LOOK_EVERY_S)
                self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Shut what is overdue at `now` (monotonic seconds)."""
        for deadline, connection in list(self._watched.values()):
            if deadline <= now:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
