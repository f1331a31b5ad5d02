"""The SQL of adoption: set-based, in small transactions of the caller's. Reads nothing that could be odd."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from core import audit
from core.db import array
from manager.adoption.plan import Row
from manager.adoption.report import Finding

ONE_AT_A_TIME = 0x41444F50  # advisory lock key: "ADOP"
COLUMNS = """id, instance_name, user_id, gateway_name, hooked_at IS NOT NULL AS hooked,
       deleted_at IS NOT NULL AS deleted,
       CAST(extract(epoch FROM created_at) AS float8) AS created_s,
       coalesce(is_connected, false) OR coalesce(status, '') IN ('connected', 'open') AS connected"""
PAGE = f"""
SELECT {COLUMNS} FROM whatsapp_instances
WHERE id > :after AND ({{which}}) ORDER BY id LIMIT :most
"""  # noqa: S608 — the conditions below
EVERY = text(PAGE.format(which="true"))
SUSPECT = text(PAGE.format(which="deleted_at IS NULL AND (user_id IS NULL OR instance_name <> 'user_' || user_id)"))
GROUP = f"""
SELECT {COLUMNS} FROM whatsapp_instances
WHERE id = ANY(CAST(:ids AS uuid[])) OR user_id = ANY(CAST(:users AS uuid[]))
   OR instance_name = ANY(CAST(:wanted AS text[])) OR gateway_name = ANY(CAST(:names AS text[]))
ORDER BY instance_name
"""  # noqa: S608
PROFILES = "SELECT id FROM profiles WHERE id = ANY(CAST(:users AS uuid[])) ORDER BY id"
WITH_ROW = text("SELECT user_id FROM whatsapp_instances WHERE user_id = ANY(CAST(:users AS uuid[]))")
NAMES_KNOWN = text("""
SELECT unnest(ARRAY[instance_name, gateway_name]) FROM whatsapp_instances
WHERE instance_name = ANY(CAST(:names AS text[])) OR gateway_name = ANY(CAST(:names AS text[]))
""")
NAMED = text(f"""
SELECT {COLUMNS} FROM whatsapp_instances WHERE instance_name = :name OR gateway_name = :name
ORDER BY instance_name = :name DESC LIMIT 1
""")  # noqa: S608
OF_USER = text(f"""
SELECT {COLUMNS} FROM whatsapp_instances
WHERE user_id = :user OR user_id IS NULL AND (
    replace(lower(instance_name), '-', '') IN (:hex, 'user_' || :hex, 'auzap_' || :hex)
    OR instance_name = ANY(CAST(:mapped AS text[])))
ORDER BY id
""")  # noqa: S608
WRITE = text("""
UPDATE whatsapp_instances AS kept
SET user_id = new.user_id, instance_name = new.name, gateway_name = new.gateway_name, updated_at = now()
FROM unnest(CAST(:ids AS uuid[]), CAST(:users AS uuid[]), CAST(:names AS text[]), CAST(:gateway_names AS text[]))
    AS new (id, user_id, name, gateway_name)
WHERE kept.id = new.id
""")
FIRST = UUID(int=0)


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM whatsapp_instances")).scalar_one())


def page(connection: Connection, after: UUID, most: int, *, suspects: bool) -> list[Row]:
    """The next rows by id: all of them, or those without a user or under another name than they should have."""
    found = connection.execute(SUSPECT if suspects else EVERY, {"after": after, "most": most})
    return [_row(row) for row in found.mappings()]


def wait_long(connection: Connection) -> None:
    """Nobody waits for an answer: be patient with locks in this transaction."""
    connection.execute(text("SET LOCAL lock_timeout = '15s'"))


def wait_for_turn(connection: Connection) -> None:
    """Runs at the same time take turns, one small transaction each. Ends with the transaction."""
    wait_long(connection)
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})


def group(
    connection: Connection,
    *,
    ids: Sequence[UUID],
    users: Sequence[UUID],
    wanted: Sequence[str],
    names: Sequence[str],
    lock: bool,
) -> list[Row]:
    """These rows, those of these users, and whoever has a name that is wanted. Locked in the worker's order."""
    columns = {"ids": array(ids), "users": array(users), "wanted": array(wanted), "names": array(names)}
    found = connection.execute(text(GROUP + (" FOR UPDATE" if lock else "")), columns)
    return [_row(row) for row in found.mappings()]


def known_users(connection: Connection, users: Collection[UUID], *, lock: bool = False) -> set[UUID]:
    """Which of these users exist; with `lock` until the commit."""
    query = text(PROFILES + (" FOR KEY SHARE" if lock else ""))
    return set(connection.execute(query, {"users": array(users)}).scalars())


def users_with_row(connection: Connection, users: Collection[UUID]) -> set[UUID]:
    return set(connection.execute(WITH_ROW, {"users": array(users)}).scalars())


def names_known(connection: Connection, names: Collection[str]) -> set[str]:
    """Names, here and on the gateway, of the rows that have one of these."""
    return set(connection.execute(NAMES_KNOWN, {"names": array(names)}).scalars())


def named(connection: Connection, name: str) -> Row | None:
    """By its name here, else by its name on the gateway."""
    found = connection.execute(NAMED, {"name": name}).mappings().first()
    return _row(found) if found else None


def of_user(connection: Connection, user_id: UUID, mapped: Sequence[str]) -> list[Row]:
    """The user's row, and the unbound ones that say this user."""
    found = connection.execute(OF_USER, {"user": user_id, "hex": user_id.hex, "mapped": array(mapped)})
    return [_row(row) for row in found.mappings()]


def write(connection: Connection, findings: Sequence[Finding], before: dict[UUID, Row]) -> None:
    """Do what the mendable findings say, and note each in the audit."""
    if not findings:
        return
    columns = {
        "ids": array(finding.row_id for finding in findings),
        "users": array(finding.user_id for finding in findings),
        "names": array(finding.becomes or finding.instance for finding in findings),
        "gateway_names": array(finding.gateway_name for finding in findings),
    }
    connection.execute(WRITE, columns)
    for finding in findings:
        if finding.row_id is not None:
            _note(connection, finding, before[finding.row_id])


def _note(connection: Connection, finding: Finding, before: Row) -> None:
    old = {"instance_name": before.name, "user_id": before.user_id, "gateway_name": before.gateway_name}
    name = finding.becomes or finding.instance
    new = {"instance_name": name, "user_id": finding.user_id, "gateway_name": finding.gateway_name}
    details = {"why": finding.code, "row": before.id, "old": old, "new": new}
    scope = str(finding.user_id)
    audit.note(connection, actor="operator", action="migrated", subject=name, scope=scope, details=details)


def _row(row: RowMapping) -> Row:
    return Row(
        id=row["id"],
        name=row["instance_name"],
        user_id=row["user_id"],
        gateway_name=row["gateway_name"],
        connected=row["connected"],
        created_s=row["created_s"],
        hooked=row["hooked"],
        deleted=row["deleted"],
    )
