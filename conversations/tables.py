"""Contacts, conversations, messages. Written by `conversations` alone; column and index names of the seed are kept.

`scope` is whose contacts they are: the organization, or the user where there is none.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base


class Contact(Base):
    """A person. `named_at` is the time of the message that brought the name: a newer one wins."""

    __tablename__ = "contacts"
    __table_args__ = (
        Index("idx_contacts_phone", "phone_number", "organization_id"),
        Index("uq_contacts_scope_phone", "scope", "phone_number", unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    scope: Mapped[str] = mapped_column(Text)
    organization_id: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    phone_number: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text, server_default="Unknown")
    named_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ContactAlias(Base):
    """A name by which WhatsApp knows a contact: `5511…@s.whatsapp.net`, `123…@lid`."""

    __tablename__ = "contact_aliases"

    scope: Mapped[str] = mapped_column(Text, primary_key=True)
    jid: Mapped[str] = mapped_column(Text, primary_key=True)
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"), index=True)


class Conversation(Base):
    """A chat of one instance: with a contact, or a group's (then `group_jid`)."""

    __tablename__ = "conversations"
    __table_args__ = (
        Index("uq_conversations_contact", "instance_id", "contact_id", unique=True),
        Index("uq_conversations_group", "instance_id", "group_jid", unique=True),
        CheckConstraint("(contact_id IS NULL) <> (group_jid IS NULL)", name="contact_or_group"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    instance_id: Mapped[UUID] = mapped_column(ForeignKey("whatsapp_instances.id", ondelete="CASCADE"))
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"))
    group_jid: Mapped[str | None] = mapped_column(Text)
    last_message_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Message(Base):
    """A message, once. `sent_at` is WhatsApp's time of it (whole seconds), or the time we heard of it; within a
    second `arrival`, the number of its delivery, says what came first."""

    __tablename__ = "messages"
    __table_args__ = (
        Index("idx_messages_contact", "contact_id"),
        Index("uq_messages_whatsapp_id", "instance_id", "whatsapp_message_id", unique=True),
        Index("ix_messages_sent", "instance_id", text("sent_at DESC"), text("arrival DESC"), text("id DESC")),
        Index("ix_messages_conversation", "conversation_id", text("sent_at DESC"), text("arrival DESC")),
        CheckConstraint("direction IN ('inbound', 'outbound')", name="direction"),
        CheckConstraint("status IN ('pending', 'sent', 'delivered', 'read', 'played', 'error')", name="status"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    instance_id: Mapped[UUID] = mapped_column(ForeignKey("whatsapp_instances.id", ondelete="CASCADE"))
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contacts.id", ondelete="SET NULL"))
    whatsapp_message_id: Mapped[str] = mapped_column(Text)
    direction: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    arrival: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
