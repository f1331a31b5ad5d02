"""Carries out what was decided, through the manager: a few at a time, in threads of their own, so that a gateway that
takes a minute keeps no check waiting.

Each attempt was written down and counted before: one that a crash cuts off has no outcome, and is not repeated.
"""

import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog

from core.clock import Clock
from core.db import Transaction
from core.errors import AppError
from manager.lifecycle import InstanceRecord, Status
from monitor import counters, store
from monitor.health import Action
from monitor.watched import SHOWS_CODE, Answer, Attempt

log = structlog.get_logger()
AT_ONCE = 4
OUTCOMES = {Status.QR_PENDING: SHOWS_CODE, Status.CONNECTED: "open"}


class Actions:
    """`reconnect(user id, restart=…)` is the manager's. Opens threads at the first attempt."""

    def __init__(self, transaction: Transaction, clock: Clock, reconnect: Callable[..., InstanceRecord]) -> None:
        self._transaction, self._clock, self._reconnect = transaction, clock, reconnect
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reconnect")
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._running: set[Future[None]] = set()

    def start(self, attempts: Iterable[tuple[int, Attempt]]) -> None:
        """Begin these; each by the number it was written down with."""
        self._running = {one for one in self._running if not one.done()}
        self._running |= {self._pool.submit(self._perform, number, attempt) for number, attempt in attempts}

    def answers(self) -> Sequence[Answer]:
        """What has come in since the last call."""
        found = []
        while True:
            try:
                found.append(self._answers.get_nowait())
            except queue.Empty:
                return found

    def finish(self) -> None:
        """Wait for those under way."""
        wait(self._running)

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _perform(self, number: int, attempt: Attempt) -> None:
        outcome = self._tried(attempt)
        counters.tried(attempt.action, outcome)
        log.info("reconnect_tried", instance=attempt.name, how=attempt.action, attempt=attempt.number, outcome=outcome)
        try:
            with self._transaction() as connection:
                store.answered(connection, number, outcome, self._clock.now())
        except AppError as error:
            log.warning("outcome_not_kept", instance=attempt.name, code=error.code)
        self._answers.put(Answer(instance_id=attempt.instance_id, outcome=outcome))

    def _tried(self, attempt: Attempt) -> str:
        try:
            record = self._reconnect(attempt.user_id, restart=attempt.action is not Action.CONNECT)
        except AppError as error:
            return error.code.lower()
        except Exception as error:
            log.error("reconnect_crashed", instance=attempt.name, exc_info=error)
            return "crashed"
        return OUTCOMES.get(record.status, "asked")
