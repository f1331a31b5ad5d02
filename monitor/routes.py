"""Is the product itself well: /livez, /readyz, /health, /metrics."""

import os
from collections.abc import Callable
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
QUEUE_GAUGES = (
    "pending",
    "oldest_age_s",
    "processing",
    "parked",
    "waiting",
    "quarantined",
    "processed_total",
)


class QueueCollector(Collector):
    """The inbox, asked at each scrape; left out while the database is away: no number beats a wrong one."""

    def __init__(self, queue_stats: Callable[[], dict[str, Any]]) -> None:
        self._queue_stats = queue_stats

    def collect(self) -> list[GaugeMetricFamily]:
        try:
            stats = self._queue_stats()
        except AppError:
            return []
        known = {name: stats[name] for name in QUEUE_GAUGES if stats[name] is not None}
        return [GaugeMetricFamily(f"zelador_inbox_{name}", f"Inbox: {name}", value=v) for name, v in known.items()]


def make_blueprint(
    clock: Clock,
    guard: Guard,
    database: Check,
    breaker: Callable[[], str],
    queue_stats: Callable[[], dict[str, Any]],
) -> Blueprint:
    blueprint = Blueprint("health", __name__)
    queue = CollectorRegistry()
    queue.register(QueueCollector(queue_stats))

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
    """Asked from this host, and not through a proxy on it."""
    return request.remote_addr in ("127.0.0.1", "::1") and "X-Forwarded-For" not in request.headers
