"""The conversations' part of the worker: what gateways said of chats, of many instances at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from conversations import apply, fold, people
from conversations.changes import Changes, Known, Rules
from conversations.identity import PHONE
from core.events import Effects
from manager import store
from manager.lifecycle import InstanceRecord
from manager.providers.port import ChatReport


@dataclass(frozen=True, kw_only=True)
class ConversationOwner:
    """`anew`: known deliveries are read a second time; rows are corrected, nothing is set off."""

    rules: Rules
    anew: bool = False

    def keys(self, incoming: Sequence[ChatReport]) -> Sequence[ChatReport]:
        """The reports themselves: whose contacts they speak of depends on the instance's organization."""
        return incoming

    def load(self, connection: Connection, keys: Sequence[ChatReport]) -> Known:
        instances = store.named(connection, {report.instance for report in keys})
        owners = _owners(connection, instances)
        known = Known(instances=instances, owners=owners)
        wanted = {
            (instance.scope, name, instance.id)
            for report in keys
            for instance in (instances[report.instance],)
            for names in report.people
            for name in fold.others(report, names, owners[report.instance], instance)
        }
        if not wanted:
            return known
        aliases, conversations = people.find(connection, wanted)
        return Known(instances=instances, owners=owners, aliases=aliases, conversations=conversations)

    def fold(self, state: Known, incoming: Sequence[ChatReport]) -> Changes:
        return fold.fold(state, incoming, self.rules)

    def apply(self, connection: Connection, changes: Changes) -> Effects:
        return apply.apply(connection, changes, auto_booking=self.rules.auto_booking, anew=self.anew)


def _owners(connection: Connection, instances: Mapping[str, InstanceRecord]) -> dict[str, frozenset[str]]:
    """The JIDs of each instance's owner: its own numbers, or the organization's while it has none (X10)."""
    own = {name: record.phones for name, record in instances.items()}
    unnumbered = {record.organization_id for name, record in instances.items() if not own[name]}
    wanted = {organization for organization in unnumbered if organization}
    theirs = store.owner_phones(connection, wanted) if wanted else {}
    found = {name: own[name] or theirs.get(record.organization_id or "", set()) for name, record in instances.items()}
    return {name: frozenset(f"{phone}{PHONE}" for phone in phones) for name, phones in found.items()}
