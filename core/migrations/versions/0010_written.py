"""What was written since: the live channel asks what is new, not everybody about everything."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
WRITTEN = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"


def upgrade() -> None:
    op.create_table(
        "rights_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("written", sa.BigInteger(), server_default=sa.text(WRITTEN), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rights_changes")),
    )
    op.create_index("ix_rights_changes_written", "rights_changes", ["written"])
    op.execute("""
        CREATE FUNCTION note_rights() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS
        $$ BEGIN
            INSERT INTO rights_changes (user_id) VALUES (CAST(to_jsonb(OLD) ->> TG_ARGV[0] AS uuid));
            RETURN NULL;
        END $$
    """)
    for table, columns, user in (
        ("profiles", "role, organization_id", "id"),
        ("api_tokens", "revoked_at, expires_at", "user_id"),
    ):
        op.execute(f"""
            CREATE TRIGGER note_rights AFTER UPDATE OF {columns} OR DELETE ON {table} FOR EACH ROW
            EXECUTE FUNCTION note_rights('{user}')
        """)
    # last: who deletes a profile takes the tables in this order too
    op.add_column("feed_heads", sa.Column("written", sa.BigInteger(), server_default=sa.text(WRITTEN), nullable=False))
    op.create_index("ix_feed_heads_written", "feed_heads", ["written"])
    # by a trigger, for workers of the version before write heads too until they are replaced
    op.execute(f"""
        CREATE FUNCTION note_written() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.written := {WRITTEN}; RETURN NEW; END $$
    """)
    op.execute("""
        CREATE TRIGGER note_written BEFORE UPDATE OF last_id ON feed_heads FOR EACH ROW
        EXECUTE FUNCTION note_written()
    """)
