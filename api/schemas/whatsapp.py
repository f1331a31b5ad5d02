"""The user's own instance, its live events and its public status (api.shapes, api.live, api.public)."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.common import Done, Moment
from manager.lifecycle import Status

HealthWord = Literal["unknown", "connecting", "healthy", "unhealthy", "disconnected", "error"]
Picture = Annotated[str, Field(pattern="^data:image/png;base64,")]


class Shown(TypedDict):
    """A code on the screen."""

    qrCode: Picture | None
    qrcode: Picture | None
    qr: str | None
    pairingCode: str | None
    pairingCodeFormatted: str | None
    expiresAt: Moment | None


class Connecting(Done, Shown):
    """How connecting stands. `qrCode` (and `qrcode`) is a picture, `qr` the text it shows; null while there is none."""

    instanceName: str
    status: Status
    message: str
    alreadyConnected: NotRequired[Literal[True]]


class HealthNow(TypedDict):
    """What the monitor says. `uptime`: seconds since it connected."""

    status: HealthWord
    consecutiveFailures: Annotated[int, Field(ge=0)]
    lastCheckAt: Moment | None
    uptime: Annotated[int, Field(ge=0)]
    issues: list[str]


class OwnStatus(Done):
    """How one's own instance stands."""

    instanceName: str
    status: Status
    connected: bool
    needsQR: bool
    phoneNumber: str | None
    profileName: str | None
    health: HealthNow
    lastUpdate: Moment | None


class Parted(OwnStatus):
    """The status after it, and what to tell the person."""

    message: str


class Sent(Done):
    """`messageId` is the gateway's; null where it gave none."""

    messageId: str | None
    status: str


class Ticket(Done):
    """Opens one socket, within `expiresIn` seconds."""

    ticket: str
    expiresIn: int


class Snapshot(OwnStatus):
    """The status, and the code that is on the screen now."""

    qrCode: Picture | None
    qr: str | None
    expiresAt: Moment | None


class Event(TypedDict):
    """`data` depends on the type: docs/live.md lists them."""

    id: int
    type: str
    data: dict[str, Any]
    timestamp: Moment


class Events(Done):
    """`reset`: what you knew is gone, the snapshot takes its place. `id`: ask for what comes after it."""

    reset: bool
    snapshot: Snapshot | None
    id: int
    events: list[Event]


class PublicStatus(Done):
    """Where everybody may look; all null while it is switched off."""

    enabled: bool
    token: str | None
    json: str | None
    svg: str | None
