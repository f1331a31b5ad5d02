"""What people were told, and what became of it at each target: for the administrators' pages. Only reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text

from core.db import Transaction
from monitor.texts import words

NEWEST = text("""
SELECT alert.id, alert.incident_id, alert.kind, alert.severity, alert.facts, alert.at, incident.gateway,
    incident.instance_name, incident.user_id, coalesce(deliveries.items, '[]') AS deliveries
FROM alerts AS alert JOIN incidents AS incident ON incident.id = alert.incident_id
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object(
        'target', target.name, 'state', delivery.state, 'attempts', delivery.attempts, 'sentAt', delivery.sent_at,
        'error', delivery.error
    ) ORDER BY target.name, delivery.id) AS items
    FROM alert_deliveries AS delivery JOIN alert_targets AS target ON target.id = delivery.target_id
    WHERE delivery.alert_id = alert.id
) AS deliveries
WHERE (CAST(:before AS bigint) IS NULL OR alert.id < :before)
  AND (CAST(:kind AS text) IS NULL OR alert.kind = :kind)
  AND (CAST(:instance AS text) IS NULL OR incident.instance_name = :instance)
ORDER BY alert.id DESC LIMIT :most
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """How it stands with one target. `state`: pending, sent, collapsed (the recovery told of it), muted, failed."""

    target: str
    state: str
    attempts: int
    sent_at: datetime | None
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertRecord:
    """`instance_name` is None where it is about the gateway server."""

    id: int
    incident_id: int
    kind: str
    severity: str
    facts: Mapping[str, Any]
    at: datetime
    gateway: str
    instance_name: str | None
    user_id: UUID | None
    deliveries: Sequence[Delivered]

    def said(self, language: str) -> tuple[str, str]:
        """Title and text in `pt` or `en`."""
        found = words(self.kind, self.facts, language)
        return found.title, found.text


class AlertLog:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def newest(
        self, *, limit: int, before: int | None = None, kind: str | None = None, instance: str | None = None
    ) -> list[AlertRecord]:
        """`limit` alerts, newest first, older than the one numbered `before`."""
        values = {"before": before, "kind": kind, "instance": instance, "most": limit}
        with self._transaction() as connection:
            return [_record(row) for row in connection.execute(NEWEST, values).mappings()]


def _record(row: RowMapping) -> AlertRecord:
    return AlertRecord(**{**row, "deliveries": [_delivered(one) for one in row["deliveries"]]})


def _delivered(one: Mapping[str, Any]) -> Delivered:
    at = one["sentAt"]
    return Delivered(
        target=one["target"],
        state=one["state"],
        attempts=one["attempts"],
        sent_at=datetime.fromisoformat(at) if at else None,
        error=one["error"],
    )
