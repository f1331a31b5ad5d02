"""Instances as rows: read, lock, save. Functions of a connection; the caller's transaction.

Rows never leave: everybody else gets the frozen `InstanceRecord` of manager.lifecycle.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, RowMapping, Text, cast, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import NotFound
from manager.lifecycle import InstanceRecord, Standing, Status
from manager.providers.port import Pairing, State
from manager.tables import Instance

SAVE = text("""
UPDATE whatsapp_instances AS kept SET
    status = new.status, is_connected = new.status = 'connected', phone_number = new.phone, qr_code = new.qr,
    state = new.state, state_at = new.state_at, reason = new.reason, pairing_at = new.pairing_at,
    pairing_code = new.pairing_code, qr_expires_at = new.expires_at, retired_qr = new.retired_qr,
    profile_name = new.profile_name, phone_at = new.phone_at, reason_at = new.reason_at, alive_at = new.alive_at,
    ended_at = new.ended_at,
    last_connected_at = new.connected_at, updated_at = now()
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:phones AS text[]), CAST(:qrs AS text[]),
    CAST(:states AS text[]), CAST(:states_at AS timestamptz[]), CAST(:reasons AS integer[]),
    CAST(:pairings_at AS timestamptz[]), CAST(:codes AS text[]), CAST(:expire_at AS timestamptz[]),
    CAST(:retired AS text[]), CAST(:profile_names AS text[]), CAST(:phones_at AS timestamptz[]),
    CAST(:connected_at AS timestamptz[]), CAST(:reasons_at AS timestamptz[]), CAST(:alive_at AS timestamptz[]),
    CAST(:ended_at AS timestamptz[])
) AS new (id, status, phone, qr, state, state_at, reason, pairing_at, pairing_code, expires_at, retired_qr,
          profile_name, phone_at, connected_at, reason_at, alive_at, ended_at)
WHERE kept.id = new.id
""")

COUNT = text("""
UPDATE whatsapp_instances AS kept SET
    messages_sent_count = messages_sent_count + new.sent,
    messages_received_count = messages_received_count + new.received,
    heard_at = CASE WHEN new.received > 0 THEN now() ELSE heard_at END
FROM unnest(CAST(:ids AS uuid[]), CAST(:sent AS bigint[]), CAST(:received AS bigint[])) AS new (id, sent, received)
WHERE kept.id = new.id
""")


def find_by_user(connection: Connection, user_id: UUID) -> InstanceRecord | None:
    """Not one that was deleted."""
    theirs = (Instance.user_id == user_id) & Instance.deleted_at.is_(None)
    return _one(connection.execute(select(Instance.__table__).where(theirs)).mappings())


def lock_by_user(connection: Connection, user_id: UUID) -> InstanceRecord:
    """Also one that was deleted. Raises NotFound."""
    query = select(Instance.__table__).where(Instance.user_id == user_id).with_for_update()
    if found := _one(connection.execute(query).mappings()):
        return found
    raise NotFound("This user has no WhatsApp instance", code="INSTANCE_NOT_FOUND")


def lock(connection: Connection, instance_id: UUID) -> InstanceRecord:
    """Raises NotFound: somebody deleted the row by hand."""
    query = select(Instance.__table__).where(Instance.id == instance_id).with_for_update()
    if found := _one(connection.execute(query).mappings()):
        return found
    raise NotFound("This instance is there no more", code="INSTANCE_NOT_FOUND")


def leased(connection: Connection, lease_name: str) -> InstanceRecord | None:
    """The instance whose lease goes by this name."""
    owner = lease_name.removeprefix("user_")
    theirs = cast(Instance.user_id, Text) == owner
    query = select(Instance.__table__).where(or_(Instance.instance_name == lease_name, theirs))
    return _one(connection.execute(query.order_by(Instance.user_id.nulls_last())).mappings())


def named(connection: Connection, names: Collection[str], *, lock: bool = False) -> dict[str, InstanceRecord]:
    """The instances of these names; with `lock` held until the commit, taken in the order of names."""
    query = select(Instance.__table__).where(Instance.instance_name.in_(names)).order_by(Instance.instance_name)
    rows = connection.execute(query.with_for_update() if lock else query).mappings()
    return {row["instance_name"]: record_of(row) for row in rows}


def remove(connection: Connection, instance_id: UUID) -> None:
    connection.execute(delete(Instance).where(Instance.id == instance_id))


def gateway_names(connection: Connection, names: Collection[str]) -> dict[str, str | None]:
    """Which of these instances exist, and what their gateways call them; None for one that was deleted."""
    query = select(Instance.instance_name, Instance.gateway_name, Instance.deleted_at)
    rows = connection.execute(query.where(Instance.instance_name.in_(names)))
    return {row.instance_name: None if row.deleted_at else row.gateway_name or row.instance_name for row in rows}


def insert_if_new(
    connection: Connection, *, name: str, user_id: UUID, organization_id: str | None, provider: str
) -> None:
    """Nothing happens where the user, or the name, has an instance already."""
    values = {"instance_name": name, "user_id": user_id, "organization_id": organization_id, "provider": provider}
    connection.execute(insert(Instance).values(values).on_conflict_do_nothing())


def mark_hooked(connection: Connection, instance_id: UUID) -> None:
    """The gateway has the instance, fresh or taken over, and our webhook."""
    now = {"hooked_at": func.now(), "hook_checked_at": func.now(), "spent": False, "gone_at": None}
    connection.execute(update(Instance).where(Instance.id == instance_id).values(**now))


def mark(connection: Connection, instance_id: UUID, **columns: object) -> None:
    """Set these columns of an instance."""
    connection.execute(update(Instance).where(Instance.id == instance_id).values(**columns))


def owner_phones(connection: Connection, organizations: Collection[str]) -> dict[str, set[str]]:
    """The numbers of all instances of these organizations: whoever writes from one is an owner there."""
    theirs = Instance.organization_id.in_(organizations)
    query = select(Instance.organization_id, Instance.phone_number, Instance.owner_phones).where(theirs)
    found: dict[str, set[str]] = {organization: set() for organization in organizations}
    for organization, phone, others in connection.execute(query):
        found[str(organization)].update(number for number in (phone, *others) if number)
    return found


def count_messages(connection: Connection, counts: Mapping[UUID, tuple[int, int]]) -> None:
    """Add messages sent and received to the instances' counters; who received some was heard of."""
    if not counts:
        return
    ordered = sorted(counts.items())
    columns = {
        "ids": [number for number, _ in ordered],
        "sent": [sent for _, (sent, _) in ordered],
        "received": [received for _, (_, received) in ordered],
    }
    connection.execute(COUNT, columns)


def save(connection: Connection, changed: Sequence[InstanceRecord]) -> None:
    """Write the standings of these instances, all in one statement."""
    if not changed:
        return
    standings = [record.standing for record in changed]
    pairings = [standing.pairing or Pairing() for standing in standings]
    columns: Mapping[str, Iterable[object]] = {
        "ids": (record.id for record in changed),
        "statuses": (standing.status.value for standing in standings),
        "phones": (standing.phone for standing in standings),
        "qrs": (pairing.qr for pairing in pairings),
        "states": (standing.state.value for standing in standings),
        "states_at": (standing.state_at for standing in standings),
        "reasons": (standing.reason for standing in standings),
        "pairings_at": (standing.pairing_at for standing in standings),
        "codes": (pairing.pairing_code for pairing in pairings),
        "expire_at": (standing.pairing_expires_at for standing in standings),
        "retired": (standing.retired_qr for standing in standings),
        "profile_names": (standing.profile_name for standing in standings),
        "phones_at": (standing.phone_at for standing in standings),
        "connected_at": (standing.connected_at for standing in standings),
        "reasons_at": (standing.reason_at for standing in standings),
        "alive_at": (standing.alive_at for standing in standings),
        "ended_at": (standing.ended_at for standing in standings),
    }
    connection.execute(SAVE, {name: list(values) for name, values in columns.items()})


def record_of(row: RowMapping) -> InstanceRecord:
    pairing = Pairing(qr=row["qr_code"], pairing_code=row["pairing_code"])
    standing = Standing(
        state=State(row["state"]),
        state_at=row["state_at"],
        reason=row["reason"],
        reason_at=row["reason_at"],
        alive_at=row["alive_at"],
        ended_at=row["ended_at"],
        phone=row["phone_number"],
        profile_name=row["profile_name"],
        phone_at=row["phone_at"],
        pairing=None if pairing == Pairing() else pairing,
        pairing_at=row["pairing_at"],
        pairing_expires_at=row["qr_expires_at"],
        retired_qr=row["retired_qr"],
        connected_at=row["last_connected_at"],
    )
    return InstanceRecord(
        id=row["id"],
        name=row["instance_name"],
        user_id=row["user_id"],
        organization_id=row["organization_id"],
        status=Status(row["status"] or "disconnected"),
        standing=standing,
        updated_at=row["updated_at"],
        hooked=row["hooked_at"] is not None,
        owner_phones=tuple(row["owner_phones"]),
        gateway_name=row["gateway_name"] or row["instance_name"],
        asked_at=row["asked_at"],
        spent=row["spent"],
        pairing_for=row["pairing_for"],
        gone=row["gone_at"] is not None,
        deleted=row["deleted_at"] is not None,
        provider=row["provider"],
    )


def _one(rows: Iterable[RowMapping]) -> InstanceRecord | None:
    return next((record_of(row) for row in rows), None)
