"""The user's own instance: connect, status, disconnect, send (the seed's third route family)."""

from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field
from typing_extensions import TypedDict

from api import shapes
from api.bodies import MESSAGE, NUMBER, Text, organization, to_send, word
from api.openapi.declaring import GATEWAY, answers
from api.schemas.common import Unread, one_of
from api.schemas.whatsapp import Connecting, OwnStatus, Parted, Sent
from core.clock import Clock
from core.web import Guard, json_body
from manager.service import LOGOUT, PARTINGS, WhatsAppManager
from monitor.service import Monitoring

METHODS = ("qr", "code")


class Connect(TypedDict, total=False):
    """`code` needs the phone's number. Another's organization is for administrators."""

    method: Annotated[str, one_of(METHODS)]
    phone_number: Unread
    organization_id: Annotated[Any, Field(description="A text; of administrators alone it is looked at")]


class Part(TypedDict, total=False):
    """Unpair it (`logout`), take it off the gateway too (`close`), hide it as well (`delete`)."""

    mode: Annotated[str, one_of(PARTINGS)]


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
        by_code = word(asked.get("method", "qr"), "method", METHODS) == "code"
        theirs, phone = organization(caller, asked.get("organization_id"), "organization_id"), asked.get("phone_number")
        result = manager.connect_user_whatsapp(caller.user_id, theirs, by_code=by_code, phone=phone)
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
        how = word(json_body().get("mode", LOGOUT), "mode", PARTINGS)
        manager.part_user_whatsapp(caller.user_id, how)
        return jsonify(status_of(caller.user_id) | {"message": shapes.PARTED[how]})

    @blueprint.post("/api/whatsapp/send")
    @answers(Sent, body=Text, raises=GATEWAY | MESSAGE)
    def send() -> ResponseReturnValue:
        """Send a text. It is never repeated: after a time-out it may have been sent."""
        caller, (to, words) = guard.user(), to_send()
        sent = manager.send_text(caller.user_id, to, words)
        return jsonify({"success": True, "messageId": sent.message_id, "status": sent.status})

    return blueprint
