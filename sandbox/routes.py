"""Evolution's HTTP: service, instance, webhook, settings and messages. Guards first, then the gateway."""

import hmac
import json
from dataclasses import dataclass

from flask import Blueprint, Response, request

from sandbox import subscription, wire
from sandbox.chat import Chat
from sandbox.errors import ApiError
from sandbox.gateway import Gateway
from sandbox.guards import Guards, read_body
from sandbox.state import Instance, World


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """GET /metrics: on or off (then it is an unknown route), with HTTP basic when a user is set."""

    on: bool = True
    user: str | None = None
    password: str | None = None


def answer(body: object, status: int = 200) -> Response:
    """JSON in the order of the keys, with Express's content type."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, content_type="application/json; charset=utf-8")


def cannot() -> ApiError:
    """Unknown routes and wrong verbs: `Cannot GET /nope`."""
    path = request.full_path if request.query_string else request.path
    return ApiError(404, [f"Cannot {request.method} {path}"])


def make_service(world: World, guards: Guards, metrics: Metrics) -> Blueprint:
    blueprint = Blueprint("service", __name__)

    @blueprint.get("/")
    def welcome() -> Response:
        base = request.host_url.rstrip("/")
        return answer(
            {
                "status": 200,
                "message": "Welcome to the Evolution API, it is working!",
                "version": wire.VERSION,
                "clientName": wire.CLIENT_NAME,
                "manager": f"{base}/manager",
                "documentation": "https://doc.evolution-api.com",
                "whatsappWebVersion": wire.WHATSAPP_WEB_VERSION,
            }
        )

    @blueprint.post("/verify-creds")
    def verify_creds() -> Response:
        guards.global_key()
        return answer({"status": 200, "message": "Credentials are valid"})

    @blueprint.get("/metrics")
    def show_metrics() -> Response:
        if not metrics.on:
            raise cannot()
        if metrics.user is not None and not _may_see(metrics):
            return Response("Authentication required", 401, {"WWW-Authenticate": 'Basic realm="Metrics"'})
        text = _metrics_text(world.all(), request.host_url.rstrip("/"))
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

    return blueprint


def make_instance(guards: Guards, gateway: Gateway) -> Blueprint:
    blueprint = Blueprint("instance", __name__, url_prefix="/instance")

    @blueprint.post("/create")
    def create() -> Response:
        body = read_body()
        guards.name_free(body)
        guards.global_key()
        return answer(gateway.create(body), 201)

    @blueprint.get("/connect/<name>")
    def connect(name: str) -> Response:
        return answer(gateway.connect(guards.instance(name), request.args.get("number")))

    @blueprint.get("/connectionState/<name>")
    def connection_state(name: str) -> Response:
        return answer(wire.state(guards.instance(name)))

    @blueprint.get("/fetchInstances")
    def fetch_instances() -> Response:
        return answer([wire.row(instance) for instance in _filtered(guards.visible())])

    @blueprint.post("/restart/<name>")
    def restart(name: str) -> Response:
        return answer(gateway.restart(guards.instance(name)))

    @blueprint.delete("/logout/<name>")
    def logout(name: str) -> Response:
        return answer(gateway.logout(guards.instance(name)))

    @blueprint.delete("/delete/<name>")
    def delete(name: str) -> Response:
        return answer(gateway.delete(guards.instance(name)))

    return blueprint


def make_instance_parts(guards: Guards, gateway: Gateway, chat: Chat) -> Blueprint:
    """Webhook, settings and messages of one instance."""
    blueprint = Blueprint("parts", __name__)

    @blueprint.post("/webhook/set/<name>")
    def set_webhook(name: str) -> Response:
        body = read_body()
        return answer(gateway.set_webhook(guards.instance(name), body), 201)

    @blueprint.get("/webhook/find/<name>")
    def find_webhook(name: str) -> Response:
        return answer(subscription.row(guards.instance(name)))

    @blueprint.post("/settings/set/<name>")
    def set_settings(name: str) -> Response:
        body = read_body()
        return answer(gateway.set_settings(guards.instance(name), body), 201)

    @blueprint.get("/settings/find/<name>")
    def find_settings(name: str) -> Response:
        return answer(guards.instance(name).settings)

    @blueprint.post("/message/sendText/<name>")
    def send_text(name: str) -> Response:
        body = read_body()
        return answer(chat.send_text(guards.instance(name), body), 201)

    return blueprint


def _filtered(instances: list[Instance]) -> list[Instance]:
    """By name, id or number (the one given at create); a filter that finds nothing is a 404."""
    for parameter, column in (("instanceName", "name"), ("instanceId", "id"), ("number", "number")):
        wanted = request.args.get(parameter)
        if wanted:
            found = [instance for instance in instances if getattr(instance, column) == wanted]
            if not found:
                raise ApiError(404, [f'Instance "{wanted}" not found'])
            return found
    return instances


def _may_see(metrics: Metrics) -> bool:
    given = request.authorization
    if given is None or given.type != "basic":
        return False
    pair = f"{given.username}:{given.password}"
    return hmac.compare_digest(pair.encode(), f"{metrics.user}:{metrics.password}".encode())


def _metrics_text(instances: list[Instance], server_url: str) -> str:
    """Prometheus text, one line an instance and kind: the live state, from memory."""
    about = f'version="{wire.VERSION}",clientName="{wire.CLIENT_NAME}",serverUrl="{_escaped(server_url)}"'
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
