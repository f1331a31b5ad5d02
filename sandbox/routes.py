"""Evolution's HTTP: service, instance, webhook and settings. Guards first, then the gateway."""

import json

from flask import Blueprint, Response, request

from sandbox import subscription, wire
from sandbox.errors import ApiError
from sandbox.gateway import Gateway
from sandbox.guards import Guards, read_body
from sandbox.profiles import Profile
from sandbox.state import Instance


def answer(body: object, status: int = 200) -> Response:
    """JSON in the order of the keys, with Express's content type."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, content_type="application/json; charset=utf-8")


def cannot() -> ApiError:
    """Unknown routes and wrong verbs: `Cannot GET /nope`."""
    path = request.full_path if request.query_string else request.path
    return ApiError(404, [f"Cannot {request.method} {path}"])


def make_service(guards: Guards, profile: Profile) -> Blueprint:
    blueprint = Blueprint("service", __name__)

    @blueprint.get("/")
    def welcome() -> Response:
        base = request.host_url.rstrip("/")
        return answer(
            {
                "status": 200,
                "message": "Welcome to the Evolution API, it is working!",
                "version": profile.version,
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

    return blueprint


def make_instance(guards: Guards, gateway: Gateway) -> Blueprint:
    blueprint = Blueprint("instance", __name__, url_prefix="/instance")

    @blueprint.post("/create")
    def create() -> Response:
        body = gateway.create_body(read_body())
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


def make_instance_parts(guards: Guards, gateway: Gateway) -> Blueprint:
    """Webhook and settings of one instance."""
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
