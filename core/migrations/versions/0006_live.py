"""Tickets that open sockets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "socket_tickets",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("facts", JSONB(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_socket_tickets")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["profiles.id"], name=op.f("fk_socket_tickets_user_id"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_socket_tickets_user_id", "socket_tickets", ["user_id"])
    # a foreign key would cost every event a look-up; and who comes back must not find old numbers in the way
    op.execute("""
        CREATE FUNCTION forget_feed() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN DELETE FROM feed WHERE user_id = OLD.id; RETURN OLD; END $$
    """)
    op.execute("CREATE TRIGGER forget_feed AFTER DELETE ON profiles FOR EACH ROW EXECUTE FUNCTION forget_feed()")
