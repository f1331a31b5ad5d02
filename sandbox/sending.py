"""Messages that a client sends: POST /message/<verb>, the socket they need, send.message and the receipts."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sandbox import channel, ids, numbers, outgoing
from sandbox.encoding import encoded
from sandbox.errors import ApiError
from sandbox.line import Line
from sandbox.outgoing import VERBS, Outgoing
from sandbox.profiles import Profile
from sandbox.samples import ABSENT
from sandbox.scenes import keep, receipt, upsert
from sandbox.state import CHANNEL, Instance, Message, World
from sandbox.timers import Timers

RECEIPTS_AFTER_S = (("SERVER_ACK", 0.2), ("DELIVERY_ACK", 1.0))
CLOSED = "Connection Closed"


class Sending:
    """Methods may be called from any thread; `delay` holds the caller. `receipts`: the other side's phone is on."""

    def __init__(self, world: World, line: Line, timers: Timers, profile: Profile, *, receipts: bool) -> None:
        self._receipts_after_s = RECEIPTS_AFTER_S if receipts else ()
        self._world = world
        self._line = line
        self._timers = timers
        self._profile = profile

    def send(self, instance: Instance, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /message/<name>; gives the 201 body, which send.message carries too. Raises ApiError."""
        verb = VERBS[name]
        wanted, delay_ms = outgoing.check(verb, body), body.get("delay")
        number = str(body["number"]) if "number" in verb.required else body["key"]["remoteJid"]
        if instance.integration == CHANNEL:
            return channel.sent(self._line, instance, number, wanted)
        with self._world.lock:
            require_socket(instance, never=verb.never)
            jid = _reachable(instance, number)
        if isinstance(delay_ms, int | float):
            self._timers.pause(delay_ms / 1000)
        with self._world.lock:
            require_socket(instance, never=verb.never)
            return self._sent(instance, jid, wanted, _quoted(instance, body.get("quoted")))

    def _sent(self, instance: Instance, jid: str, wanted: Outgoing, quoted: dict[str, Any]) -> dict[str, Any]:
        message = self._message(instance, jid, wanted, quoted)
        keep(instance, message)
        sent = upsert(instance, message)
        self._line.tell(instance, "send.message", sent)
        for status, after_s in self._receipts_after_s:
            self._timers.after(after_s, partial(self._receipt, instance, message, status))
        return sent

    def _message(self, instance: Instance, jid: str, wanted: Outgoing, quoted: dict[str, Any]) -> Message:
        id_ = ids.sent_message_id()
        key = {"remoteJid": jid, "fromMe": True, "id": id_} | ({"participant": jid} if wanted.participant else {})
        content = encoded(wanted.content, self._profile)
        if wanted.raw is not None and instance.live.base64:
            content["base64"] = ids.base64_text(wanted.raw)
        with_context = wanted.context and not jid.endswith("@g.us")
        told = encoded(outgoing.context() | quoted, self._profile) if with_context else quoted or ABSENT
        facts = {"key": key, "content": content, "context": told, "kind": wanted.kind, "text": wanted.text}
        facts |= {"id": id_, "row_id": ids.row_id(), "jid": jid, "from_me": True}
        return Message(name="Você", status="PENDING", source="web", **facts)

    def _receipt(self, instance: Instance, message: Message, status: str) -> None:
        """Nothing while the phone is away, and never behind a later one."""
        with self._world.lock:
            here = self._world.find(instance.name) is instance and instance.live.state == "open"
            if not here or message.status == "READ":
                return
            message.status = status
            message.updates.append(status)
            self._line.tell(instance, "messages.update", receipt(instance, message, status))


def require_socket(instance: Instance, never: tuple[int, object]) -> None:
    """The errors differ with what the socket is doing (recorded from 2.3.6). Raises ApiError."""
    live = instance.live
    if live.state == "open":
        return
    if live.socket == 0:
        raise ApiError(*never)
    if live.qr_shown:
        raise ApiError(400, ["TypeError: Cannot read properties of undefined (reading 'id')"])
    if live.state == "connecting":
        raise ApiError(500, CLOSED)
    raise ApiError(400, [f"Error: {CLOSED}"])


def is_known(instance: Instance, jid: str) -> bool:
    """Whether Evolution has asked WhatsApp about this number before."""
    return jid in instance.contacts or any(message.jid == jid for message in instance.messages)


def _reachable(instance: Instance, number: str) -> str:
    """The JID. A half-dead socket fails while asking about the number, or later while sending to a known one."""
    jid = numbers.jid_of(number)
    if instance.live.mode == "half_open":
        raise ApiError(400, [f"Error: {CLOSED}"]) if is_known(instance, jid) else ApiError(500, CLOSED)
    if jid.endswith("@g.us"):
        if jid not in numbers.KNOWN_GROUPS:
            raise ApiError(400, ["[object Object]"])
    elif not numbers.is_on_whatsapp(jid):
        raise ApiError(400, [{"jid": jid, "exists": False, "number": number}])
    return jid


def _quoted(instance: Instance, quoted: object) -> dict[str, Any]:
    """What a quote adds to contextInfo: nothing when the message is neither given nor known."""
    if not isinstance(quoted, dict) or not isinstance(quoted.get("key"), dict):
        return {}
    id_, content = quoted["key"].get("id"), quoted.get("message")
    if not isinstance(content, dict):
        content = next((message.content for message in instance.messages if message.id == id_), None)
    if content is None:
        return {}
    return {"participant": "", "stanzaId": id_, "quotedMessage": content}
