"""Contacts, conversations, messages, bookings. Written by `conversations` alone; the seed's names are kept.

`scope` is whose contacts they are: the organization, or the user where there is none.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base


class Contact(Base):
    """A person. `named_at` is the time of what brought the name: a newer one wins. `pinned`: somebody said who
    this is, so that it is never merged with another pinned contact by itself. `scope`, of another program's row: its
    organization, by a trigger."""

    __tablename__ = "contacts"
    __table_args__ = (
        Index("idx_contacts_phone", "phone_number", "organization_id", unique=True),
        Index("uq_contacts_scope_phone", "scope", "phone_number", unique=True),
        Index("ix_contacts_name", "scope", "name", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    scope: Mapped[str] = mapped_column(Text)
    organization_id: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    phone_number: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text, server_default="Unknown")
    named_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    pinned: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ContactAlias(Base):
    """A name by which WhatsApp knows a contact: `5511…@s.whatsapp.net`, `123…@lid`. Of two phones the one that
    was first seen later is the contact's number."""

    __tablename__ = "contact_aliases"

    scope: Mapped[str] = mapped_column(Text, primary_key=True)
    jid: Mapped[str] = mapped_column(Text, primary_key=True)
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"), index=True)
    first_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Conversation(Base):
    """A chat of one instance: with a contact, or a group's (then `group_jid`). `deleted_at`: on the phone; a
    newer message brings it back."""

    __tablename__ = "conversations"
    __table_args__ = (
        Index("uq_conversations_contact", "instance_id", "contact_id", unique=True),
        Index("uq_conversations_group", "instance_id", "group_jid", unique=True),
        Index("ix_conversations_recent", "instance_id", text("last_message_at DESC"), text("id DESC")),
        CheckConstraint("(contact_id IS NULL) <> (group_jid IS NULL)", name="contact_or_group"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    instance_id: Mapped[UUID] = mapped_column(ForeignKey("whatsapp_instances.id", ondelete="CASCADE"))
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"), index=True)
    group_jid: Mapped[str | None] = mapped_column(Text)
    title: Mapped[str | None] = mapped_column(Text)
    titled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_message_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Message(Base):
    """A message, once. `sent_at` is WhatsApp's time of it (whole seconds), or the time we heard of it; within a
    second `arrival`, the number of its delivery, says what came first.

    `content` is what a person reads, after edits; `original` the gateway's own words, null for a plain text. A
    deleted message keeps its text. A `note` is the owner's word to themselves: it has no conversation. `jid` is
    the name under which the contact was spoken of: it decides whose the message is when contacts are parted.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("idx_messages_contact", "contact_id"),
        Index("uq_messages_whatsapp_id", "instance_id", "whatsapp_message_id", unique=True),
        Index("ix_messages_sent", "instance_id", text("sent_at DESC"), text("arrival DESC"), text("id DESC")),
        Index("ix_messages_conversation", "conversation_id", text("sent_at DESC"), text("arrival DESC")),
        CheckConstraint("direction IN ('inbound', 'outbound', 'note')", name="direction"),
        CheckConstraint("status IN ('pending', 'sent', 'delivered', 'read', 'played', 'error')", name="status"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    instance_id: Mapped[UUID] = mapped_column(ForeignKey("whatsapp_instances.id", ondelete="CASCADE"))
    conversation_id: Mapped[UUID | None] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contacts.id", ondelete="SET NULL"))
    whatsapp_message_id: Mapped[str] = mapped_column(Text)
    direction: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text, server_default="text")
    content: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default="delivered")
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    arrival: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    original: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    quoted_message_id: Mapped[str | None] = mapped_column(Text)
    jid: Mapped[str | None] = mapped_column(Text)
    from_history: Mapped[bool] = mapped_column(server_default=text("false"))
    edited_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    votes: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    voted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Reaction(Base):
    """What somebody thinks of a message, the newest; "" where it was taken back. `author` is a contact's id or
    `me`."""

    __tablename__ = "reactions"

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    author: Mapped[str] = mapped_column(Text, primary_key=True, index=True)
    emoji: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Booking(Base):
    """A contact's wish to be served, made by their first message; one pending a contact."""

    __tablename__ = "bookings"
    __table_args__ = (
        Index("uq_bookings_pending", "contact_id", unique=True, postgresql_where=text("status = 'pending'")),
        CheckConstraint("status IN ('pending', 'confirmed', 'completed', 'cancelled')", name="status"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"), index=True)
    organization_id: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default="pending")
    source: Mapped[str] = mapped_column(Text, server_default="whatsapp")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
