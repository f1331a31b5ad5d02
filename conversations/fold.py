"""Reports about chats → the rows they ask for. Pure.

First all names of all reports are settled (conversations.identity), then each report adds its rows; two reports of
one thing are joined (conversations.lattice), so that order and repetition make no difference.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid5

from conversations import lattice
from conversations.changes import (
    ME,
    Changes,
    ContactSeen,
    ConversationSeen,
    Known,
    Mark,
    MessageSeen,
    ReactionSeen,
    Rules,
)
from conversations.identity import PHONE, SPACE, Sighting, rank, resolve
from manager.lifecycle import InstanceRecord
from manager.providers.port import (
    ChatReport,
    ChatReported,
    ContactReported,
    DeleteReported,
    EditReported,
    MessageReported,
    ReactionReported,
    StatusReported,
    VotesReported,
    is_person,
)

STATUS_BROADCAST = "status@broadcast"
K = TypeVar("K")
V = TypeVar("V")


def fold(known: Known, reports: Sequence[ChatReport], rules: Rules) -> Changes:
    """The rows these reports ask for."""
    draft = Draft(known, reports, rules)
    for report in reports:
        HANDLERS[type(report)](draft, report)
    return draft.changes


def others(known: Known, report: ChatReport, names: Sequence[str]) -> tuple[str, ...]:
    """These names without our own; none where they are ours: the owner's phones and the connected account.

    A gateway may name the connected account as somebody's second name: that must not make them one.
    """
    connected = {report.own, f"{known.instances[report.instance].standing.phone}{PHONE}"}
    ours = known.owners[report.instance] | ({report.own} if report.own else set())
    ours = ours or known.fallback.get(report.instance, frozenset())
    telling = ours if getattr(report, "from_me", False) else ours - connected
    if not is_person(names) or names[0] in ours or any(name in telling for name in names):
        return ()
    return tuple(name for name in names if name not in ours and is_person([name]))


def said_at(report: ChatReport) -> datetime:
    """When it was, by WhatsApp's clock where that makes sense, else when we heard of it."""
    if isinstance(report, MessageReported):
        return report.sent_at or report.received_at
    if isinstance(report, ReactionReported):
        return report.reacted_at or report.received_at
    return report.received_at


def sightings(known: Known, reports: Sequence[ChatReport], rules: Rules) -> list[Sighting]:
    """The names of other people in these reports, each person's together."""
    found = []
    for report in reports:
        if isinstance(report, MessageReported) and report.chat[0] == STATUS_BROADCAST and not rules.status_broadcasts:
            continue
        scope = known.instances[report.instance].scope
        for people in report.people:
            if names := others(known, report, people):
                found.append(Sighting(scope=scope, names=names, at=said_at(report)))
    return found


def own_name(report: MessageReported) -> str | None:
    """What a message's author calls themselves; None for what we sent."""
    return None if report.from_me else report.push_name or None


class Draft:
    """The changes as they grow, report by report."""

    def __init__(self, known: Known, reports: Sequence[ChatReport], rules: Rules) -> None:
        self._known, self._rules = known, rules
        self._people = resolve(known.aliases, sightings(known, reports, rules))
        self._moved = {merge.loser: merge.survivor for merge in self._people.merges}
        self.changes = Changes(
            merges=self._people.merges,
            aliases=self._people.aliases,
            renumbered=self._renumbered(),
            held={alias: self._people.contact_of[alias] for alias in known.aliases},
        )
        self._conversations = self._known_conversations()

    def message(self, report: MessageReported) -> None:
        instance, personal = self._instance(report), is_person(report.chat)
        others_there = self._others(report, report.chat) if personal else ()
        if not self._is_wanted(report, is_note=personal and not others_there):
            return
        partner = self._contact(report, others_there, own_name(report))
        writers = others_there if personal else self._others(report, report.author)
        author = partner if personal else self._contact(report, writers, own_name(report))
        is_note = personal and partner is None
        sent_at, name = said_at(report), f"{instance.id}/{report.message_id}"
        seen = MessageSeen(
            id=uuid5(SPACE, name),
            instance=instance,
            conversation_id=None if is_note else self._conversation(report, partner, last_message_at=sent_at),
            contact_id=author,
            jid=min(writers, key=lambda jid: rank((instance.scope, jid)), default=None),
            direction="note" if is_note else "outbound" if report.from_me else "inbound",
            sender=_sender(report, instance),
            sent_at=sent_at,
            status=report.status,
            history=report.history,
            books=bool(partner and personal and not report.from_me and not report.history),
            report=report,
        )
        _join(self.changes.messages, seen.id, seen, lattice.message)

    def mark(self, report: Any, **said: Any) -> None:
        """`said`: fields of Mark."""
        instance = self._instance(report)
        number = uuid5(SPACE, f"{instance.id}/{report.message_id}")
        deliveries = frozenset({report.delivery_id})
        mark = Mark(id=number, instance=instance, message_id=report.message_id, deliveries=deliveries, **said)
        _join(self.changes.marks, number, mark, lattice.mark)

    def reaction(self, report: ReactionReported) -> None:
        """Ours, or somebody's; what nobody is named for is nobody's."""
        if not (report.from_me or report.author):
            return
        instance = self._instance(report)
        contact = self._contact(report, self._others(report, report.author))
        seen = ReactionSeen(
            message=uuid5(SPACE, f"{instance.id}/{report.message_id}"),
            author=str(contact) if contact else ME,
            at=said_at(report),
            emoji=report.emoji,
            instance=instance,
            message_id=report.message_id,
            deliveries=frozenset({report.delivery_id}),
        )
        _join(self.changes.reactions, (seen.message, seen.author), seen, lattice.reaction)

    def contact(self, report: ContactReported) -> None:
        self._contact(report, self._others(report, report.names), report.name)

    def chat(self, report: ChatReported) -> None:
        """A person's chat is titled with their name; a group has a title of its own."""
        personal = is_person(report.chat)
        theirs = self._others(report, report.chat) if personal else ()
        if personal and not theirs:
            return
        contact = self._contact(report, theirs, report.title)
        at = report.received_at
        title = report.title if not personal else None
        deleted_at = at if report.deleted else None
        if title or deleted_at:
            self._conversation(report, contact, title=title, titled_at=at if title else None, deleted_at=deleted_at)

    def _is_wanted(self, report: MessageReported, *, is_note: bool) -> bool:
        if is_note:
            return self._rules.owner_messages == "note"
        return self._rules.status_broadcasts or report.chat[0] != STATUS_BROADCAST

    def _instance(self, report: ChatReport) -> InstanceRecord:
        return self._known.instances[report.instance]

    def _others(self, report: ChatReport, names: Sequence[str]) -> tuple[str, ...]:
        return others(self._known, report, names)

    def _contact(self, report: ChatReport, names: Sequence[str], name: str | None = None) -> UUID | None:
        """Who these names are; None without names."""
        if not names:
            return None
        instance = self._instance(report)
        contact = self._people.contact_of[min(((instance.scope, name) for name in names), key=rank)]
        seen = ContactSeen(
            id=contact,
            scope=instance.scope,
            organization_id=instance.organization_id,
            user_id=None if instance.organization_id else instance.user_id,
            phone=self._people.phone_of(contact),
            name=name,
            named_at=said_at(report) if name else None,
        )
        _join(self.changes.contacts, contact, seen, lattice.contact)
        return contact

    def _conversation(self, report: MessageReported | ChatReported, contact: UUID | None, **said: Any) -> UUID:
        """`said`: fields of ConversationSeen."""
        instance = self._instance(report)
        group = None if contact else report.chat[0]
        new = uuid5(SPACE, f"{instance.id}/{contact or group}")
        found = self._conversations.get((instance.id, contact), new) if contact else new
        seen = ConversationSeen(id=found, instance_id=instance.id, contact_id=contact, group_jid=group, **said)
        _join(self.changes.conversations, found, seen, lattice.conversation)
        return found

    def _renumbered(self) -> set[UUID]:
        """Known contacts of whom a phone was seen: which of their phones is theirs now?"""
        known = {alias.contact for alias in self._known.aliases.values()}
        phones = {seen.contact for (_, jid), seen in self._people.aliases.items() if jid.endswith(PHONE)}
        return (known & phones) | set(self._moved.values())

    def _known_conversations(self) -> dict[tuple[UUID, UUID], UUID]:
        """As they will be after the merges: a survivor keeps its own, else takes over the loser's."""
        kept = dict(self._known.conversations)
        theirs = sorted(self._known.conversations.items(), key=lambda known: known[0][1])  # as merging.merge goes
        for (instance, contact), conversation in theirs:
            if survivor := self._moved.get(contact):
                kept.setdefault((instance, survivor), conversation)
        return kept


def _join(rows: dict[K, V], key: K, row: V, joined: Callable[[V, V], V]) -> None:
    before = rows.get(key)
    rows[key] = row if before is None else joined(before, row)


def _sender(report: MessageReported, instance: InstanceRecord) -> str:
    """Digits where a phone number is known, else the JID as it came; our own number for what we sent."""
    if report.from_me:
        return instance.standing.phone or ""
    phones = [jid.removesuffix(PHONE) for jid in report.author if jid.endswith(PHONE)]
    return next(iter([*phones, *report.author]), "")


def _status(draft: Draft, report: StatusReported) -> None:
    draft.mark(report, status=report.status)


def _edit(draft: Draft, report: EditReported) -> None:
    draft.mark(report, edit=(report.edited_at or report.received_at, report.text))


def _delete(draft: Draft, report: DeleteReported) -> None:
    draft.mark(report, deleted_at=report.received_at)


def _votes(draft: Draft, report: VotesReported) -> None:
    draft.mark(report, votes=(report.received_at, report.votes))


HANDLERS: Mapping[type, Callable[[Draft, Any], None]] = {
    MessageReported: Draft.message,
    StatusReported: _status,
    EditReported: _edit,
    DeleteReported: _delete,
    VotesReported: _votes,
    ReactionReported: Draft.reaction,
    ContactReported: Draft.contact,
    ChatReported: Draft.chat,
}
