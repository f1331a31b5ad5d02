"""Any provider, behind retries (tenacity), a bulkhead and a circuit breaker (pybreaker).

pybreaker holds its lock over what it calls, so the call is made outside it: ask the breaker, call, report the
outcome. One breaker a server; only trouble of the server counts, never that of one instance (`blame`). Retries stand
outside, only for what may be repeated, and not at all while the breaker is open. At most 16 calls are in flight; who
finds no place is told so at once (`bulkhead`).
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pybreaker
import structlog
import tenacity

from core.errors import CircuitOpen, ProviderError, ProviderRefused, RateLimited
from manager.providers.blame import Blame, blames_server, worth_repeating
from manager.providers.budget import Budget
from manager.providers.bulkhead import Bulkhead
from manager.providers.port import Found, Hook, HookSeen, Provider, Sent, Snapshot, State

log = structlog.get_logger()
T = TypeVar("T")
FOR_EVER_S = 1e9
KEYLESS = "states"  # the one call that a gateway may answer without looking at our key
VERSION = "version"
UNASKED = (KEYLESS, VERSION)  # None is a client's own word that its gateway offers none: nobody was asked
LEFT_ALONE = "The gateway has failed too often, it is left alone for a while"


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
    in_flight: int = 16
    place_within_s: float = 1.5  # 20 calls of a second each still get through


class Breaker:
    """Lets calls pass while the server is well. Half open, one probe at a time."""

    def __init__(self, policy: Policy, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._monotonic = policy, monotonic
        self._memory, self._blame = _Memory(policy, monotonic), Blame(policy.window_s, monotonic)
        # pybreaker counts and remembers; that the open time is over is decided here, by a clock that cannot jump
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=policy.failures,
            reset_timeout=FOR_EVER_S,
            exclude=[lambda error: not blames_server(error)],
            state_storage=self._memory,
        )
        self._probe = threading.Lock()
        self.refused = False  # our key, by the newest answer that could say so

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        return str(self._breaker.current_state)

    def call(self, function: Callable[[], T], subject: str = "") -> T:
        """`subject`: the instance it is about, or what else. Raises CircuitOpen without calling, or what the function
        raises.
        """
        if self.state == pybreaker.STATE_CLOSED:
            return self._observed(function, subject)
        if not self._probe.acquire(blocking=False):
            raise CircuitOpen(LEFT_ALONE)
        try:
            self._half_open()
            return self._observed(function, subject)
        finally:
            self._probe.release()

    def _half_open(self) -> None:
        """Whoever waited for the probe's turn may find the breaker closed, or open again."""
        if self.state == pybreaker.STATE_OPEN:
            if self._monotonic() - self._memory.since < self._policy.open_s:
                raise CircuitOpen(LEFT_ALONE)
            self._breaker.half_open()

    def _observed(self, function: Callable[[], T], subject: str) -> T:
        try:
            result = function()
        except ProviderError as error:
            self.refused = self.refused or isinstance(error, ProviderRefused)
            if self._counts(error, subject):
                self._report(error)
            raise
        if result is None and subject in UNASKED:
            return result
        self.refused = self.refused and subject == KEYLESS
        self._blame.answered(subject)
        self._report(None)
        return result

    def _counts(self, error: ProviderError, subject: str) -> bool:
        """What is not the server's trouble is a sign of life; of the rest, what may be one instance's counts once.
        A probe counts always.
        """
        if not blames_server(error):
            self._blame.answered(subject)
            return True
        return self._blame.counts(error, subject) or self.state != pybreaker.STATE_CLOSED

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
    """A Provider that wraps another, the `current` one. `sleep` and `monotonic` are the tests' seams."""

    def __init__(
        self,
        current: Callable[[], Provider],
        policy: Policy,
        breaker: Breaker,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._current, self.breaker = current, breaker
        self._budget, self._bulkhead = Budget(), Bulkhead(policy.in_flight, policy.place_within_s)
        self._policy, self._sleep, self._monotonic = policy, sleep, monotonic
        self._usual_wait = tenacity.wait_exponential_jitter(
            multiplier=policy.first_delay_s, max=policy.longest_delay_s, jitter=policy.first_delay_s / 4
        )

    @property
    def silent(self) -> bool:
        return self._current().silent

    def ping(self) -> None:
        self._repeated("ping", lambda: self._current().ping())

    def version(self) -> str | None:
        return self._repeated(VERSION, lambda: self._current().version())

    def instances(self) -> list[Found]:
        return self._repeated("instances", lambda: self._current().instances())

    def states(self) -> Mapping[str, State] | None:
        return self._repeated(KEYLESS, lambda: self._current().states())

    def state(self, name: str) -> Snapshot:
        return self._repeated(name, lambda: self._current().state(name))

    def create(self, name: str, hook: Hook) -> Snapshot:
        return self._once(name, lambda: self._current().create(name, hook))

    def identity(self, name: str) -> Found | None:
        return self._repeated(name, lambda: self._current().identity(name))

    def connect(self, name: str, phone: str | None = None, hook: Hook | None = None) -> Snapshot:
        return self._repeated(name, lambda: self._current().connect(name, phone, hook))

    def restart(self, name: str) -> Snapshot:
        return self._once(name, lambda: self._current().restart(name))

    def logout(self, name: str) -> None:
        self._once(name, lambda: self._current().logout(name))

    def delete(self, name: str) -> None:
        self._once(name, lambda: self._current().delete(name))

    def hook(self, name: str) -> HookSeen | None:
        return self._repeated(name, lambda: self._current().hook(name))

    def set_hook(self, name: str, hook: Hook) -> None:
        self._repeated(name, lambda: self._current().set_hook(name, hook))

    def send_text(self, name: str, to: str, words: str) -> Sent:
        return self._once(name, lambda: self._current().send_text(name, to, words))

    def _repeated(self, subject: str, function: Callable[[], T]) -> T:
        return self._try(subject, function, repeatable=True)

    def _once(self, subject: str, function: Callable[[], T]) -> T:
        """What may have had an effect is not repeated; what never left us is."""
        return self._try(subject, function, repeatable=False)

    def _try(self, subject: str, function: Callable[[], T], *, repeatable: bool) -> T:
        """Attempts with exponential, jittered waits, or with those that the server asked for."""
        begun_at = self._monotonic()

        def again(attempt: tenacity.RetryCallState) -> bool:
            error = attempt.outcome.exception() if attempt.outcome else None
            return (
                error is not None
                and worth_repeating(error, repeatable)
                and attempt.attempt_number < self._policy.attempts
                and self._monotonic() - begun_at + (_told_to_wait(error) or 0) < self._policy.begin_within_s
                and self._budget.spend()
            )

        self._budget.earn()
        retrying = tenacity.Retrying(wait=self._wait, retry=again, sleep=self._sleep)
        return retrying(lambda: self._bulkhead.call(lambda: self.breaker.call(function, subject)))

    def _wait(self, attempt: tenacity.RetryCallState) -> float:
        error = attempt.outcome.exception() if attempt.outcome else None
        return max(self._usual_wait(attempt), _told_to_wait(error) or 0)


def _told_to_wait(error: BaseException | None) -> float | None:
    return error.details.get("retry_after_s") if isinstance(error, RateLimited) else None
