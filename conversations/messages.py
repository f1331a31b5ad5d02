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
# `news`: nobody had it before, or only from a synchronisation of old messages. What we understand now replaces what
# we did not; `anew` replaces all but what later reports said.
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
), before AS (
    SELECT id, messages.from_history FROM messages JOIN new USING (id)
), kept AS (
    INSERT INTO messages AS kept (id, instance_id, conversation_id, contact_id, whatsapp_message_id, direction, kind,
        content, status, sent_at, arrival, details, original, quoted_message_id, from_history, jid)
    SELECT * FROM new
    ON CONFLICT (instance_id, whatsapp_message_id) DO UPDATE SET
        sent_at = least(kept.sent_at, excluded.sent_at),
        status = CASE WHEN array_position(CAST(:ranks AS text[]), excluded.status)
                           > array_position(CAST(:ranks AS text[]), kept.status)
                      THEN excluded.status ELSE kept.status END,
        from_history = kept.from_history AND excluded.from_history,
        conversation_id = CASE WHEN :anew THEN excluded.conversation_id ELSE kept.conversation_id END,
        contact_id = CASE WHEN :anew THEN excluded.contact_id ELSE kept.contact_id END,
        jid = CASE WHEN :anew THEN excluded.jid ELSE kept.jid END,
        direction = CASE WHEN :anew THEN excluded.direction ELSE kept.direction END,
        kind = CASE WHEN :anew OR kept.kind = 'unsupported' THEN excluded.kind ELSE kept.kind END,
        content = CASE WHEN (:anew OR kept.kind = 'unsupported') AND kept.edited_at IS NULL
                       THEN excluded.content ELSE kept.content END,
        details = CASE WHEN :anew OR kept.kind = 'unsupported' THEN excluded.details ELSE kept.details END,
        original = CASE WHEN :anew AND kept.edited_at IS NOT NULL THEN coalesce(excluded.original, kept.original)
                        WHEN kept.kind = 'unsupported' AND kept.edited_at IS NOT NULL AND excluded.kind <> 'unsupported'
                        THEN coalesce(excluded.original, jsonb_build_object('conversation', excluded.content))
                        WHEN :anew OR kept.kind = 'unsupported' THEN excluded.original ELSE kept.original END,
        quoted_message_id = CASE WHEN :anew OR kept.kind = 'unsupported'
                                 THEN excluded.quoted_message_id ELSE kept.quoted_message_id END
    WHERE :anew OR excluded.sent_at < kept.sent_at OR (kept.from_history AND NOT excluded.from_history)
       OR array_position(CAST(:ranks AS text[]), excluded.status) > array_position(CAST(:ranks AS text[]), kept.status)
       OR (kept.kind = 'unsupported' AND excluded.kind <> 'unsupported')
    RETURNING id, from_history
)
SELECT id, NOT kept.from_history AND coalesce(before.from_history, true) AS news FROM kept LEFT JOIN before USING (id)
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
