"""Is the product itself well: /livez, /readyz, /health, /metrics."""

import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

from core.clock import Clock
from core.errors import AppError
from core.web import Guard

Check = Callable[[], Any]
LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
FRESH_FOR = timedelta(seconds=5)
QUEUE_GAUGES = (
    "pending",
    "oldest_age_s",
    "processing",
    "parked",
    "waiting",
    "quarantined",
    "processed_total",
    "storms",
    "coalesced_total",
)


class QueueCollector(Collector):
    """The inbox, asked every 5 s at most; left out while the database is away: no number beats a wrong one."""

    def __init__(self, queue_stats: Callable[[], dict[str, Any]], clock: Clock) -> None:
        self._queue_stats, self._clock = queue_stats, clock
        self._known: tuple[datetime, dict[str, Any]] | None = None

    def collect(self) -> list[GaugeMetricFamily]:
        try:
            stats = self._fresh()
        except AppError:
            return []
        known = {name: stats[name] for name in QUEUE_GAUGES if stats[name] is not None}
        return [GaugeMetricFamily(f"zelador_inbox_{name}", f"Inbox: {name}", value=v) for name, v in known.items()]

    def _fresh(self) -> dict[str, Any]:
        now = self._clock.now()
        if self._known is None or now - self._known[0] >= FRESH_FOR:
            self._known = now, self._queue_stats()
        return self._known[1]


def make_blueprint(
    clock: Clock,
    guard: Guard,
    database: Check,
    breaker: Callable[[], str],
    queue_stats: Callable[[], dict[str, Any]],
) -> Blueprint:
    blueprint = Blueprint("health", __name__)
    queue = CollectorRegistry()
    queue.register(QueueCollector(queue_stats, clock))

    def storage() -> str:
        try:
            database()
        except AppError:
            return "unavailable"
        return "ok"

    @blueprint.get("/livez")
    def livez() -> ResponseReturnValue:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    def readyz() -> ResponseReturnValue:
        found = storage()
        return jsonify(status=found), 200 if found == "ok" else 503

    @blueprint.get("/health")
    def health() -> ResponseReturnValue:
        """Exactly two keys at the top (E023, X39); what there is to know more stands under `checks`."""
        now = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        checks = {"database": {"status": storage()}, "gateway": {"breaker": breaker()}}
        return jsonify(status="ok", timestamp=now, checks=checks)

    @blueprint.get("/metrics")
    def metrics() -> ResponseReturnValue:
        """The counters of all processes of this host, where they share PROMETHEUS_MULTIPROC_DIR."""
        if not _is_local():
            guard.admin()
        counters = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            counters = CollectorRegistry()
            MultiProcessCollector(counters)  # type: ignore[no-untyped-call]  # prometheus_client's
        return Response(generate_latest(counters) + generate_latest(queue), content_type=CONTENT_TYPE_LATEST)

    return blueprint


def _is_local() -> bool:
    """Asked from this host by a name of its own, and not through a proxy that says so or passes another name on."""
    near = request.remote_addr in ("127.0.0.1", "::1") and "X-Forwarded-For" not in request.headers
    return near and LOOPBACK.fullmatch(request.host) is not None
