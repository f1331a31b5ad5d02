"""Any provider, behind retries (tenacity) and a circuit breaker (pybreaker).

pybreaker holds its lock over what it calls, so the call is made outside it: ask the breaker, call, report the
outcome. One breaker a server; only trouble of the server counts, never that of one instance. Retries stand
outside the breaker, only for what may be repeated, and not at all while it is open.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pybreaker
import tenacity

from core.errors import BadResponse, CircuitOpen, ProviderError, TimedOut, Unavailable
from manager.providers.port import Hook, Provider, Snapshot

T = TypeVar("T")
RETRY_SHARE = 0.1  # retries may add a tenth to the calls, so that a failing server is not buried
RETRY_CREDIT = 10.0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The seed's numbers: 3 attempts, 1 s, ×2, at most 30 s; 5 failures within 60 s open for 30 s (X28)."""

    attempts: int = 3
    first_delay_s: float = 1.0
    longest_delay_s: float = 30.0
    failures: int = 5
    window_s: float = 60.0
    open_s: float = 30.0


class Breaker:
    """Lets calls pass while the server is well. Half open, one probe at a time."""

    def __init__(self, policy: Policy, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._monotonic = policy, monotonic
        # pybreaker counts and remembers; that the open time is over is decided here, by a clock that cannot jump
        self._breaker = pybreaker.CircuitBreaker(fail_max=policy.failures, reset_timeout=0)
        self._failed_at: deque[float] = deque(maxlen=policy.failures)
        self._opened_at = 0.0
        self._probe = threading.Lock()

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        return str(self._breaker.current_state)

    def call(self, function: Callable[[], T]) -> T:
        """Raises CircuitOpen without calling, or what the function raises."""
        if self.state == pybreaker.STATE_CLOSED:
            return self._observed(function)
        if self._monotonic() - self._opened_at < self._policy.open_s or not self._probe.acquire(blocking=False):
            raise CircuitOpen("The gateway has failed too often, it is left alone for a while")
        try:
            self._breaker.half_open()
            return self._observed(function)
        finally:
            self._probe.release()

    def _observed(self, function: Callable[[], T]) -> T:
        try:
            result = function()
        except ProviderError as error:
            self._failed(error) if blames_server(error) else self._succeeded()
            raise
        self._succeeded()
        return result

    def _succeeded(self) -> None:
        self._failed_at.clear()
        self._report(lambda: None)

    def _failed(self, error: ProviderError) -> None:
        now = self._monotonic()
        if self._failed_at and now - self._failed_at[-1] > self._policy.window_s:
            self._report(lambda: None)  # the streak is too old to count on
        self._failed_at.append(now)
        was = self.state

        def fail() -> None:
            raise error

        self._report(fail)
        if was != pybreaker.STATE_OPEN and self.state == pybreaker.STATE_OPEN:
            self._opened_at = now

    def _report(self, outcome: Callable[[], None]) -> None:
        """Tell pybreaker; what it raises in turn is not news. Open, it is not told of calls that were under way."""
        if self.state == pybreaker.STATE_OPEN:
            return
        try:
            self._breaker.call(outcome)
        except (ProviderError, pybreaker.CircuitBreakerError):
            return


class Guarded:
    """A Provider that wraps another. `sleep` is the tests' seam."""

    def __init__(
        self,
        provider: Provider,
        policy: Policy,
        breaker: Breaker,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._provider, self.breaker = provider, breaker
        self._budget = Budget()
        self._policy, self._sleep = policy, sleep

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

        def again(error: BaseException) -> bool:
            return worth_repeating(error, repeatable) and self._budget.spend()

        self._budget.earn()
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._policy.attempts),
            wait=tenacity.wait_exponential_jitter(
                initial=self._policy.first_delay_s,
                max=self._policy.longest_delay_s,
                jitter=self._policy.first_delay_s / 4,
            ),
            retry=tenacity.retry_if_exception(again),
            sleep=self._sleep,
            reraise=True,
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


def blames_server(error: ProviderError) -> bool:
    """Out of reach, too slow, or answering with nonsense; a 4xx or 5xx about one instance is not."""
    return isinstance(error, Unavailable | TimedOut | BadResponse)


def worth_repeating(error: BaseException, repeatable: bool) -> bool:
    if isinstance(error, CircuitOpen):
        return False
    if isinstance(error, Unavailable):
        return repeatable or not error.sent
    return repeatable and isinstance(error, TimedOut)
