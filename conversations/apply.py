"""Changes → rows, in a few set-based statements with sorted keys. The caller's transaction.

What is new, the database says (RETURNING): only that is told to people. Of two times for one message the earlier
counts, whichever came first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from conversations.fold import Alias, Changes, MessageSeen, own_name
from core.db import array
from core.events import DomainEvent

FIND_ALIASES = text("""
SELECT scope, jid, contact_id FROM contact_aliases
WHERE (scope, jid) IN (SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:jids AS text[])))
""")
CONTACTS = text("""
INSERT INTO contacts AS kept (id, scope, organization_id, user_id, phone_number, name, named_at)
SELECT id, scope, organization_id, user_id, phone, coalesce(name, 'Unknown'), named_at
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:scopes AS text[]), CAST(:organizations AS text[]), CAST(:users AS uuid[]),
    CAST(:phones AS text[]), CAST(:names AS text[]), CAST(:named AS timestamptz[])
) AS new (id, scope, organization_id, user_id, phone, name, named_at)
ON CONFLICT (id) DO UPDATE SET
    phone_number = coalesce(kept.phone_number, excluded.phone_number),
    name = CASE WHEN excluded.named_at >= coalesce(kept.named_at, '-infinity') THEN excluded.name ELSE kept.name END,
    named_at = greatest(kept.named_at, excluded.named_at),
    updated_at = now()
WHERE (kept.phone_number IS NULL AND excluded.phone_number IS NOT NULL)
   OR (excluded.named_at >= coalesce(kept.named_at, '-infinity') AND excluded.name <> kept.name)
""")
ALIASES = text("""
INSERT INTO contact_aliases (scope, jid, contact_id)
SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:jids AS text[]), CAST(:contacts AS uuid[]))
ON CONFLICT DO NOTHING
""")
CONVERSATIONS = text("""
INSERT INTO conversations AS kept (id, instance_id, contact_id, group_jid, last_message_at)
SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:instances AS uuid[]), CAST(:contacts AS uuid[]), CAST(:groups AS text[]),
    CAST(:last AS timestamptz[])
)
ON CONFLICT (id) DO UPDATE SET last_message_at = excluded.last_message_at
WHERE kept.last_message_at < excluded.last_message_at
""")
MESSAGES = text("""
INSERT INTO messages AS kept (id, instance_id, conversation_id, contact_id, whatsapp_message_id, direction, kind,
                              content, status, sent_at, arrival)
SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:instances AS uuid[]), CAST(:conversations AS uuid[]), CAST(:contacts AS uuid[]),
    CAST(:whatsapp_ids AS text[]), CAST(:directions AS text[]), CAST(:kinds AS text[]), CAST(:contents AS text[]),
    CAST(:statuses AS text[]), CAST(:sent AS timestamptz[]), CAST(:arrivals AS bigint[])
)
ON CONFLICT (instance_id, whatsapp_message_id) DO UPDATE SET sent_at = excluded.sent_at
WHERE excluded.sent_at < kept.sent_at
RETURNING id, xmax = 0 AS is_new
""")


def known_contacts(connection: Connection, wanted: set[Alias]) -> dict[Alias, UUID]:
    ordered = sorted(wanted)
    columns = {"scopes": array(scope for scope, _ in ordered), "jids": array(jid for _, jid in ordered)}
    return {(row.scope, row.jid): row.contact_id for row in connection.execute(FIND_ALIASES, columns)}


def apply(connection: Connection, changes: Changes) -> list[DomainEvent]:
    """Write all of it. Returns a `message` event for each message that was not there before."""
    if not changes.messages:
        return []
    _contacts(connection, changes)
    _conversations(connection, changes)
    messages = _by_id(changes.messages)
    fresh = {row.id for row in connection.execute(MESSAGES, _message_columns(messages)) if row.is_new}
    return [told(message) for message in changes.messages.values() if message.id in fresh and message.instance.user_id]


def _contacts(connection: Connection, changes: Changes) -> None:
    contacts = _by_id(changes.contacts)
    if not contacts:
        return
    columns = {
        "ids": array(contact.id for contact in contacts),
        "scopes": array(contact.scope for contact in contacts),
        "organizations": array(contact.organization_id for contact in contacts),
        "users": array(contact.user_id for contact in contacts),
        "phones": array(contact.phone for contact in contacts),
        "names": array(contact.name for contact in contacts),
        "named": array(contact.named_at for contact in contacts),
    }
    connection.execute(CONTACTS, columns)
    aliases = sorted((alias, contact) for alias, contact in changes.aliases.items() if contact in changes.contacts)
    named = {
        "scopes": array(scope for (scope, _), _ in aliases),
        "jids": array(jid for (_, jid), _ in aliases),
        "contacts": array(contact for _, contact in aliases),
    }
    connection.execute(ALIASES, named)


def _conversations(connection: Connection, changes: Changes) -> None:
    conversations = _by_id(changes.conversations)
    columns = {
        "ids": array(conversation.id for conversation in conversations),
        "instances": array(conversation.instance_id for conversation in conversations),
        "contacts": array(conversation.contact_id for conversation in conversations),
        "groups": array(conversation.group_jid for conversation in conversations),
        "last": array(conversation.last_message_at for conversation in conversations),
    }
    connection.execute(CONVERSATIONS, columns)


def _message_columns(messages: Sequence[MessageSeen]) -> dict[str, str]:
    return {
        "ids": array(message.id for message in messages),
        "instances": array(message.instance.id for message in messages),
        "conversations": array(message.conversation_id for message in messages),
        "contacts": array(message.contact_id for message in messages),
        "whatsapp_ids": array(message.report.message_id for message in messages),
        "directions": array("outbound" if message.report.from_me else "inbound" for message in messages),
        "kinds": array(message.report.kind for message in messages),
        "contents": array(message.report.text for message in messages),
        "statuses": array(message.report.status for message in messages),
        "sent": array(message.sent_at for message in messages),
        "arrivals": array(message.report.delivery_id for message in messages),
    }


def _by_id(things: Mapping[UUID, Any]) -> list[Any]:
    return [thing for _, thing in sorted(things.items())]


def told(message: MessageSeen) -> DomainEvent:
    """The `message` event of docs/live.md; its instance has a user."""
    instance, report = message.instance, message.report
    assert instance.user_id is not None
    data = {
        "instanceName": instance.name,
        "messageId": report.message_id,
        "conversationId": str(message.conversation_id),
        "contactId": str(message.contact_id) if message.contact_id else None,
        "contactName": own_name(report),
        "from": message.sender,
        "fromMe": report.from_me,
        "text": report.text,
        "kind": report.kind,
        "at": iso(message.sent_at),
    }
    return DomainEvent(user_id=instance.user_id, type="message", data=data)


def iso(at: datetime) -> str:
    """`2026-11-22T03:17:05Z`"""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
