"""What Zelador wants of a WhatsApp gateway, in no gateway's own words.

Each provider is a folder with `client.py` (HTTP) and `wire.py` (pure: their JSON ↔ these types).
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


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
class MessageReported(ProviderEvent):
    """A text message, seen or sent.

    `chat` and `author` are sets of names of one and the same: a phone's JID, a `@lid`, or both. `author` is
    empty where the connected phone wrote it. `sent_at` is None where the gateway's time makes no sense.
    """

    message_id: str
    chat: tuple[str, ...]
    author: tuple[str, ...]
    from_me: bool
    text: str
    kind: str
    status: str
    push_name: str | None
    sent_at: datetime | None
