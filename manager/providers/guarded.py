"""Any provider, behind retries (tenacity) and a circuit breaker (pybreaker).

pybreaker holds its lock over what it calls, so the call is made outside it: ask the breaker, call, report the
outcome. One breaker a server; only trouble of the server counts, never that of one instance. Retries stand
outside the breaker, only for what may be repeated, and not at all while it is open.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pybreaker
import structlog
import tenacity

from core.errors import BadResponse, CircuitOpen, ProviderError, TimedOut, Unavailable
from manager.providers.port import Hook, Provider, Snapshot

log = structlog.get_logger()
T = TypeVar("T")
FOR_EVER_S = 1e9
LEFT_ALONE = "The gateway has failed too often, it is left alone for a while"
RETRY_SHARE = 0.1  # retries may add a tenth to the calls, so that a failing server is not buried
RETRY_CREDIT = 10.0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The seed's numbers: 3 attempts, 1 s, ×2, at most 30 s; 5 failures within 60 s open for 30 s (X28)."""

    attempts: int = 3
    first_delay_s: float = 1.0
    longest_delay_s: float = 30.0
    begin_within_s: float = 15.0  # no attempt begins later: with the client's 90 s it ends within a lease's 105 s
    failures: int = 5
    window_s: float = 60.0
    open_s: float = 30.0


class Breaker:
    """Lets calls pass while the server is well. Half open, one probe at a time."""

    def __init__(self, policy: Policy, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._monotonic = policy, monotonic
        self._memory = _Memory(policy, monotonic)
        # pybreaker counts and remembers; that the open time is over is decided here, by a clock that cannot jump
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=policy.failures,
            reset_timeout=FOR_EVER_S,
            exclude=[lambda error: not blames_server(error)],
            state_storage=self._memory,
        )
        self._probe = threading.Lock()

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        return str(self._breaker.current_state)

    def call(self, function: Callable[[], T]) -> T:
        """Raises CircuitOpen without calling, or what the function raises."""
        if self.state == pybreaker.STATE_CLOSED:
            return self._observed(function)
        if not self._probe.acquire(blocking=False):
            raise CircuitOpen(LEFT_ALONE)
        try:
            self._half_open()
            return self._observed(function)
        finally:
            self._probe.release()

    def _half_open(self) -> None:
        """Whoever waited for the probe's turn may find the breaker closed, or open again."""
        if self.state == pybreaker.STATE_OPEN:
            if self._monotonic() - self._memory.since < self._policy.open_s:
                raise CircuitOpen(LEFT_ALONE)
            self._breaker.half_open()

    def _observed(self, function: Callable[[], T]) -> T:
        try:
            result = function()
        except ProviderError as error:
            self._report(error)
            raise
        self._report(None)
        return result

    def _report(self, error: ProviderError | None) -> None:
        """Tell pybreaker; what it raises in turn is not news. Open, it does not hear of calls that were under way."""

        def outcome() -> None:
            if error:
                raise error

        with contextlib.suppress(ProviderError, pybreaker.CircuitBreakerError):
            self._breaker.call(outcome)


class _Memory(pybreaker.CircuitMemoryStorage):
    """pybreaker's memory, where failures count for the window only. `since`: the time of the last change of state."""

    def __init__(self, policy: Policy, monotonic: Callable[[], float]) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._window_s, self._monotonic, self.since = policy.window_s, monotonic, monotonic()
        self._failed_at: deque[float] = deque(maxlen=policy.failures)

    def increment_counter(self) -> None:
        self._failed_at.append(self._monotonic())

    def reset_counter(self) -> None:
        self._failed_at.clear()

    @property
    def counter(self) -> int:
        since = self._monotonic() - self._window_s
        return sum(failed_at >= since for failed_at in self._failed_at)

    @property
    def state(self) -> str:
        return str(self._state)

    @state.setter
    def state(self, state: str) -> None:
        self._state, self.since = state, self._monotonic()
        log.info("breaker_changed", state=state)


class Guarded:
    """A Provider that wraps another. `sleep` and `monotonic` are the tests' seams."""

    def __init__(
        self,
        provider: Provider,
        policy: Policy,
        breaker: Breaker,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider, self.breaker = provider, breaker
        self._budget = Budget()
        self._policy, self._sleep, self._monotonic = policy, sleep, monotonic

    def create(self, name: str, hook: Hook) -> Snapshot:
        return self._try(lambda: self._provider.create(name, hook), repeatable=False)

    def connect(self, name: str) -> Snapshot:
        return self._try(lambda: self._provider.connect(name), repeatable=True)

    def state(self, name: str) -> Snapshot:
        return self._try(lambda: self._provider.state(name), repeatable=True)

    def set_hook(self, name: str, hook: Hook) -> None:
        self._try(lambda: self._provider.set_hook(name, hook), repeatable=True)

    def _try(self, function: Callable[[], T], *, repeatable: bool) -> T:
        """Attempts with exponential, jittered waits; what may have had an effect is not repeated."""

        begun_at = self._monotonic()

        def again(attempt: tenacity.RetryCallState) -> bool:
            error = attempt.outcome.exception() if attempt.outcome else None
            return (
                error is not None
                and worth_repeating(error, repeatable)
                and attempt.attempt_number < self._policy.attempts
                and self._monotonic() - begun_at < self._policy.begin_within_s
                and self._budget.spend()
            )

        self._budget.earn()
        retrying = tenacity.Retrying(
            wait=tenacity.wait_exponential_jitter(
                multiplier=self._policy.first_delay_s,
                max=self._policy.longest_delay_s,
                jitter=self._policy.first_delay_s / 4,
            ),
            retry=again,
            sleep=self._sleep,
        )
        return retrying(lambda: self.breaker.call(function))


class Budget:
    """Every call earns a tenth of a retry; ten are given at the start and kept at most."""

    def __init__(self) -> None:
        self._credit = RETRY_CREDIT
        self._lock = threading.Lock()

    def earn(self) -> None:
        with self._lock:
            self._credit = min(RETRY_CREDIT, self._credit + RETRY_SHARE)

    def spend(self) -> bool:
        with self._lock:
            affordable = self._credit >= 1
            self._credit -= 1 if affordable else 0
        return affordable


def blames_server(error: BaseException) -> bool:
    """Out of reach, too slow, or answering with nonsense; a 4xx or 5xx about one instance is not."""
    return isinstance(error, Unavailable | TimedOut | BadResponse)


def worth_repeating(error: BaseException, repeatable: bool) -> bool:
    if isinstance(error, CircuitOpen):
        return False
    if isinstance(error, Unavailable):
        return repeatable or not error.sent
    return repeatable and isinstance(error, TimedOut)
