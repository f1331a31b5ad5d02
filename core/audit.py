"""Who changed what by hand, or what Zelador decided by itself and a person may want to undo. Append only.

`details` may hold what an undo needs, names too; it never holds secrets or message texts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, DateTime, Identity, Index, Text, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from core.errors import NotFound


class AuditRow(Base):
    """`actor` is a user's id, `operator` at a shell, or `zelador`; `scope` whose data it was, where that is known."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_action", "action", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    scope: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    scope: str | None
    details: Mapping[str, Any]


def note(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    scope: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """Write it down in the caller's transaction; the entry's id. `details` is JSON; ids and times become text."""
    plain = json.loads(json.dumps(details or {}, default=str))
    row = insert(AuditRow).values(actor=actor, action=action, subject=subject, scope=scope, details=plain)
    return connection.execute(row.returning(AuditRow.id)).scalar_one()


def find(connection: Connection, entry_id: int, *, lock: bool = False) -> AuditEntry:
    """Raises NotFound."""
    query = select(AuditRow.__table__).where(AuditRow.id == entry_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise NotFound("There is no such audit entry", code="AUDIT_ENTRY_NOT_FOUND")
    return _entry(dict(row))


def newest(connection: Connection, *, action: str | None, before: int | None, limit: int) -> Sequence[AuditEntry]:
    """`limit` entries, newest first, older than the one numbered `before`."""
    query = select(AuditRow.__table__).order_by(AuditRow.id.desc()).limit(limit)
    query = query.where(AuditRow.action == action) if action else query
    query = query.where(AuditRow.id < before) if before else query
    return [_entry(dict(row)) for row in connection.execute(query).mappings()]


def _entry(row: dict[str, Any]) -> AuditEntry:
    return AuditEntry(**{**row, "details": row["details"] or {}})
