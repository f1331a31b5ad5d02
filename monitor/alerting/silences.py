"""Times of quiet that a person asked for: nobody is told (mute), or nothing is even looked at (maintenance).

People write them by `Silences`; the watch and the alerts read `active` in their transactions.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from core import audit
from core.clock import Clock
from core.db import Transaction
from core.errors import Malformed, NotFound
from manager.tables import Instance
from monitor.tables import BIGGEST, AlertSilence

MUTE, MAINTENANCE = "mute", "maintenance"
KINDS = (MUTE, MAINTENANCE)
LISTED_MOST = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Quiet:
    """Whom one kind of silence covers."""

    everybody: bool = False
    organizations: Set[str] = field(default_factory=frozenset)
    instances: Set[UUID] = field(default_factory=frozenset)

    def covers(self, instance_id: UUID | None, organization_id: str | None) -> bool:
        return self.everybody or instance_id in self.instances or organization_id in self.organizations


@dataclass(frozen=True, kw_only=True, slots=True)
class Active:
    """The silences of a moment. A gateway server is neither of an instance nor of an organization: None, None."""

    mute: Quiet = field(default_factory=Quiet)
    maintenance: Quiet = field(default_factory=Quiet)

    @property
    def is_maintaining(self) -> bool:
        """Anything at all."""
        return self.maintenance != Quiet()

    def mutes(self, instance_id: UUID | None, organization_id: str | None) -> bool:
        """Whether nothing is sent to targets."""
        return any(quiet.covers(instance_id, organization_id) for quiet in (self.mute, self.maintenance))

    def maintains(self, instance_id: UUID | None, organization_id: str | None) -> bool:
        """Whether nothing is checked or decided either."""
        return self.maintenance.covers(instance_id, organization_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """`instance_name` and `organization_id` both None: of all."""

    id: int
    kind: str
    instance_name: str | None
    organization_id: str | None
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    created_by: str
    created_at: datetime


def active(connection: Connection, at: datetime) -> Active:
    """Those that are on at this moment."""
    query = select(AlertSilence.kind, AlertSilence.instance_id, AlertSilence.organization_id)
    rows = connection.execute(query.where(AlertSilence.starts_at <= at, AlertSilence.ends_at > at)).all()
    of = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    return Active(mute=_quiet(of[MUTE]), maintenance=_quiet(of[MAINTENANCE]))


class Silences:
    """What administrators do. Every change leaves an audit row."""

    def __init__(self, transaction: Transaction, clock: Clock) -> None:
        self._transaction, self._clock = transaction, clock

    def list(self) -> list[Silence]:
        """Those that have not ended, the next to end first."""
        query = _shown().where(AlertSilence.ends_at > self._clock.now())
        with self._transaction() as connection:
            rows = connection.execute(query.order_by(AlertSilence.ends_at, AlertSilence.id).limit(LISTED_MOST))
            return [Silence(**row) for row in rows.mappings()]

    def add(
        self,
        *,
        kind: str,
        ends_at: datetime,
        by: str,
        starts_at: datetime | None = None,
        instance_name: str | None = None,
        organization_id: str | None = None,
        reason: str | None = None,
    ) -> Silence:
        """From `starts_at`, or now, of an instance, an organization, or all. Raises Malformed, NotFound."""
        now = self._clock.now()
        starts_at = starts_at or now
        if ends_at <= max(starts_at, now):
            raise Malformed("A silence must end after its start, and in the future")
        if instance_name and organization_id:
            raise Malformed("A silence is of an instance or of an organization, not of both")
        with self._transaction() as connection:
            values = {
                "kind": kind,
                "instance_id": _instance(connection, instance_name) if instance_name else None,
                "organization_id": organization_id,
                "starts_at": starts_at,
                "ends_at": ends_at,
                "reason": reason,
                "created_by": by,
            }
            number = connection.execute(insert(AlertSilence).values(values).returning(AlertSilence.id)).scalar_one()
            details = {"kind": kind, "instance": instance_name, "starts_at": starts_at, "ends_at": ends_at}
            _note(connection, by, "silence.added", number, organization_id, details)
            return Silence(**connection.execute(_shown().where(AlertSilence.id == number)).mappings().one())

    def end(self, silence_id: int, by: str) -> None:
        """End it now; one that has not begun never was. Raises NotFound, also for one that is over."""
        now = self._clock.now()
        mine = (AlertSilence.id == silence_id, AlertSilence.ends_at > now)
        with self._transaction() as connection:
            is_there = silence_id < BIGGEST and (
                connection.execute(delete(AlertSilence).where(*mine, AlertSilence.starts_at >= now)).rowcount
                or connection.execute(update(AlertSilence).where(*mine).values(ends_at=now)).rowcount
            )
            if not is_there:
                raise NotFound("There is no such silence", code="SILENCE_NOT_FOUND")
            _note(connection, by, "silence.ended", silence_id)


def _quiet(rows: list[Row[str, UUID | None, str | None]]) -> Quiet:
    return Quiet(
        everybody=any(row.instance_id is None and row.organization_id is None for row in rows),
        organizations=frozenset(row.organization_id for row in rows if row.organization_id is not None),
        instances=frozenset(row.instance_id for row in rows if row.instance_id is not None),
    )


def _shown() -> Select[tuple[object, ...]]:
    one = AlertSilence
    columns = (one.organization_id, one.starts_at, one.ends_at, one.reason, one.created_by, one.created_at)
    query = select(one.id, one.kind, Instance.instance_name, *columns)
    return query.outerjoin(Instance, Instance.id == one.instance_id)  # type: ignore[return-value]  # columns, not tables


def _instance(connection: Connection, name: str) -> UUID:
    found = connection.execute(select(Instance.id).where(Instance.instance_name == name)).scalar()
    if found is None:
        raise NotFound("There is no such instance", code="INSTANCE_NOT_FOUND")
    return found


def _note(
    connection: Connection,
    by: str,
    action: str,
    number: int,
    scope: str | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    audit.note(connection, actor=by, action=action, subject=str(number), scope=scope, details=details)
