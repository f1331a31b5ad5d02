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
    """What a phone needs to pair. `qr`: the raw text of the code, or a PNG as a data URL where the gateway gives only
    that. `pairing_code`: 8 characters."""

    qr: str | None = None
    pairing_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """An instance as the gateway shows it now. `pairing` only while it waits for a phone. `ended`: the phone has
    unpaired it, and only a new pairing helps; False also where the gateway does not say."""

    name: str
    state: State
    pairing: Pairing | None = None
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Hook:
    """Where and how the gateway shall post its events: our URL, our header token, the key of its bearer. The URL may
    hold the token too."""

    url: str = field(repr=False)
    token: str = field(repr=False)
    jwt_key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Found:
    """An instance in the gateway's list. `stored_state` is what its database says: stale, good for no verdict."""

    name: str
    stored_state: State
    phone: str | None = None
    profile_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class HookSeen:
    """The webhook settings that a gateway has of an instance. `events` is empty where it sends all."""

    enabled: bool
    url: str
    token: str | None = field(repr=False)
    jwt_key: str | None = field(repr=False)
    events: frozenset[str] = frozenset()
    by_events: bool = False


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A message that the gateway took. `status` as in StatusReported."""

    message_id: str | None
    status: str


class Provider(Protocol):
    """A gateway server. Calls raise ProviderError: InstanceUnknown, NameInUse, NotConnected, InvalidRecipient,
    ProviderRefused, LicenceRequired, RateLimited, TimedOut, Unavailable, BadResponse … and NotOffered where the
    gateway has nothing of the kind.

    `silent`: it does not tell when a phone pairs or parts, or not reliably: somebody has to look.
    """

    @property
    def silent(self) -> bool: ...

    def ping(self) -> None:
        """Is it there, and is our key good? Without any effect."""

    def version(self) -> str | None:
        """What it says it is, e.g. `2.3.6`. Slow on some: never in a request path."""

    def instances(self) -> list[Found]:
        """All that it has. Slow on big servers: never in a request path."""

    def states(self) -> Mapping[str, State] | None:
        """The live state of all, in one answer; None where the server offers none. Without any effect."""

    def state(self, name: str) -> Snapshot:
        """Look, without any effect; State.NOT_FOUND where there is none."""

    def create(self, name: str, hook: Hook) -> Snapshot:
        """Make the instance. Not safe to repeat: raises NameInUse where it exists."""

    def identity(self, name: str) -> Found | None:
        """Whose phone is connected, and what it calls itself; None where the gateway cannot say."""

    def connect(self, name: str, phone: str | None = None, hook: Hook | None = None) -> Snapshot:
        """Ask for a connection: the QR where one is needed and ready, and a pairing code for `phone` (digits). `hook`
        is for gateways that want it with every start. Safe to repeat."""

    def restart(self, name: str) -> Snapshot:
        """Close the connection and open it anew, without a new pairing. Fails on one that is closed."""

    def logout(self, name: str) -> None:
        """Unpair the phone; nothing happens where none is paired."""

    def delete(self, name: str) -> None:
        """Ask for its end. It is gone once `state` says so, and not before."""

    def hook(self, name: str) -> HookSeen | None:
        """Where its events go now; None where they go nowhere. Raises NotOffered where the gateway does not say."""

    def set_hook(self, name: str, hook: Hook) -> None:
        """Point the instance's webhook at us; nothing where it goes along with `connect`. Safe to repeat."""

    def send_text(self, name: str, to: str, words: str) -> Sent:
        """Send a text to digits or a JID. Never repeated: after TimedOut it may have been sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderEvent:
    """Something a gateway reported. `reported_at` is the sender's own clock: comparable within one instance only."""

    delivery_id: int
    instance: str
    reported_at: datetime | None
    received_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionReported(ProviderEvent):
    """`reason` is Baileys' DisconnectReason (401 logged out, 428 QR limit …), None for none. `ended`: the session is
    over, whatever the reason."""

    state: State
    reason: int | None = None
    ended: bool = False
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
    content, each None where the text is all there is. `push_name` is never empty, nor a number. `sent_at` is None
    where the gateway's time makes no sense.
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
    from_me: bool = False
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
