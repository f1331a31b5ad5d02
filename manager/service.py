"""WhatsAppManager: each user has exactly one instance `user_<id>`, and can connect it, part from it, and write.

Called by the API and by live sockets. Talks to the gateways through `Upstream`, never inside a transaction. The row
is written before the gateway hears of the instance: its first webhook is on its way before `create` has answered,
and must find its key here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import func

from core import audit
from core.clock import Clock
from core.crypto import fingerprint
from core.db import Transaction
from core.errors import AppError, Conflict, NotConnected, NotFound, ProviderError
from manager import store
from manager.gateways import Gateways
from manager.leases import Lease, Leases
from manager.lifecycle import (
    InstanceRecord,
    Lifetimes,
    Standing,
    Status,
    asked,
    identified,
    instance_name_for,
    made_anew,
    needs_making,
    pairing_shown,
    parted,
    seen,
    takes_no_number,
)
from manager.phones import full_number
from manager.providers.port import Sent, Snapshot, State
from manager.register import Register
from manager.upstream import StillThere, Upstream

log = structlog.get_logger()
FRESH_FOR = timedelta(seconds=5)  # a code with less time left is not worth showing
LOOK_EVERY_S = 0.2
LOGOUT, CLOSE, DELETE = "logout", "close", "delete"
PARTINGS = (LOGOUT, CLOSE, DELETE)
SAYS_CLOSED = (ProviderError, NotConnected)  # not a time-out, a wrong number, or the server's own trouble


@dataclass(frozen=True, kw_only=True)
class Connecting:
    """What a click on "Conectar WhatsApp" led to."""

    record: InstanceRecord
    already_connected: bool = False


class WhatsAppManager:
    """`rung` is told the users whose feed has grown."""

    def __init__(
        self,
        transaction: Transaction,
        gateways: Gateways,
        leases: Leases,
        clock: Clock,
        *,
        lifetimes: Lifetimes,
        rung: Callable[[list[str]], None],
        default_country: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        wait_s: float = 8.0,
    ) -> None:
        self._transaction, self._gateways, self._leases, self._clock = transaction, gateways, leases, clock
        self._lifetimes, self._default_country = lifetimes, default_country
        self._register = Register(transaction, gateways, rung)
        self._sleep, self._wait_s = sleep, wait_s

    def expect_gateway(self) -> None:
        """Raises NotConfigured where there is none at all, SwitchedOff: before anything is asked or written."""
        self._gateways.expect()

    def find_user_instance(self, user_id: UUID) -> InstanceRecord | None:
        return self._register.find(user_id)

    def ensure_user_instance(self, user_id: UUID, organization_id: str | None = None) -> InstanceRecord:
        """The user's instance, made when there is none. Safe to repeat, also at the same time."""
        found = self.find_user_instance(user_id)
        return found or self.create_user_instance(user_id, organization_id)

    def create_user_instance(
        self, user_id: UUID, organization_id: str | None = None, *, as_new: Mapping[str, object] | None = None
    ) -> InstanceRecord:
        """Make the user's instance here and on the gateway; one that exists already is kept, or a Conflict where it
        shall be `as_new`, with these columns.

        Raises NotConfigured, ProviderError, Conflict, StorageUnavailable.
        """
        self.expect_gateway()
        with self._leases.hold(instance_name_for(user_id), "create") as lease:
            record = self._register.row(user_id, organization_id, as_new)
            if not record.hooked:
                self._prepare(self._upstream(record), lease, record)
        return record

    def connect_user_whatsapp(
        self,
        user_id: UUID,
        organization_id: str | None = None,
        *,
        by_code: bool = False,
        phone: object = None,
    ) -> Connecting:
        """Bring the user's WhatsApp towards "connected": to a QR, or to a pairing code for `phone`.

        Clicks at the same time make one call; the others get what it brought. Without a code in the answer, it comes
        by the live channel. Raises PhoneRequired, InvalidPhone, NotConfigured, ProviderError, Conflict,
        StorageUnavailable.
        """
        self.expect_gateway()
        number = full_number(phone, self._default_country) if by_code else None
        with self._leases.hold(instance_name_for(user_id), "connect") as lease:
            record = self._register.row(user_id, organization_id)
            upstream = self._upstream(record)
            worn = needs_making(record, self._clock.now())
            # before it is made anew, or believed: the gateway may have it open, and nobody told us
            if lease.interrupted or record.status is Status.CONNECTED or (record.hooked and (worn or by_code)):
                record = self._looked(upstream, lease, record)
            if record.status is Status.CONNECTED:
                return Connecting(record=record, already_connected=True)
            if self._is_fresh(record, number):
                return Connecting(record=record)
            record = self._made_ready(upstream, lease, record, worn=worn, by_code=by_code)
            snapshot = upstream.connect(lease, record, number)
            lease.renew()
            how = {"pairing_method": "code" if by_code else "qr", "pairing_for": _mark_of(number)}
            record = self._show(upstream, lease, record, snapshot, **how)
        if snapshot.state is State.CONNECTED:
            return Connecting(record=record, already_connected=True)
        return Connecting(record=self._awaited(user_id, record))

    def part_user_whatsapp(self, user_id: UUID, how: str = LOGOUT) -> InstanceRecord:
        """`logout` unpairs the phone, `close` also takes the instance off the gateway, `delete` hides it as well.

        The row stays, and connecting brings it back, with a new pairing. Where its gateway is configured no more
        nobody is asked, and it is on none from here on. Raises NotFound, NotConfigured, ProviderError, Conflict,
        StorageUnavailable.
        """
        self._found(user_id)
        with self._leases.hold(instance_name_for(user_id), how) as lease:
            record = self._register.current(user_id)
            if not self._gateways.has(record.provider):
                return self._part(record, CLOSE if how == LOGOUT else how, is_gone=True)
            upstream = self._upstream(record)
            with self._transaction() as connection:  # first: how far a logout that fails has got, nobody knows
                store.mark(connection, record.id, spent=True)
            upstream.logout(lease, record)
            is_gone = how != LOGOUT and upstream.remove(lease, record)
            lease.renew()
            return self._part(record, how, is_gone=is_gone)

    def reconnect_user_whatsapp(self, user_id: UUID, *, restart: bool = False) -> InstanceRecord:
        """Open the connection again with the pairing that is there: what the gateway answered, which proves nothing
        yet. `restart` closes it first, also an open one; without it an open one is left alone.

        Raises NotFound, Conflict (also where its owner has parted from it), NotConfigured, ProviderError,
        StorageUnavailable.
        """
        with self._leases.hold(instance_name_for(user_id), "reconnect") as lease:
            record = self._register.current(user_id)
            upstream = self._upstream(record)
            record = self._looked(upstream, lease, record)
            if record.spent or record.deleted or not record.hooked:
                raise Conflict("Its owner has parted from it", code="INSTANCE_PARTED")
            if record.status is Status.CONNECTED and not restart:
                return record
            snapshot = upstream.restart(lease, record) if restart else upstream.connect(lease, record)
            lease.renew()
            return self._show(upstream, lease, record, snapshot, asked_at=record.asked_at)

    def settle_interrupted(self) -> int:
        """Look at the instances that somebody died over, so that what is known of them is so. How many there were."""
        names = self._leases.interrupted()
        for name in names:
            try:
                self._settle(name)
            except AppError as error:  # the mark stays, for the next round
                log.warning("settling_failed", instance=name, code=error.code)
        return len(names)

    def forget(self, user_id: UUID, actor: str) -> None:
        """Delete the user's row, as the seed's SQL does; conversations and messages go with it.

        Raises NotFound, and StillThere while the gateway is deleting the instance: whoever connected now would get
        the one that is about to go.
        """
        with self._leases.hold(instance_name_for(user_id), "reset"), self._transaction() as connection:
            record = store.lock_by_user(connection, user_id)
            if record.spent and not (record.hooked or record.gone):
                raise StillThere("The gateway is still deleting the instance, try again in a minute")
            store.remove(connection, record.id)
            audit.note(connection, actor=actor, action="instance.reset", subject=record.name)

    def send_text(self, user_id: UUID, to: object, words: str) -> Sent:
        """Write to somebody. Never repeated: after a TimedOut it may have been sent.

        Raises NotFound, NotConnected, InvalidPhone, ProviderError.
        """
        record = self._found(user_id)
        upstream = self._upstream(record)
        if record.status is not Status.CONNECTED:
            raise NotConnected("WhatsApp is not connected")
        number = full_number(to, self._default_country)
        try:
            sent = upstream.provider.send_text(record.gateway_name, number, words)
        except ProviderError as error:
            if type(error) in SAYS_CLOSED:  # it is open by what we know, and takes nothing: the health monitor asks
                self._register.mark(record, send_failed_at=self._clock.now(), updated_at=func.now())
            raise
        self._register.mark(record, send_worked_at=self._clock.now())
        return sent

    def _upstream(self, record: InstanceRecord) -> Upstream:
        return self._gateways.of(record.provider)

    def _found(self, user_id: UUID) -> InstanceRecord:
        self.expect_gateway()  # where nothing is configured, that is the answer to everything
        if record := self.find_user_instance(user_id):
            return record
        raise NotFound("This user has no WhatsApp instance", code="INSTANCE_NOT_FOUND")

    def _prepare(self, upstream: Upstream, lease: Lease, record: InstanceRecord) -> None:
        """Have it on the gateway, fit to pair."""
        if record.spent:
            upstream.renew(lease, record)
        else:
            upstream.create(lease, record)

    def _made_ready(
        self, upstream: Upstream, lease: Lease, record: InstanceRecord, *, worn: bool, by_code: bool
    ) -> InstanceRecord:
        """Have it on the gateway, in a state from which a connection leads somewhere: while it connects, the gateway
        takes no number."""
        if worn or (by_code and takes_no_number(record.standing)):
            upstream.renew(lease, record)
            return self._register.change(record, made_anew)
        if not record.hooked:
            upstream.create(lease, record)
        return record

    def _looked(self, upstream: Upstream, lease: Lease, record: InstanceRecord) -> InstanceRecord:
        found = upstream.look(lease, record)
        is_news = found is State.CONNECTED and record.standing.state is not found
        known = upstream.identity(lease, record) if is_news and upstream.provider.silent else None
        now = self._clock.now()
        lease.renew()
        return self._register.change(record, lambda before: identified(seen(before, found, now), known))

    def _settle(self, name: str) -> None:
        with self._leases.hold(name, "settle") as lease:
            with self._transaction() as connection:
                record = store.leased(connection, name)
            if record:
                self._looked(self._upstream(record), lease, record)

    def _show(
        self, upstream: Upstream, lease: Lease, record: InstanceRecord, snapshot: Snapshot, **columns: object
    ) -> InstanceRecord:
        """Keep and tell what the gateway's answer brought; and `columns` of the row."""
        now = self._clock.now()
        if snapshot.state is State.CONNECTED:
            is_told = record.standing.phone and not upstream.provider.silent
            known = None if is_told else upstream.identity(lease, record)
            return self._register.change(record, lambda before: identified(seen(before, State.CONNECTED, now), known))

        def shown(before: Standing) -> Standing:
            waiting, until = asked(before, now), now + self._lifetimes.of(snapshot.pairing)
            return pairing_shown(waiting, snapshot.pairing, until) if snapshot.pairing else waiting

        since = record.asked_at if record.standing.state is State.CONNECTING else None  # when it began to lead nowhere
        return self._register.change(record, shown, **{"asked_at": since or now, **columns})

    def _part(self, record: InstanceRecord, how: str, *, is_gone: bool) -> InstanceRecord:
        now = self._clock.now()
        columns: dict[str, object] = {"asked_at": None}
        if how != LOGOUT:
            columns |= {"hooked_at": None, "gone_at": now if is_gone else None}
        if how == DELETE:
            columns |= {"deleted_at": now}
        changed = self._register.change(record, parted, **columns)
        log.info("instance_parted", instance=record.name, how=how, gone=is_gone)
        return changed

    def _awaited(self, user_id: UUID, record: InstanceRecord) -> InstanceRecord:
        """Give the webhook a few seconds to bring a code that the gateway's answer did not have yet."""
        tries = int(self._wait_s / LOOK_EVERY_S)
        while record.status is Status.CONNECTING and tries > 0:
            self._sleep(LOOK_EVERY_S)
            record = self.find_user_instance(user_id) or record
            tries -= 1
        return record

    def _is_fresh(self, record: InstanceRecord, number: str | None) -> bool:
        """Whether the code that is shown may be shown again; a pairing code only for the number it was made for."""
        until, pairing = record.standing.pairing_expires_at, record.standing.pairing
        if pairing is None or until is None or until <= self._clock.now() + FRESH_FOR:
            return False
        return bool(pairing.qr if number is None else pairing.pairing_code and record.pairing_for == _mark_of(number))


def _mark_of(number: str | None) -> str | None:
    """What tells whether it is the same number, and does not say which."""
    return fingerprint(number).hex() if number else None
