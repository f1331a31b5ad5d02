"""`make bench`, or `python -m benchmarks [--quick]`: start everything, measure, print, end everything."""

import argparse
import signal
import sys
from dataclasses import dataclass

from benchmarks import entrance, live, machine, processing, report, watching
from benchmarks.entrance import Rounds
from benchmarks.load import CONNECTIONS
from benchmarks.processing import Drains
from benchmarks.stage import Stage
from benchmarks.watching import Memory, Steps

FEW = 10  # sockets
INSTANCES = (50, 1000)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure. Seconds are those of one side of one round."""

    rounds: int = 7
    seconds: float = 6.0
    warm_s: float = 3.0
    drains: int = 5
    events: int = 20_000
    single_events: int = 1_000
    sockets: int = 10_000
    told: int = 1_000
    webhooks: int = 300
    beside: int = 2_000
    watched: int = 10_000
    watch_rounds: int = 5
    remembered: int = 1_000
    remembered_steps: tuple[int, int] = (100, 1_000)


QUICK = Effort(
    rounds=5,
    seconds=1.5,
    warm_s=1.0,
    drains=2,
    events=5_000,
    single_events=300,
    sockets=1_000,
    told=100,
    webhooks=100,
    beside=500,
    watched=1_000,
    watch_rounds=3,
    remembered=100,
    remembered_steps=(20, 100),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the product can do.")
    parser.add_argument("--quick", action="store_true", help="about 2 minutes instead of 10, and a wider spread")
    effort = QUICK if parser.parse_args().quick else Effort()
    if not sys.platform.startswith("linux"):
        sys.exit("The benchmark reads CPU times from /proc: it needs Linux")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Stage() as stage:
        say(*machine.describe(stage.system.engine, stage.place))
        tell_entrance(entrance.measure(stage, rounds=effort.rounds, seconds=effort.seconds, warm_s=effort.warm_s))
        for instances in INSTANCES:
            stage.forget()
            drains = processing.measure(
                stage,
                instances=instances,
                rounds=effort.drains,
                events=effort.events,
                single_events=effort.single_events,
            )
            tell_processing(instances, drains)
        for sockets in (FEW, effort.sockets):  # what the machine and PostgreSQL take is in both
            say(*live.tell(live.measure(stage, sockets=sockets, told=effort.told, broadcasts=effort.rounds)))
        say(*live.tell_webhook(live.measure_webhook(stage, webhooks=effort.webhooks)))
        beside = live.measure_beside(stage, sockets=effort.beside, rounds=effort.drains, seconds=effort.seconds)
        say(*live.tell_beside(effort.beside, beside))
        tell_watching(effort.watched, watching.measure(stage, instances=effort.watched, rounds=effort.watch_rounds))
        memory = watching.measure_memory(stage, instances=effort.remembered, steps=effort.remembered_steps)
        tell_memory(effort.remembered, memory)


def tell_entrance(rounds: Rounds) -> None:
    generator = report.spread([round_.generator_us for pair in rounds for round_ in pair], ".0f")
    say(
        "",
        f"Acknowledgement: {len(rounds)} rounds in turn, {CONNECTIONS} connections, no worker; median (min–max)",
        *report.table(
            ("webhook, durable", "Flask route, nothing stored"),
            rounds,
            (
                ("requests/s", lambda side: side.per_second, ",.0f"),
                ("p50 ms", lambda side: side.p50_ms, ".1f"),
                ("p99 ms", lambda side: side.p99_ms, ".1f"),
                ("CPU µs each", lambda side: side.cpu_us, ".0f"),
                ("web", lambda side: side.web_us, ".0f"),
                ("PostgreSQL", lambda side: side.postgres_us, ".0f"),
            ),
        ),
        f"ratio of requests/s: {report.ratio(rounds, lambda side: side.per_second)}",
        f"the generator's own CPU: {generator} µs a request",
    )


def tell_processing(instances: int, drains: Drains) -> None:
    say(
        "",
        f"Processing over {instances:,} instances: {len(drains)} rounds in turn; median (min–max)",
        *report.table(
            ("own batches", "one event a transaction"),
            drains,
            (
                ("events/s", lambda side: side.per_second, ",.0f"),
                ("CPU µs each", lambda side: side.cpu_us, ".0f"),
                ("worker", lambda side: side.worker_us, ".0f"),
                ("PostgreSQL", lambda side: side.postgres_us, ".0f"),
                ("events a batch", lambda side: side.per_batch, ".0f"),
            ),
        ),
        f"ratio of events/s: {report.ratio(drains, lambda side: side.per_second)}",
    )


def tell_watching(instances: int, steps: Steps) -> None:
    say(
        "",
        f"Watching {instances:,} instances, all due: {len(steps)} rounds in turn; median (min–max)",
        *report.table(
            ("one answer for all", "one question an instance"),
            steps,
            (
                ("seconds a step", lambda side: side.seconds, ".2f"),
                ("calls a step", lambda side: side.calls, ",.0f"),
                ("CPU µs an instance", lambda side: side.cpu_us, ".0f"),
                ("monitor", lambda side: side.monitor_us, ".0f"),
                ("its look alone", lambda side: side.look_us, ".1f"),
                ("PostgreSQL", lambda side: side.postgres_us, ".0f"),
            ),
        ),
        f"CPU of one question an instance, against one answer for all: the look alone"
        f" {report.ratio(_turned(steps), lambda side: side.look_us)} times,"
        f" the monitor's whole step {report.ratio(_turned(steps), lambda side: side.monitor_us)} times",
    )


def tell_memory(instances: int, memory: Memory) -> None:
    said = ", ".join(f"after {steps:,} steps {megabytes:.0f} MB" for steps, megabytes in memory)
    say("", f"Memory of the monitor's process over {instances:,} instances: {said}")


def _turned(steps: Steps) -> Steps:
    return [(single, bulk) for bulk, single in steps]


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
