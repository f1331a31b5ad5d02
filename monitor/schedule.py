"""The monitor's clockwork: APScheduler runs the jobs that bootstrap hands in, where this process leads.

A job may run twice, or in two processes at once, without harm. A job that is late runs once, not as often as it was
missed. APScheduler goes by the time of day: where that is set back, `mind_the_clock` lets the jobs run at once, not
only when the old time has come again.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from core.errors import AppError

log = structlog.get_logger()
Job = Callable[[], object]
MOST_JITTER_S = 5.0
SET_BACK_S = 1.0


class Schedule:
    """Jobs by name, each with its interval. `start` opens threads, `stop` waits for what runs. `leads` is asked before
    each run: who does not lead skips it."""

    def __init__(
        self,
        jobs: Mapping[str, tuple[timedelta, Job]],
        leads: Callable[[], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wall = wall
        defaults = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        self._clocks = wall(), time.monotonic()
        self._scheduler = BackgroundScheduler(timezone=UTC, job_defaults=defaults)
        for name, (every, job) in jobs.items():
            jitter = min(MOST_JITTER_S, every.total_seconds() / 10)
            self._scheduler.add_job(
                _careful(name, job, leads), "interval", seconds=every.total_seconds(), id=name, jitter=jitter
            )

    def start(self) -> None:
        self._scheduler.start()

    def soon(self, name: str) -> None:
        """Run this job now, not only after its interval."""
        self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def mind_the_clock(self) -> None:
        """Called every few seconds."""
        (wall, steady), self._clocks = self._clocks, (self._wall(), time.monotonic())
        if self._clocks[0] - wall < self._clocks[1] - steady - SET_BACK_S:
            for job in self._scheduler.get_jobs():
                self.soon(job.id)

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _careful(name: str, job: Job, leads: Callable[[], bool]) -> Callable[[], None]:
    def run() -> None:
        if not leads():
            return
        try:
            job()
        except AppError as error:
            log.warning("job_failed", job=name, error_code=error.code, db_code=error.details.get("dbCode"))
        except Exception as error:
            log.error("job_crashed", job=name, exc_info=error)

    return run
