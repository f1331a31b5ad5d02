"""The user's own instance: connect, status, disconnect, send (the seed's third route family)."""

from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field
from typing_extensions import TypedDict

from api import shapes
from api.openapi.declaring import GATEWAY, Codes, answers
from api.schemas.common import Unread, one_of
from api.schemas.whatsapp import Connecting, OwnStatus, Parted, Sent
from core.access import Principal
from core.clock import Clock
from core.errors import Malformed
from core.web import Guard, json_body
from manager.service import LOGOUT, PARTINGS, WhatsAppManager
from monitor.service import Monitoring

METHODS = ("qr", "code")
LONGEST_MESSAGE = 4096  # characters; phones show no more of one message
NUMBER: Codes = {400: ("PHONE_REQUIRED", "INVALID_PHONE_NUMBER")}


class Connect(TypedDict, total=False):
    """`code` needs the phone's number. Another's organization is for administrators."""

    method: Annotated[str, one_of(METHODS)]
    phone_number: Unread
    organization_id: Annotated[Any, Field(description="A text; of administrators alone it is looked at")]


class Part(TypedDict, total=False):
    """Unpair it (`logout`), take it off the gateway too (`close`), hide it as well (`delete`)."""

    mode: Annotated[str, one_of(PARTINGS)]


class Text(TypedDict):
    to: str
    message: Annotated[str, Field(min_length=1, max_length=LONGEST_MESSAGE)]


def make_blueprint(manager: WhatsAppManager, monitoring: Monitoring, guard: Guard, clock: Clock) -> Blueprint:
    blueprint = Blueprint("whatsapp", __name__)

    def status_of(user_id: UUID) -> dict[str, Any]:
        record, seen = manager.find_user_instance(user_id), monitoring.health_of(user_id)
        return shapes.status(user_id, record, clock.now(), seen)

    @blueprint.post("/api/whatsapp/connect")
    @answers(Connecting, body=Connect, raises=GATEWAY | NUMBER)
    def connect() -> ResponseReturnValue:
        """Connect one's WhatsApp, by QR code or by pairing code. Safe to repeat."""
        caller, asked = guard.user(), json_body()
        by_code = _one_of(asked.get("method", "qr"), METHODS, "method") == "code"
        organization, phone = _organization(caller, asked), asked.get("phone_number")
        result = manager.connect_user_whatsapp(caller.user_id, organization, by_code=by_code, phone=phone)
        return jsonify(shapes.connecting(result, clock.now()))

    @blueprint.get("/api/whatsapp/status")
    @answers(OwnStatus)
    def status() -> ResponseReturnValue:
        """How one's own instance stands."""
        return jsonify(status_of(guard.user().user_id))

    @blueprint.post("/api/whatsapp/disconnect")
    @answers(Parted, body=Part, raises=GATEWAY)
    def disconnect() -> ResponseReturnValue:
        """Part from WhatsApp. Connecting brings it back, with a new pairing."""
        caller = guard.user()
        how = _one_of(json_body().get("mode", LOGOUT), PARTINGS, "mode")
        manager.part_user_whatsapp(caller.user_id, how)
        return jsonify(status_of(caller.user_id) | {"message": shapes.PARTED[how]})

    @blueprint.post("/api/whatsapp/send")
    @answers(Sent, body=Text, raises=GATEWAY | NUMBER)
    def send() -> ResponseReturnValue:
        """Send a text. It is never repeated: after a time-out it may have been sent."""
        caller, asked = guard.user(), json_body()
        sent = manager.send_text(caller.user_id, asked.get("to"), _words(asked.get("message")))
        return jsonify({"success": True, "messageId": sent.message_id, "status": sent.status})

    return blueprint


def _organization(caller: Principal, asked: dict[str, Any]) -> str | None:
    """The caller's own; only an administrator's body may name another: a body makes nobody a member."""
    if caller.is_admin and isinstance(asked.get("organization_id"), str):
        return str(asked["organization_id"])
    return caller.organization_id


def _one_of(value: object, allowed: tuple[str, ...], name: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise Malformed(f"{name} must be one of {', '.join(allowed)}")
    return value


def _words(value: object) -> str:
    words = value.replace("\0", "").strip() if isinstance(value, str) else ""
    if not 0 < len(words) <= LONGEST_MESSAGE:
        raise Malformed(f"message must be a text of 1 to {LONGEST_MESSAGE} characters")
    return words
