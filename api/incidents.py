"""Incidents with their timelines and reports: all for administrators, their own for users."""

from collections.abc import Callable, Mapping, Set
from typing import Annotated, Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api.openapi.declaring import Codes, answers
from api.paging import Cursors, InLanguage, Paging, language_of, limit_of, text_of
from api.schemas.common import Page, one_of
from api.schemas.health import Acknowledged, Incident, OwnIncident, OwnStory
from api.schemas.health import Story as StoryShape
from api.shapes import iso, page
from core.errors import Malformed
from core.web import Guard
from monitor.service import Headline, Monitoring, Story

STATES = {"": None, "open": True, "closed": False}
PEOPLE = {"by"}  # facts that hold an administrator's id
Shown = Callable[[Headline], dict[str, Any]]
UNKNOWN: Codes = {404: ("INCIDENT_NOT_FOUND",)}


class OwnWanted(InLanguage, Paging, total=False):
    state: Annotated[str, one_of(tuple(STATES))]
    kind: str


class Wanted(OwnWanted, total=False):
    instance: str
    organization_id: str


def make_blueprint(monitoring: Monitoring, guard: Guard, cursors: Cursors) -> Blueprint:
    blueprint = Blueprint("incidents", __name__)

    def listed(shown: Shown, **whose: Any) -> ResponseReturnValue:
        limit, language = limit_of(request.args), language_of(request.args)
        before = cursors.entry(request.args.get("cursor"))
        wanted = {"open": _state(), "kind": text_of(request.args, "kind") or None, **whose}
        found = monitoring.find_incidents(**wanted, limit=limit + 1, before=before, language=language)
        last = (found[limit - 1].incident.id,) if len(found) > limit else None
        return jsonify(page([shown(one) for one in found[:limit]], cursors.write(last)))

    @blueprint.get("/api/admin/incidents")
    @answers(Page[Incident], admin=True, query=Wanted)
    def incidents() -> ResponseReturnValue:
        """All incidents, newest first. Those of gateway servers too."""
        guard.admin()
        instance, organization = text_of(request.args, "instance"), text_of(request.args, "organization_id")
        return listed(item, instance_name=instance or None, organization_id=organization or None)

    @blueprint.get("/api/admin/incidents/<int:incident_id>")
    @answers(StoryShape, admin=True, query=InLanguage, raises=UNKNOWN)
    def incident(incident_id: int) -> ResponseReturnValue:
        """An incident with its timeline and report."""
        guard.admin()
        story = monitoring.incident(incident_id, language=language_of(request.args))
        return jsonify(_story(item(story.headline), story))

    @blueprint.post("/api/admin/incidents/<int:incident_id>/acknowledge")
    @answers(Acknowledged, admin=True, query=InLanguage, raises=UNKNOWN)
    def acknowledge(incident_id: int) -> ResponseReturnValue:
        """Somebody knows. No more reminders."""
        caller = guard.admin()
        known = monitoring.acknowledge(incident_id, str(caller.user_id), language=language_of(request.args))
        return jsonify({"success": True, **item(known)})

    @blueprint.get("/api/whatsapp/incidents")
    @answers(Page[OwnIncident], query=OwnWanted)
    def own() -> ResponseReturnValue:
        """One's own incidents, newest first."""
        return listed(item_of_user, user_id=guard.user().user_id)

    @blueprint.get("/api/whatsapp/incidents/<int:incident_id>")
    @answers(OwnStory, query=InLanguage, raises=UNKNOWN)
    def own_incident(incident_id: int) -> ResponseReturnValue:
        """One of them with its timeline and report."""
        caller = guard.user()
        story = monitoring.incident(incident_id, user_id=caller.user_id, language=language_of(request.args))
        return jsonify(_story(item_of_user(story.headline), story, without=PEOPLE))

    return blueprint


def item(one: Headline) -> dict[str, Any]:
    """For administrators, who see which of them knows of it."""
    return {**item_of_user(one), "acknowledgedBy": one.incident.acknowledged_by}


def item_of_user(one: Headline) -> dict[str, Any]:
    """`title` in the language asked for; `reasonCode` is Baileys'."""
    incident = one.incident
    return {
        "id": incident.id,
        "kind": incident.kind,
        "severity": one.severity,
        "title": one.title,
        "instanceName": incident.instance_name,
        "gateway": incident.gateway,
        "userId": str(incident.user_id) if incident.user_id else None,
        "organizationId": incident.organization_id,
        "reasonCode": incident.reason,
        "openedAt": iso(incident.opened_at),
        "closedAt": iso(incident.closed_at),
        "acknowledgedAt": iso(incident.acknowledged_at),
    }


def _story(shown: dict[str, Any], story: Story, without: Set[str] = frozenset()) -> dict[str, Any]:
    """`without`: facts that are left out."""
    timeline = [
        {"at": iso(step.at), "kind": step.kind, "code": step.code, "facts": _facts(step.facts, without), "text": words}
        for step, words in story.lines
    ]
    return {"success": True, **shown, "timeline": timeline, "report": story.report.as_dict()}


def _facts(facts: Mapping[str, Any], without: Set[str]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in without}


def _state() -> bool | None:
    asked = text_of(request.args, "state")
    if asked not in STATES:
        raise Malformed("state must be open or closed")
    return STATES[asked]
