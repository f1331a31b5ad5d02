"""From deliveries to effects: read, load, fold, apply; and what has to be kept of it in our own tables.

Called by the worker and by repairs, in their transactions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from core.errors import Malformed
from core.events import DomainEvent, Effects
from webhooks import aside, drift, lanes
from webhooks.aside import Aside
from webhooks.lanes import Stored
from webhooks.owners import Owner, Owners

WAITS = "waits_for_message"


@dataclass(kw_only=True)
class Outcome:
    """What came of some deliveries. `aside` and `issues` are by delivery; `chatter` took effect and is nothing else."""

    happened: list[DomainEvent] = field(default_factory=list)
    aside: dict[int, Aside] = field(default_factory=dict)
    came: set[tuple[str, str]] = field(default_factory=set)
    issues: dict[int, Sequence[str]] = field(default_factory=dict)
    chatter: list[Stored] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.happened += other.happened
        self.aside |= other.aside
        self.came |= other.came
        self.issues |= other.issues
        self.chatter += other.chatter


def take_effect(connection: Connection, owners: Owners, stored: Sequence[Stored]) -> Outcome:
    """Do what the deliveries say. They may still be in the inbox afterwards: `keep` takes them out."""
    by_owner, outcome = _share(connection, owners, stored)
    by_id = {event.id: event for event in stored}
    for owner in (one for one in dict.fromkeys(owners.by_kind.values()) if one in by_owner):
        incoming = by_owner[owner]
        state = owner.load(connection, owner.keys(incoming))
        _add(outcome, owner.apply(connection, owner.fold(state, incoming)), by_id)
    return outcome


def keep(connection: Connection, ids: Sequence[int], outcome: Outcome) -> Sequence[int]:
    """Take the deliveries out of the inbox and keep what is to be kept of them. The ids of those that waited
    for them and are in the inbox again."""
    lanes.finish(connection, ids)
    aside.put(connection, outcome.aside.values())
    aside.flag(connection, outcome.issues)
    return aside.wake(connection, outcome.came)  # after `put`: one that waits may stand in the same batch


def _share(
    connection: Connection, owners: Owners, stored: Sequence[Stored]
) -> tuple[Mapping[Owner, list[Any]], Outcome]:
    """Provider events by their owner, in order; deliveries that are of no use to anybody."""
    known = owners.resolve(connection, {event.lane for event in stored})
    by_owner: dict[Owner, list[Any]] = defaultdict(list)
    outcome, chatter = Outcome(), frozenset(owners.chatter)
    for event in stored:
        if known.get(event.lane) is None:
            reason = "deleted_instance" if event.lane in known else "unknown_instance"
            outcome.aside[event.id] = _quarantined(event, reason)
            continue
        try:
            reading = owners.translate(event, known[event.lane])
        except Malformed as error:
            outcome.aside[event.id] = _quarantined(event, error.code.lower(), drifted=True)
            continue
        if reading.issues:
            outcome.issues[event.id] = reading.issues
        if reading.events and chatter.issuperset(map(type, reading.events)):
            outcome.chatter.append(event)
        for incoming in reading.events:
            if owner := owners.by_kind.get(type(incoming)):
                by_owner[owner].append(incoming)
    return by_owner, outcome


def _add(outcome: Outcome, effects: Effects, by_id: Mapping[int, Stored]) -> None:
    """What an owner says of its part. One that waits is done again, so that what is odd about it will be seen then."""
    outcome.happened += effects.events
    outcome.came |= set(effects.came)
    for number, reason in effects.odd.items():
        outcome.aside.setdefault(number, _quarantined(by_id[number], reason, drifted=True))
    for number, key in effects.waiting.items():
        event = by_id[number]
        outcome.aside[number] = Aside(
            id=number, lane=event.lane, event=event.event, state="waiting", reason=WAITS, waits_for=key
        )


def _quarantined(event: Stored, reason: str, *, drifted: bool = False) -> Aside:
    seen = drift.fingerprint(event.event, event.body) if drifted else None
    return Aside(id=event.id, lane=event.lane, event=event.event, state="quarantined", reason=reason, fingerprint=seen)
