"""How many calls a server gets at once. Called by `guarded`.

A gateway that hangs holds every caller for a minute; without a limit it would hold all of our threads.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from core.errors import Busy

T = TypeVar("T")


class Bulkhead:
    def __init__(self, places: int, within_s: float) -> None:
        self._places, self._within_s = threading.BoundedSemaphore(places), within_s

    def call(self, function: Callable[[], T]) -> T:
        """Raises Busy where no place becomes free in time; then nothing was called."""
        if not self._places.acquire(timeout=self._within_s):
            raise Busy("The gateway has too much to do, try again")
        try:
            return function()
        finally:
            self._places.release()
