"""Stored messages, chats and contacts as rows of Evolution's database. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox import ids
from sandbox import media as files
from sandbox.errors import ApiError
from sandbox.samples import ABSENT
from sandbox.state import Instance, Message

PAGE_SIZE = 50
MEDIA_KINDS = ("imageMessage", "videoMessage", "audioMessage", "documentMessage", "stickerMessage")


def page(instance: Instance, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{messages: {total, pages, currentPage, records}}`, newest first; `offset` is the size of a page."""
    found = [message for message in instance.messages if _fits(message, body.get("where"))][::-1]
    size, number = _positive(body.get("offset"), PAGE_SIZE), _positive(body.get("page"), 1)
    records = [_record(instance, message) for message in found[(number - 1) * size : number * size]]
    pages = -(-len(found) // size)
    return {"messages": {"total": len(found), "pages": pages, "currentPage": number, "records": records}}


def contact(instance: Instance, jid: str) -> dict[str, Any]:
    group = jid.endswith("@g.us")
    return {
        "id": _contact_id(instance, jid),
        "remoteJid": jid,
        "pushName": instance.contacts.get(jid) or "",
        "profilePicUrl": None,
        "createdAt": instance.created_at,
        "updatedAt": instance.updated_at,
        "instanceId": instance.id,
        "isGroup": group,
        "isSaved": False,
        "type": "group" if group else "group_member",
    }


def chat(instance: Instance, last: Message) -> dict[str, Any]:
    known = last.jid in instance.contacts
    row = {
        "id": _contact_id(instance, last.jid) if known else None,
        "remoteJid": last.jid,
        "pushName": None,
        "profilePicUrl": None,
        "updatedAt": datetime.fromtimestamp(last.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        **dict.fromkeys(("windowStart", "windowExpires")),
        "windowActive": False,
    }
    about = {"participant": None, "sessionId": None, "status": last.status}
    return row | {"lastMessage": _stored(instance, last) | about, "unreadCount": None, "isSaved": known}


def deleted(instance: Instance, message: Message) -> dict[str, Any]:
    """`data` of messages.delete after an API call: the whole row."""
    row = _stored(instance, message)
    return row | {"key": {**message.key, "deleted": True}, "status": "DELETED"}


def media(message: Message) -> dict[str, Any]:
    """The answer of getBase64FromMediaMessage. Raises ApiError 400 for what has no file."""
    if message.kind not in MEDIA_KINDS:
        raise ApiError(400, ["The message is not of the media type"])
    part, raw = message.content[message.kind], message.content.get("base64") or ids.base64_text(files.PIXEL)
    mimetype = part["mimetype"]
    ending = mimetype.split(";")[0].rsplit("/", maxsplit=1)[-1]
    answer = {"mediaType": message.kind, "fileName": part.get("fileName") or f"{message.id}.{ending}"}
    answer |= {"caption": part["caption"]} if "caption" in part else {}
    sizes = {name: part[name] for name in ("fileLength", "height", "width") if name in part}
    return answer | {"size": sizes, "mimetype": mimetype, "base64": raw, "buffer": None}


def _record(instance: Instance, message: Message) -> dict[str, Any]:
    return _stored(instance, message) | {"MessageUpdate": [{"status": status} for status in message.updates]}


def _stored(instance: Instance, message: Message) -> dict[str, Any]:
    return {
        "id": message.row_id,
        "key": message.key,
        "pushName": message.name,
        "messageType": message.kind,
        "message": message.content,
        "messageTimestamp": message.at_s,
        "instanceId": instance.id,
        "source": message.source,
        "contextInfo": None if message.context == ABSENT else message.context,
    }


def _fits(message: Message, where: object) -> bool:
    """`where.key.{id, remoteJid, fromMe (true only)}`, `where.messageType`, `where.source`, `where.id`."""
    if not isinstance(where, dict):
        return True
    raw = where.get("key")
    key: dict[str, Any] = raw if isinstance(raw, dict) else {}
    asked = [(key.get(name), message.key.get(name)) for name in ("id", "remoteJid", "remoteJidAlt", "participant")]
    asked += [(where.get("id"), message.row_id), (where.get("messageType"), message.kind)]
    asked += [(where.get("source"), message.source), (key.get("fromMe") or None, message.from_me)]
    return all(wanted in (None, has) for wanted, has in asked)


def _positive(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and value > 0 else otherwise


def _contact_id(instance: Instance, jid: str) -> str:
    return ids.row_id_for(f"{instance.id} {jid}")
