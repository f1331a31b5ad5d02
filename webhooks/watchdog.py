"""A batch that hangs ends its process, so that the supervisor starts another one.

Python cannot stop a thread that hangs. The lanes' crash marker then finds the event that made it hang.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import structlog

log = structlog.get_logger()
LONGEST_S = 30
LOOK_EVERY_S = 1.0
GAVE_UP = 70  # the exit code: EX_SOFTWARE


def end_process() -> None:
    """At once: whatever would be cleaned up may be what hangs."""
    os._exit(GAVE_UP)


class Watchdog:
    """It counts its own looks and no clock: a process that was stopped for a minute has not hung for one."""

    def __init__(self, give_up: Callable[[], None] = end_process) -> None:
        self._give_up = give_up
        self._busy_for: int | None = None

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Whatever is done inside may take 30 s."""
        self._busy_for = 0
        try:
            yield
        finally:
            self._busy_for = None

    def look(self) -> None:
        """To be called every second."""
        if self._busy_for is None:
            return
        self._busy_for += 1
        if self._busy_for > LONGEST_S:
            log.error("worker_hangs", seconds=LONGEST_S)
            self._give_up()

    def run(self, stopping: threading.Event) -> None:
        while not stopping.wait(LOOK_EVERY_S):
            self.look()
