"""Incidents: what went wrong, from the first thing that people are told until all is well, each with its timeline.

Functions of a connection; the caller's transaction. `watching.watch` writes them, with all that a tick decided in a few
statements; `casebook` reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from core import audit
from core.db import array, json_array
from monitor.alerting.alerts import Told
from monitor.texts import GRAVITY

OPEN = text("""
INSERT INTO incidents (gateway, instance_id, instance_name, user_id, organization_id, kind, opened_at)
SELECT gateway, instance_id, instance_name, user_id, organization_id, kind, at
FROM unnest(
    CAST(:gateways AS text[]), CAST(:instances AS uuid[]), CAST(:names AS text[]), CAST(:users AS uuid[]),
    CAST(:organizations AS text[]), CAST(:kinds AS text[]), CAST(:at AS timestamptz[])
) WITH ORDINALITY AS new (gateway, instance_id, instance_name, user_id, organization_id, kind, at, n)
ORDER BY n
RETURNING id
""")
GROW = text("""
UPDATE incidents AS kept SET
    kind = CASE WHEN array_position(gravity, new.kind) > array_position(gravity, kept.kind)
                THEN new.kind ELSE kept.kind END,
    reason = coalesce(new.reason, kept.reason),
    closed_at = CASE WHEN new.closes THEN coalesce(kept.closed_at, new.at) ELSE kept.closed_at END
FROM CAST(:gravity AS text[]) AS gravity, unnest(
    CAST(:ids AS bigint[]), CAST(:kinds AS text[]), CAST(:reasons AS integer[]), CAST(:closes AS boolean[]),
    CAST(:at AS timestamptz[])
) AS new (id, kind, reason, closes, at)
WHERE kept.id = new.id
""")
APPEND = text("""
INSERT INTO incident_steps (incident_id, at, kind, code, facts)
SELECT new.incident_id, new.at, new.kind, new.code, CAST(new.facts AS jsonb)
FROM unnest(
    CAST(:incidents AS bigint[]), CAST(:at AS timestamptz[]), CAST(:kinds AS text[]), CAST(:codes AS text[]),
    CAST(:facts AS text[])
) WITH ORDINALITY AS new (incident_id, at, kind, code, facts, n)
JOIN incidents ON incidents.id = new.incident_id
ORDER BY n
""")
REPEAT = text("""
UPDATE incident_steps AS kept
SET facts = kept.facts || CAST(new.facts AS jsonb)
            || jsonb_build_object('times', coalesce(CAST(kept.facts ->> 'times' AS integer), 1) + 1, 'until', new.until)
FROM unnest(
    CAST(:incidents AS bigint[]), CAST(:codes AS text[]), CAST(:facts AS text[]), CAST(:until AS text[])
) AS new (incident_id, code, facts, until)
CROSS JOIN LATERAL (
    SELECT id, kind, code FROM incident_steps
    WHERE incident_id = new.incident_id ORDER BY at DESC, id DESC LIMIT 1
) AS last
WHERE kept.id = last.id AND last.kind = 'verdict' AND last.code = new.code
RETURNING kept.incident_id
""")
ACKNOWLEDGE = text("""
UPDATE incidents SET acknowledged_at = :at, acknowledged_by = :by WHERE id = :id AND acknowledged_at IS NULL
""")
ORPHANED = text("""
UPDATE incidents SET closed_at = now()
WHERE closed_at IS NULL AND instance_id IS NULL AND instance_name IS NOT NULL
""")
PRUNE = text("""
DELETE FROM incidents WHERE id IN (
    SELECT id FROM incidents WHERE closed_at < now() - :age ORDER BY closed_at LIMIT :most
)
""")
KEPT = timedelta(days=365)
PRUNED_AT_ONCE = 500  # each takes along its timeline, alerts and deliveries
VERDICT, NOTICE, PERSON = "verdict", "notice", "person"
ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One line of a timeline. `kind`: signal (what the gateway said), verdict (what we made of it), action, notice or
    person; `facts` hold numbers and codes, never texts of people."""

    at: datetime
    kind: str
    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What it is about: an instance, or, without one, the gateway server."""

    gateway: str
    instance_id: UUID | None = None
    instance_name: str | None = None
    user_id: UUID | None = None
    organization_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """What a tick brought of one subject. `incident_id`: the open one; `notices`: kinds that people are told, with
    `facts`; `reason`: why it stopped, where that is known now; `closes`: all is well."""

    subject: Subject
    incident_id: int | None
    at: datetime
    notices: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    reason: int | None = None
    closes: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """`incident_id`: where it was written down, None where there is no incident; `told`: what is to be recorded for
    those who are told."""

    incident_id: int | None
    told: tuple[Told, ...] = ()


def write(connection: Connection, happenings: Sequence[Happening]) -> list[Written]:
    """Open, carry on and close incidents, at most one happening a subject; what was written, in the same order.

    A happening with notices and no incident opens one; without either nothing is written. A verdict that only repeats
    the timeline's last is counted there (`times`, `until`): a day of failing checks is one line. Twice is not safe.
    """
    ids = _opened(connection, happenings)
    known = [(number, one) for number, one in zip(ids, happenings, strict=True) if number]
    _grow(connection, known)
    repeated = _repeated(connection, known)
    _append(connection, [(number, step) for number, one in known if number not in repeated for step in _line(one)])
    return [
        Written(incident_id=number, told=_told(one, number) if number else ())
        for number, one in zip(ids, happenings, strict=True)
    ]


def acknowledge(connection: Connection, incident_id: int, by: str, at: datetime) -> None:
    """Somebody knows: no more reminders. A second time, or without such an incident, nothing happens."""
    values = {"id": incident_id, "by": by, "at": at}
    if connection.execute(ACKNOWLEDGE, values).rowcount:
        _append(connection, [(incident_id, Step(at=at, kind=PERSON, code=ACKNOWLEDGED))])
        audit.note(connection, actor=by, action="incident.acknowledged", subject=str(incident_id))


def prune(connection: Connection, age: timedelta) -> int:
    """Drop a batch of incidents that closed longer ago than `age`; rows dropped."""
    return connection.execute(PRUNE, {"age": age, "most": PRUNED_AT_ONCE}).rowcount


def end_orphaned(connection: Connection) -> None:
    """End the incidents whose instance was deleted: no check of it will ever say that all is well."""
    connection.execute(ORPHANED)


def _opened(connection: Connection, happenings: Sequence[Happening]) -> list[int | None]:
    """The incident of each happening, opened where there is none yet."""
    new = [one for one in happenings if one.notices and one.incident_id is None]
    subjects = [one.subject for one in new]
    values = {
        "gateways": array(subject.gateway for subject in subjects),
        "instances": array(subject.instance_id for subject in subjects),
        "names": array(subject.instance_name for subject in subjects),
        "users": array(subject.user_id for subject in subjects),
        "organizations": array(subject.organization_id for subject in subjects),
        "kinds": array(str(one.notices[0]) for one in new),
        "at": array(one.at for one in new),
    }
    made = iter(sorted(connection.execute(OPEN, values).scalars()) if new else [])  # numbered in the order asked for
    return [next(made) if one.notices and one.incident_id is None else one.incident_id for one in happenings]


def _grow(connection: Connection, known: Sequence[tuple[int, Happening]]) -> None:
    """What changes about an incident itself: graver, explained, closed."""
    moved = sorted((pair for pair in known if pair[1].notices or pair[1].reason or pair[1].closes), key=itemgetter(0))
    if not moved:
        return
    values = {
        "ids": array(number for number, _ in moved),
        "kinds": array(max(map(str, one.notices), key=GRAVITY.index, default=None) for _, one in moved),
        "reasons": array(one.reason for _, one in moved),
        "closes": array(one.closes for _, one in moved),
        "at": array(one.at for _, one in moved),
    }
    connection.execute(GROW, {**values, "gravity": array(str(kind) for kind in GRAVITY)})


def _repeated(connection: Connection, known: Sequence[tuple[int, Happening]]) -> set[int]:
    """Incidents of which this says nothing but what their timeline's last step says; counted there."""
    alone = [(number, *one.steps) for number, one in known if len(one.steps) == 1 and not one.notices]
    said = [(number, step) for number, step in alone if step.kind == VERDICT]
    if not said:
        return set()
    values = {
        "incidents": array(number for number, _ in said),
        "codes": array(step.code for _, step in said),
        "facts": json_array(dict(step.facts) for _, step in said),
        "until": array(step.at.isoformat() for _, step in said),
    }
    return set(connection.execute(REPEAT, values).scalars())


def _line(happening: Happening) -> list[Step]:
    """The happening's steps, then what people were told."""
    facts = _lasting(happening)
    said = [Step(at=happening.at, kind=NOTICE, code=str(kind), facts=facts) for kind in happening.notices]
    return [*happening.steps, *said]


def _lasting(happening: Happening) -> Mapping[str, Any]:
    """The facts, and for how many seconds it has lasted, where they say since when."""
    facts, since = happening.facts, happening.facts.get("since")
    if since is None or facts.get("seconds") is not None:
        return facts
    return {**facts, "seconds": int((happening.at - datetime.fromisoformat(since)).total_seconds())}


def _append(connection: Connection, steps: Sequence[tuple[int, Step]]) -> None:
    if steps:
        values = {
            "incidents": array(number for number, _ in steps),
            "at": array(step.at for _, step in steps),
            "kinds": array(step.kind for _, step in steps),
            "codes": array(str(step.code) for _, step in steps),
            "facts": json_array(dict(step.facts) for _, step in steps),
        }
        connection.execute(APPEND, values)


def _told(happening: Happening, incident_id: int) -> tuple[Told, ...]:
    subject = happening.subject
    return tuple(
        Told(
            incident_id=incident_id,
            kind=str(kind),
            facts=_lasting(happening),
            at=happening.at,
            gateway=subject.gateway,
            instance_id=subject.instance_id,
            instance_name=subject.instance_name,
            user_id=subject.user_id,
            organization_id=subject.organization_id,
        )
        for kind in happening.notices
    )
