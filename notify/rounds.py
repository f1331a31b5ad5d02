"""Everybody once a period, in slices: no look takes long, however many they are."""

import time
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

T = TypeVar("T")
CATCH_UP_S = 0.1  # of so much lateness: a round of many slices would take much longer than its period


class Rounds(Generic[T]):
    """`everybody` is asked when a round begins; who comes later is in the next one. `size` of a slice."""

    def __init__(self, everybody: Callable[[], Collection[T]], period_s: float, *, size: int) -> None:
        self._everybody, self._period_s, self._size = everybody, period_s, size
        self._left: list[list[T]] = []
        self._step_s, self._due = period_s, 0.0

    def due_in(self) -> float:
        """Seconds until the next slice."""
        return max(0.0, self._due - time.monotonic())

    def next(self) -> list[T]:
        """The slice that is due; [] while none is."""
        if self.due_in() > 0:
            return []
        if not self._left:
            everybody = list(self._everybody())
            self._left = [everybody[at : at + self._size] for at in range(0, len(everybody), self._size)]
            self._step_s = self._period_s / max(1, len(self._left))
        self._due = max(self._due, time.monotonic() - CATCH_UP_S) + self._step_s
        return self._left.pop(0) if self._left else []
