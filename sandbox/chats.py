"""What a client asks about chats: who is on WhatsApp, what is stored, and what it wants done to a message."""

from collections.abc import Mapping
from typing import Any

from sandbox import errors, ids, numbers, rows
from sandbox.errors import ApiError
from sandbox.line import Line
from sandbox.sending import CLOSED, is_known, require_socket
from sandbox.state import Instance, Message, World
from sandbox.timers import Timers

Body = Mapping[str, Any]

NO_SOCKET = "TypeError: Cannot read properties of undefined (reading '{}')"
ON_WHATSAPP = "Cannot read properties of undefined (reading 'onWhatsApp')"


class RawAnswer(Exception):
    """An error whose body is not in Evolution's envelope."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Chats:
    """Methods may be called from any thread and raise ApiError."""

    def __init__(self, world: World, line: Line, timers: Timers) -> None:
        self._world = world
        self._line = line
        self._timers = timers

    def whatsapp_numbers(self, instance: Instance, body: Body) -> list[dict[str, Any]]:
        """Raises RawAnswer: this route does not keep to the envelope."""
        asked = body.get("numbers")
        if not isinstance(asked, list):
            found = [["numbers is not of a type(s) array"]]
            raise RawAnswer(400, {"status": 400, "error": "Bad Request", "message": found})
        if instance.live.socket == 0:
            raise RawAnswer(400, {})
        if instance.live.state != "open" or instance.live.mode == "half_open":
            raise RawAnswer(400, _closed())
        return [_looked_up(str(number), instance) for number in asked]

    def find_messages(self, instance: Instance, body: Body) -> dict[str, Any]:
        with self._world.lock:
            return rows.page(instance, body)

    def find_contacts(self, instance: Instance, body: Body) -> list[dict[str, Any]]:
        wanted = _where(body).get("remoteJid")
        with self._world.lock:
            return [rows.contact(instance, jid) for jid in instance.contacts if wanted in (None, jid)]

    def find_chats(self, instance: Instance, body: Body) -> list[dict[str, Any]]:
        wanted = _where(body).get("remoteJid")
        with self._world.lock:
            last: dict[str, Message] = {}
            for message in reversed(instance.messages):
                last.setdefault(message.jid, message)
            return [rows.chat(instance, message) for jid, message in last.items() if wanted in (None, jid)]

    def mark_read(self, instance: Instance, body: Body) -> dict[str, str]:
        if "readMessages" not in body:
            raise errors.invalid('instance requires property "readMessages"')
        if instance.live.socket == 0:
            raise ApiError(500, ["Read messages fail", NO_SOCKET.format("readMessages")])
        return {"message": "Read messages", "read": "success"}

    def send_presence(self, instance: Instance, body: Body) -> dict[str, Any]:
        missing = [name for name in ("number", "presence", "delay") if name not in body]
        if missing:
            raise errors.invalid(*(f'instance requires property "{name}"' for name in missing))
        require_socket(instance, never=(400, [NO_SOCKET.format("onWhatsApp")]))
        if isinstance(body["delay"], int | float):
            self._timers.pause(body["delay"] / 1000)
        return {"presence": body["presence"]}

    def profile_picture(self, body: Body) -> dict[str, Any]:
        return {"wuid": numbers.jid_of(str(body.get("number") or "")), "profilePictureUrl": None}

    def profile(self, instance: Instance, body: Body) -> dict[str, Any]:
        require_socket(instance, never=(500, ON_WHATSAPP))
        jid = numbers.jid_of(str(body.get("number") or ""))
        known = instance.contacts.get(jid)
        about = {"wuid": jid, "name": known, "numberExists": numbers.is_on_whatsapp(jid), "picture": None}
        return about | {"status": None, "isBusiness": False}

    def base64_of(self, instance: Instance, body: Body) -> dict[str, Any]:
        asked = body.get("message")
        key = asked.get("key") if isinstance(asked, dict) else None
        message = _find(instance, key.get("id") if isinstance(key, dict) else None)
        if message is None:
            raise ApiError(400, ["Message not found"])
        return rows.media(message)

    def delete(self, instance: Instance, body: Body) -> dict[str, Any]:
        """DELETE /chat/deleteMessageForEveryone, and messages.delete when the message is stored."""
        key = {name: body.get(name) for name in ("remoteJid", "fromMe", "id")}
        trouble = ["Error while deleting message for everyone", NO_SOCKET.format("sendMessage")]
        with self._world.lock:
            require_socket(instance, never=(500, trouble))
            message = _find(instance, key["id"])
            if message is not None:
                message.status = "DELETED"
                self._line.tell(instance, "messages.delete", rows.deleted(instance, message))
        return _protocol(key, {"key": key, "type": "REVOKE"})

    def update(self, instance: Instance, body: Body) -> dict[str, Any]:
        """POST /chat/updateMessage: an edit, which is told as send.message.update."""
        key, text = body.get("key"), body.get("text")
        if not isinstance(key, dict) or not isinstance(text, str):
            raise errors.invalid('instance requires property "key"')
        edit = {"editedMessage": {"extendedTextMessage": {"text": text}}}
        at_ms = ids.epoch_s() * 1000
        with self._world.lock:
            require_socket(instance, never=(500, ON_WHATSAPP))
            self._line.tell(instance, "send.message.update", {"key": key, **edit, "timestampMs": at_ms, "type": 14})
        return _protocol(key, {"key": key, "type": "MESSAGE_EDIT", **edit, "timestampMs": str(at_ms)})


def _where(body: Body) -> dict[str, Any]:
    where = body.get("where")
    return where if isinstance(where, dict) else {}


def _find(instance: Instance, id_: object) -> Message | None:
    return next((message for message in instance.messages if message.id == id_), None)


def _looked_up(number: str, instance: Instance) -> dict[str, Any]:
    """`{jid, exists, number, name?}`."""
    jid = numbers.jid_of(number)
    answer = {"jid": jid, "exists": numbers.is_on_whatsapp(jid), "number": number}
    name = instance.contacts.get(jid) if is_known(instance, jid) else None
    return answer | ({"name": name} if name else {})


def _closed() -> dict[str, Any]:
    """The dump of Baileys's own error."""
    payload = {"statusCode": 428, "error": "Precondition Required", "message": CLOSED}
    output = {"statusCode": 428, "payload": payload, "headers": {}}
    return {"data": None, "isBoom": True, "isServer": False, "output": output}


def _protocol(key: Mapping[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """The message that changes another one, as Baileys gives it back."""
    own = {"remoteJid": key.get("remoteJid"), "fromMe": True, "id": ids.sent_message_id()}
    about = {"messageTimestamp": str(ids.epoch_s()), "status": "PENDING"}
    return {"key": own, "message": {"protocolMessage": message}, **about}
