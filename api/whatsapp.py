"""The user's own instance: connect and status (the seed's third route family)."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from api import shapes
from core.clock import Clock
from core.errors import Malformed
from core.web import Guard, json_body
from manager.service import WhatsAppManager

METHODS = ("qr",)


def make_blueprint(manager: WhatsAppManager, guard: Guard, clock: Clock) -> Blueprint:
    blueprint = Blueprint("whatsapp", __name__)

    @blueprint.post("/api/whatsapp/connect")
    def connect() -> ResponseReturnValue:
        caller = guard.user()
        asked = json_body()
        if asked.get("method", "qr") not in METHODS:
            raise Malformed("method must be qr")
        organization = caller.organization_id
        if caller.is_admin and isinstance(asked.get("organization_id"), str):
            organization = asked["organization_id"]  # from others it is not taken: a body makes nobody a member
        result = manager.connect_user_whatsapp(caller.user_id, organization)
        return jsonify(shapes.connecting(result, clock.now()))

    @blueprint.get("/api/whatsapp/status")
    def status() -> ResponseReturnValue:
        caller = guard.user()
        record = manager.find_user_instance(caller.user_id)
        return jsonify(shapes.status(caller.user_id, record, clock.now()))

    return blueprint
