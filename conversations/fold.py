"""Messages seen → contacts, conversations and messages to keep. Pure.

Ids are made of what they stand for (scope and JID, instance and contact, instance and message id), so that the
same reports give the same rows in any order, in any process, however often they come, as long as no report links
two contacts that are already known apart: these are not merged yet, so that they are one or two by the order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid5

from manager.lifecycle import InstanceRecord
from manager.providers.port import MessageReported

SPACE = UUID("7a656c61-646f-5265-a000-000000000001")
UNKNOWN = "Unknown"
PHONE = "@s.whatsapp.net"
GROUP = "@g.us"
Alias = tuple[str, str]  # scope, JID


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is loaded before the fold: the instances spoken of, and who the JIDs are."""

    instances: Mapping[str, InstanceRecord]
    contacts: Mapping[Alias, UUID]


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
    last_message_at: datetime


@dataclass(frozen=True, kw_only=True)
class MessageSeen:
    id: UUID
    instance: InstanceRecord
    conversation_id: UUID
    contact_id: UUID | None
    sender: str
    sent_at: datetime
    report: MessageReported


@dataclass(frozen=True, kw_only=True)
class Changes:
    contacts: dict[UUID, ContactSeen] = field(default_factory=dict)
    aliases: dict[Alias, UUID] = field(default_factory=dict)
    conversations: dict[UUID, ConversationSeen] = field(default_factory=dict)
    messages: dict[UUID, MessageSeen] = field(default_factory=dict)


def aliases(state: Mapping[str, InstanceRecord], reports: Sequence[MessageReported]) -> set[Alias]:
    """Every JID of a person in these reports."""
    return {
        (state[report.instance].scope, jid)
        for report in reports
        for jid in (*report.chat, *report.author)
        if not jid.endswith(GROUP)
    }


def fold(known: Known, reports: Sequence[MessageReported]) -> Changes:
    """The rows these reports ask for. A message that comes twice is one."""
    changes = Changes(aliases=dict(known.contacts))
    for report in reports:
        instance = known.instances[report.instance]
        sent_at = report.sent_at or report.received_at
        in_group = report.chat[0].endswith(GROUP)
        partner = None if in_group else _contact(changes, instance, report, report.chat, sent_at)
        author = _contact(changes, instance, report, report.author, sent_at) if in_group else partner
        conversation = _conversation(changes, instance, report, partner, sent_at)
        message_id = uuid5(SPACE, f"{instance.id}/{report.message_id}")
        seen = MessageSeen(
            id=message_id,
            instance=instance,
            conversation_id=conversation,
            contact_id=author,
            sender=_sender(report, instance),
            sent_at=sent_at,
            report=report,
        )
        if message_id not in changes.messages or sent_at < changes.messages[message_id].sent_at:
            changes.messages[message_id] = seen
    return changes


def _contact(
    changes: Changes,
    instance: InstanceRecord,
    report: MessageReported,
    jids: Sequence[str],
    sent_at: datetime,
) -> UUID | None:
    """Who these JIDs are: somebody known by one of them, else somebody new."""
    if not jids:
        return None
    scope = instance.scope
    jids = sorted(jids, key=lambda jid: not jid.endswith(PHONE))  # a phone is the better name of the two
    found = next((changes.aliases[scope, jid] for jid in jids if (scope, jid) in changes.aliases), None)
    contact = found or uuid5(SPACE, f"{scope}/{jids[0]}")
    for jid in jids:
        changes.aliases.setdefault((scope, jid), contact)
    theirs = (jid for jid in jids if changes.aliases[scope, jid] == contact)
    phone = next((jid.removesuffix(PHONE) for jid in theirs if jid.endswith(PHONE)), None)
    owner = None if instance.organization_id else instance.user_id
    fresh = ContactSeen(id=contact, scope=scope, organization_id=instance.organization_id, user_id=owner, phone=phone)
    before = changes.contacts.get(contact, fresh)
    before = before if before.phone else replace(before, phone=phone)
    changes.contacts[contact] = _named(before, report, sent_at)
    return contact


def _named(contact: ContactSeen, report: MessageReported, sent_at: datetime) -> ContactSeen:
    """A person's own name for themselves counts, the newest one."""
    name = own_name(report)
    if not name:
        return contact
    if contact.named_at and contact.named_at > sent_at:
        return contact
    return replace(contact, name=name, named_at=sent_at)


def own_name(report: MessageReported) -> str | None:
    """What a message's author calls themselves; None for what we sent, and digits are no name."""
    name = report.push_name
    is_name = name and not report.from_me and not name.replace(" ", "").lstrip("+").isdigit()
    return name if is_name else None


def _conversation(
    changes: Changes,
    instance: InstanceRecord,
    report: MessageReported,
    contact: UUID | None,
    sent_at: datetime,
) -> UUID:
    group = None if contact else report.chat[0]
    found = uuid5(SPACE, f"{instance.id}/{contact or group}")
    before = changes.conversations.get(found)
    changes.conversations[found] = ConversationSeen(
        id=found,
        instance_id=instance.id,
        contact_id=contact,
        group_jid=group,
        last_message_at=max(sent_at, before.last_message_at) if before else sent_at,
    )
    return found


def _sender(report: MessageReported, instance: InstanceRecord) -> str:
    """Digits where a phone number is known, else the JID as it came; our own number for what we sent."""
    if report.from_me:
        return instance.standing.phone or ""
    phones = [jid.removesuffix(PHONE) for jid in report.author if jid.endswith(PHONE)]
    return next(iter([*phones, *report.author]), "")
