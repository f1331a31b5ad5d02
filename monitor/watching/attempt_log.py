"""What was tried, written down before it is tried, and what the gateway answered: the table `connection_events`.

`watch` writes and reads it inside of its steps, `actions` asks it before a call and tells it the answer. Functions of a
connection; the caller's transaction.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from core.db import array
from monitor.watching.watched import Answer, Attempt

ATTEMPT = text("""
INSERT INTO connection_events (instance_id, incident_id, at, action, number, reason)
SELECT id, incident, :at, action, number, reason
FROM unnest(CAST(:ids AS uuid[]), CAST(:incidents AS bigint[]), CAST(:actions AS text[]), CAST(:numbers AS integer[]),
    CAST(:reasons AS integer[])) WITH ORDINALITY AS new (id, incident, action, number, reason, n)
ORDER BY n RETURNING id
""")
STILL_WANTED = text("""
SELECT FROM instance_health h JOIN whatsapp_instances wi ON wi.id = h.instance_id
WHERE h.instance_id = :id AND NOT h.memory ? 'paused' AND NOT h.memory ? 'policy'
    AND wi.asked_at IS NOT DISTINCT FROM :asked_at AND NOT wi.spent AND wi.deleted_at IS NULL
""")
ANSWERS = text("""
SELECT DISTINCT ON (e.instance_id) e.instance_id, e.outcome FROM connection_events e
JOIN whatsapp_instances wi ON wi.id = e.instance_id AND wi.provider = :gateway
WHERE NOT e.taken_in AND e.outcome IS NOT NULL ORDER BY e.instance_id, e.id DESC
""")
TAKE_IN = text("""
UPDATE connection_events SET taken_in = true
WHERE NOT taken_in AND outcome IS NOT NULL AND instance_id = ANY(CAST(:ids AS uuid[]))
""")
ANSWERED = text("UPDATE connection_events SET outcome = :outcome, ended_at = :at WHERE id = :id")


def begin(connection: Connection, attempts: Sequence[Attempt], at: datetime) -> list[int]:
    """Write down what is about to be tried; the numbers of the entries, in the same order."""
    if not attempts:
        return []
    values = {
        "ids": array(one.instance_id for one in attempts),
        "incidents": array(one.incident_id for one in attempts),
        "actions": array(one.action.value for one in attempts),
        "numbers": array(one.number for one in attempts),
        "reasons": array(one.reason for one in attempts),
    }
    return list(connection.execute(ATTEMPT, {**values, "at": at}).scalars())


def is_wanted(connection: Connection, one: Attempt) -> bool:
    """Whether nothing has come in between that forbids it: a pause, a verdict that it cannot help, a person who took it
    in hand."""
    return connection.execute(STILL_WANTED, {"id": one.instance_id, "asked_at": one.asked_at}).first() is not None


def answered(connection: Connection, attempt_id: int, outcome: str, at: datetime) -> None:
    connection.execute(ANSWERED, {"id": attempt_id, "outcome": outcome, "at": at})


def answers(connection: Connection, gateway: str) -> dict[UUID, Answer]:
    """What attempts were answered and nobody has taken in yet, the newest of each instance."""
    rows = connection.execute(ANSWERS, {"gateway": gateway})
    return {row.instance_id: Answer(instance_id=row.instance_id, outcome=row.outcome) for row in rows}


def take_in(connection: Connection, ids: Collection[UUID]) -> None:
    """The answers of these are taken in."""
    if ids:
        connection.execute(TAKE_IN, {"ids": array(ids)})
