"""Contacts, conversations and messages, read for the screen. Functions of a connection; the caller's transaction.

Lists are read page by page: `limit` rows beyond `after`, the position of the last row before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, false, func, or_, select, tuple_
from sqlalchemy.orm import aliased

from conversations.tables import Contact, Conversation, Message, Reaction
from core.errors import NotFound
from manager.tables import Instance

MessagePosition = tuple[datetime, int, UUID]  # sent_at, arrival, id
ConversationPosition = tuple[datetime, UUID]  # last_message_at, id
ContactPosition = tuple[str, UUID]  # name, id


@dataclass(frozen=True, kw_only=True)
class Page:
    """`last` is where the next page begins, None where this was the last one."""

    items: Sequence[Row[Any]]
    last: tuple[Any, ...] | None


def find_messages(
    connection: Connection, user_id: UUID, *, words: str, limit: int, after: MessagePosition | None
) -> Page:
    """A user's messages that contain `words`, newest first."""
    query = _messages(limit, after).where(Message.instance_id == _instance_of(user_id))
    if words:
        query = query.where(func.lower(Message.content).contains(words.lower(), autoescape=True))
    return _page(connection, query, limit, "sent_at", "arrival", "id")


def conversation_messages(
    connection: Connection, user_id: UUID, conversation_id: UUID, *, limit: int, after: MessagePosition | None
) -> Page:
    """A conversation's messages, newest first. Raises NotFound, also where it is somebody else's."""
    theirs = select(Conversation.id).where(
        Conversation.id == conversation_id, Conversation.instance_id == _instance_of(user_id)
    )
    if connection.execute(theirs).first() is None:
        raise NotFound("There is no such conversation", code="CONVERSATION_NOT_FOUND")
    query = _messages(limit, after).where(Message.conversation_id == conversation_id)
    return _page(connection, query, limit, "sent_at", "arrival", "id")


def find_conversations(
    connection: Connection, user_id: UUID, *, limit: int, after: ConversationPosition | None
) -> Page:
    """A user's conversations in which something was said, newest first; not those deleted on the phone since."""
    last = _last_message()
    query = (
        select(Conversation.__table__, Contact.name.label("contact_name"), Contact.phone_number)
        .add_columns(Instance.instance_name, last.c.content, last.c.kind, last.c.direction)
        .join(Instance, Conversation.instance_id == Instance.id)
        .outerjoin(Contact, Conversation.contact_id == Contact.id)
        .outerjoin(last, last.c.content.is_not(None))
        .where(Conversation.instance_id == _instance_of(user_id), Conversation.last_message_at.is_not(None))
        .where(or_(Conversation.deleted_at.is_(None), Conversation.deleted_at < Conversation.last_message_at))
        .order_by(Conversation.last_message_at.desc(), Conversation.id.desc())
        .limit(limit + 1)
    )
    if after:
        query = query.where(tuple_(Conversation.last_message_at, Conversation.id) < after)
    return _page(connection, query, limit, "last_message_at", "id")


def find_contacts(connection: Connection, scope: str, *, words: str, limit: int, after: ContactPosition | None) -> Page:
    """The contacts of an organization, or of a user without one, by name; with `words` in name or number."""
    query = select(Contact.__table__).where(Contact.scope == scope)
    query = query.order_by(Contact.name, Contact.id).limit(limit + 1)
    if words:
        named = func.lower(Contact.name).contains(words.lower(), autoescape=True)
        digits = "".join(filter(str.isdigit, words))
        query = query.where(or_(named, Contact.phone_number.contains(digits) if digits else false()))
    if after:
        query = query.where(tuple_(Contact.name, Contact.id) > after)
    return _page(connection, query, limit, "name", "id")


def find_contact(connection: Connection, contact_id: UUID) -> Row[Any]:
    """Raises NotFound."""
    row = connection.execute(select(Contact.__table__).where(Contact.id == contact_id)).first()
    if row is None:
        raise NotFound("There is no such contact", code="CONTACT_NOT_FOUND")
    return row


def _messages(limit: int, after: MessagePosition | None) -> Select[Any]:
    reactions = (
        select(func.jsonb_agg(func.jsonb_build_object("author", Reaction.author, "emoji", Reaction.emoji)))
        .where(Reaction.message_id == Message.id, Reaction.emoji != "")
        .scalar_subquery()
    )
    query = (
        select(Message.__table__, Contact.name.label("contact_name"), Contact.phone_number)
        .add_columns(Instance.instance_name, reactions.label("reactions"))
        .join(Instance, Message.instance_id == Instance.id)
        .outerjoin(Contact, Message.contact_id == Contact.id)
        .order_by(Message.sent_at.desc(), Message.arrival.desc(), Message.id.desc())
        .limit(limit + 1)
    )
    return query.where(tuple_(Message.sent_at, Message.arrival, Message.id) < after) if after else query


def _last_message() -> Any:
    newest = aliased(Message)
    return (
        select(newest.content, newest.kind, newest.direction)
        .where(newest.conversation_id == Conversation.id)
        .order_by(newest.sent_at.desc(), newest.arrival.desc())
        .limit(1)
        .correlate(Conversation)
        .lateral("last_message")
    )


def _instance_of(user_id: UUID) -> Any:
    return select(Instance.id).where(Instance.user_id == user_id).scalar_subquery()  # one, so that the index sorts


def _page(connection: Connection, query: Select[Any], limit: int, *place: str) -> Page:
    rows = connection.execute(query).all()
    items = rows[:limit]
    last = tuple(items[-1]._mapping[name] for name in place) if len(rows) > limit else None
    return Page(items=items, last=last)
