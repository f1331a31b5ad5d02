"""The conversations' part of the worker: what gateways said of chats, of many instances at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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
        own, fallback = _owners(connection, instances)
        known = Known(instances=instances, owners=own, fallback=fallback)
        wanted = {
            (instances[report.instance].scope, name, instances[report.instance].id)
            for report in keys
            for names in report.people
            for name in fold.others(known, report, names)
        }
        if not wanted:
            return known
        aliases, conversations = people.find(connection, wanted)
        return replace(known, aliases=aliases, conversations=conversations)

    def fold(self, state: Known, incoming: Sequence[ChatReport]) -> Changes:
        return fold.fold(state, incoming, self.rules)

    def apply(self, connection: Connection, changes: Changes) -> Effects:
        return apply.apply(connection, changes, auto_booking=self.rules.auto_booking, anew=self.anew)


def _owners(
    connection: Connection, instances: Mapping[str, InstanceRecord]
) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """The JIDs of each instance's owner, and those of its organization's instances where it has none yet (X10)."""
    without = {name: record.organization_id for name, record in instances.items() if not record.phones}
    wanted = {organization for organization in without.values() if organization}
    theirs = store.owner_phones(connection, wanted) if wanted else {}
    own = {name: _jids(record.phones) for name, record in instances.items()}
    return own, {name: _jids(theirs.get(organization or "", ())) for name, organization in without.items()}


def _jids(phones: Iterable[str]) -> frozenset[str]:
    return frozenset(f"{phone}{PHONE}" for phone in phones)
