"""An instance that brings the same report again and again (F-12): its lane rests, so that many become one.

Chatter are the events of which only the newest counts. A lane storms from the 61st within a minute until a whole
minute has brought fewer. After a batch of nothing else it rests 2 s, and of the batch the log keeps the newest of
each name; the others are counted. Other lanes do not wait, and a batch that holds anything else never rests.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Connection, text

from core.db import array
from webhooks.effects import Outcome
from webhooks.lanes import Held, Stored

log = structlog.get_logger()
A_MINUTE = 60  # chatter deliveries a minute are no storm yet
REST = timedelta(seconds=2)
COUNT = text("""
UPDATE lanes SET
    storm_minute = this_minute,
    storm_count = seen.count,
    storm_since = seen.since,
    retry_at = CASE WHEN seen.pure AND seen.since IS NOT NULL THEN now() + :rest ELSE retry_at END
FROM (
    SELECT lane, pure, was, count, this_minute,
           CASE WHEN count > :most THEN coalesce(was, now()) WHEN stormed THEN was END AS since
    FROM (
        SELECT lane, pure, storm_since AS was, this_minute,
               n + CASE WHEN storm_minute = this_minute THEN storm_count ELSE 0 END AS count,
               storm_minute = this_minute OR (storm_minute = this_minute - interval '1 minute' AND storm_count > :most)
                   AS stormed
        FROM unnest(CAST(:lanes AS text[]), CAST(:counts AS integer[]), CAST(:pure AS boolean[]))
            AS brought (lane, n, pure)
        JOIN lanes USING (lane), date_trunc('minute', now()) AS this_minute
    ) AS counted
) AS seen
WHERE lanes.lane = seen.lane
RETURNING lanes.lane, seen.count AS brought, seen.was IS NOT NULL AS stormed, seen.since IS NOT NULL AS storms,
          seen.pure AND seen.since IS NOT NULL AS rests
""")
COALESCE = text("""
WITH gone AS (
    DELETE FROM webhook_events WHERE id = ANY(CAST(:ids AS bigint[])) RETURNING instance
)
UPDATE lanes SET coalesced = coalesced + n
FROM (SELECT instance, count(*) AS n FROM gone GROUP BY instance) AS counted WHERE lane = instance
""")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A storm begins, or is over."""

    lane: str
    count: int
    begins: bool


def calm(connection: Connection, held: Sequence[Held], outcome: Outcome) -> list[Turn]:
    """Count the chatter of a batch that has taken effect; let the lanes rest that bring too much of it."""
    chatter: dict[str, list[Stored]] = defaultdict(list)
    for event in outcome.chatter:
        if event.id not in outcome.aside and event.id not in outcome.issues:
            chatter[event.lane].append(event)
    if not chatter:
        return []
    brought = [lane for lane in held if lane.lane in chatter]
    counted = connection.execute(
        COUNT,
        {
            "most": A_MINUTE,
            "rest": REST,
            "lanes": array(lane.lane for lane in brought),
            "counts": array(len(chatter[lane.lane]) for lane in brought),
            "pure": array(len(chatter[lane.lane]) == len(lane.heads) for lane in brought),
        },
    ).all()
    older = [number for row in counted if row.rests for number in _older(chatter[row.lane])]
    if older:
        connection.execute(COALESCE, {"ids": array(older)})
    return [Turn(lane=row.lane, count=row.brought, begins=row.storms) for row in counted if row.storms != row.stormed]


def tell(turns: Collection[Turn]) -> None:
    """Say it in the log, once it is committed."""
    for turn in turns:
        action = "instance_storms" if turn.begins else "instance_storm_over"
        log.warning(action, instance=turn.lane, count=turn.count)


def _older(events: Sequence[Stored]) -> list[int]:
    """All but the newest of each name."""
    newest = {event.event: event.id for event in sorted(events, key=lambda event: event.id)}
    return [event.id for event in events if event.id != newest[event.event]]
