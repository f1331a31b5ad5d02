"""What people are told, written in the transaction that decides it: nothing is decided and then lost.

`monitor.watching.watch` and `monitor.alerting.reminders` call `record`; `monitor.alerting.outbox` sends what it wrote.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, select, text

from core.access import Profile
from core.db import array, json_array
from core.events import DomainEvent
from monitor import counters
from monitor.alerting import silences
from monitor.policy.health import Kind
from monitor.policy.servers import ServerKind
from monitor.texts import REMINDER, severity, words

INSERT = text("""
INSERT INTO alerts (incident_id, dedupe, kind, severity, facts, at)
SELECT incident_id, dedupe, kind, severity, CAST(facts AS jsonb), at
FROM unnest(
    CAST(:incidents AS bigint[]), CAST(:dedupes AS text[]), CAST(:kinds AS text[]), CAST(:severities AS text[]),
    CAST(:facts AS text[]), CAST(:at AS timestamptz[])
) WITH ORDINALITY AS new (incident_id, dedupe, kind, severity, facts, at, n)
ORDER BY n
ON CONFLICT (dedupe) DO NOTHING
RETURNING id, dedupe
""")
# `told`: the target has heard of the incident, or is about to. Those alone hear that it is over.
ADDRESS = text("""
INSERT INTO alert_deliveries (alert_id, target_id, state, next_at)
SELECT new.alert_id, target.id, CASE WHEN new.muted THEN 'muted' ELSE 'pending' END, new.at
FROM unnest(
    CAST(:alerts AS bigint[]), CAST(:incidents AS bigint[]), CAST(:kinds AS text[]), CAST(:severities AS text[]),
    CAST(:organizations AS text[]), CAST(:muted AS boolean[]), CAST(:at AS timestamptz[])
) AS new (alert_id, incident_id, kind, severity, organization_id, muted, at)
JOIN alert_targets AS target
    ON target.enabled AND (target.organization_id IS NULL OR target.organization_id = new.organization_id)
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM alerts JOIN alert_deliveries AS delivery ON delivery.alert_id = alerts.id
        WHERE alerts.incident_id = new.incident_id AND delivery.target_id = target.id
          AND delivery.state IN ('pending', 'sent', 'collapsed')
    ) AS told
) AS before
CROSS JOIN (SELECT CAST(:grades AS text[]) AS grades) AS known
WHERE CASE
    WHEN new.kind = ANY(CAST(:recoveries AS text[])) THEN told
    WHEN new.kind = :reminder AND told THEN true
    ELSE (target.kinds IS NULL OR new.kind = ANY(target.kinds))
        AND array_position(grades, new.severity) >= array_position(grades, target.least)
END
ORDER BY new.alert_id, target.id
""")
COLLAPSE = text("""
UPDATE alert_deliveries AS delivery SET state = 'collapsed'
FROM alerts AS alert, alerts AS recovery, alert_deliveries AS news
WHERE recovery.id = ANY(CAST(:recoveries AS bigint[])) AND news.alert_id = recovery.id AND news.state = 'pending'
  AND alert.incident_id = recovery.incident_id AND alert.id < recovery.id
  AND delivery.alert_id = alert.id AND delivery.target_id = news.target_id
  AND delivery.state = 'pending' AND (delivery.claimed_until IS NULL OR delivery.claimed_until < now())
""")
RECOVERIES: Final = (Kind.RECOVERED, ServerKind.GATEWAY_RECOVERED)
KINDS: Final = (*map(str, Kind), *map(str, ServerKind), REMINDER)
GRADES: Final = ("info", "warning", "critical")
FRAME_TYPES: Final = {Kind.RECOVERED: "reconnected", Kind.RECONNECT_FAILED: "reconnect_failed"}
INFORMS: Final = "info"


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """Something people are to hear of an instance or, where `instance_name` is None, of a gateway server. `facts` are
    those of monitor.texts; `again`: a reminder's number, which makes it another one."""

    incident_id: int
    kind: str
    facts: Mapping[str, Any]
    at: datetime
    gateway: str
    instance_id: UUID | None
    instance_name: str | None
    user_id: UUID | None
    organization_id: str | None
    again: int = 0

    @property
    def dedupe(self) -> str:
        return f"{self.incident_id}:{self.kind}" + (f":{self.again}" if self.again else "")

    @property
    def known(self) -> dict[str, Any]:
        """The facts, and whom they are about."""
        about = {"instanceName": self.instance_name} if self.instance_name else {"gateway": self.gateway}
        return {**about, **self.facts}


def record(connection: Connection, told: Sequence[Told]) -> list[DomainEvent]:
    """Write down what people are told, once each, and to which targets it goes; the frames for the live channel, which
    the caller records. What was recorded before is left out."""
    fresh = _inserted(connection, told)
    if not fresh:
        return []
    counters.told(one.kind for one in fresh.values())
    ended = {number: one for number, one in fresh.items() if one.kind in RECOVERIES}
    _address(connection, {number: one for number, one in fresh.items() if number not in ended})
    _address(connection, ended)  # after the others: what is over may have begun in this very transaction
    if ended:
        connection.execute(COLLAPSE, {"recoveries": array(sorted(ended))})
    admins = _admins(connection) if any(one.instance_name is None for one in fresh.values()) else []
    return [frame for one in fresh.values() for frame in _frames(one, admins)]


def _inserted(connection: Connection, told: Sequence[Told]) -> dict[int, Told]:
    """Those that are new, by the number of their row, in the order given."""
    if not told:
        return {}
    by_key = {one.dedupe: one for one in told}
    rows = connection.execute(INSERT, _columns(by_key.values()) | {"dedupes": array(by_key)})
    return {row.id: by_key[row.dedupe] for row in sorted(rows)}


def _address(connection: Connection, alerts: Mapping[int, Told]) -> None:
    if not alerts:
        return
    active = silences.active(connection, max(one.at for one in alerts.values()))
    values = _columns(alerts.values()) | {
        "alerts": array(alerts),
        "organizations": array(one.organization_id for one in alerts.values()),
        "muted": array(active.mutes(one.instance_id, one.organization_id) for one in alerts.values()),
        "recoveries": array(map(str, RECOVERIES)),
        "reminder": REMINDER,
        "grades": array(GRADES),
    }
    connection.execute(ADDRESS, values)


def _columns(told: Iterable[Told]) -> dict[str, Any]:
    told = list(told)
    return {
        "incidents": array(one.incident_id for one in told),
        "kinds": array(one.kind for one in told),
        "severities": array(severity(one.kind) for one in told),
        "facts": json_array(one.known for one in told),
        "at": array(one.at for one in told),
    }


def _admins(connection: Connection) -> list[UUID]:
    return list(connection.execute(select(Profile.id).where(Profile.role == "admin")).scalars())


def _frames(told: Told, admins: Sequence[UUID]) -> list[DomainEvent]:
    """To the instance's user; about a server, to the administrators."""
    said = words(told.kind, told.known)
    usual = "notice" if severity(told.kind) == INFORMS else "alert"
    data = {
        "kind": told.kind,
        "title": said.title,
        "text": said.text,
        "incidentId": told.incident_id,
        "instanceName": told.instance_name,
        "instanceId": told.instance_id and str(told.instance_id),
    }
    data |= {"action": {"label": said.action, "command": "start"}} if said.action else {}
    users = admins if told.instance_name is None else [told.user_id]
    kind = FRAME_TYPES.get(told.kind, usual)  # type: ignore[call-overload]  # a StrEnum's members are found by text
    return [DomainEvent(user_id=user, type=kind, data=data) for user in users if user]
