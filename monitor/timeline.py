"""The monitor's own time: the database's, without its jumps.

Between two readings of the database's clock it runs by the machine's monotonic one; where the database's has drifted
away (NTP, a change of host) it is followed slowly, so that no interval, deadline or count ever sees more than a tenth
of it. A leap of more than two minutes is believed: the judge knows what to make of a clock that was set back, and of
time in which nobody looked.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

LEAP = timedelta(minutes=2)


class Timeline:
    """A Clock. `heard` is told the database's time now and then; the first reading is believed as it is."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic, self._lock = monotonic, threading.Lock()
        self._known: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        with self._lock:
            return self._now()

    def heard(self, database_now: datetime) -> None:
        with self._lock:
            if self._known is None:
                self._known = database_now, self._monotonic()
                return
            own, slack = self._now(), timedelta(seconds=(self._monotonic() - self._known[1]) / 10)
            drift = database_now - own
            followed = drift if abs(drift) > LEAP else max(-slack, min(slack, drift))
            self._known = own + followed, self._monotonic()

    def forget(self) -> None:
        """Believe the next reading as it is: we have not led for a while, perhaps the whole machine slept."""
        with self._lock:
            self._known = None

    def _now(self) -> datetime:
        if self._known is None:
            return datetime.now(UTC)
        at, read_at = self._known
        return at + timedelta(seconds=self._monotonic() - read_at)
