"""What people hear of chats, as docs/live.md words it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from conversations.changes import MessageSeen
from conversations.fold import own_name
from core.events import DomainEvent
from manager.lifecycle import InstanceRecord


def message(seen: MessageSeen, booking: UUID | None) -> DomainEvent:
    """A `message` event; `bookingId` where this message made one."""
    report = seen.report
    data = {
        "messageId": report.message_id,
        "conversationId": _text(seen.conversation_id),
        "contactId": _text(seen.contact_id),
        "contactName": own_name(report),
        "from": seen.sender,
        "fromMe": report.from_me,
        "text": report.text,
        "kind": report.kind,
        "at": iso(seen.sent_at),
    }
    return event(seen.instance, "message", data | ({"bookingId": str(booking)} if booking else {}))


def event(instance: InstanceRecord, kind: str, data: Mapping[str, Any]) -> DomainEvent:
    """For the instance's user, who must be there."""
    assert instance.user_id is not None
    about = {"instanceName": instance.name, "instanceId": str(instance.id)}
    return DomainEvent(user_id=instance.user_id, type=kind, data={**about, **data})


def iso(at: datetime) -> str:
    """`2026-11-22T03:17:05.000Z`"""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(number: UUID | None) -> str | None:
    return str(number) if number else None
