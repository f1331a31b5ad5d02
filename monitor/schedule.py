"""The monitor's clockwork: APScheduler runs the jobs that bootstrap hands in.

Each job may run twice, or in two processes at once, without harm. A job that is late runs once, not as often
as it was missed.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from core.errors import AppError

log = structlog.get_logger()
Job = Callable[[], object]


class Schedule:
    """Jobs by name, each with its interval. `start` opens threads, `stop` waits for what runs."""

    def __init__(self, jobs: Mapping[str, tuple[timedelta, Job]]) -> None:
        defaults = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        self._scheduler = BackgroundScheduler(timezone=UTC, job_defaults=defaults)
        for name, (every, job) in jobs.items():
            self._scheduler.add_job(_careful(name, job), "interval", seconds=every.total_seconds(), id=name, jitter=5)

    def start(self) -> None:
        self._scheduler.start()

    def soon(self, name: str) -> None:
        """Run this job now, not only after its first interval."""
        self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _careful(name: str, job: Job) -> Callable[[], None]:
    def run() -> None:
        try:
            job()
        except AppError as error:
            log.warning("job_failed", job=name, error_code=error.code)
        except Exception as error:
            log.error("job_crashed", job=name, exc_info=error)

    return run
