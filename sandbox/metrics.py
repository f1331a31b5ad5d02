"""GET /metrics: the live state of all instances as Prometheus text."""

import hmac
from dataclasses import dataclass

from flask import Blueprint, Response, request

from sandbox import wire
from sandbox.profiles import Profile
from sandbox.routes import cannot
from sandbox.state import Instance, World


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """On or off (then it is an unknown route), with HTTP basic when a user is set."""

    on: bool = True
    user: str | None = None
    password: str | None = None


def make_metrics(world: World, metrics: Metrics, profile: Profile) -> Blueprint:
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def show() -> Response:
        if not metrics.on:
            raise cannot()
        if metrics.user is not None and not _may_see(metrics):
            return Response("Authentication required", 401, {"WWW-Authenticate": 'Basic realm="Metrics"'})
        with world.lock:
            text = _text(world.all(), request.host_url.rstrip("/"), profile.version)
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

    return blueprint


def _may_see(metrics: Metrics) -> bool:
    given = request.authorization
    if given is None or given.type != "basic":
        return False
    pair = f"{given.username}:{given.password}"
    return hmac.compare_digest(pair.encode(), f"{metrics.user}:{metrics.password}".encode())


def _text(instances: list[Instance], server_url: str, version: str) -> str:
    """One line an instance and kind: the live state, from memory."""
    about = f'version="{version}",clientName="{wire.CLIENT_NAME}",serverUrl="{_escaped(server_url)}"'
    lines = [
        "# HELP evolution_environment_info Environment information",
        "# TYPE evolution_environment_info gauge",
        f"evolution_environment_info{{{about}}} 1",
        "# HELP evolution_instances_total Total number of instances",
        "# TYPE evolution_instances_total gauge",
        f"evolution_instances_total {len(instances)}",
        "# HELP evolution_instance_up 1 if instance state is open, else 0",
        "# TYPE evolution_instance_up gauge",
        *(f"evolution_instance_up{{{_labels(one)}}} {int(one.live.state == 'open')}" for one in instances),
        "# HELP evolution_instance_state Instance state as a labelled metric",
        "# TYPE evolution_instance_state gauge",
        *(f'evolution_instance_state{{{_labels(one)},state="{one.live.state}"}} 1' for one in instances),
    ]
    return "\n".join(lines) + "\n"


def _labels(instance: Instance) -> str:
    return f'instance="{_escaped(instance.name)}",integration="{instance.integration}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
