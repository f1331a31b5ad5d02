"""Deliveries put back into their lanes: which may be, which may not, and the statements that do it.

Functions of a connection; the caller's transaction.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from core.db import array
from core.errors import Malformed
from core.selection import Selection
from webhooks.history import Candidate, candidates

# What the entrance, or the worker in its place, has judged: no try will make it better, and an `instance_mismatch`
# is somebody who spoke for another.
USELESS = frozenset(
    {
        "no_event",
        "bad_event",
        "no_instance",
        "bad_instance",
        "instance_mismatch",
        "invalid_json",
        "invalid_encoding",
        "not_an_object",
        "too_deep",
        "number_too_long",
        "duplicate_key",
    }
)
# Only those that were still there go in: of two that replay the same, one does it. The log's rows are kept from being
# pruned meanwhile (webhooks.stats).
REQUEUE = text("""
WITH chosen AS (
    SELECT c.* FROM unnest(CAST(:ids AS bigint[]), CAST(:lanes AS text[]), CAST(:aside AS boolean[]))
        AS c (id, lane, aside) JOIN webhook_events USING (id) ORDER BY id FOR KEY SHARE OF webhook_events
), freed AS (
    DELETE FROM set_aside USING chosen WHERE event_id = chosen.id RETURNING event_id
), unflagged AS (
    UPDATE webhook_events SET issues = NULL FROM chosen WHERE webhook_events.id = chosen.id AND issues IS NOT NULL
)
INSERT INTO inbox (id, lane)
SELECT id, lane FROM chosen LEFT JOIN freed ON event_id = id WHERE NOT aside OR event_id IS NOT NULL
ON CONFLICT (id) DO NOTHING
RETURNING id
""")


@dataclass(kw_only=True)
class Requeued:
    """The ids that are in the inbox again; the others by what speaks against it."""

    ids: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


def lanes_of(
    connection: Connection, selection: Selection, *, unfit: Sequence[str] = (), at_most: int | None = None
) -> list[str]:
    """The lanes that a replay would touch. Raises Malformed where it would be more than `at_most` deliveries."""
    found = (one for some in candidates(connection, selection) for one in some if _against(one, unfit) is None)
    lanes = set()
    for count, one in enumerate(found, start=1):
        if at_most is not None and count > at_most:
            raise Malformed(f"More than {at_most} deliveries are too many to try out here")
        lanes.add(one.lane or "")
    return sorted(lanes)


def requeue(connection: Connection, selection: Selection, *, unfit: Sequence[str] = ()) -> Requeued:
    """Put the selected deliveries into their lanes again, with their old ids and so in their old order.

    `unfit` are more reasons that speak against it.
    """
    done = Requeued()
    seen = 0
    for some in candidates(connection, selection):
        seen += len(some)
        against = {one.id: _against(one, unfit) for one in some}
        done.refused.update(why for why in against.values() if why)
        fit = [one for one in some if against[one.id] is None]
        columns = {
            "ids": array(one.id for one in fit),
            "lanes": array(one.lane for one in fit),
            "aside": array(one.aside for one in fit),
        }
        done.ids += connection.execute(REQUEUE, columns).scalars() if fit else []
    if selection.ids and (missing := len(set(selection.ids)) - seen) > 0:
        done.refused["not_found"] += missing
    return done


def refusal(one: Candidate) -> str | None:
    """Why a delivery cannot be replayed; None: it can."""
    if one.pending:
        return "pending"
    if one.reason in USELESS:
        return one.reason
    return None if one.lane else "no_instance"


def _against(one: Candidate, unfit: Sequence[str]) -> str | None:
    return one.reason if one.reason in unfit else refusal(one)
