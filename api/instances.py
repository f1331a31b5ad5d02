"""Instances by id: create, list, status, connect, send, change, delete (the seed's second route family).

An id is whatever stands in the path: a UUID, a technical name, or nothing that anybody has, encoded slashes and all.
"""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api import instance_shapes as shapes
from api.bodies import LONGEST_ORGANIZATION, MESSAGE, NUMBER, Text, line, to_send, word
from api.openapi.declaring import GATEWAY, Codes, answers
from api.paging import Cursors, Paging, limit_of
from api.schemas.common import Done, Page
from api.schemas.instances import (
    LONGEST_LABEL,
    METHODS,
    ConnectingOne,
    HowToConnect,
    Instance,
    InstanceStatus,
    MadeInstance,
    NewLabelled,
    OneInstance,
    OwnersNumber,
)
from api.schemas.whatsapp import Sent
from api.shapes import page
from core.access import Principal
from core.clock import Clock
from core.errors import Malformed
from core.web import Guard, json_body
from manager.catalog import Catalog
from manager.service import DELETE

ALL = "/api/whatsapp/instances"
ONE, ANY = f"{ALL}/<instance_id>", f"{ALL}/<path:instance_id>"
UNKNOWN: Codes = {404: ("INSTANCE_NOT_FOUND",)}


def make_blueprint(catalog: Catalog, guard: Guard, cursors: Cursors, clock: Clock) -> Blueprint:
    blueprint, manager = Blueprint("instances", __name__), catalog.manager

    def listed(caller: Principal) -> ResponseReturnValue:
        after = cursors.contact(request.args.get("cursor"))
        found, last = catalog.find_all(caller, limit=limit_of(request.args), after=after)
        return jsonify(page([shapes.instance(one) for one in found], cursors.write(last)))

    @blueprint.get(ALL)
    @answers(Page[Instance], query=Paging)
    def list_instances() -> ResponseReturnValue:
        """One's own instance, or all by name for administrators."""
        return listed(guard.user())

    @blueprint.get("/api/admin/instances")
    @answers(Page[Instance], admin=True, query=Paging)
    def all_instances() -> ResponseReturnValue:
        """All instances by name."""
        return listed(guard.admin())

    @blueprint.post(ALL)
    @answers(MadeInstance, body=NewLabelled, raises={**GATEWAY, **NUMBER, 404: ("ORGANIZATION_NOT_FOUND",)})
    def create() -> ResponseReturnValue:
        """Make one's instance, with a label, in one's organization."""
        caller, asked = guard.user(), json_body()
        organization = line(asked.get("organization_id"), "organization_id", LONGEST_ORGANIZATION)
        label = _label(asked.get("instance_name"))
        return jsonify(shapes.made(catalog.create(caller, organization, label=label, phone=asked.get("phone_number"))))

    @blueprint.get(f"{ANY}/status")
    @answers(InstanceStatus, raises=UNKNOWN)
    def status(instance_id: str) -> ResponseReturnValue:
        """How an instance stands."""
        return jsonify(shapes.status(catalog.find(guard.user(), instance_id), clock.now()))

    @blueprint.post(f"{ANY}/connect")
    @answers(ConnectingOne, body=HowToConnect, raises=GATEWAY | NUMBER)
    def connect(instance_id: str) -> ResponseReturnValue:
        """Connect an instance. One that was deleted is there again."""
        caller, asked = guard.user(), json_body()
        one = catalog.find(caller, instance_id, deleted=True, doing="connect")
        known = f"+{one.owner_phone}" if one.owner_phone else None  # it is whole: no country goes in front
        phone = asked.get("phone_number") or known
        method = _method(asked.get("method"), phone)
        result = manager.connect_user_whatsapp(
            one.user_id, one.record.organization_id, by_code=method == "code", phone=phone
        )
        return jsonify(shapes.connecting(result, method, clock.now()))

    @blueprint.post(f"{ANY}/send")
    @answers(Sent, body=Text, raises=GATEWAY | MESSAGE)
    def send(instance_id: str) -> ResponseReturnValue:
        """Send a text. It is never repeated: after a time-out it may have been sent."""
        one, (to, words) = catalog.find(guard.user(), instance_id, doing="send"), to_send()
        sent = manager.send_text(one.user_id, to, words)
        return jsonify(success=True, messageId=sent.message_id, status=sent.status)

    @blueprint.patch(ONE)
    @answers(OneInstance, body=OwnersNumber, raises=UNKNOWN | NUMBER)
    def change(instance_id: str) -> ResponseReturnValue:
        """Change the owner's number, and nothing else."""
        one = catalog.find(guard.user(), instance_id, doing="change")
        return jsonify(shapes.changed(catalog.name_owner(one, json_body().get("phone_number"))))

    @blueprint.delete(ONE)
    @answers(Done, raises=GATEWAY)
    def delete(instance_id: str) -> ResponseReturnValue:
        """Take an instance off its gateway and hide it. Connecting brings it back."""
        manager.part_user_whatsapp(catalog.find(guard.user(), instance_id, doing="delete").user_id, DELETE)
        return jsonify(success=True)

    return blueprint


def _method(value: object, phone: object) -> str:
    """A code where there is a phone to get it, unless it is said otherwise."""
    return word(("code" if phone else "qr") if value is None else value, "method", METHODS)


def _label(value: object) -> str:
    """What people call it. Never part of a path or a gateway's name."""
    label = line(value, "instance_name", LONGEST_LABEL)
    if set(label) & set("/\\"):
        raise Malformed("instance_name must not have slashes")
    return label
