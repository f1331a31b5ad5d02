"""What administrators decide over the environment."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "system_configuration",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False, autoincrement=False),
        sa.Column("whatsapp_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("provider", sa.Text()),
        sa.Column("whatsapp_evolution_api_url", sa.Text()),
        sa.Column("whatsapp_instance_name", sa.Text()),
        sa.Column("whatsapp_evolution_api_key", sa.LargeBinary()),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_configuration")),
        sa.CheckConstraint("id = 1", name=op.f("ck_system_configuration_single")),
        sa.CheckConstraint(
            "provider IN ('evolution', 'wppconnect', 'broker')", name=op.f("ck_system_configuration_provider")
        ),
    )
