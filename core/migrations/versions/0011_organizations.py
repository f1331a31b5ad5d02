"""Rooms of organizations: who belongs to one is asked again and again."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index("ix_whatsapp_instances_organization_id", "whatsapp_instances", ["organization_id"])
