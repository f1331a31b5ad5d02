"""The one place where the stand-in waits: one thread runs what is due, and waits are stretched or shrunk by
the scale.

Steps run in the timer's thread one after the other, so they must be short: network calls go to `delivery`'s
workers.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

Step = Callable[[], None]


class Timers:
    """`scale` 1.0 waits as long as the real server does, 0 hardly at all."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self._due: list[tuple[float, int, Step]] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="sandbox-timers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What is planned is forgotten; whoever pauses is woken."""
        self._stopping.set()
        self.clear()
        if self._thread is not None:
            self._thread.join(timeout=2)
            self._thread = None

    def after(self, delay_s: float, step: Step, *, at_least_s: float = 0.0) -> None:
        """Run `step` after `delay_s` scaled seconds, but never before `at_least_s` real ones."""
        due = time.monotonic() + max(delay_s * self.scale, at_least_s)
        with self._wake:
            heapq.heappush(self._due, (due, next(self._order), step))
            self._wake.notify()

    def clear(self) -> None:
        with self._wake:
            self._due.clear()
            self._wake.notify()

    def pause(self, delay_s: float) -> None:
        """Hold the calling thread for `delay_s` scaled seconds, or until the server stops."""
        self._stopping.wait(delay_s * self.scale)

    def _run(self) -> None:
        while not self._stopping.is_set():
            step = self._next()
            if step is None:
                continue
            try:
                step()
            except Exception:
                _log.exception("a planned step failed")

    def _next(self) -> Step | None:
        """The step that is due, or None after a wait that ended because something changed."""
        with self._wake:
            if self._stopping.is_set():
                return None
            wait_s = self._due[0][0] - time.monotonic() if self._due else None
            if wait_s is None or wait_s > 0:
                self._wake.wait(wait_s)
                return None
            return heapq.heappop(self._due)[2]
