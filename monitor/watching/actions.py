"""Carries out what was decided, through the manager: a few at a time, in threads of their own, so that a gateway that
takes a minute keeps no check waiting.

Each attempt was written down and counted before: one that a crash cuts off has no outcome, and is not repeated.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog
from sqlalchemy import Connection

from core.clock import Clock
from core.db import Transaction
from core.errors import AppError
from manager.lifecycle import InstanceRecord, Status
from monitor import counters
from monitor.leader import Deposed
from monitor.policy.health import Action
from monitor.watching import attempt_log
from monitor.watching.watched import OVERTAKEN, SHOWS_CODE, Attempt

log = structlog.get_logger()
AT_ONCE = 4
OUTCOMES = {Status.QR_PENDING: SHOWS_CODE, Status.CONNECTED: "open"}


class Actions:
    """`reconnect(user id, restart=…)` is the manager's, `fence` the leader's. Opens threads at the first attempt."""

    def __init__(
        self,
        transaction: Transaction,
        clock: Clock,
        reconnect: Callable[..., InstanceRecord],
        fence: Callable[[Connection, int], None],
    ) -> None:
        self._transaction, self._clock, self._reconnect, self._fence = transaction, clock, reconnect, fence
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reconnect")
        self._running: set[Future[None]] = set()

    @property
    def room(self) -> int:
        """How many could begin at once."""
        self._running = {one for one in self._running if not one.done()}
        return AT_ONCE - len(self._running)

    def start(self, attempts: Iterable[tuple[int, Attempt]]) -> None:
        """Begin these; each by the number it was written down with."""
        self._running |= {self._pool.submit(self._perform, number, attempt) for number, attempt in attempts}

    def finish(self) -> None:
        """Wait for those under way."""
        wait(self._running)

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _perform(self, number: int, attempt: Attempt) -> None:
        """What the gateway answered stands in the attempt's row, for the next step of whoever leads then."""
        try:
            outcome = self._tried(attempt) if self._is_wanted(attempt) else OVERTAKEN
            with self._transaction() as connection:
                attempt_log.answered(connection, number, outcome, self._clock.now())
        except AppError as error:
            log.warning("outcome_not_kept", instance=attempt.name, code=error.code)
            return
        counters.tried(attempt.action, outcome)
        log.info("reconnect_tried", instance=attempt.name, how=attempt.action, attempt=attempt.number, outcome=outcome)

    def _is_wanted(self, attempt: Attempt) -> bool:
        """Looked at right before the call. Raises StorageUnavailable."""
        try:
            with self._transaction() as connection:
                self._fence(connection, attempt.term)
                return attempt_log.is_wanted(connection, attempt)
        except Deposed:
            return False

    def _tried(self, attempt: Attempt) -> str:
        try:
            record = self._reconnect(attempt.user_id, restart=attempt.action is not Action.CONNECT)
        except AppError as error:
            return error.code.lower()
        except Exception as error:
            log.error("reconnect_crashed", instance=attempt.name, exc_info=error)
            return "crashed"
        return OUTCOMES.get(record.status, "asked")
