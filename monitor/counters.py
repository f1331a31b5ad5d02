"""What the monitor's process counts of its own work, for /metrics: steps, checks, attempts, alerts.

Counted where it happens and not in the tables: rows go with their instance or their retention, and a counter that
falls is taken for one that began anew. No label ever names an instance, a person or a gateway.
"""

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from prometheus_client import Counter, Histogram

from core.errors import AppError
from monitor.policy.health import Action
from monitor.watching.probe import Look, Probe, Survey, Target
from monitor.watching.watched import OVERTAKEN, SHOWS_CODE

OTHER = "other"
ANSWERS = ("asked", "open", SHOWS_CODE, OVERTAKEN, "crashed")
BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TICKS = Histogram("zelador_tick_seconds", "Steps of the watch that went well", buckets=BUCKETS_S)
FAILURES = Counter("zelador_tick_failures", "Steps of the watch that broke off")
CHECKS = Counter("zelador_checks", "Looks at an instance, and what they found", ["found"])
ATTEMPTS = Counter(
    "zelador_reconnect_attempts", "Attempts to reconnect, and what they were answered", ["action", "outcome"]
)
ALERTS = Counter("zelador_alerts", "What people were told", ["kind"])


class Ticks:
    """The steps of this process: how long each took, and when the last one went well."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._done_at: float | None = None

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around a step."""
        began = self._monotonic()
        try:
            yield
        except Exception:
            FAILURES.inc()
            raise
        self._done_at = self._monotonic()
        TICKS.observe(self._done_at - began)

    def went_well_within(self, limit: timedelta) -> bool:
        return self._done_at is not None and self._monotonic() - self._done_at <= limit.total_seconds()


class CountingProbe(Probe):
    """A Probe whose looks are counted."""

    def look(self, targets: Sequence[Target], surveyed: Survey) -> Look:
        found = super().look(targets, surveyed)
        words = Tally([*found.states.values(), *found.troubles.values(), *([found.trouble] if found.trouble else [])])
        for word, times in words.items():
            CHECKS.labels(str(word)).inc(times)
        return found


def tried(action: Action, outcome: str) -> None:
    """An attempt has ended. `outcome`: as in monitor.watching.watched.Answer."""
    ATTEMPTS.labels(action.value, outcome if outcome in (*ANSWERS, *_codes(AppError)) else OTHER).inc()


def told(kinds: Iterable[str]) -> None:
    """Alerts have been written down."""
    for kind in kinds:
        ALERTS.labels(str(kind)).inc()


def _codes(family: type[AppError]) -> Iterator[str]:
    """Of all errors that there are: an error may bring a code of its own, and those have no end."""
    yield family.code.lower()
    for kind in family.__subclasses__():
        yield from _codes(kind)
