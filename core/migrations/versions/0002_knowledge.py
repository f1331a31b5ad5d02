"""Every kind of message, who is who, bookings, counters, the audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _audit()
    _contacts()
    _messages()
    _reactions()
    _bookings()
    op.add_column(
        "whatsapp_instances",
        sa.Column("owner_phones", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
    )
    for name in ("messages_sent_count", "messages_received_count"):
        op.add_column("whatsapp_instances", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    for name in ("reason_at", "alive_at"):
        op.add_column("whatsapp_instances", sa.Column(name, sa.DateTime(timezone=True)))


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text()),
        sa.Column("details", postgresql.JSONB()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_action", "audit", ["action", "id"])


def _contacts() -> None:
    op.add_column("contacts", sa.Column("pinned", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_contacts_name", "contacts", ["scope", "name", "id"])
    op.add_column("contact_aliases", sa.Column("first_seen_at", sa.DateTime(timezone=True)))
    for name, kind in (
        ("title", sa.Text()),
        ("titled_at", sa.DateTime(timezone=True)),
        ("deleted_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("conversations", sa.Column(name, kind))
    op.create_index("ix_conversations_contact_id", "conversations", ["contact_id"])
    op.create_index(
        "ix_conversations_recent", "conversations", ["instance_id", sa.text("last_message_at DESC"), sa.text("id DESC")]
    )


def _messages() -> None:
    op.alter_column("messages", "conversation_id", nullable=True)
    op.drop_constraint("ck_messages_direction", "messages")
    op.create_check_constraint(
        op.f("ck_messages_direction"), "messages", "direction IN ('inbound', 'outbound', 'note')"
    )
    for name, kind in (
        ("details", postgresql.JSONB()),
        ("original", postgresql.JSONB()),
        ("quoted_message_id", sa.Text()),
        ("jid", sa.Text()),
        ("edited_at", sa.DateTime(timezone=True)),
        ("deleted_at", sa.DateTime(timezone=True)),
        ("votes", postgresql.JSONB()),
        ("voted_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("messages", sa.Column(name, kind))
    op.add_column("messages", sa.Column("from_history", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def _reactions() -> None:
    op.create_table(
        "reactions",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("emoji", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_reactions_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "author", name=op.f("pk_reactions")),
    )
    op.create_index("ix_reactions_author", "reactions", ["author"])


def _bookings() -> None:
    op.create_table(
        "bookings",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text()),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("source", sa.Text(), server_default="whatsapp", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'confirmed', 'completed', 'cancelled')", name=op.f("ck_bookings_status")
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contacts.id"], name=op.f("fk_bookings_contact_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bookings")),
    )
    op.create_index("ix_bookings_contact_id", "bookings", ["contact_id"])
    op.create_index(
        "uq_bookings_pending",
        "bookings",
        ["contact_id"],
        unique=True,
        postgresql_where=sa.text("status = 'pending'"),
    )
