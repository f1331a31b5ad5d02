"""The migrations build what the models say: tables, columns, defaults, CHECKs, indexes."""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from core import migrate
from core.db import Base, make_engine

USER = "550e8400-e29b-41d4-a716-446655440000"
SEED_INDEXES = {
    "idx_whatsapp_instances_user_id",
    "idx_whatsapp_instances_user_unique",
    "idx_whatsapp_instances_instance_name",
    "idx_messages_contact",
    "idx_contacts_phone",
}
SEED_COLUMNS = {  # A003–A011: name → type and default
    "id": ("uuid", "gen_random_uuid()"),
    "instance_name": ("text", None),
    "user_id": ("uuid", None),
    "organization_id": ("text", None),
    "status": ("text", "'disconnected'::text"),
    "is_connected": ("boolean", "false"),
    "phone_number": ("text", None),
    "qr_code": ("text", None),
    "created_at": ("timestamp with time zone", "now()"),
    "updated_at": ("timestamp with time zone", "now()"),
}


@pytest.fixture
def empty(session_engine: Engine, database_url: str) -> Iterator[Callable[[str], Engine]]:
    """Makes empty databases beside the suite's."""
    made: list[tuple[str, Engine]] = []

    def make(name: str) -> Engine:
        with session_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        made.append((name, make_engine(database_url.replace("/zelador?", f"/{name}?"), statement_timeout_ms=30_000)))
        return made[-1][1]

    yield make
    for name, engine in made:
        engine.dispose()
        with session_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def structure(engine: Engine) -> list[str]:
    """Everything about the schema, as PostgreSQL itself words it."""
    queries = (
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT relname, reloptions::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
        "SELECT sequencename, increment_by::text FROM pg_sequences WHERE schemaname = 'public'",
    )
    with engine.connect() as connection:
        rows = [" | ".join(map(str, row)) for query in queries for row in connection.execute(text(query))]
    return sorted(row for row in rows if "alembic_version" not in row)


def test_the_migrations_build_what_the_models_say(empty):
    migrated, created = empty("from_migrations"), empty("from_models")
    migrate.upgrade(migrated)
    Base.metadata.create_all(created)
    assert structure(migrated) == structure(created)
    assert migrate.current(migrated) == migrate.newest()


def test_five_that_migrate_at_once_do_it_once(empty):
    engine = empty("at_once")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate.upgrade(engine)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert migrate.current(engine) == migrate.newest()


def test_a_migration_that_was_cut_off_leaves_nothing_and_can_be_run_again(empty):
    engine = empty("cut_off")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE messages ()"))  # in the way: the migration fails half through
    with pytest.raises(Exception, match="messages"):
        migrate.upgrade(engine)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT to_regclass('profiles')")).scalar() is None
        connection.execute(text("DROP TABLE messages"))
    migrate.upgrade(engine)
    assert migrate.current(engine) == migrate.newest()


def test_the_seed_s_columns_and_indexes_are_there(rows):
    """A003–A014, H022, H023."""
    columns = {
        row["column_name"]: (row["data_type"], row["column_default"])
        for row in rows(
            "SELECT column_name, data_type, column_default FROM information_schema.columns"
            " WHERE table_name = 'whatsapp_instances'"
        )
    }
    assert {name: columns[name] for name in SEED_COLUMNS} == SEED_COLUMNS
    assert {row["indexname"] for row in rows("SELECT indexname FROM pg_indexes")} >= SEED_INDEXES


def test_the_seed_s_queries_work_as_they_are(engine, rows):
    """A025, A026."""
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO profiles (id, email) VALUES ('{USER}', 'a@b')"))
        new = f"INSERT INTO whatsapp_instances (instance_name, user_id) VALUES ('user_{USER}', '{USER}')"
        connection.execute(text(new))
    found = rows(
        "SELECT p.email, wi.instance_name, wi.status, wi.is_connected FROM profiles p"
        " LEFT JOIN whatsapp_instances wi ON wi.user_id = p.id ORDER BY p.created_at DESC;"
    )
    assert found == [{"email": "a@b", "instance_name": f"user_{USER}", "status": "disconnected", "is_connected": False}]
    with engine.begin() as connection:
        connection.execute(text(f"DELETE FROM whatsapp_instances WHERE user_id = '{USER}'"))
    assert rows("SELECT 1 AS one FROM whatsapp_instances") == []


SEED_WRITES = """
INSERT INTO contacts (phone_number, name, organization_id) VALUES ('5511999990001', 'Unknown', 'org_1')
ON CONFLICT (phone_number, organization_id) DO UPDATE SET name = EXCLUDED.name RETURNING id;
INSERT INTO messages (contact_id, instance_id, direction, content, whatsapp_message_id)
SELECT contacts.id, wi.id, 'inbound', 'Oi', '3EB0' || contacts.name FROM contacts, whatsapp_instances wi;
INSERT INTO bookings (contact_id, organization_id, status, source)
SELECT id, organization_id, 'pending', 'whatsapp' FROM contacts ON CONFLICT DO NOTHING;
"""


def test_the_seed_s_writes_work_as_they_are(engine, rows):
    """H018–H021, twice; a contact of nobody's stays apart from all others."""
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO profiles (id, email) VALUES ('{USER}', 'a@b')"))
        new = f"INSERT INTO whatsapp_instances (instance_name, user_id) VALUES ('user_{USER}', '{USER}')"
        connection.execute(text(new))
        for name in ("Unknown", "Ana"):
            for statement in SEED_WRITES.replace("'Unknown'", f"'{name}'").split(";")[:-1]:
                connection.execute(text(statement))
        connection.execute(text("INSERT INTO contacts (phone_number) VALUES ('5511999990001'), ('5511999990001')"))
    assert rows("SELECT scope, name FROM contacts WHERE organization_id = 'org_1'") == [
        {"scope": "org_1", "name": "Ana"}
    ]
    assert rows("SELECT DISTINCT kind, status, sent_at IS NULL AS timeless FROM messages") == [
        {"kind": "text", "status": "delivered", "timeless": False}
    ]
    assert len(rows("SELECT DISTINCT scope FROM contacts")) == 3
    assert len(rows("SELECT FROM bookings")) == 1
