"""Answers of somebody slow: kept for a few seconds, and waited for no longer than is good for who asks."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any, TypeVar

from core.clock import Clock
from core.errors import StorageUnavailable

T = TypeVar("T")
KEPT = timedelta(seconds=5)
MOST_KEPT = 20_000
WAIT_S = 2.0


class Memory:
    """Keys are tuples that say what was asked."""

    def __init__(self, clock: Clock, *, wait_s: float = WAIT_S) -> None:
        self._clock, self._wait_s = clock, wait_s
        self._kept: dict[tuple[str, object], tuple[datetime, Any]] = {}
        self._lock = threading.Lock()

    def recall(self, key: tuple[str, object], default: T) -> T:
        """The answer of less than 5 seconds ago, or `default`."""
        at, answer = self._kept.get(key, (None, default))
        return default if at is None or self._clock.now() - at >= KEPT else answer

    def ask(self, key: tuple[str, object], question: Callable[[], T], *, keep: Callable[[T], bool] = bool) -> T:
        """The answer of now; what `keep` likes is kept. Raises what `question` raises, and StorageUnavailable.

        In a thread of its own: a database that is frozen, or cut off from us, does not even fail.
        """
        now, answered = self._clock.now(), Future[T]()

        def ask() -> None:
            try:
                answered.set_result(question())
            except Exception as error:
                answered.set_exception(error)

        threading.Thread(target=ask, name="gate-asks", daemon=True).start()
        try:
            answer = answered.result(self._wait_s)
        except TimeoutError:
            raise StorageUnavailable("The database does not answer in time") from None
        if keep(answer):
            with self._lock:
                if len(self._kept) >= MOST_KEPT:
                    self._kept.clear()
                self._kept[key] = (now, answer)
        return answer
