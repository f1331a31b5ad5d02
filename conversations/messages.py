"""Conversations and messages → rows, in set-based statements with sorted keys. The caller's transaction."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from conversations.changes import Changes, MessageSeen
from conversations.lattice import STATUSES
from core.db import array, json_array

RANKS = array(STATUSES)
CONVERSATIONS = text("""
INSERT INTO conversations AS kept (id, instance_id, contact_id, group_jid, last_message_at, title, titled_at,
                                   deleted_at)
SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:instances AS uuid[]), CAST(:contacts AS uuid[]), CAST(:groups AS text[]),
    CAST(:last AS timestamptz[]), CAST(:titles AS text[]), CAST(:titled AS timestamptz[]),
    CAST(:deleted AS timestamptz[])
)
ON CONFLICT (id) DO UPDATE SET
    last_message_at = greatest(kept.last_message_at, excluded.last_message_at),
    title = CASE WHEN excluded.titled_at > coalesce(kept.titled_at, '-infinity')
                   OR (excluded.titled_at = kept.titled_at AND excluded.title COLLATE "C" > kept.title)
                 THEN excluded.title ELSE kept.title END,
    titled_at = greatest(kept.titled_at, excluded.titled_at),
    deleted_at = greatest(kept.deleted_at, excluded.deleted_at)
WHERE excluded.last_message_at > coalesce(kept.last_message_at, '-infinity')
   OR excluded.titled_at >= coalesce(kept.titled_at, '-infinity')
   OR excluded.deleted_at > coalesce(kept.deleted_at, '-infinity')
""")
# Of two copies of a message the one that says more counts (conversations.lattice.merit), whichever comes first; `anew`,
# the copy that the row was made of counts as it is read now. What later reports said of the message stays.
# `news`: nobody had it before, or only from a synchronisation of old messages.
MESSAGES = text("""
WITH new AS (
    SELECT id, instance_id, conversation_id, contact_id, whatsapp_id, direction, kind, content, status, sent_at,
           arrival, CAST(details AS jsonb) AS details, CAST(original AS jsonb) AS original, quoted, from_history, jid
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:instances AS uuid[]), CAST(:conversations AS uuid[]), CAST(:contacts AS uuid[]),
        CAST(:whatsapp_ids AS text[]), CAST(:directions AS text[]), CAST(:kinds AS text[]), CAST(:contents AS text[]),
        CAST(:statuses AS text[]), CAST(:sent AS timestamptz[]), CAST(:arrivals AS bigint[]),
        CAST(:details AS text[]), CAST(:originals AS text[]), CAST(:quoted AS text[]), CAST(:history AS boolean[]),
        CAST(:jids AS text[])
    ) AS n (id, instance_id, conversation_id, contact_id, whatsapp_id, direction, kind, content, status, sent_at,
            arrival, details, original, quoted, from_history, jid)
), known AS (
    SELECT id, m.from_history AND NOT new.from_history AS comes_alive,
           new.sent_at < m.sent_at AS is_earlier,
           array_position(CAST(:ranks AS text[]), new.status)
               > array_position(CAST(:ranks AS text[]), m.status) AS climbs,
           (:anew AND new.arrival = m.arrival)
               OR (new.kind <> 'unsupported',
                   num_nonnulls(new.details, new.quoted, CASE WHEN m.edited_at IS NULL THEN new.original END),
                   CASE WHEN m.edited_at IS NULL THEN new.content ELSE '' END COLLATE "C")
                > (m.kind <> 'unsupported',
                   num_nonnulls(m.details, m.quoted_message_id, CASE WHEN m.edited_at IS NULL THEN m.original END),
                   CASE WHEN m.edited_at IS NULL THEN m.content ELSE '' END) AS says_more
    FROM new JOIN messages AS m USING (id)
), fresh AS (
    INSERT INTO messages (id, instance_id, conversation_id, contact_id, whatsapp_message_id, direction, kind,
        content, status, sent_at, arrival, details, original, quoted_message_id, from_history, jid)
    SELECT * FROM new WHERE id NOT IN (SELECT id FROM known)
    RETURNING id, from_history
), changed AS (
    UPDATE messages AS m SET
        sent_at = least(m.sent_at, new.sent_at),
        status = CASE WHEN climbs THEN new.status ELSE m.status END,
        from_history = m.from_history AND new.from_history,
        conversation_id = CASE WHEN says_more THEN new.conversation_id ELSE m.conversation_id END,
        contact_id = CASE WHEN says_more THEN new.contact_id ELSE m.contact_id END,
        jid = CASE WHEN says_more THEN new.jid ELSE m.jid END,
        direction = CASE WHEN says_more THEN new.direction ELSE m.direction END,
        arrival = CASE WHEN says_more THEN new.arrival ELSE m.arrival END,
        kind = CASE WHEN says_more THEN new.kind ELSE m.kind END,
        details = CASE WHEN says_more THEN new.details ELSE m.details END,
        quoted_message_id = CASE WHEN says_more THEN new.quoted ELSE m.quoted_message_id END,
        content = CASE WHEN says_more AND m.edited_at IS NULL THEN new.content ELSE m.content END,
        original = CASE WHEN NOT says_more THEN m.original
                        WHEN m.edited_at IS NULL THEN new.original
                        ELSE coalesce(new.original, jsonb_build_object('conversation', new.content)) END
    FROM new JOIN known USING (id)
    WHERE m.id = new.id AND (says_more OR climbs OR is_earlier OR comes_alive)
)
SELECT id, NOT from_history AS news FROM fresh UNION ALL SELECT id, comes_alive FROM known
""")
Column = Callable[[MessageSeen], object]
COLUMNS: Mapping[str, Column] = {
    "ids": lambda message: message.id,
    "instances": lambda message: message.instance.id,
    "conversations": lambda message: message.conversation_id,
    "contacts": lambda message: message.contact_id,
    "whatsapp_ids": lambda message: message.report.message_id,
    "directions": lambda message: message.direction,
    "kinds": lambda message: message.report.kind,
    "contents": lambda message: message.report.text,
    "statuses": lambda message: message.status,
    "sent": lambda message: message.sent_at,
    "arrivals": lambda message: message.report.delivery_id,
    "quoted": lambda message: message.report.quoted_id,
    "history": lambda message: message.history,
    "jids": lambda message: message.jid,
}


def keep_conversations(connection: Connection, changes: Changes) -> None:
    conversations = _in_order(changes.conversations)
    if not conversations:
        return
    columns = {
        "ids": array(conversation.id for conversation in conversations),
        "instances": array(conversation.instance_id for conversation in conversations),
        "contacts": array(conversation.contact_id for conversation in conversations),
        "groups": array(conversation.group_jid for conversation in conversations),
        "last": array(conversation.last_message_at for conversation in conversations),
        "titles": array(conversation.title for conversation in conversations),
        "titled": array(conversation.titled_at for conversation in conversations),
        "deleted": array(conversation.deleted_at for conversation in conversations),
    }
    connection.execute(CONVERSATIONS, columns)


def keep(connection: Connection, changes: Changes, *, anew: bool) -> list[MessageSeen]:
    """What is news of these messages, in the order of the reports."""
    messages: list[MessageSeen] = _in_order(changes.messages)
    if not messages:
        return []
    columns = {name: array(column(message) for message in messages) for name, column in COLUMNS.items()}
    columns["details"] = json_array(message.report.details for message in messages)
    columns["originals"] = json_array(message.report.original for message in messages)
    rows = connection.execute(MESSAGES, {**columns, "anew": anew, "ranks": RANKS})
    news = {row.id for row in rows if row.news}
    return [message for message in changes.messages.values() if message.id in news]


def _in_order(things: Mapping[UUID, Any]) -> list[Any]:
    """By id: two workers that need the same rows wait for each other instead of deadlocking."""
    return [thing for _, thing in sorted(things.items(), key=lambda item: item[0])]
