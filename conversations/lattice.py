"""How two reports of one thing become one: always the same, whichever comes first. Pure."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from conversations.changes import ContactSeen, ConversationSeen, Mark, MessageSeen, ReactionSeen

# how far a message got; an error says more than our own server's "sent", a delivery more than an error
STATUSES = ("pending", "sent", "error", "delivered", "read", "played")
UNSUPPORTED = "unsupported"
T = TypeVar("T")


def further(one: str | None, other: str | None) -> str | None:
    return max((one, other), key=lambda status: STATUSES.index(status) if status else -1)


def message(one: MessageSeen, other: MessageSeen) -> MessageSeen:
    """A message that came twice: the copy that says more counts."""
    best = max(one, other, key=merit)
    return replace(
        best,
        sent_at=min(one.sent_at, other.sent_at),
        status=further(one.status, other.status) or best.status,
        history=one.history and other.history,
        books=one.books or other.books,
    )


def merit(seen: MessageSeen) -> tuple[bool, int, str, int]:
    """How much a copy says: whether we understand it, how many of details, quote and original it has (2.x flattens a
    message on the way to one of its events), then whatever, as long as it is always the same."""
    report = seen.report
    said = sum(part is not None for part in (report.details, report.quoted_id, report.original))
    return (report.kind != UNSUPPORTED, said, report.text, -report.delivery_id)


def mark(one: Mark, other: Mark) -> Mark:
    return replace(
        one,
        status=further(one.status, other.status),
        edit=_newest(one.edit, other.edit),
        deleted_at=_earliest(one.deleted_at, other.deleted_at),
        votes=_newest(one.votes, other.votes),
        deliveries=one.deliveries | other.deliveries,
    )


def reaction(one: ReactionSeen, other: ReactionSeen) -> ReactionSeen:
    newest = max(one, other, key=lambda seen: (seen.at, seen.emoji))
    return replace(newest, deliveries=one.deliveries | other.deliveries)


def contact(one: ContactSeen, other: ContactSeen) -> ContactSeen:
    """The newest name counts."""
    named = [seen for seen in (one, other) if seen.named_at and seen.name]
    newest = max(named, key=lambda seen: (seen.named_at, seen.name)) if named else one
    return replace(one, name=newest.name, named_at=newest.named_at)


def conversation(one: ConversationSeen, other: ConversationSeen) -> ConversationSeen:
    titled = [seen for seen in (one, other) if seen.titled_at and seen.title]
    newest = max(titled, key=lambda seen: (seen.titled_at, seen.title)) if titled else one
    return replace(
        one,
        last_message_at=_latest(one.last_message_at, other.last_message_at),
        title=newest.title,
        titled_at=newest.titled_at,
        deleted_at=_latest(one.deleted_at, other.deleted_at),
    )


def _newest(one: tuple[datetime, T] | None, other: tuple[datetime, T] | None) -> tuple[datetime, T] | None:
    return max(one, other, key=_lateness) if one and other else one or other


def _lateness(said: tuple[datetime, Any]) -> tuple[datetime, str]:
    """As the database compares them: texts by their code points, votes as JSON."""
    return (said[0], said[1] if isinstance(said[1], str) else json.dumps(said[1], sort_keys=True))


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one and other else one or other


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other
