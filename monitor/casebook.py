"""Incidents, read: lists, one, its timeline. Functions of a connection; the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, select

from core.errors import NotFound
from monitor.incidents import Step
from monitor.tables import BIGGEST, Incident, IncidentStep


@dataclass(frozen=True, kw_only=True, slots=True)
class IncidentRecord:
    """An incident as the database has it (monitor.tables.Incident)."""

    id: int
    gateway: str
    instance_id: UUID | None
    instance_name: str | None
    user_id: UUID | None
    organization_id: str | None
    kind: str
    reason: int | None
    opened_at: datetime
    closed_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    reminded_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Incidents that meet all of it; None asks for nothing."""

    open: bool | None = None
    kind: str | None = None
    instance_name: str | None = None
    organization_id: str | None = None
    user_id: UUID | None = None


def newest(connection: Connection, wanted: Wanted, *, before: int | None, limit: int) -> list[IncidentRecord]:
    """`limit` incidents, newest first, older than the one numbered `before`."""
    query = _chosen(wanted).order_by(Incident.id.desc()).limit(limit)
    query = query.where(Incident.id < before) if before else query
    return [IncidentRecord(**row) for row in connection.execute(query).mappings()]


def find(connection: Connection, incident_id: int, *, user_id: UUID | None = None) -> IncidentRecord:
    """Raises NotFound; with `user_id` also for what is not theirs."""
    query = _chosen(Wanted(user_id=user_id)).where(Incident.id == incident_id)
    row = connection.execute(query).mappings().first() if incident_id < BIGGEST else None
    if row is None:
        raise NotFound("There is no such incident", code="INCIDENT_NOT_FOUND")
    return IncidentRecord(**row)


def timeline(connection: Connection, incident_id: int) -> list[Step]:
    """Its steps, in the order of time."""
    columns = (IncidentStep.at, IncidentStep.kind, IncidentStep.code, IncidentStep.facts)
    query = select(*columns).where(IncidentStep.incident_id == incident_id).order_by(IncidentStep.at, IncidentStep.id)
    return [Step(**row) for row in connection.execute(query).mappings()]


def _chosen(wanted: Wanted) -> Select[Any]:
    query = select(Incident.__table__)
    if wanted.open is not None:
        query = query.where(Incident.closed_at.is_(None) if wanted.open else Incident.closed_at.is_not(None))
    for name in ("kind", "instance_name", "organization_id", "user_id"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(Incident.__table__.c[name] == value)
    return query
