"""One monitor among several, as a process that a test can kill: its settings come from the environment, the database's
URL and the lease's seconds from the command line."""

import contextlib
import sys
import threading
from datetime import timedelta

from bootstrap.monitoring import make_monitor
from bootstrap.system import build
from core.errors import AppError
from core.settings import Settings


def main(url: str, lease_s: float) -> None:
    settings = Settings.from_env()
    system = build(settings, url)
    monitor = make_monitor(
        settings,
        system.transaction,
        system.manager,
        system.servers,
        rung=list.clear,
        lease=timedelta(seconds=lease_s),
    )
    monitor.leader.start(lambda: None, lambda: None)
    while True:
        with contextlib.suppress(AppError):
            monitor.step()
        threading.Event().wait(0.1)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
