"""Leaving an instance alone, and watching it again: administrators, by name."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from core.web import Guard
from monitor.pausing import Pausing


def make_blueprint(pausing: Pausing, guard: Guard) -> Blueprint:
    blueprint = Blueprint("pausing", __name__)

    @blueprint.post("/api/admin/instances/<name>/pause")
    def pause(name: str) -> ResponseReturnValue:
        """No checks, alerts or attempts until it is resumed. 404 where it is not under watch."""
        pausing.pause(name, str(guard.admin().user_id))
        return jsonify(success=True, instanceName=name, paused=True)

    @blueprint.post("/api/admin/instances/<name>/resume")
    def resume(name: str) -> ResponseReturnValue:
        pausing.resume(name, str(guard.admin().user_id))
        return jsonify(success=True, instanceName=name, paused=False)

    return blueprint
