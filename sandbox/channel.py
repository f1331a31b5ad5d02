"""The EVOLUTION channel: an instance without a phone, whose messages come in over POST /webhook/evolution.

That route asks for no key, an id may come again and again, and what comes after a logout is taken too.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from sandbox import ids
from sandbox.line import Line
from sandbox.outgoing import Outgoing
from sandbox.samples import ABSENT
from sandbox.scenes import keep
from sandbox.state import CHANNEL, Instance, Message, World


def receive(world: World, line: Line, body: Mapping[str, Any]) -> bool:
    """Whether an instance has this number; nobody is told when none has."""
    number = body.get("numberId")
    with world.lock:
        found = [one for one in world.all() if one.integration == CHANNEL and one.number == number]
        if not number or not found:
            return False
        _take_in(found[0], line, body)
    return True


def sent(line: Line, instance: Instance, number: str, wanted: Outgoing) -> dict[str, Any]:
    """`{key: {fromMe, id, remoteJid}, message, messageType, messageTimestamp, source, instanceId}`."""
    key = {"fromMe": True, "id": str(uuid.uuid4()), "remoteJid": number}
    body = _told(instance, key, wanted.content, wanted.kind)
    keep(instance, _stored(key, wanted.content, wanted.kind, None))
    line.tell(instance, "send.message", body)
    return body


def _take_in(instance: Instance, line: Line, body: Mapping[str, Any]) -> None:
    key, content = dict(body.get("key") or {}), dict(body.get("message") or {})
    kind, name = str(body.get("messageType") or "conversation"), body.get("pushName")
    jid = str(key.get("remoteJid"))
    message = _told(instance, key, content, kind)
    line.tell(instance, "messages.upsert", {"key": key, "pushName": name, **message})
    named = {"remoteJid": jid, "instanceId": instance.id}
    line.tell(instance, "contacts.upsert", {"remoteJid": jid, "pushName": name, "instanceId": instance.id})
    if jid in instance.contacts:
        line.tell(instance, "chats.update", named)
    line.tell(instance, "chats.upsert", named)
    instance.contacts[jid] = name
    keep(instance, _stored(key, content, kind, name))


def _told(instance: Instance, key: dict[str, Any], content: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "key": key,
        "message": content,
        "messageType": kind,
        "messageTimestamp": ids.epoch_s(),
        "source": "unknown",
        "instanceId": instance.id,
    }


def _stored(key: dict[str, Any], content: dict[str, Any], kind: str, name: str | None) -> Message:
    return Message(
        id=str(key.get("id")),
        row_id=ids.row_id(),
        jid=str(key.get("remoteJid")),
        from_me=key.get("fromMe") is True,
        name=name,
        text=str(content.get("conversation", kind)),
        status="PENDING",
        kind=kind,
        key=key,
        content=content,
        context=ABSENT,
        source="unknown",
    )
