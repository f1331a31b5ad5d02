"""What is kept out of the lanes: put there, and put back when what it waited for has come.

Functions of a connection; the caller's transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from core.db import array

PUT = text("""
INSERT INTO set_aside (event_id, lane, state, reason, waits_for, fingerprint)
SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:lanes AS text[]), CAST(:states AS text[]), CAST(:reasons AS text[]),
                     CAST(:waits_for AS text[]), CAST(:fingerprints AS text[]))
ON CONFLICT (event_id) DO UPDATE SET state = excluded.state, reason = excluded.reason,
    at = CASE WHEN set_aside.state = excluded.state AND set_aside.waits_for IS NOT DISTINCT FROM excluded.waits_for
              THEN set_aside.at ELSE now() END,
    waits_for = excluded.waits_for, fingerprint = excluded.fingerprint
""")
# With their old ids they come before whatever else is in the lane.
WAKE = text("""
WITH woken AS (
    DELETE FROM set_aside USING unnest(CAST(:lanes AS text[]), CAST(:keys AS text[])) AS came (lane, key)
    WHERE set_aside.state = 'waiting' AND set_aside.lane = came.lane AND set_aside.waits_for = came.key
    RETURNING event_id, set_aside.lane
)
INSERT INTO inbox (id, lane) SELECT event_id, lane FROM woken ON CONFLICT (id) DO NOTHING
RETURNING id
""")
TAKE_BACK = text("DELETE FROM set_aside WHERE event_id = ANY(CAST(:ids AS bigint[]))")
UNFLAG = text("""
UPDATE webhook_events SET issues = NULL WHERE id = ANY(CAST(:ids AS bigint[])) AND issues IS NOT NULL
""")
FLAG = text("""
UPDATE webhook_events SET issues = CAST(flagged.issues AS text[])
FROM unnest(CAST(:ids AS bigint[]), CAST(:issues AS text[])) AS flagged (id, issues)
WHERE webhook_events.id = flagged.id
""")


@dataclass(frozen=True, kw_only=True)
class Aside:
    """An event to be kept out of its lane: `state` is parked, waiting (for `waits_for`) or quarantined.

    `fingerprint` says what a delivery looked like that was not understood (webhooks.drift).
    """

    id: int
    lane: str
    state: str
    reason: str
    event: str | None = None
    waits_for: str | None = None
    fingerprint: str | None = None


def put(connection: Connection, aside: Collection[Aside]) -> None:
    """Keep the events where people find them; one that was there, in the same state, since it was put there first."""
    if aside:
        columns = {
            "ids": array(event.id for event in aside),
            "lanes": array(event.lane for event in aside),
            "states": array(event.state for event in aside),
            "reasons": array(event.reason for event in aside),
            "waits_for": array(event.waits_for for event in aside),
            "fingerprints": array(event.fingerprint for event in aside),
        }
        connection.execute(PUT, columns)


def wake(connection: Connection, came: Collection[tuple[str, str]]) -> Sequence[int]:
    """Put back into their lanes what waits for one of these (instance, key). The ids of those."""
    if not came:
        return []
    columns = {"lanes": array(lane for lane, _ in came), "keys": array(key for _, key in came)}
    return connection.execute(WAKE, columns).scalars().all()


def flag(connection: Connection, issues: Mapping[int, Sequence[str]]) -> None:
    """Write down in the log what was odd about deliveries."""
    if issues:
        connection.execute(FLAG, {"ids": array(issues), "issues": array(array(codes) for codes in issues.values())})


def forget(connection: Connection, ids: Collection[int], *, aside: Collection[int], flagged: Collection[int]) -> None:
    """Of deliveries done once more: what is kept of those that are no longer set aside, or no longer odd."""
    connection.execute(TAKE_BACK, {"ids": array(set(ids).difference(aside))})
    connection.execute(UNFLAG, {"ids": array(set(ids).difference(flagged))})
