"""What becomes of an event that failed: again, after a while, or parked. Pure."""

import traceback
from datetime import timedelta
from pathlib import PurePath

from core.errors import AppError, StorageUnavailable

TRIES = 5
LONGEST = timedelta(seconds=30)
ONE_STATEMENTS = ("40", "55", "57014")  # SQLSTATEs: deadlock, no lock to be had, cancelled for taking too long


def again_in(error: Exception, attempts: int) -> timedelta | None:
    """How long the lane rests before the next try: 1, 2, 4 … 30 s; None parks the event.

    Only errors that say so (`retryable`) may pass by themselves, and are tried five times. Any other is a bug of ours:
    a fold is pure and fails the same way again, so the event is parked after one try in its batch and one alone; 15 s
    of more tries would hold up the events behind it and end alike. The database's trouble is never the event's fault:
    it is tried for ever.
    """
    if not (isinstance(error, AppError) and error.retryable):
        return None
    if attempts + 1 >= TRIES and not isinstance(error, StorageUnavailable):
        return None
    return min(timedelta(seconds=2.0 ** min(attempts, 10)), LONGEST)


def may_be_one_event(error: Exception) -> bool:
    """Whether the batch may fare better event by event; not where the database itself is gone."""
    if not isinstance(error, StorageUnavailable):
        return True
    return (error.details.get("dbCode") or "").startswith(ONE_STATEMENTS)


def reason(error: Exception) -> str:
    """The error's kind and where it happened; not its message, which may quote what people wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    codes = (error.code, error.details.get("dbCode")) if isinstance(error, AppError) else ()
    return " ".join([type(error).__name__, *(code for code in codes if code)]) + place
