"""What operators ask, and the test endpoint for webhooks."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from api.openapi.declaring import answers
from api.schemas.admin import QueueStats, Received
from api.schemas.common import Facts
from core.errors import NotFound
from core.web import Guard, json_body


def make_blueprint(queue_stats: Callable[[], dict[str, Any]], guard: Guard, *, production: bool) -> Blueprint:
    blueprint = Blueprint("admin", __name__)

    @blueprint.get("/api/admin/queue-stats")
    @answers(QueueStats, admin=True)
    def stats() -> ResponseReturnValue:
        """How the inbox stands."""
        guard.admin()
        return jsonify({"success": True, **queue_stats()})

    @blueprint.post("/api/webhook/test")
    @answers(Received, admin=True, body=Facts, raises={404: ("NOT_FOUND",)})
    def webhook_test() -> ResponseReturnValue:
        """Say what arrived, so that a person can try their way through proxies. Nothing is kept; not in production."""
        if production:
            raise NotFound("Not found")
        guard.admin()
        return jsonify({"success": True, "message": "Webhook received", "received": json_body()})

    return blueprint
