"""A toy owner on a real table: deliveries write rows of `profiles`, whose `email` is the key and `name` the value.

`{"event":"put","data":["M1","text"]}` writes it, `drop` deletes it, `mark` adds to a value and waits for one that has
not come, `report` is chatter: only the newest value of an instance counts.
"""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from core.errors import Malformed
from core.events import DomainEvent, Effects
from webhooks.lanes import Stored
from webhooks.owners import Owners

KNOWN = ("put", "drop", "mark", "report")
FIND = text("SELECT email, name FROM profiles WHERE email = ANY(:keys)")
WRITE = text("INSERT INTO profiles (email, name) VALUES (:key, :value)")
CHANGE = text("UPDATE profiles SET name = :value, updated_at = now() WHERE email = :key")
DROP = text("DELETE FROM profiles WHERE email = :key")


@dataclass(frozen=True, kw_only=True)
class Put:
    delivery_id: int
    instance: str
    user_id: UUID
    key: str
    value: str


class Drop(Put): ...


class Mark(Put): ...


class Report(Put): ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    events: Sequence[Put] = ()
    issues: Sequence[str] = ()


@dataclass
class Changes:
    known: dict[str, str]
    now: dict[str, str | None]
    waiting: dict[int, str] = field(default_factory=dict)
    odd: dict[int, str] = field(default_factory=dict)
    came: set[tuple[str, str]] = field(default_factory=set)
    told: list[Put] = field(default_factory=list)


@dataclass
class Register:
    """`poison` are values it fails at; with `deadly`, "crash" ends the process. `seen` is what it folded, in order."""

    poison: set[str] = field(default_factory=set)
    deadly: bool = False
    seen: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    __hash__ = object.__hash__

    def keys(self, incoming: Sequence[Put]) -> set[str]:
        return {event.key for event in incoming}

    def load(self, connection: Connection, keys: set[str]) -> dict[str, str]:
        return {row.email: row.name for row in connection.execute(FIND, {"keys": list(keys)})}

    def fold(self, state: Mapping[str, str], incoming: Sequence[Put]) -> Changes:
        changes = Changes(known=dict(state), now=dict(state))
        self.batches.append(len(incoming))
        for event in incoming:
            if event.value in self.poison:
                raise ValueError(event.value)
            if event.value == "crash" and self.deadly:
                os._exit(9)
            self._one(changes, event)
        return changes

    def _one(self, changes: Changes, event: Put) -> None:
        self.seen.append(event.value)
        before = changes.now.get(event.key)
        if isinstance(event, Mark) and before is None:
            changes.waiting[event.delivery_id] = event.key
            return
        changes.now[event.key] = None if isinstance(event, Drop) else event.value
        if isinstance(event, Mark):
            changes.now[event.key] = f"{before}+{event.value}"
        if event.value.startswith("odd"):
            changes.odd[event.delivery_id] = "odd_value"
        changes.came.add((event.instance, event.key))
        changes.told.append(event)

    def apply(self, connection: Connection, changes: Changes) -> Effects:
        for key, value in sorted(changes.now.items()):
            statement = DROP if value is None else CHANGE if key in changes.known else WRITE
            if value != changes.known.get(key):
                connection.execute(statement, {"key": key, "value": value})
        events = [DomainEvent(user_id=one.user_id, type="put", data={"text": one.value}) for one in changes.told]
        return Effects(events=events, waiting=changes.waiting, came=changes.came, odd=changes.odd)


def resolve(connection: Connection, names: Collection[str]) -> dict[str, UUID]:
    query = text("SELECT instance_name, user_id FROM whatsapp_instances WHERE instance_name = ANY(:names)")
    return {row.instance_name: row.user_id for row in connection.execute(query, {"names": list(names)})}


def translate(stored: Stored, user_id: UUID) -> Reading:
    """A `put` of something else than key and value is malformed; a third element is an issue."""
    document: dict[str, Any] = json.loads(stored.body)
    kinds: dict[str, type[Put]] = {"put": Put, "drop": Drop, "mark": Mark, "report": Report}
    data = document["data"]
    if document["event"] not in kinds:
        return Reading()
    if not isinstance(data, list):
        raise Malformed("texto-secreto", code="UNKNOWN_SHAPE")
    kind = kinds[document["event"]]
    event = kind(delivery_id=stored.id, instance=stored.lane, user_id=user_id, key=data[0], value=str(data[1]))
    return Reading(events=[event], issues=data[2:])


def owners_of(register: Register) -> Owners:
    return Owners(
        resolve=resolve,
        translate=translate,
        by_kind=dict.fromkeys((Put, Drop, Mark, Report), register),
        known_events=KNOWN,
        chatter=(Report,),
    )
