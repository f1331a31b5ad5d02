"""What the fold takes and gives: the state it needs, and the rows it asks for. Values only.

Ids are made of what they stand for (scope and JID, instance and contact, instance and message id), so that the
same reports ask for the same rows in any process, however often they come.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from manager.lifecycle import InstanceRecord
from manager.providers.port import MessageReported

Alias = tuple[str, str]  # scope, JID
ME = "me"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the operator wants. `owner_messages`: what the owner writes to themselves, `note` or `ignore`."""

    owner_messages: str = "note"
    auto_booking: bool = True
    status_broadcasts: bool = False


@dataclass(frozen=True, kw_only=True)
class KnownAlias:
    """`names`: how many its contact has."""

    contact: UUID
    pinned: bool
    first_seen_at: datetime | None
    names: int = 1


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is loaded before the fold: the instances spoken of, their owners' JIDs by instance name (`fallback`: those
    of the organization, for an instance that has none), who the JIDs are, and the conversations with them by
    instance and contact."""

    instances: Mapping[str, InstanceRecord]
    owners: Mapping[str, frozenset[str]] = field(default_factory=dict)
    fallback: Mapping[str, frozenset[str]] = field(default_factory=dict)
    aliases: Mapping[Alias, KnownAlias] = field(default_factory=dict)
    conversations: Mapping[tuple[UUID, UUID], UUID] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Two known contacts are one: what `loser` has becomes `survivor`'s. `names` were seen together."""

    scope: str
    survivor: UUID
    loser: UUID
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AliasSeen:
    contact: UUID
    first_seen_at: datetime
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class ContactSeen:
    id: UUID
    scope: str
    organization_id: str | None
    user_id: UUID | None
    phone: str | None
    name: str | None = None
    named_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ConversationSeen:
    id: UUID
    instance_id: UUID
    contact_id: UUID | None
    group_jid: str | None
    last_message_at: datetime | None = None
    title: str | None = None
    titled_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class MessageSeen:
    """`contact_id` is who wrote it, or whom we wrote to, under the name `jid`. `direction`: inbound, outbound or
    note. `books`: it may make a booking."""

    id: UUID
    instance: InstanceRecord
    conversation_id: UUID | None
    contact_id: UUID | None
    jid: str | None
    direction: str
    sender: str
    sent_at: datetime
    status: str
    history: bool
    books: bool
    report: MessageReported


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What later reports said of a message: how far it got, its newest text, that it was deleted, how a poll
    stands. `deliveries` said so, and wait where the message is not there yet."""

    id: UUID
    instance: InstanceRecord
    message_id: str
    status: str | None = None
    edit: tuple[datetime, str] | None = None
    deleted_at: datetime | None = None
    votes: tuple[datetime, Mapping[str, Any]] | None = None
    deliveries: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class ReactionSeen:
    """`author` is a contact's id, or `me`; "" takes the emoji back."""

    message: UUID
    author: str
    at: datetime
    emoji: str
    instance: InstanceRecord
    message_id: str
    deliveries: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Changes:
    """`renumbered`: known contacts whose phone number is to be found anew."""

    merges: list[Merge] = field(default_factory=list)
    contacts: dict[UUID, ContactSeen] = field(default_factory=dict)
    aliases: dict[Alias, AliasSeen] = field(default_factory=dict)
    renumbered: set[UUID] = field(default_factory=set)
    held: dict[Alias, UUID] = field(default_factory=dict)
    conversations: dict[UUID, ConversationSeen] = field(default_factory=dict)
    messages: dict[UUID, MessageSeen] = field(default_factory=dict)
    marks: dict[UUID, Mark] = field(default_factory=dict)
    reactions: dict[tuple[UUID, str], ReactionSeen] = field(default_factory=dict)
