"""Messages: those that contacts send to a phone, and those a client sends through POST /message/sendText."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sandbox import errors, ids, numbers
from sandbox.delivery import Delivery
from sandbox.errors import ApiError, ControlError
from sandbox.state import Instance, Message, World
from sandbox.timers import Timers

RECEIPTS_AFTER_S = (("SERVER_ACK", 0.2), ("DELIVERY_ACK", 1.0))
# WhatsApp's disappearing-mode timestamp in a recording lay two days before the message.
EPHEMERAL_BEFORE_S = 172_800

SEND_FIELDS = ("number", "text")


class Chat:
    """Both directions. Methods may be called from any thread."""

    def __init__(self, world: World, delivery: Delivery, timers: Timers) -> None:
        self._world = world
        self._delivery = delivery
        self._timers = timers

    def receive(self, instance: Instance, sender: str, text: str, push_name: str | None) -> str:
        """A contact writes to the phone; gives the message's id. Raises ControlError 409 unless it is open."""
        jid = numbers.jid_of(sender)
        with self._world.lock:
            if instance.live.state != "open":
                raise ControlError(409, f'instance "{instance.name}" is not open')
            touched = {"remoteJid": jid, "instanceId": instance.id}
            self._delivery.emit(instance, "chats.update", [touched])
            pictured = {"remoteJid": jid, "profilePicUrl": None, "instanceId": instance.id}
            self._delivery.emit(instance, "contacts.update", [pictured])
            message = _message(
                ids.received_message_id(), jid, text, from_me=False, name=push_name, status="DELIVERY_ACK"
            )
            # Evolution takes nothing in any more after an API logout: neither stored nor told.
            if not instance.live.inbound_dead:
                self._take_in(instance, message, jid)
            return message.id

    def send_text(self, instance: Instance, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /message/sendText; gives the 201 body, which send.message carries too. Raises ApiError."""
        text, delay_ms = _check(body), body.get("delay")
        with self._world.lock:
            _require_socket(instance)
            jid = _reachable(str(body["number"]))
        if isinstance(delay_ms, int | float):
            self._timers.pause(delay_ms / 1000)
        with self._world.lock:
            _require_socket(instance)
            message = _message(ids.sent_message_id(), jid, text, from_me=True, name=None, status="PENDING")
            self._keep(instance, message)
            sent = _sent(instance, message, jid, _quoted(instance, body.get("quoted")))
            self._delivery.emit(instance, "send.message", sent)
            for status, after_s in RECEIPTS_AFTER_S:
                self._timers.after(after_s, partial(self._receipt, instance, message, jid, status))
            return sent

    def _take_in(self, instance: Instance, message: Message, jid: str) -> None:
        known = jid in instance.contacts
        instance.contacts[jid] = message.name
        self._keep(instance, message)
        self._delivery.emit(instance, "messages.upsert", _upsert(instance, message, jid))
        contact = {
            "remoteJid": jid,
            "pushName": message.name,
            "profilePicUrl": None,
            "instanceId": instance.id,
        }
        self._delivery.emit(instance, "contacts.update" if known else "contacts.upsert", contact)

    def _keep(self, instance: Instance, message: Message) -> None:
        instance.message_count += 1
        instance.live.messages.append(message)

    def _receipt(self, instance: Instance, message: Message, jid: str, status: str) -> None:
        """`{keyId, remoteJid, fromMe, status, instanceId, messageId}`; nothing while the phone is away."""
        with self._world.lock:
            if self._world.find(instance.name) is not instance or instance.live.state != "open":
                return
            message.status = status
            receipt = {"keyId": message.id, "remoteJid": jid, "fromMe": True, "status": status}
            receipt |= {"instanceId": instance.id, "messageId": message.row_id}
            self._delivery.emit(instance, "messages.update", receipt)


def _check(body: Mapping[str, Any]) -> str:
    """The text. Raises ApiError 400 in the order of Evolution's own checks."""
    missing = [f'instance requires property "{field}"' for field in SEND_FIELDS if field not in body]
    if missing:
        raise errors.invalid(*missing)
    if not isinstance(body["number"], str):
        raise errors.invalid("Invalid format")
    if not isinstance(body["text"], str):
        raise errors.invalid("text is not of a type(s) string")
    if not body["text"].strip():
        raise ApiError(400, ["Text is required"])
    return body["text"]


def _require_socket(instance: Instance) -> None:
    """The errors differ with what the socket is doing (recorded from 2.3.6)."""
    live = instance.live
    if live.state == "open":
        return
    if live.socket == 0:
        raise ApiError(500, "Cannot read properties of undefined (reading 'onWhatsApp')")
    if live.qr_shown:
        raise ApiError(400, ["TypeError: Cannot read properties of undefined (reading 'id')"])
    if live.state == "connecting":
        raise ApiError(500, "Connection Closed")
    raise ApiError(400, ["Error: Connection Closed"])


def _reachable(number: str) -> str:
    jid = numbers.jid_of(number)
    if jid.endswith("@g.us"):
        if jid not in numbers.KNOWN_GROUPS:
            raise ApiError(400, ["[object Object]"])
    elif not numbers.is_on_whatsapp(jid):
        raise ApiError(400, [{"jid": jid, "exists": False, "number": number}])
    return jid


def _message(id_: str, jid: str, text: str, *, from_me: bool, name: str | None, status: str) -> Message:
    number = numbers.digits_of(jid)
    return Message(id=id_, row_id=ids.row_id(), from_me=from_me, number=number, name=name, text=text, status=status)


def _upsert(instance: Instance, message: Message, jid: str) -> dict[str, Any]:
    mode = "lid" if jid.endswith("@lid") else "pn"
    return {
        "key": {
            "remoteJid": jid,
            "fromMe": False,
            "id": message.id,
            "participant": "",
            "addressingMode": mode,
        },
        "pushName": message.name,
        "status": message.status,
        "message": {"conversation": message.text},
        "messageType": "conversation",
        "messageTimestamp": ids.epoch_s(),
        "instanceId": instance.id,
        "source": "android",
    }


def _sent(instance: Instance, message: Message, jid: str, quoted: dict[str, Any]) -> dict[str, Any]:
    at_s = ids.epoch_s()
    context = {
        "mentionedJid": [],
        "groupMentions": [],
        "ephemeralSettingTimestamp": {"low": at_s - EPHEMERAL_BEFORE_S, "high": 0, "unsigned": False},
        "disappearingMode": {"initiator": 0},
        **quoted,
    }
    return {
        "key": {"remoteJid": jid, "fromMe": True, "id": message.id},
        "pushName": "Você",
        "status": "PENDING",
        "message": {"conversation": message.text},
        "contextInfo": context,
        "messageType": "conversation",
        "messageTimestamp": at_s,
        "instanceId": instance.id,
        "source": "web",
    }


def _quoted(instance: Instance, quoted: object) -> dict[str, Any]:
    """What a quote adds to contextInfo: nothing when the message is neither given nor known."""
    if not isinstance(quoted, dict) or not isinstance(quoted.get("key"), dict):
        return {}
    id_, content = quoted["key"].get("id"), quoted.get("message")
    if not isinstance(content, dict):
        texts = [message.text for message in instance.live.messages if message.id == id_]
        content = {"conversation": texts[0]} if texts else None
    if content is None:
        return {}
    return {"participant": "", "stanzaId": id_, "quotedMessage": content}
