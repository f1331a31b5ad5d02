"""Is the product itself well: /livez, /readyz, /health, /metrics."""

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

from core.clock import Clock
from core.errors import AppError
from core.web import Guard
from monitor.pulse import Beat

Check = Callable[[], Any]
LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")


def make_blueprint(
    clock: Clock,
    guard: Guard,
    database: Check,
    breaker: Callable[[], str],
    monitor: Callable[[], Beat],
    gauges: Iterable[Collector],
) -> Blueprint:
    """`database` raises AppError while it is away; `monitor`: the monitor's pulse; `gauges`: what every process of the
    web role says alike, beside the counters."""
    blueprint = Blueprint("health", __name__)
    asked = CollectorRegistry()
    for one in gauges:
        asked.register(one)

    @blueprint.get("/livez")
    def livez() -> ResponseReturnValue:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    def readyz() -> ResponseReturnValue:
        """503 only while the database is away. A monitor that has stopped degrades, with 200: a receiver that is taken
        out of service takes no webhooks, and those would be lost on top."""
        if (found := _storage(database)) != "ok":
            return jsonify(status=found), 503
        if monitor() is Beat.STOPPED:
            return jsonify(status="degraded", checks={"database": found, "monitor": Beat.STOPPED})
        return jsonify(status=found)

    @blueprint.get("/health")
    def health() -> ResponseReturnValue:
        """Exactly two keys at the top (E023, X39); what there is to know more stands under `checks`."""
        now = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        checks = {
            "database": {"status": _storage(database)},
            "gateway": {"breaker": breaker()},
            "monitor": {"status": monitor()},
        }
        return jsonify(status="ok", timestamp=now, checks=checks)

    @blueprint.get("/metrics")
    def metrics() -> ResponseReturnValue:
        """The counters of all processes of this host, where they share PROMETHEUS_MULTIPROC_DIR."""
        if not _is_local():
            guard.admin()
        return Response(_counters() + generate_latest(asked), content_type=CONTENT_TYPE_LATEST)

    return blueprint


def _storage(database: Check) -> str:
    try:
        database()
    except AppError:
        return "unavailable"
    return "ok"


def _counters() -> bytes:
    counters = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counters = CollectorRegistry()
        MultiProcessCollector(counters)  # type: ignore[no-untyped-call]  # prometheus_client's
    return generate_latest(counters)


def _is_local() -> bool:
    """Asked from this host by a name of its own, and not through a proxy that says so or passes another name on."""
    near = request.remote_addr in ("127.0.0.1", "::1") and "X-Forwarded-For" not in request.headers
    return near and LOOPBACK.fullmatch(request.host) is not None
