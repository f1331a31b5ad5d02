"""Waiting for something real to happen, with a guard."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], good: Callable[[T], object] = bool, guard_s: float = 60.0) -> T:
    """Look again and again until it is good; fails with what was seen last."""
    give_up_at = time.monotonic() + guard_s
    while not good(seen := look()):
        assert time.monotonic() < give_up_at, f"never came, last seen: {seen!r}"
        time.sleep(0.02)
    return seen
