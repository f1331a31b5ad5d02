"""Processing: the worker drains a backlog, in its own batches in turn with one event a transaction."""

import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks import processes, traffic
from benchmarks.stage import Stage
from benchmarks.traffic import Template
from webhooks import inbox
from webhooks.envelope import scrub
from webhooks.inbox import Delivery

TEMPLATES = 4000
AS_SHIPPED, ONE_BY_ONE = 0, 1


@dataclass(frozen=True, kw_only=True)
class Drained:
    """One backlog worked off. CPU in µs an event: the worker's, and PostgreSQL's."""

    per_second: float
    per_batch: float
    worker_us: float
    postgres_us: float

    @property
    def cpu_us(self) -> float:
        return self.worker_us + self.postgres_us


Drains = list[tuple[Drained, Drained]]


def measure(stage: Stage, *, instances: int, rounds: int, events: int, single_events: int) -> Drains:
    """Pairs of (own batches, one event a transaction)."""
    templates = traffic.templates(stage.senders(instances), TEMPLATES)
    bodies = _deliveries(templates, run=instances)

    with stage.worker() as process:

        def one(batch: int, count: int) -> Drained:
            _fill(stage, list(itertools.islice(bodies, count)))
            before = _messages(stage)
            drained = _drain(stage, process, batch, count)
            if (kept := _messages(stage) - before) != count:
                raise RuntimeError(f"{count} events left {kept} messages: what was measured is not the work")
            return drained

        one(AS_SHIPPED, single_events)  # warm
        return [(one(AS_SHIPPED, events), one(ONE_BY_ONE, single_events)) for _ in range(rounds)]


def _deliveries(templates: Sequence[Template], run: int) -> Iterator[Delivery]:
    second = traffic.now()
    for number, (template, name) in enumerate(zip(itertools.cycle(templates), traffic.message_ids(run), strict=False)):
        body = scrub(template.body % (name, second + number // 1000))
        yield Delivery(instance=template.instance, event="messages.upsert", body=body)


def _fill(stage: Stage, deliveries: Sequence[Delivery]) -> None:
    """Put them into the inbox with its own statement, as many at once as its largest batch."""
    for start in range(0, len(deliveries), inbox.BATCH):
        part = deliveries[start : start + inbox.BATCH]
        columns = {
            "keys": [delivery.key for delivery in part],
            "instances": [delivery.instance for delivery in part],
            "events": [delivery.event for delivery in part],
            "bodies": [delivery.body for delivery in part],
            "problems": [delivery.problem for delivery in part],
        }
        with stage.system.transaction() as connection:
            connection.exec_driver_sql(inbox.RECORD, columns)


def _messages(stage: Stage) -> int:
    """Every event here is a new message, so their number tells whether each took effect."""
    with stage.system.transaction() as connection:
        return int(connection.execute(text("SELECT count(*) FROM messages")).scalar_one())


def _drain(stage: Stage, process: "subprocess.Popen[str]", batch: int, count: int) -> Drained:
    assert process.stdin is not None
    assert process.stdout is not None
    worker_before, postgres_before = processes.cpu_seconds([process.pid]), processes.cpu_seconds([stage.postgres])
    process.stdin.write(f"{batch}\n")
    process.stdin.flush()
    told = process.stdout.readline()
    worker_s = processes.cpu_seconds([process.pid]) - worker_before
    postgres_s = processes.cpu_seconds([stage.postgres]) - postgres_before
    if not told or (done := json.loads(told))["events"] != count:
        raise RuntimeError(f"the worker did not drain {count} events: {told or 'it has ended'}")
    return Drained(
        per_second=count / done["seconds"],
        per_batch=count / done["batches"],
        worker_us=worker_s / count * 1e6,
        postgres_us=postgres_s / count * 1e6,
    )
