"""Evolution's webhooks in our words: every event it knows, and who reads it.

Called by bootstrap for each delivery. Pure: unknown fields are ignored, missing ones are None, shapes never trusted.
Shapes as recorded from 2.3.6, with the variants of 1.8 to 2.4 where they differ. What comes of each event, and the
codes of what is odd, stand in docs/events.md.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from core.errors import Malformed
from manager.providers.evolution.calls import calls
from manager.providers.evolution.connections import connection, gone, qrcode, status
from manager.providers.evolution.contacts import chats, contacts, deleted_chats, synchronised_chats
from manager.providers.evolution.groups import groups, participants
from manager.providers.evolution.heard import AHEAD, Facts, Heard, Reports
from manager.providers.evolution.jids import is_personal, jid
from manager.providers.evolution.messages import history, messages
from manager.providers.evolution.updates import changes, deletions, updates
from manager.providers.evolution.values import EARLIEST, mapping
from manager.providers.port import Reading

Reader = Callable[[Heard], Reports]


def nothing(_: Heard) -> Reports:
    """An event that is known and has no effect here."""
    return []


READERS: Mapping[str, Reader] = {
    "connection.update": connection,
    "status.instance": status,
    "logout.instance": gone,
    "remove.instance": gone,
    "instance.delete": gone,
    "qrcode.updated": qrcode,
    "messages.upsert": messages,
    "send.message": messages,
    "messages.set": history,
    "messages.update": updates,
    "messages.delete": deletions,
    "messages.edited": changes,
    "send.message.update": changes,
    "contacts.upsert": contacts,
    "contacts.update": contacts,
    "contacts.set": contacts,
    "chats.upsert": chats,
    "chats.update": chats,
    "chats.set": synchronised_chats,
    "chats.delete": deleted_chats,
    "groups.upsert": groups,
    "groups.update": groups,
    "group.update": groups,
    "group-participants.update": participants,
    "call": calls,
    "instance.create": nothing,
    "application.startup": nothing,
    "presence.update": nothing,
    "labels.edit": nothing,
    "labels.association": nothing,
    "typebot.start": nothing,
    "typebot.change-status": nothing,
    "messaging-history.set": nothing,
    "error": nothing,
    "new.jwt.token": nothing,
    "chama.ai.action": nothing,
}


def read_event(event: str, document: Mapping[str, Any], facts: Facts, *, called: str | None = None) -> Reading:
    """A webhook's meaning. `event` as webhooks.envelope names it; `facts`: delivery_id, instance, received_at;
    `called` is the instance's name on the gateway, where that is another one.

    Raises Malformed, with the code UNKNOWN_EVENT, NO_DATA, BAD_DATA, NO_QRCODE or UNKNOWN_SHAPE; nothing else,
    whatever the JSON.
    """
    if (read := READERS.get(event)) is None:
        raise Malformed("We know no such event", code="UNKNOWN_EVENT")
    heard = _hear(document, facts, called)
    found = read(heard)
    return Reading(events=tuple(found), issues=tuple(sorted(heard.issues)))


def _hear(document: Mapping[str, Any], facts: Facts, called: str | None) -> Heard:
    sender = jid(document.get("sender"))
    reported_at, issue = _reported_at(document.get("date_time"), facts["received_at"])
    heard = Heard(
        facts={**facts, "reported_at": reported_at}, document=document, own=sender if is_personal(sender) else None
    )
    if issue:
        heard.odd(issue)
    instance = mapping(document.get("data")).get("instance")
    if isinstance(instance, str) and instance not in (facts["instance"], called):
        heard.odd("instance_mismatch")
    return heard


def _reported_at(value: object, received_at: datetime) -> tuple[datetime | None, str | None]:
    """`date_time` and what is odd about it. It is the gateway's wall clock with a false Z: right for before and
    after, wrong as a time. None for one from the future, which no later report could ever pass.
    """
    try:
        found = datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found < EARLIEST:
        return None, None if value is None else "bad_date_time"
    return (None, "clock_skew") if found > received_at + AHEAD else (found, None)
