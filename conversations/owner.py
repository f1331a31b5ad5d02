"""The conversations' part of the worker: messages of many instances at once."""

from collections.abc import Sequence

from sqlalchemy import Connection

from conversations import apply, fold
from conversations.fold import Changes, Known
from core.events import DomainEvent
from manager import store
from manager.providers.port import MessageReported


class MessageOwner:
    def keys(self, incoming: Sequence[MessageReported]) -> Sequence[MessageReported]:
        """The reports themselves: whose contacts they speak of depends on the instance's organization."""
        return incoming

    def load(self, connection: Connection, keys: Sequence[MessageReported]) -> Known:
        instances = store.named(connection, {report.instance for report in keys})
        return Known(instances=instances, contacts=apply.known_contacts(connection, fold.aliases(instances, keys)))

    def fold(self, state: Known, incoming: Sequence[MessageReported]) -> Changes:
        return fold.fold(state, incoming)

    def apply(self, connection: Connection, changes: Changes) -> list[DomainEvent]:
        return apply.apply(connection, changes)
