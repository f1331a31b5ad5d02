"""Durable acknowledgement: the webhook's entrance in turn with the same server's Flask route that stores nothing."""

import time
from dataclasses import dataclass

from benchmarks import load, processes, traffic
from benchmarks.load import Sent
from benchmarks.stage import Stage

INSTANCES, TEMPLATES = 50, 2000
SETTLE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Round:
    """One side of one round. CPU in µs a request: the web role's, and PostgreSQL's."""

    per_second: float
    p50_ms: float
    p99_ms: float
    web_us: float
    postgres_us: float
    generator_us: float

    @property
    def cpu_us(self) -> float:
        return self.web_us + self.postgres_us


Rounds = list[tuple[Round, Round]]


def measure(stage: Stage, *, rounds: int, seconds: float, warm_s: float) -> Rounds:
    """Pairs of (stored, nothing stored). Raises RuntimeError where a request was refused."""
    templates = traffic.templates(stage.senders(INSTANCES, with_keys=True), TEMPLATES)
    asked = {stored: load.requests(templates, int(stored), stored=stored) for stored in (True, False)}
    with stage.web() as web:
        for stored in (True, False):
            load.send(stage.port, asked[stored], warm_s)

        def one(stored: bool) -> Round:
            time.sleep(SETTLE_S)
            web_before, postgres_before = processes.cpu_seconds([web]), processes.cpu_seconds([stage.postgres])
            sent = load.send(stage.port, asked[stored], seconds)
            web_s = processes.cpu_seconds([web]) - web_before
            postgres_s = processes.cpu_seconds([stage.postgres]) - postgres_before
            return _round(sent, web_s, postgres_s)

        return [(one(True), one(False)) for _ in range(rounds)]


def _round(sent: Sent, web_s: float, postgres_s: float) -> Round:
    if sent.refused:
        raise RuntimeError(f"{sent.refused} requests were refused")
    each = 1e6 / len(sent.latencies_ms)
    return Round(
        per_second=sent.per_second,
        p50_ms=sent.percentile(0.5),
        p99_ms=sent.percentile(0.99),
        web_us=web_s * each,
        postgres_us=postgres_s * each,
        generator_us=sent.cpu_s * each,
    )
