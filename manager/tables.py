"""The instances and their keys. Written by `manager` alone; column and index names of the seed are kept."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base


class Instance(Base):
    """One WhatsApp connection. `status` is our word for what the reports say together (manager.lifecycle).

    `state`, `state_at`: the newest connection report and the sender's time of it; `pairing_at`: the newest
    QR's, or of what ended it; `phone_at`: the newest open's that named a phone; `reason_at`: the newest reason's;
    `alive_at`: the newest sign of life's; `ended_at`: that of the session's end. They are clocks of the gateway's
    host and are only ever compared with each other. `owner_phones`: other numbers of the owner, digits only.
    `gateway_name`: its name on the gateway
    where that is another one. `hooked_at`: the gateway has the instance, with our webhook; null until then, so that
    a click that broke off half way is finished by the next. `asked_at`: when we last asked for a connection.
    `spent`: it must be made anew on the gateway before a phone can pair. `deleted_at`: hidden until somebody
    connects again; `gone_at`: the gateway was seen without it. `heard_at`: when the last message came in;
    `send_worked_at`, `send_failed_at`: when the gateway last took one from us, and last said that no phone is
    connected. These are our own clock's.
    """

    __tablename__ = "whatsapp_instances"
    __table_args__ = (
        Index("idx_whatsapp_instances_user_id", "user_id"),
        Index("idx_whatsapp_instances_user_unique", "user_id", unique=True),
        Index("idx_whatsapp_instances_instance_name", "instance_name"),
        Index("uq_whatsapp_instances_instance_name", "instance_name", unique=True),
        Index("uq_whatsapp_instances_gateway_name", "gateway_name", unique=True),
        Index("ix_whatsapp_instances_organization_id", "organization_id"),
        CheckConstraint("pairing_method IN ('qr', 'code')", name="pairing_method"),
        CheckConstraint("status IN ('disconnected', 'connecting', 'qr_pending', 'connected')", name="status"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    instance_name: Mapped[str] = mapped_column(Text)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    organization_id: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str | None] = mapped_column(Text, server_default="disconnected")
    is_connected: Mapped[bool | None] = mapped_column(server_default=text("false"))
    phone_number: Mapped[str | None] = mapped_column(Text)
    qr_code: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), server_default=func.now())
    provider: Mapped[str] = mapped_column(Text, server_default="evolution")
    state: Mapped[str] = mapped_column(Text, server_default="disconnected")
    state_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reason: Mapped[int | None] = mapped_column(Integer)
    pairing_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    pairing_code: Mapped[str | None] = mapped_column(Text)
    qr_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    retired_qr: Mapped[str | None] = mapped_column(Text)
    profile_name: Mapped[str | None] = mapped_column(Text)
    phone_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_connected_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    hooked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    owner_phones: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    messages_sent_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    messages_received_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    reason_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    alive_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    gateway_name: Mapped[str | None] = mapped_column(Text)
    pairing_for: Mapped[str | None] = mapped_column(Text)
    display_name: Mapped[str | None] = mapped_column(Text)
    pairing_method: Mapped[str] = mapped_column(Text, server_default="qr")
    asked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    gone_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    hook_checked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    spent: Mapped[bool] = mapped_column(server_default=text("false"))
    heard_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    send_worked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    send_failed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WebhookKey(Base):
    """What an instance's gateway proves itself with. The hash finds the token; the sealed text is sent again
    whenever the webhook has to be set anew. One that was replaced is good until `expires_at`."""

    __tablename__ = "webhook_keys"
    __table_args__ = (Index("uq_webhook_keys_token_hash", "token_hash", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    instance_id: Mapped[UUID] = mapped_column(ForeignKey("whatsapp_instances.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class SystemConfiguration(Base):
    """What administrators decided over the environment: one row at most, null where the environment decides. The key
    is sealed. Columns have the seed's names, whatever the provider."""

    __tablename__ = "system_configuration"
    __table_args__ = (
        CheckConstraint("id = 1", name="single"),
        CheckConstraint("provider IN ('evolution', 'wppconnect', 'broker')", name="provider"),
    )

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, server_default=text("1"))
    whatsapp_enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    provider: Mapped[str | None] = mapped_column(Text)
    whatsapp_evolution_api_url: Mapped[str | None] = mapped_column(Text)
    whatsapp_instance_name: Mapped[str | None] = mapped_column(Text)
    whatsapp_evolution_api_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
