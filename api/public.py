"""What everybody may see of an instance whose owner switched that on: up, down or unknown; no names, no numbers."""

from flask import Blueprint, Response, jsonify, make_response, request
from flask.typing import ResponseReturnValue
from typing_extensions import TypedDict

from api.badge import badge
from api.openapi.declaring import answers
from api.schemas.whatsapp import PublicStatus
from api.shapes import iso
from core.errors import Malformed
from core.web import Guard, json_body
from monitor.service import Monitoring

CACHED = "public, max-age=60"


class Switch(TypedDict):
    enabled: bool


def make_blueprint(monitoring: Monitoring, guard: Guard) -> Blueprint:
    blueprint = Blueprint("public_status", __name__)

    @blueprint.post("/api/whatsapp/public-status")
    @answers(PublicStatus, body=Switch, raises={404: ("INSTANCE_NOT_FOUND",)})
    def switch() -> ResponseReturnValue:
        """Show everybody whether it works, or end that. Switched off, the address ends for ever."""
        caller, enabled = guard.user(), json_body().get("enabled")
        if not isinstance(enabled, bool):
            raise Malformed("enabled must be true or false")
        if not enabled:
            monitoring.make_private(caller.user_id)
            return jsonify({"success": True, "enabled": False, "token": None, "json": None, "svg": None})
        token = monitoring.make_public(caller.user_id)
        shown = {"token": token, "json": f"/status/{token}.json", "svg": f"/status/{token}.svg"}
        return jsonify({"success": True, "enabled": True, **shown})

    @blueprint.get("/status/<token>.json")
    def status(token: str) -> ResponseReturnValue:
        found = monitoring.public_status(token)
        body = {
            "status": found.verdict,
            "since": iso(found.since),
            "checkedAt": iso(found.checked_at),
            "uptime30d": found.uptime.share,
        }
        return _cached(jsonify(body))

    @blueprint.get("/status/<token>.svg")
    def picture(token: str) -> ResponseReturnValue:
        language = "en" if request.args.get("lang") == "en" else "pt"
        drawn = badge(monitoring.public_status(token).verdict, language)
        return _cached(make_response(drawn, {"Content-Type": "image/svg+xml; charset=utf-8"}))

    return blueprint


def _cached(response: Response) -> Response:
    response.headers["Cache-Control"] = CACHED
    return response
