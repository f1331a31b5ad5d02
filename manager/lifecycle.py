"""How an instance stands, and how reports change it. Pure.

Reports come late, twice and in any order, so nothing is ever "the next state": the newest report about the
connection is kept, the newest word about the pairing code (a code, or what ended it) and the newest open that
named a phone. The status is what they say together; any order of the same reports ends in the same standing.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from manager.providers.port import ConnectionReported, Found, Pairing, PairingReported, State


class Status(StrEnum):
    """What `whatsapp_instances.status` and the API say."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    QR_PENDING = "qr_pending"
    CONNECTED = "connected"


LOGGED_OUT = 401  # Baileys' DisconnectReason.loggedOut
CODE_WITHIN = timedelta(seconds=60)
NEVER, NOW = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
# of two reports in the same millisecond the more final one wins, whichever comes first
RANK = {State.CONNECTING: 0, State.DISCONNECTED: 1, State.REFUSED: 2, State.CONNECTED: 3}


@dataclass(frozen=True, kw_only=True)
class Lifetimes:
    """How long a QR and a pairing code are good, from when we get them."""

    qr: timedelta
    code: timedelta = timedelta(seconds=60)

    def of(self, pairing: Pairing | None) -> timedelta:
        return self.code if pairing and pairing.pairing_code else self.qr


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Everything about an instance that reports can change.

    `connected_at` (when we last heard of an open) and `pairing_expires_at` are our own clock's, the other times
    the gateway's. `reason` is the newest one given since `alive_at`, the newest sign of life, and `ended_at` the newest
    word since then that the session is over. `retired_qr` is the
    last code that ended: a gateway may answer a connect with it once more.
    """

    state: State = State.DISCONNECTED
    state_at: datetime | None = None
    reason: int | None = None
    reason_at: datetime | None = None
    alive_at: datetime | None = None
    ended_at: datetime | None = None
    phone: str | None = None
    profile_name: str | None = None
    phone_at: datetime | None = None
    pairing: Pairing | None = None
    pairing_at: datetime | None = None
    pairing_expires_at: datetime | None = None
    connected_at: datetime | None = None
    retired_qr: str | None = field(default=None, compare=False)

    @property
    def cause(self) -> int | None:
        """Why it is closed: the reason that was given, or that it was logged out."""
        return self.reason or (LOGGED_OUT if self.ended_at else None)

    @property
    def was_paired(self) -> bool:
        """Whether a phone was ever on it, or is on its way: what ended the newest code was a sign of life as well."""
        is_taken = self.pairing is None and self.alive_at is not None and self.alive_at == self.pairing_at
        return is_taken or self.connected_at is not None

    @property
    def status(self) -> Status:
        if self.pairing is not None:
            return Status.QR_PENDING
        words = {State.CONNECTED: Status.CONNECTED, State.CONNECTING: Status.CONNECTING}
        return words.get(self.state, Status.DISCONNECTED)


def instance_name_for(user_id: UUID) -> str:
    return f"user_{user_id}"


@dataclass(frozen=True, kw_only=True)
class InstanceRecord:
    """An instance as the database has it. `hooked`: the gateway has taken it, with our webhook. `owner_phones`:
    digits of the owner's other phones. `gateway_name`: what its gateway calls it. `asked_at`: when we last asked
    for a connection. `spent`: it must be made anew on the gateway before a phone can pair. `deleted`: hidden until
    somebody connects again. `pairing_for`: a mark of the number that a pairing code was made for. `gone`: the
    gateway was seen without it. `provider`: which kind of gateway it is on.
    """

    id: UUID
    name: str
    user_id: UUID | None
    organization_id: str | None
    status: Status
    standing: Standing
    updated_at: datetime | None
    hooked: bool = False
    owner_phones: tuple[str, ...] = ()
    gateway_name: str = ""
    asked_at: datetime | None = None
    spent: bool = False
    deleted: bool = False
    pairing_for: str | None = None
    gone: bool = False
    provider: str = "evolution"

    @property
    def homeless(self) -> bool:
        """Whether no gateway has it, or is still deleting it."""
        return not self.hooked and (self.gone or not self.spent)

    @property
    def is_made(self) -> bool:
        """Whether it is there for its owner: not one that was deleted, or whose making broke off half way."""
        return not self.deleted and (self.hooked or self.spent)

    @property
    def lease_name(self) -> str:
        """What its lease goes by: the user's instance, also while the row has a name of other times."""
        return f"user_{self.user_id}" if self.user_id else self.name

    @property
    def scope(self) -> str:
        """Whose contacts these are: the organization's, or the user's where there is none."""
        return self.organization_id or str(self.user_id or self.id)

    @property
    def phones(self) -> set[str]:
        """The owner's numbers: the connected one and those named as theirs."""
        return {*self.owner_phones, *([self.standing.phone] if self.standing.phone else [])}


def connection_reported(before: Standing, report: ConnectionReported) -> Standing:
    """Take a connection report in. Of an older one than is known only what no newer one said counts.

    Unknown words change nothing. A report without a time is the newest.
    """
    if report.state not in RANK:
        return before
    after = before if report.state is State.CONNECTING else _settled(before, report.reported_at)
    after = _opened(after, report) if report.state is State.CONNECTED else after
    after = _alive(after, report) if report.state in (State.CONNECTED, State.CONNECTING) else _reasoned(after, report)
    known = (before.state_at or NEVER, RANK.get(before.state, 0))
    if (report.reported_at or NOW, RANK[report.state]) <= known:
        return after
    return replace(after, state=report.state, state_at=report.reported_at or before.state_at)


def pairing_reported(before: Standing, report: PairingReported, lifetimes: Lifetimes) -> Standing:
    """Take a code in, or its end, unless a newer word about it is known. A report without a time is the newest."""
    at = report.reported_at or before.pairing_at
    if report.reported_at and _order(at, report.pairing) < _order(before.pairing_at, before.pairing):
        return before
    expires_at = report.received_at + lifetimes.of(report.pairing) if report.pairing else None
    if (at, report.pairing) == (before.pairing_at, before.pairing) and expires_at and before.pairing_expires_at:
        expires_at = min(expires_at, before.pairing_expires_at)  # told twice, it does not live longer
    replaced = before if report.pairing == before.pairing else _unpaired(before)
    return replace(replaced, pairing=report.pairing, pairing_at=at, pairing_expires_at=expires_at)


def asked(before: Standing, at: datetime) -> Standing:
    """We asked the gateway to connect. A code whose time was over has ended, even if the gateway shows it again."""
    if before.state is State.CONNECTED:
        return before
    is_over = before.pairing_expires_at is not None and before.pairing_expires_at <= at
    return _now(_unpaired(before) if is_over else before, State.CONNECTING)


def pairing_shown(before: Standing, pairing: Pairing, expires_at: datetime) -> Standing:
    """The gateway answered a connect with a QR. It has no time of its own: the next report may replace it.

    A code that ended already, or is on the screen with its own expiry, changes nothing.
    """
    known = (before.retired_qr, before.pairing.qr if before.pairing else None)
    if before.state is State.CONNECTED or (pairing.qr and pairing.qr in known):
        return before
    return replace(before, pairing=pairing, pairing_expires_at=expires_at)


def seen(before: Standing, state: State, at: datetime, *, ended: bool = False) -> Standing:
    """We looked ourselves, and the gateway said this: it counts until a report newer than those known comes. `ended`:
    also that the phone has unpaired it."""
    if state is State.UNKNOWN:
        return before
    is_open = state is State.CONNECTED
    connected_at = at if is_open and before.state is not state else before.connected_at
    after = replace(_excused(_now(before, state)) if is_open else _now(before, state), connected_at=connected_at)
    if state is State.NOT_FOUND or ended:
        after = replace(after, ended_at=before.ended_at or before.alive_at or at)
    return after if state is State.CONNECTING else _unpaired(after)


def identified(before: Standing, found: Found | None) -> Standing:
    """The gateway was asked whose phone it is; a report that names one counts more."""
    if found is None or found.phone is None or (before.phone and before.phone_at):
        return before
    known_name = before.profile_name if before.phone in (None, found.phone) else None
    return replace(before, phone=found.phone, profile_name=found.profile_name or known_name)


def parted(before: Standing) -> Standing:
    """We unpaired the phone ourselves. Whose it was stays known."""
    return replace(_now(_unpaired(before), State.DISCONNECTED), reason=LOGGED_OUT, reason_at=before.alive_at)


def made_anew(before: Standing) -> Standing:
    """The gateway has a new instance in its place: what the old one showed is over."""
    return _now(_unpaired(before), State.DISCONNECTED)


def needs_making(record: InstanceRecord, at: datetime) -> bool:
    """Whether a connection asked for now would lead nowhere: the phone was unpaired by us (2.3.x goes deaf), the
    gateway's codes are used up, or it was asked a minute ago and shows none. What was ever paired may be coming
    back by itself: that is never taken for stuck, for making it anew costs the pairing."""
    standing = record.standing
    stuck = not standing.was_paired and standing.state is State.CONNECTING and standing.pairing is None
    waited = record.asked_at is not None and at - record.asked_at > CODE_WITHIN
    return record.spent or standing.state is State.REFUSED or (stuck and waited)


def takes_no_number(standing: Standing) -> bool:
    """While it shows codes the gateway pairs by QR; what was paired connects without any."""
    return standing.state is State.CONNECTING and (standing.pairing is not None or not standing.was_paired)


def _now(before: Standing, state: State) -> Standing:
    """What we know from ourselves comes right after the newest report, so that the same report once more, from the
    log or from a retry, is not news."""
    if before.state is state:
        return before
    return replace(before, state=state, state_at=before.state_at and before.state_at + timedelta(microseconds=1))


def _settled(before: Standing, at: datetime | None) -> Standing:
    """The gateway waits for no phone (it is open, closed or refused): the codes it made until then have ended."""
    if at and at < (before.pairing_at or NEVER):
        return before
    return replace(_unpaired(before), pairing_at=at or before.pairing_at)


def _opened(before: Standing, report: ConnectionReported) -> Standing:
    """The newest open that names a phone says whose it is."""
    after = replace(before, connected_at=max(before.connected_at or NEVER, report.received_at))
    named = (report.reported_at or NOW, report.phone or "", report.profile_name or "")
    if not report.phone or named < (before.phone_at or NEVER, before.phone or "", before.profile_name or ""):
        return after
    phone_at = report.reported_at or before.phone_at
    return replace(after, phone=report.phone, profile_name=report.profile_name, phone_at=phone_at)


def _alive(before: Standing, report: ConnectionReported) -> Standing:
    """A sign of life: what was said before about why it closed is over."""
    at = report.reported_at or before.state_at
    if (at or NEVER) <= (before.alive_at or NEVER):
        return before
    is_over = (before.reason_at or NEVER) < (at or NEVER)
    after = _excused(before) if is_over else before
    return replace(after, alive_at=at, ended_at=_since(before.ended_at, at))


def _reasoned(before: Standing, report: ConnectionReported) -> Standing:
    """A logout comes as three reports, of which two say why: the third one must not take the reason away."""
    at = report.reported_at or before.state_at
    if report.ended:
        ended_at = max(at or NEVER, before.ended_at or NEVER)
        before = replace(before, ended_at=_since(ended_at, before.alive_at))
    known = (before.reason_at or NEVER, before.reason or 0)
    if report.reason in (None, 0, 200) or (at or NEVER) < (before.alive_at or NEVER):
        return before
    return before if (at or NEVER, report.reason) < known else replace(before, reason=report.reason, reason_at=at)


def _since(at: datetime | None, alive_at: datetime | None) -> datetime | None:
    """The time, unless there was life after it."""
    return at if at and at >= (alive_at or NEVER) else None


def _excused(standing: Standing) -> Standing:
    return replace(standing, reason=None, reason_at=None, ended_at=None)


def _unpaired(standing: Standing) -> Standing:
    ended = standing.pairing.qr if standing.pairing else None
    return replace(standing, pairing=None, pairing_expires_at=None, retired_qr=ended or standing.retired_qr)


def _order(at: datetime | None, pairing: Pairing | None) -> tuple[datetime, bool, str, str]:
    """Of two words in the same millisecond the end of a code wins, then the greater code, whichever comes first."""
    code = pairing or Pairing()
    return (at or NEVER, pairing is None, code.qr or "", code.pairing_code or "")
