"""Health as rows: what is due, kept, and marked as looked at. Functions of a connection; the caller's transaction.

Reads the instances' table of the manager, and writes none but the monitor's own.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, text

from core.db import array
from core.errors import NotFound
from manager.lifecycle import LOGGED_OUT
from manager.providers.port import State
from monitor.policy.health import Health
from monitor.policy.rhythm import Rhythm
from monitor.policy.servers import Server
from monitor.watching.watched import Counted, Kept, Touched, Watched

log = structlog.get_logger()
# whoever has never been connected, or was parted from by their own wish, is not missed
WATCHED = """
wi.hooked_at IS NOT NULL AND wi.deleted_at IS NULL AND NOT wi.spent AND wi.last_connected_at IS NOT NULL
AND wi.user_id IS NOT NULL AND wi.provider = coalesce(:gateway, wi.provider)
"""
# nobody is looked at, or counted, whom a person has paused
UNPAUSED = "NOT h.memory ? 'paused'"
IS_DUE = "(h.due_at <= :at OR h.due_at > :horizon)"
LOOKED_AT = f"{WATCHED} AND {UNPAUSED}"
BEGIN = text(f"""
INSERT INTO instance_health (instance_id, due_at)
SELECT wi.id, CAST(:at AS timestamptz) FROM whatsapp_instances wi WHERE {WATCHED}
    AND NOT EXISTS (SELECT FROM instance_health h WHERE h.instance_id = wi.id)
ON CONFLICT DO NOTHING
""")  # noqa: S608 — a constant of ours
ROWS = f"""
SELECT wi.id, wi.instance_name, coalesce(wi.gateway_name, wi.instance_name) AS gateway_name, wi.provider, wi.user_id,
       wi.organization_id, wi.state AS told_state, wi.reason, wi.reason_at, wi.ended_at, wi.updated_at, wi.asked_at,
       wi.heard_at, wi.send_worked_at, wi.send_failed_at, wi.last_connected_at,
       (h.memory || jsonb_build_object('checked_at', h.checked_at, 'observed_at', h.checked_at))::text AS memory,
       h.rhythm::text, h.version, h.checked_at, h.noticed_at, h.incident_id, h.due_at,
       {IS_DUE} AS due,
       l.until IS NOT NULL AS busy, i.verdict
FROM whatsapp_instances wi JOIN instance_health h ON h.instance_id = wi.id
LEFT JOIN instance_leases l ON l.instance_name = 'user_' || wi.user_id AND l.until > now()
LEFT JOIN health_intervals i ON i.instance_id = wi.id AND i.until IS NULL
WHERE {WATCHED}
"""  # noqa: S608 — a constant of ours
DUE = text(f"""
{ROWS} AND {UNPAUSED} AND (:looking AND {IS_DUE} OR h.noticed_at IS DISTINCT FROM wi.updated_at
    OR wi.id = ANY(CAST(:also AS uuid[])))
ORDER BY h.due_at, wi.id
""")
NAMED = text(f"{ROWS} AND wi.instance_name = :name FOR UPDATE OF h")
COUNTED = text(f"""
SELECT count(*) AS enabled, count(*) FILTER (WHERE {IS_DUE}) AS due,
       count(*) FILTER (WHERE h.memory ? 'failing_since') AS failing,
       count(*) FILTER (WHERE wi.reason = 405 AND wi.state <> 'connected') AS outdated
FROM whatsapp_instances wi JOIN instance_health h ON h.instance_id = wi.id WHERE {LOOKED_AT}
""")  # noqa: S608 — a constant of ours
LEFT = text(f"""
WITH gone AS (
    SELECT wi.id, before.incident_id, before.checked_at
    FROM whatsapp_instances wi JOIN instance_health before ON before.instance_id = wi.id
    WHERE wi.provider = :gateway AND NOT ({WATCHED}) AND before.checked_at IS NOT NULL
    ORDER BY wi.id FOR UPDATE OF before
)
UPDATE instance_health h SET state = 'unknown', failures = 0, memory = '{{}}', version = version + 1,
    incident_id = NULL, checked_at = NULL, settled_until = NULL
FROM gone WHERE h.instance_id = gone.id
RETURNING gone.id, gone.incident_id, gone.checked_at
""")  # noqa: S608 — a constant of ours
HOLD = text("""
SELECT h.instance_id FROM instance_health h
JOIN unnest(CAST(:ids AS uuid[]), CAST(:versions AS bigint[])) AS known (id, version)
    ON h.instance_id = known.id AND h.version = known.version
ORDER BY h.instance_id FOR UPDATE OF h
""")
SAVE = text("""
UPDATE instance_health h SET state = new.state, failures = new.failures, memory = CAST(new.memory AS jsonb),
    rhythm = CAST(new.rhythm AS jsonb), version = h.version + 1, due_at = new.due_at, checked_at = new.checked_at,
    noticed_at = CASE WHEN new.sighted THEN now() ELSE new.noticed_at END, incident_id = new.incident_id,
    settled_until = NULL
FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:failures AS integer[]), CAST(:memories AS text[]),
    CAST(:rhythms AS text[]), CAST(:due AS timestamptz[]), CAST(:checked AS timestamptz[]),
    CAST(:noticed AS timestamptz[]), CAST(:incidents AS bigint[]), CAST(:sighted AS boolean[]))
    AS new (id, state, failures, memory, rhythm, due_at, checked_at, noticed_at, incident_id, sighted)
WHERE h.instance_id = new.id
""")
TOUCH = text("""
UPDATE instance_health h SET checked_at = new.checked_at, due_at = new.due_at, noticed_at = new.noticed_at,
    settled_until = new.settled_until, rhythm = coalesce(CAST(new.rhythm AS jsonb), h.rhythm)
FROM unnest(CAST(:ids AS uuid[]), CAST(:checked AS timestamptz[]), CAST(:due AS timestamptz[]),
    CAST(:noticed AS timestamptz[]), CAST(:settled AS timestamptz[]), CAST(:rhythms AS text[]))
    AS new (id, checked_at, due_at, noticed_at, settled_until, rhythm)
WHERE h.instance_id = new.id
""")
POSTPONE = text("UPDATE instance_health SET due_at = :due WHERE instance_id = ANY(CAST(:ids AS uuid[]))")
SERVER = text("SELECT memory, incident_id FROM gateway_health WHERE name = :name")
KEEP_SERVER = text("""
INSERT INTO gateway_health (name, state, memory, incident_id)
VALUES (:name, :state, CAST(:memory AS jsonb), :incident)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, memory = excluded.memory, incident_id = excluded.incident_id
""")
HEALTH, RHYTHM, SERVERS = TypeAdapter(Health), TypeAdapter(Rhythm), TypeAdapter(Server)
UNREADABLE = 1_000  # attempts: no episode has so many
ELSEWHERE = {"checked_at", "observed_at"}  # they change with every look, and have a column


def begin(connection: Connection, gateway: str, at: datetime) -> int:
    """Put instances under watch that are new. How many."""
    return connection.execute(BEGIN, {"gateway": gateway, "at": at}).rowcount


def load(
    connection: Connection, gateway: str, at: datetime, longest: timedelta, also: Collection[UUID], *, looking: bool
) -> list[Watched]:
    """Those due (if anybody is `looking`), the longest due first, those whose row has changed, and these `also`. A due
    time further ahead than `longest` was made by a clock that went wrong: it is due too."""
    values = {"gateway": gateway, "at": at, "horizon": at + longest, "also": array(also), "looking": looking}
    rows = connection.execute(DUE, values).mappings()
    return [_watched(row) for row in rows]


def lock(connection: Connection, name: str, at: datetime) -> Watched:
    """One instance, until the commit. Raises NotFound where it is not under watch."""
    values = {"gateway": None, "at": at, "horizon": at, "name": name}
    if found := connection.execute(NAMED, values).mappings().first():
        return _watched(found)
    raise NotFound("There is no such instance under watch", code="INSTANCE_NOT_FOUND")


def count(connection: Connection, gateway: str, at: datetime, longest: timedelta) -> Counted:
    """`at`, `longest`: as for `load`."""
    values = {"gateway": gateway, "at": at, "horizon": at + longest}
    return Counted(**connection.execute(COUNTED, values).mappings().one())


def leave(connection: Connection, gateway: str) -> Sequence[RowMapping]:
    """Forget the health of instances that are not under watch any more: their id, open incident and last check."""
    return connection.execute(LEFT, {"gateway": gateway}).mappings().all()


def hold(connection: Connection, versions: Mapping[UUID, int]) -> set[UUID]:
    """Lock these rows until the commit; those of them that nobody has changed since."""
    ids = sorted(versions)
    values = {"ids": array(ids), "versions": array(versions[one] for one in ids)}
    return set(connection.execute(HOLD, values).scalars())


def save(connection: Connection, kept: Iterable[Kept]) -> None:
    rows = sorted(kept, key=lambda one: one.id)
    if not rows:
        return
    connection.execute(
        SAVE,
        {
            "ids": array(one.id for one in rows),
            "states": array(one.health.state.value for one in rows),
            "failures": array(one.health.failures for one in rows),
            "memories": array(memory_of(one.health) for one in rows),
            "rhythms": array(rhythm_of(one.rhythm) for one in rows),
            "due": array(one.due_at for one in rows),
            "checked": array(one.health.checked_at for one in rows),
            "noticed": array(one.noticed_at for one in rows),
            "incidents": array(one.incident_id for one in rows),
            "sighted": array(one.sighted for one in rows),
        },
    )


def postpone(connection: Connection, ids: Collection[UUID], due_at: datetime) -> None:
    """Nobody looks at these before that."""
    if ids:
        connection.execute(POSTPONE, {"ids": array(ids), "due": due_at})


def touch(connection: Connection, touched: Sequence[Touched]) -> None:
    """They were looked at, and nothing is new."""
    if touched:
        rows = sorted(touched, key=lambda one: one.id)
        columns = {
            "ids": array(one.id for one in rows),
            "checked": array(one.checked_at for one in rows),
            "due": array(one.due_at for one in rows),
            "noticed": array(one.noticed_at for one in rows),
            "settled": array(one.settled_until for one in rows),
            "rhythms": array(one.rhythm and rhythm_of(one.rhythm) for one in rows),
        }
        connection.execute(TOUCH, columns)


def server(connection: Connection, name: str) -> tuple[Server, int | None]:
    """The gateway server, and its open incident."""
    row = connection.execute(SERVER, {"name": name}).first()
    return (SERVERS.validate_python(row.memory), row.incident_id) if row else (Server(), None)


def keep_server(connection: Connection, name: str, kept: Server, incident_id: int | None) -> None:
    memory = SERVERS.dump_json(kept, exclude_defaults=True).decode()
    values = {"name": name, "state": kept.state.value, "memory": memory, "incident": incident_id}
    connection.execute(KEEP_SERVER, values)


def memory_of(health: Health) -> str:
    return HEALTH.dump_json(health, exclude_defaults=True, exclude=ELSEWHERE).decode()


def rhythm_of(rhythm: Rhythm) -> str:
    return RHYTHM.dump_json(rhythm, exclude_defaults=True).decode()


def _health(name: str, memory: str) -> Health:
    """What cannot be read, after a way back from a later version, is begun anew, without a budget to spend."""
    try:
        return HEALTH.validate_json(memory)
    except ValueError as error:
        log.error("health_unreadable", instance=name, error=type(error).__name__)
        return Health(attempts=UNREADABLE)


def _watched(row: RowMapping) -> Watched:
    worked_at, failed_at = row["send_worked_at"], row["send_failed_at"]
    proofs = [at for at in (worked_at, row["last_connected_at"]) if at]
    return Watched(
        id=row["id"],
        name=row["instance_name"],
        gateway_name=row["gateway_name"],
        gateway=row["provider"],
        user_id=row["user_id"],
        organization_id=row["organization_id"],
        told_state=State(row["told_state"]),
        reason=row["reason"] or (LOGGED_OUT if row["ended_at"] else None),
        reason_at=row["reason_at"],
        updated_at=row["updated_at"],
        asked_at=row["asked_at"],
        heard_at=row["heard_at"],
        sends_fail=failed_at is not None and all(failed_at > at for at in proofs),
        health=_health(row["instance_name"], row["memory"]),
        rhythm=RHYTHM.validate_json(row["rhythm"]),
        version=row["version"],
        checked_at=row["checked_at"],
        noticed_at=row["noticed_at"],
        incident_id=row["incident_id"],
        due_at=row["due_at"],
        due=row["due"],
        busy=row["busy"],
        verdict=row["verdict"],
    )
