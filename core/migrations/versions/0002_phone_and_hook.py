"""When an instance's phone was named, so that a late report does not win; when its gateway took our webhook."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("whatsapp_instances", sa.Column("phone_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("whatsapp_instances", sa.Column("hooked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("whatsapp_instances", "hooked_at")
    op.drop_column("whatsapp_instances", "phone_at")
