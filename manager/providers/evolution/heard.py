"""One delivery while it is read: what is known of it beforehand, and what proves odd about it.

Made by `events.read_event`, handed to every reader. Readers return reports; oddities go to `issues`, and a shape that
no version sends raises Malformed. A report is a list since one object may mean nothing or several things.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from core.errors import Malformed
from manager.providers.evolution.jids import STATUS, is_personal, is_unheard, jid, persons
from manager.providers.evolution.values import LONGEST_NAME, called, identifier, mapping, moment
from manager.providers.port import ProviderEvent

AHEAD = timedelta(hours=26)  # the two farthest zones are 26 h apart: a clock further ahead of ours is wrong
Facts = dict[str, Any]
Reports = list[ProviderEvent]


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """`facts`: delivery_id, instance, reported_at, received_at. `own`: the connected account's JID, or None."""

    facts: Facts
    document: Mapping[str, Any]
    own: str | None = None
    issues: set[str] = field(default_factory=set)

    @property
    def about(self) -> Facts:
        """What every report about chats begins with."""
        return {**self.facts, "own": self.own}

    def odd(self, code: str) -> None:
        self.issues.add(code)

    def one(self) -> Mapping[str, Any]:
        """`data` where it must be an object. Raises Malformed."""
        return _object(self._data())

    def each(self, read: Callable[["Heard", object], Reports]) -> Reports:
        """`data` is one thing, or an array of them: versions and events differ. Raises Malformed.

        In an array the good ones count and the others are a `bad_item`, unless none is good.
        """
        data = self._data()
        if not isinstance(data, list):
            return read(self, _object(data))
        found: Reports = []
        bad = 0
        for one in data:
            try:
                found += read(self, one)
            except Malformed:
                bad += 1
        if bad and bad == len(data):
            raise unknown_shape()
        if bad:
            self.odd("bad_item")
        return found

    def time(self, value: object) -> datetime | None:
        """A time that has to be there; one from the future would stand above all that follows."""
        found = moment(value)
        if found is None or found > self.facts["received_at"] + AHEAD:
            self.odd("bad_timestamp")
            return None
        return found

    def push_name(self, value: object) -> str | None:
        """What people call themselves; None where they do not say, or say a number."""
        if not isinstance(value, str | None) or len(value or "") > LONGEST_NAME:
            self.odd("bad_push_name")
        return called(value)

    def message_id(self, value: object) -> str:
        """A message's id; "" where there is none."""
        found = identifier(value)
        if not found:
            self.odd("no_message_id")
        return found

    def chat(self, fields: Mapping[str, Any], first: str, *others: str) -> tuple[str, ...]:
        """The chat under these keys: a group or the status list by its one name, a person by all of them.

        () for broadcast lists and channels, and for what we do not know: that is odd.
        """
        name = jid(fields.get(first))
        if name.endswith("@g.us") or name == STATUS:
            return (name,)
        if is_unheard(name):
            return ()
        found = persons(fields, first, *others) if is_personal(name) or not name else ()
        if not found:
            self.odd("unknown_jid" if name else "no_chat")
        return found

    def _data(self) -> object:
        data = self.document.get("data")
        if data is None:
            raise Malformed("The event has no data", code="NO_DATA")
        return data


def fields_of(item: object, *needed: str) -> Mapping[str, Any]:
    """The item as an object that has at least one of these keys. Raises Malformed."""
    found = mapping(item)
    if not any(key in found for key in needed):
        raise unknown_shape()
    return found


def unknown_shape() -> Malformed:
    return Malformed("The data has no shape that we know", code="UNKNOWN_SHAPE")


def _object(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise Malformed("The data is neither an object nor an array", code="BAD_DATA")
    return data
