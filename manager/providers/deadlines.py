"""A total deadline for calls over the network: when it is over, their connections are shut.

Socket timeouts bound one wait only: a server that drips a byte a second, of its head, its body or its TLS greeting,
holds its caller for ever. Called by `http`. One thread serves all calls of a transport; it starts with the first
call, ends when nothing has been asked for a while, and works alike under threads and gevent.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

IDLE_S = 10.0


class Watch:
    """One call's time: `over` once it has run out. A connection that it holds by then, or later, is shut."""

    def __init__(self, until: float) -> None:
        self.until, self.over = until, False
        self._held: list[socket.socket] = []
        self._lock = threading.Lock()

    @property
    def left_s(self) -> float:
        """How long the call may still take: a little more than nothing where its time is over."""
        return max(self.until - time.monotonic(), 0.001)

    def hold(self, connection: socket.socket) -> None:
        """Shut this one too when time is over. Ours is a second handle: TLS takes the socket away from its owner,
        and a number that was closed and given to another connection must not be shut by mistake.
        """
        with self._lock:
            self._held.append(socket.socket(fileno=os.dup(connection.fileno())))
            if self.over:
                self._shut_all()

    def shut(self) -> None:
        with self._lock:
            self.over = True
            self._shut_all()

    def release(self) -> None:
        with self._lock:
            for handle in self._held:
                handle.close()
            self._held.clear()

    def _shut_all(self) -> None:
        for handle in self._held:
            with contextlib.suppress(OSError):  # the other side was faster
                handle.shutdown(socket.SHUT_RDWR)


class Deadlines:
    """Safe for many threads."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._watches: set[Watch] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[Watch]:
        """Give the block this long."""
        watch = Watch(time.monotonic() + seconds)
        with self._changed:
            self._watches.add(watch)
            self._wake(watch)
        try:
            yield watch
        finally:
            with self._changed:
                self._watches.discard(watch)
            watch.release()

    def _wake(self, watch: Watch) -> None:
        """The thread, where it sleeps beyond this one's end. After a fork there is none in the child."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
            self._thread.start()
        elif watch.until <= min(other.until for other in self._watches):
            self._changed.notify()

    def _run(self) -> None:
        while (overdue := self._next()) is not None:
            for watch in overdue:
                watch.shut()

    def _next(self) -> list[Watch] | None:
        """Wait for something to be overdue, or for news; None when there has been nothing to do."""
        with self._changed:
            if not self._watches and not self._changed.wait(self._idle_s) and not self._watches:
                self._thread = None
                return None
            now = time.monotonic()
            overdue = [watch for watch in self._watches if watch.until <= now]
            self._watches.difference_update(overdue)
            if not overdue and self._watches:
                self._changed.wait(min(min(watch.until for watch in self._watches) - now, self._idle_s))
            return overdue
