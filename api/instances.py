"""Instances by id: create, list, status, connect, send, change, delete (the seed's second route family).

An id is whatever stands in the path: a UUID, a technical name, or nothing that anybody has, encoded slashes and all.
"""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api import instance_shapes as shapes
from api.openapi.declaring import GATEWAY, Codes, answers
from api.paging import Cursors, Paging, limit_of
from api.schemas.common import Done, Page
from api.schemas.instances import (
    LONGEST_LABEL,
    LONGEST_MESSAGE,
    LONGEST_ORGANIZATION,
    METHODS,
    ConnectingOne,
    HowToConnect,
    Instance,
    InstanceStatus,
    LongText,
    MadeInstance,
    NewLabelled,
    OneInstance,
    OwnersNumber,
)
from api.schemas.whatsapp import Sent
from api.shapes import page
from core.access import storable
from core.clock import Clock
from core.errors import Malformed
from core.web import Guard, json_body
from manager.catalog import Catalog
from manager.service import DELETE

ALL = "/api/whatsapp/instances"
ONE, ANY = f"{ALL}/<instance_id>", f"{ALL}/<path:instance_id>"
LARGEST_BODY = 4 * 1024 * 1024  # bytes: a message that is too long is one, not a body that is too large
UNKNOWN: Codes = {404: ("INSTANCE_NOT_FOUND",)}
NUMBER: Codes = {400: ("PHONE_NUMBER_REQUIRED", "INVALID_PHONE_NUMBER")}


def make_blueprint(catalog: Catalog, guard: Guard, cursors: Cursors, clock: Clock) -> Blueprint:
    blueprint, manager = Blueprint("instances", __name__), catalog.manager

    @blueprint.get(ALL)
    @answers(Page[Instance], query=Paging)
    def list_instances() -> ResponseReturnValue:
        """One's own instance, or all by name for administrators."""
        caller, after = guard.user(), cursors.contact(request.args.get("cursor"))
        found, last = catalog.find_all(caller, limit=limit_of(request.args), after=after)
        return jsonify(page([shapes.instance(one) for one in found], cursors.write(last)))

    @blueprint.post(ALL)
    @answers(MadeInstance, body=NewLabelled, raises={**GATEWAY, **NUMBER, 404: ("ORGANIZATION_NOT_FOUND",)})
    def create() -> ResponseReturnValue:
        """Make one's instance, with a label. Who has no organization begins the one they name."""
        caller, asked = guard.user(), json_body()
        organization, label = _organization(asked.get("organization_id")), _label(asked.get("instance_name"))
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
        phone = asked.get("phone_number") or one.owner_phone
        method = _method(asked.get("method"), phone)
        result = manager.connect_user_whatsapp(
            one.user_id, one.record.organization_id, by_code=method == "code", phone=phone
        )
        return jsonify(shapes.connecting(result, method, clock.now()))

    @blueprint.post(f"{ANY}/send")
    @answers(Sent, body=LongText, raises={**GATEWAY, 400: ("MESSAGE_TOO_LONG", "INVALID_PHONE_NUMBER")})
    def send(instance_id: str) -> ResponseReturnValue:
        """Send a text. It is never repeated: after a time-out it may have been sent."""
        request.max_content_length = LARGEST_BODY
        one, asked = catalog.find(guard.user(), instance_id, doing="send"), json_body()
        sent = manager.send_text(one.user_id, _recipient(asked.get("to")), _words(asked.get("message")))
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
    method = ("code" if phone else "qr") if value is None else value
    if method not in METHODS:
        raise Malformed(f"method must be one of {', '.join(METHODS)}")
    return str(method)


def _organization(value: object) -> str:
    return _line(value, "organization_id", LONGEST_ORGANIZATION)


def _label(value: object) -> str:
    """What people call it. Never part of a path or a gateway's name."""
    label = _line(value, "instance_name", LONGEST_LABEL)
    if set(label) & set("/\\"):
        raise Malformed("instance_name must not have slashes")
    return label


def _line(value: object, name: str, longest: int) -> str:
    line = value.strip() if isinstance(value, str) else ""
    if not 0 < len(line) <= longest or not line.isprintable():
        raise Malformed(f"{name} must be a line of 1 to {longest} characters")
    return line


def _recipient(value: object) -> object:
    if value in (None, ""):
        raise Malformed("to is required")
    return value


def _words(value: Any) -> str:
    words = (storable(value) or "").strip()
    if not words:
        raise Malformed("message must be a text")
    if len(words) > LONGEST_MESSAGE:
        raise Malformed(f"message must not be longer than {LONGEST_MESSAGE} characters", code="MESSAGE_TOO_LONG")
    return words
