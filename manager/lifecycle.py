"""How an instance stands, and how reports change it. Pure.

Reports come late, twice and in any order, so nothing is ever "the next state": two newest reports are kept,
one about the connection and one about the pairing code, and the status is what they say together. Any order
of the same reports ends in the same status.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from manager.providers.port import ConnectionReported, Pairing, PairingReported, State


class Status(StrEnum):
    """What `whatsapp_instances.status` and the API say."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    QR_PENDING = "qr_pending"
    CONNECTED = "connected"


NEVER = datetime.min.replace(tzinfo=UTC)
RANK = {State.CONNECTING: 0, State.DISCONNECTED: 1, State.REFUSED: 1, State.CONNECTED: 2}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Everything about an instance that reports can change. `pairing_expires_at` is our own clock's.

    `retired_qr` is the last code that ended: a gateway may answer a connect with it once more.
    """

    state: State = State.DISCONNECTED
    state_at: datetime | None = None
    reason: int | None = None
    phone: str | None = None
    profile_name: str | None = None
    pairing: Pairing | None = None
    pairing_at: datetime | None = None
    pairing_expires_at: datetime | None = None
    connected_at: datetime | None = None
    retired_qr: str | None = field(default=None, compare=False)

    @property
    def status(self) -> Status:
        if self.pairing is not None:
            return Status.QR_PENDING
        words = {State.CONNECTED: Status.CONNECTED, State.CONNECTING: Status.CONNECTING}
        return words.get(self.state, Status.DISCONNECTED)


@dataclass(frozen=True, kw_only=True)
class InstanceRecord:
    """An instance as the database has it."""

    id: UUID
    name: str
    user_id: UUID | None
    organization_id: str | None
    status: Status
    standing: Standing
    updated_at: datetime | None

    @property
    def scope(self) -> str:
        """Whose contacts these are: the organization's, or the user's where there is none."""
        return self.organization_id or str(self.user_id or self.id)


def connection_reported(before: Standing, report: ConnectionReported) -> Standing:
    """Take a connection report in, unless a newer one is known. Unknown words change nothing."""
    if report.state not in RANK or _order(report) < (before.state_at or NEVER, RANK.get(before.state, 0)):
        return before
    is_open = report.state is State.CONNECTED
    after = replace(
        before,
        state=report.state,
        state_at=report.reported_at or before.state_at,
        reason=None if report.reason == 200 else report.reason,
        phone=(report.phone or before.phone) if is_open else before.phone,
        profile_name=(report.profile_name or before.profile_name) if is_open else before.profile_name,
        connected_at=report.received_at if is_open and before.state is not report.state else before.connected_at,
    )
    return after if _still_pairing(after) else _unpaired(after)


def pairing_reported(before: Standing, report: PairingReported, ttl: timedelta) -> Standing:
    """Take a QR in, unless a newer one is known or the connection has moved on since; none ends the pairing."""
    at = report.reported_at or before.pairing_at
    if before.pairing_at and at and at < before.pairing_at:
        return before
    expires_at = report.received_at + ttl if report.pairing else None
    replaced = before if report.pairing == before.pairing else _unpaired(before)
    after = replace(replaced, pairing=report.pairing, pairing_at=at, pairing_expires_at=expires_at)
    return after if _still_pairing(after) else _unpaired(after)


def pairing_shown(before: Standing, pairing: Pairing, expires_at: datetime) -> Standing:
    """The gateway answered a connect with a QR. It has no time of its own: the next report may replace it.

    A code that ended already, or is on the screen with its own expiry, changes nothing.
    """
    known = (before.retired_qr, before.pairing.qr if before.pairing else None)
    if before.state is State.CONNECTED or (pairing.qr and pairing.qr in known):
        return before
    return replace(before, pairing=pairing, pairing_expires_at=expires_at)


def seen(before: Standing, state: State, at: datetime) -> Standing:
    """We looked ourselves, and the gateway said this. Its next report counts, whenever that was sent."""
    is_open = state is State.CONNECTED
    connected_at = at if is_open and before.state is not state else before.connected_at
    after = replace(before, state=state, connected_at=connected_at)
    return _unpaired(after) if is_open else after


def _unpaired(standing: Standing) -> Standing:
    ended = standing.pairing.qr if standing.pairing else None
    return replace(standing, pairing=None, pairing_expires_at=None, retired_qr=ended or standing.retired_qr)


def _still_pairing(standing: Standing) -> bool:
    """A code counts while the gateway waits for a phone: connecting, or no word since the code was made."""
    if standing.pairing is None or standing.state is State.CONNECTING:
        return standing.pairing is not None
    return (standing.pairing_at or NEVER) > (standing.state_at or NEVER)


def _order(report: ConnectionReported) -> tuple[datetime, int]:
    """Of two reports in the same millisecond the more final one wins, whichever comes first."""
    return (report.reported_at or datetime.max.replace(tzinfo=UTC), RANK[report.state])
