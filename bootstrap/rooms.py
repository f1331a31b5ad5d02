"""Whose instance it is and who belongs to an organization, for the live channel's rooms: over the manager's table."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from core.db import Transaction, array
from notify.rooms import Instance

NAMED = text("""
SELECT instance_name, user_id FROM whatsapp_instances
WHERE user_id IS NOT NULL AND (instance_name = :name OR id = :id)
""")
# who belongs to no organization is one of their own
MEMBERS = text("""
WITH wanted AS (SELECT * FROM unnest(CAST(:names AS text[]), CAST(:ids AS uuid[])) AS wanted (name, id))
SELECT name, user_id, created_at FROM wanted JOIN whatsapp_instances ON organization_id = name
WHERE user_id IS NOT NULL
UNION ALL
SELECT name, user_id, created_at FROM wanted JOIN whatsapp_instances ON organization_id IS NULL AND user_id = wanted.id
""")


@dataclass(frozen=True)
class Instances:
    """The sockets' directory, over the manager's table."""

    transaction: Transaction

    def named(self, name: str) -> Instance | None:
        """A user's who has never connected too: `start` is what makes the row."""
        with self.transaction() as connection:
            row = connection.execute(NAMED, {"name": name, "id": _uuid(name)}).first()
        if row:
            return Instance(name=row.instance_name, user_id=row.user_id)
        user_id = _uuid(name.removeprefix("user_")) if name.startswith("user_") else None
        return Instance(name=name, user_id=user_id) if user_id else None


def members(connection: Connection, organizations: Collection[str]) -> dict[str, dict[UUID, datetime]]:
    """The users of each organization, with the time since when they have an instance."""
    wanted = {"names": array(organizations), "ids": array(map(_uuid, organizations))}
    found: dict[str, dict[UUID, datetime]] = {}
    for row in connection.execute(MEMBERS, wanted):
        found.setdefault(row.name, {})[row.user_id] = row.created_at
    return found


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
