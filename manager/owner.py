"""The manager's part of the worker: connection and pairing reports of many instances at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from core.events import Effects
from manager import fold, store
from manager.fold import InstanceChanges, Report
from manager.lifecycle import InstanceRecord, Lifetimes


@dataclass(frozen=True)
class InstanceOwner:
    """load locks the instances, in the order of their names; fold is pure; apply is one statement."""

    lifetimes: Lifetimes

    def keys(self, incoming: Sequence[Report]) -> set[str]:
        return {report.instance for report in incoming}

    def load(self, connection: Connection, keys: set[str]) -> dict[str, InstanceRecord]:
        return store.named(connection, keys, lock=True)

    def fold(self, state: dict[str, InstanceRecord], incoming: Sequence[Report]) -> InstanceChanges:
        return fold.fold(state, incoming, self.lifetimes)

    def apply(self, connection: Connection, changes: InstanceChanges) -> Effects:
        store.save(connection, changes.changed)
        return Effects(events=changes.events)
