"""Later words about messages → rows: how far one got, its edits, deletion, votes and reactions.

Each is compared with what the row holds, so that only what says more has an effect; what finds no message waits.
The caller's transaction, after the messages of the same batch.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, text

from conversations import told
from conversations.changes import Changes, Mark, ReactionSeen
from conversations.lattice import STATUSES
from core.db import array, json_array
from core.events import DomainEvent

RANKS = array(STATUSES)
# The text before the first edit stays: in `original`, which a plain text has not got yet.
MARK = text("""
WITH wanted AS (
    SELECT id, status, edit, edited_at, deleted_at, CAST(votes AS jsonb) AS votes, voted_at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:edits AS text[]),
                CAST(:edited AS timestamptz[]), CAST(:deleted AS timestamptz[]), CAST(:votes AS text[]),
                CAST(:voted AS timestamptz[]))
        AS w (id, status, edit, edited_at, deleted_at, votes, voted_at)
), judged AS (
    SELECT id, m.conversation_id,
           coalesce(array_position(CAST(:ranks AS text[]), w.status)
                    > array_position(CAST(:ranks AS text[]), m.status), false) AS climbs,
           coalesce(w.edited_at > coalesce(m.edited_at, '-infinity')
                    OR (w.edited_at = m.edited_at AND w.edit COLLATE "C" > m.content), false) AS is_edited,
           coalesce(w.deleted_at < coalesce(m.deleted_at, 'infinity'), false) AS is_deleted,
           m.deleted_at IS NULL AS is_there,
           coalesce(w.voted_at > coalesce(m.voted_at, '-infinity'), false) AS is_voted
    FROM wanted AS w JOIN messages AS m USING (id)
), changed AS (
    UPDATE messages AS m SET
        status = CASE WHEN climbs THEN w.status ELSE m.status END,
        original = CASE WHEN is_edited THEN coalesce(m.original, jsonb_build_object('conversation', m.content))
                        ELSE m.original END,
        content = CASE WHEN is_edited THEN w.edit ELSE m.content END,
        edited_at = greatest(m.edited_at, w.edited_at),
        deleted_at = least(m.deleted_at, w.deleted_at),
        votes = CASE WHEN is_voted THEN w.votes ELSE m.votes END,
        voted_at = greatest(m.voted_at, w.voted_at)
    FROM wanted AS w JOIN judged USING (id)
    WHERE m.id = w.id AND (climbs OR is_edited OR is_deleted OR is_voted)
)
SELECT * FROM judged
""")
REACT = text("""
WITH wanted AS (
    SELECT * FROM unnest(
        CAST(:messages AS uuid[]), CAST(:authors AS text[]), CAST(:emojis AS text[]), CAST(:times AS timestamptz[])
    ) AS w (message_id, author, emoji, at)
), kept AS (
    INSERT INTO reactions AS kept (message_id, author, emoji, at)
    SELECT wanted.* FROM wanted JOIN messages ON messages.id = message_id
    ON CONFLICT (message_id, author) DO UPDATE SET emoji = excluded.emoji, at = excluded.at
    WHERE (excluded.at, excluded.emoji COLLATE "C") > (kept.at, kept.emoji)
    RETURNING message_id, author
)
SELECT wanted.message_id, wanted.author, messages.conversation_id, kept.author IS NOT NULL AS is_new
FROM wanted JOIN messages ON messages.id = wanted.message_id
LEFT JOIN kept ON kept.message_id = wanted.message_id AND kept.author = wanted.author
""")


@dataclass(frozen=True, kw_only=True)
class Marked:
    """What people hear of it, and which deliveries wait for which message."""

    events: list[DomainEvent] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)


def mark(connection: Connection, changes: Changes) -> Marked:
    done = Marked()
    if changes.marks:
        _mark(connection, changes, done)
    if changes.reactions:
        _react(connection, changes, done)
    return done


def _mark(connection: Connection, changes: Changes, done: Marked) -> None:
    marks = [mark for _, mark in sorted(changes.marks.items())]
    found = {row.id: row for row in connection.execute(MARK, _columns(marks))}
    for mark in marks:
        if row := found.get(mark.id):
            done.events.extend(_told(mark, row) if mark.instance.user_id else ())
        else:
            _wait(done, mark)


def _columns(marks: list[Mark]) -> dict[str, str]:
    return {
        "ids": array(mark.id for mark in marks),
        "statuses": array(mark.status for mark in marks),
        "edits": array(mark.edit[1] if mark.edit else None for mark in marks),
        "edited": array(mark.edit[0] if mark.edit else None for mark in marks),
        "deleted": array(mark.deleted_at for mark in marks),
        "votes": json_array(mark.votes[1] if mark.votes else None for mark in marks),
        "voted": array(mark.votes[0] if mark.votes else None for mark in marks),
        "ranks": RANKS,
    }


def _told(mark: Mark, row: Row[Any]) -> list[DomainEvent]:
    """`message_status`, and a `message_changed` for each other thing that is new."""
    events = []
    if row.climbs:
        events.append(
            told.event(mark.instance, "message_status", {"messageId": mark.message_id, "status": mark.status})
        )
    changes: dict[str, dict[str, Any]] = {}
    if row.is_edited and mark.edit:
        changes["edited"] = {"text": mark.edit[1]}
    if row.is_deleted and row.is_there:
        changes["deleted"] = {}
    if row.is_voted and mark.votes:
        changes["votes"] = {"votes": mark.votes[1]}
    for change, facts in changes.items():
        where = {"messageId": mark.message_id, "conversationId": _text(row.conversation_id)}
        events.append(told.event(mark.instance, "message_changed", {**where, "change": change, **facts}))
    return events


def _react(connection: Connection, changes: Changes, done: Marked) -> None:
    reactions = [reaction for _, reaction in sorted(changes.reactions.items())]
    columns = {
        "messages": array(reaction.message for reaction in reactions),
        "authors": array(reaction.author for reaction in reactions),
        "emojis": array(reaction.emoji for reaction in reactions),
        "times": array(reaction.at for reaction in reactions),
    }
    found = {(row.message_id, row.author): row for row in connection.execute(REACT, columns)}
    for reaction in reactions:
        row = found.get((reaction.message, reaction.author))
        if row is None:
            _wait(done, reaction)
        elif row.is_new and reaction.instance.user_id:
            data = {
                "messageId": reaction.message_id,
                "conversationId": _text(row.conversation_id),
                "change": "reaction",
                "author": reaction.author,
                "emoji": reaction.emoji,
            }
            done.events.append(told.event(reaction.instance, "message_changed", data))


def _wait(done: Marked, said: Mark | ReactionSeen) -> None:
    """A delivery that speaks of several messages waits for one after the other."""
    for delivery in said.deliveries:
        done.waiting.setdefault(delivery, said.message_id)


def _text(number: Any) -> str | None:
    return str(number) if number else None
