"""A worker that waits to be told: `python -m benchmarks.drain`, started by benchmarks.processing.

Each line on stdin is a batch size; it works until the inbox is empty and answers with one line of JSON.
"""

import json
import os
import sys
import time
from dataclasses import replace

from sqlalchemy import Connection

import webhooks.worker
from bootstrap.system import System, build
from core.logs import configure
from core.settings import Settings
from webhooks import lanes
from webhooks.lanes import Held

AS_SHIPPED = (webhooks.worker.BATCH, webhooks.worker.LANES)
_claim = lanes.claim


def one_event(connection: Connection, me: str, *, after: str, lanes: int, events: int) -> list[Held]:
    """`claim` cut down to one event, which it does not offer by itself: the least it reads of a lane is eight."""
    return [
        replace(held, heads=held.heads[:1], emptied=held.emptied and len(held.heads) == 1)
        for held in _claim(connection, me, after=after, lanes=lanes, events=events)
    ]


def limit(batch: int) -> None:
    """From now on so many events a transaction; 0 is the product's own batch."""
    webhooks.worker.BATCH, webhooks.worker.LANES = (1, 1) if batch == 1 else AS_SHIPPED
    lanes.claim = one_event if batch == 1 else _claim


def drain(system: System) -> dict[str, float]:
    """Until two looks in a row find nothing: one alone may be the end of a sweep over the lanes."""
    began, done, batches, empty = time.perf_counter(), 0, 0, 0
    while empty < 2:
        dealt = system.worker.work()
        done += dealt
        batches += dealt > 0
        empty = 0 if dealt else empty + 1
    return {"events": done, "batches": batches, "seconds": time.perf_counter() - began}


def main() -> None:
    settings = Settings.from_env()
    configure(settings.log_level, settings.log_file)
    system = build(settings, os.environ["DATABASE_URL"])
    system.start("worker")
    for line in sys.stdin:
        limit(int(line))
        print(json.dumps(drain(system)), flush=True)
    system.stop()


if __name__ == "__main__":
    main()
