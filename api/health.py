"""How instances are, and were: for administrators and, of their own, for users (E020, E021)."""

from datetime import datetime
from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api.incidents import Shown, item, item_of_user
from api.openapi.declaring import Codes, answers
from api.paging import Cursors, InLanguage, Paging, language_of, limit_of, text_of
from api.schemas.common import Page
from api.schemas.health import History as HistoryShape
from api.schemas.health import OwnHistory, WatchedInstance
from api.shapes import iso, page
from core.clock import Clock
from core.web import Guard
from monitor.service import Day, History, Monitoring
from monitor.views import HealthView, Interval, Reconnection, Uptime

UNKNOWN: Codes = {404: ("INSTANCE_NOT_FOUND",)}


class Wanted(Paging, total=False):
    organization_id: str


def make_blueprint(monitoring: Monitoring, guard: Guard, cursors: Cursors, clock: Clock) -> Blueprint:
    blueprint = Blueprint("instance_health", __name__)

    @blueprint.get("/api/admin/instances/health")
    @answers(Page[WatchedInstance], admin=True, query=Wanted)
    def instances() -> ResponseReturnValue:
        """All instances by name, with how they are."""
        guard.admin()
        after, limit = cursors.contact(request.args.get("cursor")), limit_of(request.args)
        organization = text_of(request.args, "organization_id") or None
        found = monitoring.find_instances(organization_id=organization, limit=limit, after=after)
        now = clock.now()
        items = [_row(one, uptime, now) for one, uptime in zip(found.items, found.uptimes, strict=True)]
        return jsonify(page(items, cursors.write(found.last)))

    @blueprint.get("/api/admin/instances/<name>/health")
    @answers(HistoryShape, admin=True, query=InLanguage, raises=UNKNOWN)
    def instance(name: str) -> ResponseReturnValue:
        """How an instance is, and was for 90 days."""
        guard.admin()
        return jsonify(_history(monitoring.instance_history(name, language=language_of(request.args)), item))

    @blueprint.get("/api/whatsapp/health")
    @answers(OwnHistory, query=InLanguage, raises=UNKNOWN)
    def own() -> ResponseReturnValue:
        """How the caller's own instance is and was, and whether its status is public."""
        found = monitoring.history_of(guard.user().user_id, language=language_of(request.args))
        return jsonify(_history(found, item_of_user) | {"publicToken": found.health.public_token})

    return blueprint


def _row(one: HealthView, month: Uptime, now: datetime) -> dict[str, Any]:
    """One item; the seed's names of the columns are kept."""
    connected_at = one.last_connected_at
    return {
        "id": str(one.id),
        "instance_name": one.instance_name,
        "organization_id": one.organization_id,
        "status": one.status,
        "messages_sent_count": one.messages_sent_count,
        "messages_received_count": one.messages_received_count,
        "last_connected_at": iso(connected_at),
        "days_since_connection": max((now - connected_at).days, 0) if connected_at else None,
        "uptime30d": month.share,
        "incidentId": one.incident_id,
        **_health(one),
    }


def _health(one: HealthView) -> dict[str, Any]:
    return {
        "health": one.state,
        "failures": one.failures,
        "lastCheckAt": iso(one.checked_at),
        "issues": list(one.issues),
    }


def _history(found: History, shown: Shown) -> dict[str, Any]:
    one = found.health
    return {
        "success": True,
        "id": str(one.id),
        "instanceName": one.instance_name,
        "status": one.status,
        **_health(one),
        "intervals": [_interval(each) for each in found.intervals],
        "uptime": {"30d": _uptime(found.month), "90d": _uptime(found.quarter)},
        "days": [_day(day) for day in found.days],
        "reconnections": [_reconnection(each) for each in found.reconnections],
        "incident": shown(found.incident) if found.incident else None,
    }


def _interval(one: Interval) -> dict[str, Any]:
    return {"verdict": one.verdict, "since": iso(one.since), "until": iso(one.until)}


def _uptime(one: Uptime) -> dict[str, Any]:
    return {"up": round(one.up), "down": round(one.down), "unknown": round(one.unknown), "share": one.share}


def _day(one: Day) -> dict[str, Any]:
    return {"day": one.since.date().isoformat(), **_uptime(one.uptime)}


def _reconnection(one: Reconnection) -> dict[str, Any]:
    return {
        "at": iso(one.at),
        "action": one.action,
        "number": one.number,
        "reasonCode": one.reason,
        "outcome": one.outcome,
        "endedAt": iso(one.ended_at),
        "incidentId": one.incident_id,
    }
