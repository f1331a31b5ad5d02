"""Our words → the JSON of each route family. Pure; no family's words stand anywhere else."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from manager.fold import formatted
from manager.lifecycle import InstanceRecord, Status, instance_name_for
from manager.pictures import shown
from manager.service import Connecting
from monitor.views import HealthView

CONNECTED_ALREADY = "Sessão já está ativa e conectada"
PARTED = {
    "logout": "WhatsApp desconectado; conecte de novo com um novo código",
    "close": "Sessão encerrada",
    "delete": "Instância removida; conectar de novo a traz de volta",
}
CODE_SHOWN = "Digite o código no seu WhatsApp: Aparelhos conectados, Conectar com número de telefone"
MESSAGES = {
    Status.CONNECTED: "WhatsApp conectado",
    Status.QR_PENDING: "Escaneie o QR Code com o seu WhatsApp",
    Status.CONNECTING: "O QR Code será enviado assim que for gerado",
    Status.DISCONNECTED: "WhatsApp desconectado",
}


def connecting(result: Connecting, now: datetime) -> dict[str, Any]:
    """The answer of `POST /api/whatsapp/connect`. A code that has expired is not shown."""
    record = result.record
    pairing, until = record.standing.pairing, record.standing.pairing_expires_at
    current = pairing if pairing and until and until > now else None
    qr, picture = shown(current.qr if current else None)
    code = current.pairing_code if current else None
    body = {
        "success": True,
        "instanceName": record.name,
        "status": record.status,
        "qrCode": picture,
        "qrcode": picture,
        "qr": qr,
        "pairingCode": code,
        "pairingCodeFormatted": formatted(code) if code else None,
        "expiresAt": iso(until) if current else None,
        "message": _message(result, code),
    }
    return body | ({"alreadyConnected": True} if result.already_connected else {})


def _message(result: Connecting, code: str | None) -> str:
    if result.already_connected:
        return CONNECTED_ALREADY
    return CODE_SHOWN if code else MESSAGES[result.record.status]


def status(
    user_id: UUID, record: InstanceRecord | None, now: datetime, seen: HealthView | None = None
) -> dict[str, Any]:
    """The answer of `GET /api/whatsapp/status`; somebody without an instance is disconnected. `seen`: what the monitor
    says, None where it has not looked: an event alone is no verdict."""
    stand = record.standing if record else None
    word = record.status if record else Status.DISCONNECTED
    connected = word is Status.CONNECTED
    since = stand.connected_at if stand and connected else None
    return {
        "success": True,
        "instanceName": record.name if record else instance_name_for(user_id),
        "status": word,
        "connected": connected,
        "needsQR": word in (Status.QR_PENDING, Status.DISCONNECTED),
        "phoneNumber": stand.phone if stand else None,
        "profileName": stand.profile_name if stand else None,
        "health": {
            "status": seen.state if seen else "unknown",
            "consecutiveFailures": seen.failures if seen else 0,
            "lastCheckAt": iso(seen.checked_at) if seen else None,
            "uptime": int((now - since).total_seconds()) if since else 0,
            "issues": list(seen.issues) if seen else [],
        },
        "lastUpdate": iso(record.updated_at) if record else None,
    }


def snapshot(
    user_id: UUID, record: InstanceRecord | None, now: datetime, seen: HealthView | None = None
) -> dict[str, Any]:
    """A socket's first frame: the status, and the code that is on the screen now, where there is one."""
    code = connecting(Connecting(record=record), now) if record else {}
    return status(user_id, record, now, seen) | {name: code.get(name) for name in ("qrCode", "qr", "expiresAt")}


def message(row: Any) -> dict[str, Any]:
    """One item of `GET /api/messages` and of a conversation. A deleted message keeps its text, flagged."""
    return {
        "id": str(row.id),
        "messageId": row.whatsapp_message_id,
        "conversationId": str(row.conversation_id) if row.conversation_id else None,
        "contactId": str(row.contact_id) if row.contact_id else None,
        "contactName": row.contact_name,
        "phoneNumber": row.phone_number,
        "instanceName": row.instance_name,
        "direction": row.direction,
        "fromMe": row.direction == "outbound",
        "text": row.content,
        "kind": row.kind,
        "status": row.status,
        "at": iso(row.sent_at),
        "details": row.details,
        "quotedMessageId": row.quoted_message_id,
        "edited": row.edited_at is not None,
        "deleted": row.deleted_at is not None,
        "fromHistory": row.from_history,
        "reactions": row.reactions or [],
        "votes": row.votes,
    }


def conversation(row: Any) -> dict[str, Any]:
    """One item of `GET /api/conversations`. `title` is what to show above it."""
    return {
        "id": str(row.id),
        "instanceName": row.instance_name,
        "contactId": str(row.contact_id) if row.contact_id else None,
        "phoneNumber": row.phone_number,
        "groupJid": row.group_jid,
        "title": row.title or row.contact_name or row.group_jid,
        "lastMessageAt": iso(row.last_message_at),
        "lastMessage": {"text": row.content, "kind": row.kind, "fromMe": row.direction == "outbound"},
    }


def contact(row: Any) -> dict[str, Any]:
    """One item of `GET /api/contacts`; the seed's names of the columns are kept."""
    return {
        "id": str(row.id),
        "phone_number": row.phone_number,
        "name": row.name,
        "organization_id": row.organization_id,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def page(items: list[dict[str, Any]], next_cursor: str | None) -> Mapping[str, Any]:
    return {"success": True, "items": items, "next_cursor": next_cursor}


def iso(at: datetime | None) -> str | None:
    """`2026-11-22T03:17:05.120Z`"""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
