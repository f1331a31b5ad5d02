"""What the health monitor saw, for instances of which our rows say something else: a close or an open that no webhook
told us. Called inside the monitor's transaction."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select

from core.events import DomainEvent
from manager import store
from manager.fold import told
from manager.lifecycle import InstanceRecord, seen
from manager.providers.port import State
from manager.tables import Instance


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """`updated_at`: the row's, as it was before we looked; one that has changed since knows better."""

    instance_id: UUID
    state: State
    at: datetime
    updated_at: datetime | None


def hold(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, InstanceRecord]:
    """Lock these instances until the commit, in the order in which everybody locks them."""
    query = select(Instance.__table__).where(Instance.id.in_(ids)).order_by(Instance.instance_name)
    return {row["id"]: store.record_of(row) for row in connection.execute(query.with_for_update()).mappings()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """Which rows now say what was seen, and what their users hear of it."""

    ids: Set[UUID]
    events: Sequence[DomainEvent]


def take_in(connection: Connection, held: Mapping[UUID, InstanceRecord], sightings: Sequence[Sighting]) -> Taken:
    """Change the rows of held instances to what was seen."""
    changed: list[InstanceRecord] = []
    events: list[DomainEvent] = []
    for sighting in sightings:
        before = held.get(sighting.instance_id)
        if before is None or before.updated_at != sighting.updated_at:
            continue
        standing = seen(before.standing, sighting.state, sighting.at)
        if standing != before.standing:
            changed.append(replace(before, standing=standing, status=standing.status))
            events += told(before, standing)
    store.save(connection, changed)
    return Taken(ids={record.id for record in changed}, events=events)
