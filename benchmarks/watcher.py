"""A monitor that steps when it is told to: `python -m benchmarks.watcher [one-by-one]`, started by benchmarks.watching.

Each line on stdin is a time (seconds since 1970) and a number of steps. They are taken from that time on, each so long
after the last that all instances are due. The answer is a line of JSON: the seconds of each step, and the CPU seconds
of all their looks.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from bootstrap.system import System, build
from core.logs import configure
from core.settings import Settings
from monitor.counters import CountingProbe
from monitor.watching import probe
from monitor.watching.probe import Look, Survey, Target

APART = timedelta(seconds=70)  # a minute, and a tenth: single checks are spread by so much
EVERYBODY = 1_000_000
_survey, _look = CountingProbe.survey, CountingProbe.look


class Hand:
    """A clock moved by hand."""

    at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at


class Timed:
    """CPU seconds of this process while it looked."""

    cpu_s = 0.0


@contextmanager
def timed() -> Iterator[None]:
    began = time.process_time()
    try:
        yield
    finally:
        Timed.cpu_s += time.process_time() - began


def survey(self: CountingProbe, due: int) -> Survey:
    with timed():
        return _survey(self, due)


def look(self: CountingProbe, targets: Sequence[Target], surveyed: Survey) -> Look:
    with timed():
        return _look(self, targets, surveyed)


def ask_one_by_one() -> None:
    """Each, in one step, however many there are. The product asks for a hundred a step where there is no answer for
    all, and on big servers reads the list; so this is for comparison alone."""
    probe.AT_ONCE = probe.BIG = EVERYBODY


def take(system: System, hand: Hand, begin: datetime, steps: int) -> dict[str, object]:
    Timed.cpu_s, seconds = 0.0, []
    for number in range(steps):
        hand.at = begin + number * APART
        system.monitor.leader.keep()
        began = time.perf_counter()
        system.monitor.step()
        seconds.append(time.perf_counter() - began)
    system.monitor.leader.resign()
    return {"seconds": seconds, "look_cpu_s": Timed.cpu_s}


def main() -> None:
    settings, hand = Settings.from_env(), Hand()
    configure(settings.log_level, settings.log_file)
    if "one-by-one" in sys.argv:
        ask_one_by_one()
    CountingProbe.survey, CountingProbe.look = survey, look  # type: ignore[method-assign, assignment]  # with a stopwatch
    system = build(settings, os.environ["DATABASE_URL"], monitor_clock=hand)
    for line in sys.stdin:
        begin, steps = line.split()
        print(json.dumps(take(system, hand, datetime.fromtimestamp(float(begin), UTC), int(steps))), flush=True)
    system.stop()


if __name__ == "__main__":
    main()
