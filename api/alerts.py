"""Alerts and where they go, for administrators: what was told, targets, silences."""

from typing import Any
from uuid import UUID

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api import alert_fields
from api.alert_fields import ChangedTarget, NewSilence, NewTarget
from api.openapi.declaring import Codes, answers
from api.paging import Cursors, InLanguage, Paging, language_of, limit_of, text_of
from api.schemas.alerts import Alert, KeptSilence, KeptTarget
from api.schemas.alerts import Silence as SilenceShape
from api.schemas.alerts import Target as TargetShape
from api.schemas.common import Done, Page
from api.shapes import iso, page
from core.web import Guard, json_body
from monitor.alerting.alert_log import AlertLog, AlertRecord
from monitor.alerting.silences import Silence, Silences
from monitor.alerting.targets import TargetRecord, Targets

TARGETS = "/api/admin/alert-targets"
SILENCES = "/api/admin/silences"
FROM_ENVIRONMENT: Codes = {409: ("FROM_ENVIRONMENT",)}
REFUSED: Codes = {400: ("ALERT_TARGET_INVALID", "ALERT_TARGET_FORBIDDEN", "ALERT_TARGET_UNRESOLVED")}
NOT_SENT: Codes = {502: ("NOT_SENT", "TIMED_OUT", *REFUSED[400])}


class Wanted(InLanguage, Paging, total=False):
    kind: str
    instance: str


def make_blueprint(targets: Targets, silences: Silences, log: AlertLog, guard: Guard, cursors: Cursors) -> Blueprint:
    blueprint = Blueprint("alerts", __name__)

    @blueprint.get("/api/admin/alerts")
    @answers(Page[Alert], admin=True, query=Wanted)
    def alerts() -> ResponseReturnValue:
        """What was told, newest first, and what became of it at each target."""
        guard.admin()
        language, limit = language_of(request.args), limit_of(request.args)
        before = cursors.entry(request.args.get("cursor"))
        kind, instance = (text_of(request.args, name) or None for name in ("kind", "instance"))
        found = log.newest(limit=limit + 1, before=before, kind=kind, instance=instance)
        last = (found[limit - 1].id,) if len(found) > limit else None
        return jsonify(page([_alert(one, language) for one in found[:limit]], cursors.write(last)))

    @blueprint.get(TARGETS)
    @answers(Page[TargetShape], admin=True)
    def list_targets() -> ResponseReturnValue:
        """Where alerts go."""
        guard.admin()
        return jsonify(page([_target(one) for one in targets.list()], None))

    @blueprint.post(TARGETS)
    @answers(KeptTarget, 201, admin=True, body=NewTarget, raises=REFUSED)
    def add_target() -> ResponseReturnValue:
        """Let alerts go there too."""
        by = str(guard.admin().user_id)
        made = targets.add(alert_fields.target(json_body(), new=True), by)
        return jsonify(success=True, target=_target(made)), 201

    @blueprint.patch(f"{TARGETS}/<uuid:target_id>")
    @answers(KeptTarget, admin=True, body=ChangedTarget, raises=REFUSED | FROM_ENVIRONMENT)
    def change_target(target_id: UUID) -> ResponseReturnValue:
        """Change any of it. What waits for it is tried at once."""
        by = str(guard.admin().user_id)
        changed = targets.change(target_id, alert_fields.target(json_body(), new=False), by)
        return jsonify(success=True, target=_target(changed))

    @blueprint.delete(f"{TARGETS}/<uuid:target_id>")
    @answers(Done, admin=True, raises=FROM_ENVIRONMENT)
    def remove_target(target_id: UUID) -> ResponseReturnValue:
        """Take it away, with what it has not got yet."""
        targets.remove(target_id, str(guard.admin().user_id))
        return jsonify(success=True)

    @blueprint.post(f"{TARGETS}/<uuid:target_id>/test")
    @answers(Done, admin=True, raises=NOT_SENT)
    def try_target(target_id: UUID) -> ResponseReturnValue:
        """Send a test message now."""
        targets.try_out(target_id, str(guard.admin().user_id))
        return jsonify(success=True)

    @blueprint.get(SILENCES)
    @answers(Page[SilenceShape], admin=True)
    def list_silences() -> ResponseReturnValue:
        """Those that have not ended."""
        guard.admin()
        return jsonify(page([_silence(one) for one in silences.list()], None))

    @blueprint.post(SILENCES)
    @answers(KeptSilence, 201, admin=True, body=NewSilence)
    def add_silence() -> ResponseReturnValue:
        """Hold alerts back for a while."""
        by = str(guard.admin().user_id)
        return jsonify(success=True, silence=_silence(silences.add(**alert_fields.silence(json_body()), by=by))), 201

    @blueprint.delete(f"{SILENCES}/<int:silence_id>")
    @answers(Done, admin=True)
    def end_silence(silence_id: int) -> ResponseReturnValue:
        """End it now."""
        silences.end(silence_id, str(guard.admin().user_id))
        return jsonify(success=True)

    return blueprint


def _alert(one: AlertRecord, language: str) -> dict[str, Any]:
    title, text = one.said(language)
    return {
        "id": one.id,
        "incidentId": one.incident_id,
        "instanceName": one.instance_name,
        "gateway": one.gateway,
        "userId": str(one.user_id) if one.user_id else None,
        "kind": one.kind,
        "severity": one.severity,
        "at": iso(one.at),
        "title": title,
        "text": text,
        "deliveries": [
            {
                "target": sent.target,
                "state": sent.state,
                "attempts": sent.attempts,
                "sentAt": iso(sent.sent_at),
                "error": sent.error,
            }
            for sent in one.deliveries
        ],
    }


def _target(one: TargetRecord) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "organizationId": one.organization_id,
        "name": one.name,
        "scheme": one.scheme,
        "language": one.language,
        "least": one.least,
        "kinds": one.kinds,
        "quietFrom": f"{one.quiet_from:%H:%M}" if one.quiet_from else None,
        "quietUntil": f"{one.quiet_until:%H:%M}" if one.quiet_until else None,
        "timezone": one.timezone,
        "digestMinutes": one.digest_minutes,
        "enabled": one.enabled,
        "fromEnvironment": one.from_env,
        "createdBy": one.created_by,
        "createdAt": iso(one.created_at),
        "undelivered": one.undelivered,
        "error": one.error,
    }


def _silence(one: Silence) -> dict[str, Any]:
    return {
        "id": one.id,
        "kind": one.kind,
        "instanceName": one.instance_name,
        "organizationId": one.organization_id,
        "startsAt": iso(one.starts_at),
        "endsAt": iso(one.ends_at),
        "reason": one.reason,
        "createdBy": one.created_by,
        "createdAt": iso(one.created_at),
    }
