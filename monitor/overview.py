"""Health, read for people: one instance, all of them, and what its owner made public. The caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from monitor.policy.health import Deaf, HealthState, Policy
from monitor.policy.servers import ServerState
from monitor.views import HealthView

Place = tuple[str, UUID]  # instance_name, id

SELECT = """
SELECT wi.id, wi.instance_name, wi.user_id, wi.organization_id, coalesce(wi.status, 'disconnected') AS status,
       wi.messages_sent_count, wi.messages_received_count, wi.last_connected_at,
       h.state, h.failures, h.memory, h.checked_at, h.incident_id, h.public_token,
       g.state AS gateway_state, g.memory ->> 'kind' AS gateway_kind
FROM whatsapp_instances wi
LEFT JOIN instance_health h ON h.instance_id = wi.id
LEFT JOIN gateway_health g ON g.name = wi.provider
WHERE wi.deleted_at IS NULL
"""
BY_USER = text(f"{SELECT} AND wi.user_id = :key")
BY_NAME = text(f"{SELECT} AND wi.instance_name = :key")
BY_TOKEN = text(f"{SELECT} AND h.public_token = :key")
LIST = text(f"""
{SELECT} AND (CAST(:organization AS text) IS NULL OR wi.organization_id = :organization)
    AND (CAST(:name AS text) IS NULL OR (wi.instance_name, wi.id) > (:name, CAST(:id AS uuid)))
ORDER BY wi.instance_name, wi.id LIMIT :limit
""")
PUBLISH = text("""
INSERT INTO instance_health (instance_id, public_token)
SELECT id, :token FROM whatsapp_instances WHERE user_id = :user AND deleted_at IS NULL
ON CONFLICT (instance_id)
DO UPDATE SET public_token = coalesce(instance_health.public_token, excluded.public_token)
RETURNING public_token
""")
HIDE = text("""
UPDATE instance_health h SET public_token = NULL FROM whatsapp_instances wi
WHERE wi.id = h.instance_id AND wi.user_id = :user
""")
IN_TROUBLE = (ServerState.DOWN, ServerState.AUTH, ServerState.MASS)
DEAF = {Deaf.SENDS_FAIL: "zombie", Deaf.SILENT: "silent"}
STALE_AFTER = 3  # intervals


@dataclass(frozen=True, kw_only=True, slots=True)
class Freshness:
    """For how long a check says something."""

    now: datetime
    interval: timedelta

    def is_stale(self, checked_at: datetime | None) -> bool:
        return checked_at is None or self.now - checked_at > STALE_AFTER * self.interval


def by_user(connection: Connection, user_id: UUID, fresh: Freshness) -> HealthView | None:
    return _one(connection, BY_USER, user_id, fresh)


def by_name(connection: Connection, name: str, fresh: Freshness) -> HealthView | None:
    return _one(connection, BY_NAME, name, fresh)


def by_token(connection: Connection, token: str, fresh: Freshness) -> HealthView | None:
    return _one(connection, BY_TOKEN, token, fresh)


def listed(
    connection: Connection, fresh: Freshness, *, organization_id: str | None, limit: int, after: Place | None
) -> list[HealthView]:
    """Instances by name, `limit` of them beyond `after`; of all organizations without one."""
    name, number = after or (None, None)
    values = {"organization": organization_id, "name": name, "id": number, "limit": limit}
    return [_view(row, fresh) for row in connection.execute(LIST, values).mappings()]


def publish(connection: Connection, user_id: UUID, token: str) -> str | None:
    """Make the user's status public, under `token` unless it has one; its token. None: there is no instance."""
    return connection.execute(PUBLISH, {"user": user_id, "token": token}).scalar()


def hide(connection: Connection, user_id: UUID) -> None:
    """The token ends for ever."""
    connection.execute(HIDE, {"user": user_id})


def _one(connection: Connection, query: Any, key: object, fresh: Freshness) -> HealthView | None:
    """None also for a text that PostgreSQL cannot say."""
    unsayable = isinstance(key, str) and "\0" in key
    row = None if unsayable else connection.execute(query, {"key": key}).mappings().first()
    return _view(row, fresh) if row else None


def _view(row: RowMapping, fresh: Freshness) -> HealthView:
    stale = fresh.is_stale(row["checked_at"])
    found = {name: row[name] for name in HealthView.__dataclass_fields__ if name not in ("state", "failures", "issues")}
    return HealthView(
        **found,
        state=HealthState.UNKNOWN if stale else HealthState(row["state"]),
        failures=row["failures"] or 0,
        issues=tuple(_issues(row, stale=stale)),
    )


def _issues(row: RowMapping, *, stale: bool) -> list[str]:
    memory: Mapping[str, Any] = row["memory"] or {}
    policy, deaf = memory.get("policy", Policy.AUTO), memory.get("deaf")
    found = [str(policy)] if policy != Policy.AUTO else []
    found += [DEAF[Deaf(deaf)]] if deaf else []
    found += [flag for flag in ("flapping", "paused") if memory.get(flag)]
    if row["gateway_state"] in IN_TROUBLE:
        return [*found, row["gateway_kind"] or f"gateway_{row['gateway_state']}"]
    was_watched = row["checked_at"] is not None and not memory.get("paused")
    return [*found, "not_checked"] if stale and was_watched else found
