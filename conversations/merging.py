"""Two contacts that are one become one, and two again where a person says so.

Everything of the loser's goes to the survivor and the loser's row ends; the audit keeps what an undo needs. A
worker that still writes for the loser fails on its foreign key and tries again with the survivor. Functions of a
connection; the caller's transaction.
"""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from conversations.changes import Merge
from conversations.identity import MOST_NAMES
from conversations.people import RENUMBER
from core import audit
from core.audit import AuditEntry
from core.db import array
from core.errors import Conflict, LostRace

log = structlog.get_logger()
MERGED, SPLIT = "contact.merged", "contact.split"
LOCK = text("SELECT * FROM contacts WHERE id IN (:survivor, :loser) ORDER BY id FOR UPDATE")
COUNT = text("SELECT count(*) FROM contact_aliases WHERE contact_id IN (:survivor, :loser)")
NAMES = text("SELECT jid FROM contact_aliases WHERE contact_id = :loser ORDER BY jid")
CHATS = text("SELECT instance_id FROM conversations WHERE contact_id = :loser ORDER BY instance_id")
UNDONE = text("SELECT id FROM audit WHERE action = :split AND CAST(details ->> 'undone' AS bigint) = :entry")
BOOKINGS = text("""
SELECT id, status = 'pending' AND EXISTS (
           SELECT FROM bookings AS kept WHERE kept.contact_id = :survivor AND kept.status = 'pending') AS cancelled
FROM bookings WHERE contact_id = :loser ORDER BY id
""")
# Of what there may be only one, the survivor's stays.
MERGE = (
    "UPDATE contact_aliases SET contact_id = :survivor WHERE contact_id = :loser",
    """UPDATE messages SET conversation_id = theirs.id
       FROM conversations AS lost JOIN conversations AS theirs USING (instance_id)
       WHERE lost.contact_id = :loser AND theirs.contact_id = :survivor AND conversation_id = lost.id""",
    """UPDATE conversations AS theirs SET last_message_at = greatest(theirs.last_message_at, lost.last_message_at),
                                         deleted_at = greatest(theirs.deleted_at, lost.deleted_at)
       FROM conversations AS lost
       WHERE lost.contact_id = :loser AND theirs.contact_id = :survivor AND theirs.instance_id = lost.instance_id""",
    """DELETE FROM conversations AS lost USING conversations AS theirs
       WHERE lost.contact_id = :loser AND theirs.contact_id = :survivor AND theirs.instance_id = lost.instance_id""",
    "UPDATE conversations SET contact_id = :survivor WHERE contact_id = :loser",
    "UPDATE messages SET contact_id = :survivor WHERE contact_id = :loser",
    """UPDATE bookings SET status = 'cancelled', updated_at = now() WHERE contact_id = :loser AND status = 'pending'
       AND EXISTS (SELECT FROM bookings AS kept WHERE kept.contact_id = :survivor AND kept.status = 'pending')""",
    "UPDATE bookings SET contact_id = :survivor WHERE contact_id = :loser",
    """INSERT INTO reactions AS kept (message_id, author, emoji, at)
       SELECT message_id, CAST(:survivor AS text), emoji, at FROM reactions WHERE author = CAST(:loser AS text)
       ON CONFLICT (message_id, author) DO UPDATE SET emoji = excluded.emoji, at = excluded.at
       WHERE (excluded.at, excluded.emoji COLLATE "C") > (kept.at, kept.emoji)""",
    "DELETE FROM reactions WHERE author = CAST(:loser AS text)",
    """UPDATE contacts AS kept SET name = lost.name, named_at = lost.named_at FROM contacts AS lost
       WHERE kept.id = :survivor AND lost.id = :loser
         AND (lost.named_at, lost.name COLLATE "C") > (coalesce(kept.named_at, '-infinity'), kept.name)""",
    """UPDATE contacts AS kept SET created_at = least(kept.created_at, lost.created_at),
                                  pinned = kept.pinned OR lost.pinned, updated_at = now()
       FROM contacts AS lost WHERE kept.id = :survivor AND lost.id = :loser""",
    "DELETE FROM contacts WHERE id = :loser",
)
# A message goes where the name it came under goes.
SPLIT_UP = (
    """INSERT INTO contacts (id, scope, organization_id, user_id, name, named_at, pinned, created_at)
       SELECT :loser, scope, organization_id, user_id, :name, CAST(:named_at AS timestamptz), true, created_at
       FROM contacts WHERE id = :survivor""",
    """UPDATE contacts SET pinned = true, updated_at = now(), phone_number = NULL,
           name = CASE WHEN name = :name THEN :survivor_name ELSE name END,
           named_at = CASE WHEN name = :name THEN CAST(:survivor_named_at AS timestamptz) ELSE named_at END
       WHERE id = :survivor""",
    """UPDATE contact_aliases SET contact_id = :loser
       WHERE contact_id = :survivor AND jid = ANY(CAST(:names AS text[]))""",
    """INSERT INTO conversations (instance_id, contact_id)
       SELECT id, :loser FROM whatsapp_instances WHERE id = ANY(CAST(:chats AS uuid[]))
          OR id IN (SELECT messages.instance_id
                    FROM messages JOIN conversations AS theirs ON theirs.id = conversation_id
                    WHERE theirs.contact_id = :survivor AND jid = ANY(CAST(:names AS text[])))""",
    """UPDATE messages SET conversation_id = lost.id
       FROM conversations AS theirs JOIN conversations AS lost USING (instance_id)
       WHERE theirs.contact_id = :survivor AND lost.contact_id = :loser AND conversation_id = theirs.id
         AND jid = ANY(CAST(:names AS text[]))""",
    "UPDATE messages SET contact_id = :loser WHERE contact_id = :survivor AND jid = ANY(CAST(:names AS text[]))",
    """UPDATE conversations SET last_message_at = (
           SELECT max(sent_at) FROM messages WHERE messages.conversation_id = conversations.id)
       WHERE contact_id IN (:survivor, :loser)""",
    """DELETE FROM conversations WHERE contact_id = :survivor AND instance_id = ANY(CAST(:chats AS uuid[]))
       AND last_message_at IS NULL""",
    """UPDATE bookings SET contact_id = :loser, updated_at = now(),
           status = CASE WHEN kept.cancelled AND bookings.status = 'cancelled' THEN 'pending' ELSE bookings.status END
       FROM jsonb_to_recordset(CAST(:bookings AS jsonb)) AS kept (id uuid, cancelled boolean)
       WHERE bookings.id = kept.id AND contact_id = :survivor""",
)


def merge(connection: Connection, merges: Sequence[Merge]) -> None:
    """Make them one, with an audit entry each. Raises LostRace where one of the two is gone by now."""
    for one in sorted(merges, key=lambda merge: (merge.survivor, merge.loser)):
        both = {"survivor": one.survivor, "loser": one.loser}
        rows = {row["id"]: dict(row) for row in connection.execute(LOCK, both).mappings()}
        if len(rows) < 2:
            raise LostRace("One of two contacts that are the same has just been merged")
        if connection.execute(COUNT, both).scalar_one() > MOST_NAMES:
            log.warning("contact_merge_refused", survivor=str(one.survivor), loser=str(one.loser))
            raise LostRace("One of two contacts has just got too many names to be one with the other")
        details = _details(connection, one, rows)
        for statement in MERGE:
            connection.execute(text(statement), both)
        subject = str(one.survivor)
        audit.note(connection, actor="zelador", action=MERGED, subject=subject, scope=one.scope, details=details)


def split(connection: Connection, entry_id: int, actor: str) -> UUID:
    """Undo a merge: the lost contact is there again and neither is ever merged with the other by itself.

    Returns its id. What both said since goes to whom it came from; reactions stay with the survivor.
    Raises NotFound, and Conflict where the entry is no merge, or was undone, or the survivor is gone.
    """
    entry = audit.find(connection, entry_id, lock=True)
    if entry.action != MERGED:
        raise Conflict("This audit entry is no merge of contacts", code="NOT_A_MERGE")
    both = {"survivor": UUID(entry.subject), "loser": UUID(entry.details["loser"])}
    found = [row.id for row in connection.execute(LOCK, both)]
    undone = connection.execute(UNDONE, {"split": SPLIT, "entry": entry_id}).first()
    if undone or found != [both["survivor"]]:
        raise Conflict("These contacts are not as the merge left them", code="ALREADY_UNDONE")
    for statement in SPLIT_UP:
        connection.execute(text(statement), {**both, **_undo(entry)})
    connection.execute(RENUMBER, {"contacts": array(both.values())})
    details = {"undone": entry_id, "loser": both["loser"]}
    audit.note(connection, actor=actor, action=SPLIT, subject=entry.subject, scope=entry.scope, details=details)
    return both["loser"]


def _details(connection: Connection, one: Merge, rows: dict[UUID, dict[str, Any]]) -> dict[str, Any]:
    lost, both = rows[one.loser], {"loser": one.loser, "survivor": one.survivor}
    return {
        "loser": one.loser,
        "seenTogether": one.names,
        "name": lost["name"],
        "named_at": lost["named_at"],
        "survivor_name": rows[one.survivor]["name"],
        "survivor_named_at": rows[one.survivor]["named_at"],
        "names": list(connection.execute(NAMES, both).scalars()),
        "chats": list(connection.execute(CHATS, both).scalars()),
        "bookings": [dict(row) for row in connection.execute(BOOKINGS, both).mappings()],
    }


def _undo(entry: AuditEntry) -> dict[str, object]:
    details = entry.details
    return {
        "name": details["name"],
        "named_at": details["named_at"],
        "survivor_name": details["survivor_name"],
        "survivor_named_at": details["survivor_named_at"],
        "names": array(details["names"]),
        "chats": array(details["chats"]),
        "bookings": json.dumps(details["bookings"]),
    }
