"""Says again what went wrong, while it lasts and nobody has said that they know. A job of the schedule."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from core import events
from core.clock import Clock
from core.db import Transaction, array
from monitor.alerting import alerts
from monitor.alerting.alerts import Told
from monitor.texts import GRAVITY, REMINDER, severity

REMIND = text("""
UPDATE incidents SET reminded_at = :at
WHERE closed_at IS NULL AND acknowledged_at IS NULL AND coalesce(reminded_at, opened_at) <= :before
  AND (instance_id IS NOT NULL OR instance_name IS NULL)
  AND kind = ANY(CAST(:kinds AS text[]))
RETURNING id, gateway, instance_id, instance_name, organization_id, reason, opened_at,
    (SELECT profiles.id FROM profiles WHERE profiles.id = incidents.user_id) AS user_id,
    (SELECT count(*) FROM alerts WHERE alerts.incident_id = incidents.id AND alerts.kind = :reminder) AS reminders
""")


def remind(connection: Connection, at: datetime, every: timedelta) -> list[Told]:
    """The open incidents that nobody has acknowledged, when the last word of them is `every` old. At once each: the
    caller records what is told in the same transaction. Not those of an instance that was deleted; where only the user
    is gone, `user_id` is None: there is nobody to show it to."""
    serious = array(str(kind) for kind in GRAVITY if severity(kind) != "info")
    values = {"at": at, "before": at - every, "kinds": serious, "reminder": REMINDER}
    rows = connection.execute(REMIND, values).all()
    return [
        Told(
            incident_id=row.id,
            kind=REMINDER,
            facts={"seconds": (at - row.opened_at).total_seconds(), "reason": row.reason},
            at=at,
            gateway=row.gateway,
            instance_id=row.instance_id,
            instance_name=row.instance_name,
            user_id=row.user_id,
            organization_id=row.organization_id,
            again=row.reminders + 1,
        )
        for row in sorted(rows)
    ]


class Reminders:
    """`every` None: nobody wants any. `rung` is told whose feed has grown."""

    def __init__(
        self, transaction: Transaction, clock: Clock, every: timedelta | None, rung: Callable[[list[str]], None]
    ) -> None:
        self._transaction, self._clock, self._every, self._rung = transaction, clock, every, rung

    def tell(self) -> int:
        """How many were told again. Twice at once does no harm."""
        if self._every is None:
            return 0
        with self._transaction() as connection:
            told = remind(connection, self._clock.now(), self._every)
            frames = alerts.record(connection, told)
            events.record(connection, frames)
        if frames:
            self._rung(sorted({str(frame.user_id) for frame in frames}))
        return len(told)
