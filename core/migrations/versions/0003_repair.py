"""Repair and safety: what waits for what, drift, storms, the crash marker."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("webhook_events", sa.Column("issues", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column("lanes", sa.Column("unsettled", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("lanes", sa.Column("careful", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("lanes", sa.Column("gave", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("lanes", sa.Column("storm_minute", sa.DateTime(timezone=True), nullable=True))
    op.add_column("lanes", sa.Column("storm_count", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("lanes", sa.Column("storm_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("lanes", sa.Column("coalesced", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("set_aside", sa.Column("waits_for", sa.Text(), nullable=True))
    op.add_column("set_aside", sa.Column("fingerprint", sa.Text(), nullable=True))
    op.create_index("ix_set_aside_at", "set_aside", ["at", "event_id"], unique=False)
    op.create_index(
        "ix_set_aside_waits_for",
        "set_aside",
        ["lane", "waits_for"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_set_aside_fingerprint",
        "set_aside",
        ["fingerprint", "at"],
        unique=False,
        postgresql_where=sa.text("fingerprint IS NOT NULL"),
    )
