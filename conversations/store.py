"""Messages, read for the screen. Functions of a connection; the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, tuple_

from conversations.tables import Contact, Message
from manager.tables import Instance

Position = tuple[datetime, int, UUID]  # sent_at, arrival, id


@dataclass(frozen=True, kw_only=True)
class Page:
    """`last` is where the next page begins, None where this was the last one."""

    items: Sequence[Row[tuple[object, ...]]]
    last: Position | None


def find_messages(connection: Connection, user_id: UUID, *, words: str, limit: int, after: Position | None) -> Page:
    """A user's messages that contain `words`, newest first, `limit` of them beyond `after`."""
    theirs = select(Instance.id).where(Instance.user_id == user_id).scalar_subquery()  # one, so that the index sorts
    query = (
        select(
            Message.__table__,
            Contact.name.label("contact_name"),
            Contact.phone_number,
            Instance.instance_name,
        )
        .join(Instance, Message.instance_id == Instance.id)
        .outerjoin(Contact, Message.contact_id == Contact.id)
        .where(Message.instance_id == theirs)
        .order_by(Message.sent_at.desc(), Message.arrival.desc(), Message.id.desc())
        .limit(limit + 1)
    )
    if words:
        query = query.where(func.lower(Message.content).contains(words.lower(), autoescape=True))
    if after:
        query = query.where(tuple_(Message.sent_at, Message.arrival, Message.id) < after)
    rows = connection.execute(query).all()
    items = rows[:limit]
    more = len(rows) > limit
    return Page(items=items, last=(items[-1].sent_at, items[-1].arrival, items[-1].id) if more else None)
