"""An instance's life: its name on the gateway, its end and what comes after it; keys that end."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name in ("gateway_name", "pairing_for", "display_name"):
        op.add_column("whatsapp_instances", sa.Column(name, sa.Text()))
    for name in ("asked_at", "deleted_at", "ended_at", "gone_at", "hook_checked_at"):
        op.add_column("whatsapp_instances", sa.Column(name, sa.DateTime(timezone=True)))
    op.add_column("whatsapp_instances", sa.Column("pairing_method", sa.Text(), server_default="qr", nullable=False))
    op.add_column(
        "whatsapp_instances", sa.Column("spent", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_check_constraint(
        op.f("ck_whatsapp_instances_pairing_method"), "whatsapp_instances", "pairing_method IN ('qr', 'code')"
    )
    op.create_index("uq_whatsapp_instances_gateway_name", "whatsapp_instances", ["gateway_name"], unique=True)
    op.add_column("webhook_keys", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.add_column("instance_leases", sa.Column("operation", sa.Text()))
