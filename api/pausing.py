"""Leaving an instance alone, and watching it again: administrators, by name."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from api.openapi.declaring import Codes, answers
from api.schemas.health import Paused
from core.web import Guard
from monitor.pausing import Pausing

UNKNOWN: Codes = {404: ("INSTANCE_NOT_FOUND",)}


def make_blueprint(pausing: Pausing, guard: Guard) -> Blueprint:
    blueprint = Blueprint("pausing", __name__)

    @blueprint.post("/api/admin/instances/<name>/pause")
    @answers(Paused, admin=True, raises=UNKNOWN)
    def pause(name: str) -> ResponseReturnValue:
        """Leave an instance alone. No checks, alerts or attempts until it is resumed; 404: it is not under watch."""
        pausing.pause(name, str(guard.admin().user_id))
        return jsonify(success=True, instanceName=name, paused=True)

    @blueprint.post("/api/admin/instances/<name>/resume")
    @answers(Paused, admin=True, raises=UNKNOWN)
    def resume(name: str) -> ResponseReturnValue:
        """Watch it again."""
        pausing.resume(name, str(guard.admin().user_id))
        return jsonify(success=True, instanceName=name, paused=False)

    return blueprint
