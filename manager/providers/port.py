"""What Zelador wants of a WhatsApp gateway, in no gateway's own words.

Each provider is a folder with `client.py` (HTTP) and `wire.py` (pure: their JSON ↔ these types).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

PERSONAL = ("@s.whatsapp.net", "@lid")


class State(StrEnum):
    """How a connection stands, as a gateway reports it."""

    NOT_FOUND = "not_found"
    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """What a phone needs to pair. `qr` is the raw text of the code, `pairing_code` 8 characters."""

    qr: str | None = None
    pairing_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """An instance as the gateway shows it now. `pairing` only while it waits for a phone."""

    name: str
    state: State
    pairing: Pairing | None = None


@dataclass(frozen=True, kw_only=True)
class Hook:
    """Where and how the gateway shall post its events: our URL, our header token, the key of its bearer."""

    url: str
    token: str = field(repr=False)
    jwt_key: str = field(repr=False)


class Provider(Protocol):
    """All raise ProviderError: InstanceUnknown, NameInUse, ProviderRefused, TimedOut, Unavailable, BadResponse …"""

    def create(self, name: str, hook: Hook) -> Snapshot:
        """Make the instance. Not safe to repeat: raises NameInUse where it exists."""

    def connect(self, name: str) -> Snapshot:
        """Ask for a connection, and the QR where one is needed and ready. Safe to repeat."""

    def state(self, name: str) -> Snapshot:
        """Look, without any effect; State.NOT_FOUND where there is none."""

    def set_hook(self, name: str, hook: Hook) -> None:
        """Point the instance's webhook at us. Safe to repeat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderEvent:
    """Something a gateway reported. `reported_at` is the sender's own clock: comparable within one instance only."""

    delivery_id: int
    instance: str
    reported_at: datetime | None
    received_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionReported(ProviderEvent):
    """`reason` is Baileys' DisconnectReason (401 logged out, 428 QR limit …), None for none."""

    state: State
    reason: int | None = None
    phone: str | None = None
    profile_name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairingReported(ProviderEvent):
    """A new QR, with a pairing code where one was asked for; neither: the gateway's limit was reached."""

    pairing: Pairing | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatReport(ProviderEvent):
    """Something about chats. `own` is the connected account's JID as the delivery names it, None where it does not.

    `people` are the sets of names that this report says are one and the same person each.
    """

    own: str | None = None

    @property
    def people(self) -> tuple[tuple[str, ...], ...]:
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageReported(ChatReport):
    """A message, seen or sent.

    `chat` and `author` are sets of names of one and the same: a phone's JID, a `@lid`, or both; a group has one.
    `author` is empty where the connected account wrote it. `history`: it came with a synchronisation and is no
    news. `text` is what a person reads; `details` the kind's own facts (docs/events.md), `original` the gateway's
    content, each None where the text is all there is. `sent_at` is None where the gateway's time makes no sense.
    """

    message_id: str
    chat: tuple[str, ...]
    author: tuple[str, ...]
    from_me: bool
    kind: str
    text: str
    status: str
    push_name: str | None
    sent_at: datetime | None
    history: bool = False
    quoted_id: str | None = None
    details: Mapping[str, Any] | None = None
    original: Mapping[str, Any] | None = None

    @property
    def people(self) -> tuple[tuple[str, ...], ...]:
        return tuple(names for names in dict.fromkeys((self.chat, self.author)) if is_person(names))


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusReported(ChatReport):
    """How far a message got: pending, sent, delivered, read, played or error."""

    message_id: str
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EditReported(ChatReport):
    """A message's new text. `edited_at` is WhatsApp's time of it, None where it makes no sense."""

    message_id: str
    text: str
    edited_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteReported(ChatReport):
    """A message was deleted for everybody."""

    message_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VotesReported(ChatReport):
    """How a poll stands: who voted for each option, by name of any kind."""

    message_id: str
    votes: Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReactionReported(ChatReport):
    """What somebody thinks of a message: an emoji, "" where it was taken back. `author` as in MessageReported."""

    message_id: str
    author: tuple[str, ...]
    emoji: str
    reacted_at: datetime | None

    @property
    def people(self) -> tuple[tuple[str, ...], ...]:
        return (self.author,) if is_person(self.author) else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactReported(ChatReport):
    """Names of one person, and what that person is called; None where nobody said."""

    names: tuple[str, ...]
    name: str | None = None

    @property
    def people(self) -> tuple[tuple[str, ...], ...]:
        return (self.names,)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatReported(ChatReport):
    """A chat's title, or that it was deleted on the phone. `chat` as in MessageReported."""

    chat: tuple[str, ...]
    title: str | None = None
    deleted: bool = False

    @property
    def people(self) -> tuple[tuple[str, ...], ...]:
        return (self.chat,) if is_person(self.chat) else ()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a delivery means, and what was odd about it (the codes of docs/events.md)."""

    events: Sequence[ProviderEvent] = ()
    issues: Sequence[str] = ()


def is_person(names: Sequence[str]) -> bool:
    """Whether these are names of a person: not of a group, a broadcast list or a channel."""
    return bool(names) and names[0].endswith(PERSONAL)
