"""Whose trouble is a failure: the server's, one instance's, or the operator's? Called by `guarded`.

Out of reach is the server's trouble. A 4xx or 5xx that makes sense is the instance's; a refused key or a missing
licence is the operator's: both show a server that lives. A time-out or nonsense may be either's: while other
instances have been answered within the window it counts once for each name, so that one that hangs does not take the
gateway from all; where nobody else has been answered, every one counts.
"""

import math
import threading
from collections.abc import Callable

from core.errors import BadResponse, Busy, CircuitOpen, ProviderError, RateLimited, TimedOut, Unavailable


class Blame:
    """What is known of the streak of failures. `subject` is an instance's name, or another kind of call."""

    def __init__(self, window_s: float, monotonic: Callable[[], float]) -> None:
        self._window_s, self._monotonic = window_s, monotonic
        self._lock = threading.Lock()
        self._suspects: set[str] = set()
        self._last, self._last_at = "", -math.inf
        self._other_at = -math.inf  # when one that is not `_last` was last answered

    def answered(self, subject: str) -> None:
        """A sign of life: the streak is over."""
        with self._lock:
            if subject != self._last:
                self._last, self._other_at = subject, self._last_at
            self._last_at = self._monotonic()
            self._suspects.clear()

    def counts(self, error: ProviderError, subject: str) -> bool:
        """Whether this failure is one more of the server's."""
        if not isinstance(error, TimedOut | BadResponse):
            return True
        with self._lock:
            answered_at = self._other_at if subject == self._last else self._last_at
            others_live = self._monotonic() - answered_at < self._window_s
            counted = subject in self._suspects
            self._suspects.add(subject)
        return not (counted and others_live)


def blames_server(error: BaseException) -> bool:
    """Out of reach, too slow, or answering with nonsense; a 4xx or 5xx about one instance is not."""
    return isinstance(error, Unavailable | TimedOut | BadResponse)


def worth_repeating(error: BaseException, repeatable: bool) -> bool:
    if isinstance(error, CircuitOpen | Busy):
        return False
    if isinstance(error, RateLimited):
        return repeatable and "retry_after_s" in error.details
    if isinstance(error, Unavailable):
        return repeatable or not error.sent
    return repeatable and isinstance(error, TimedOut)
