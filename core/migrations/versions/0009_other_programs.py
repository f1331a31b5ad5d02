"""Rows as other programs write them: with the seed's columns alone, and its ON CONFLICT."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("""
        CREATE FUNCTION own_contact() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN
            NEW.scope := coalesce(NEW.organization_id, CAST(NEW.user_id AS text), CAST(NEW.id AS text));
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER own_contact BEFORE INSERT ON contacts FOR EACH ROW WHEN (NEW.scope IS NULL)
        EXECUTE FUNCTION own_contact()
    """)
    op.drop_index("idx_contacts_phone", "contacts")
    op.create_index("idx_contacts_phone", "contacts", ["phone_number", "organization_id"], unique=True)
    op.alter_column("messages", "kind", server_default="text")
    op.alter_column("messages", "status", server_default="delivered")
    op.execute("ALTER TABLE messages ALTER COLUMN sent_at SET DEFAULT now()")
