"""WhatsAppManager: each user has exactly one instance `user_<id>`, and can connect it.

Called by the API and by live sockets. Talks to the gateway through a guarded provider, never inside a
transaction. The row is written before the gateway hears of the instance: its first webhook is on its way
before `create` has answered, and must find its key here.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection

from core import events
from core.clock import Clock
from core.crypto import Vault
from core.db import Transaction
from core.errors import InstanceUnknown, NameInUse, NotConfigured
from manager import store
from manager.fold import told
from manager.keys import keys_of
from manager.leases import Lease, Leases
from manager.lifecycle import InstanceRecord, Standing, Status, asked, pairing_shown, seen
from manager.providers.port import Hook, Provider, Snapshot, State

log = structlog.get_logger()
FRESH_FOR = timedelta(seconds=5)  # a code with less time left is not worth showing
LOOK_EVERY_S = 0.2


def instance_name_for(user_id: UUID) -> str:
    return f"user_{user_id}"


@dataclass(frozen=True, kw_only=True)
class Connecting:
    """What a click on "Conectar WhatsApp" led to."""

    record: InstanceRecord
    already_connected: bool = False


class WhatsAppManager:
    """`provider` is None where no gateway is configured. `rung` is told the users whose feed has grown."""

    def __init__(
        self,
        transaction: Transaction,
        provider: Provider | None,
        vault: Vault,
        leases: Leases,
        clock: Clock,
        *,
        webhook_base: str,
        qr_ttl: timedelta,
        rung: Callable[[list[str]], None],
        sleep: Callable[[float], None] = time.sleep,
        wait_s: float = 8.0,
    ) -> None:
        self._transaction, self._provider, self._vault, self._leases = transaction, provider, vault, leases
        self._clock, self._webhook_base, self._qr_ttl, self._rung = clock, webhook_base, qr_ttl, rung
        self._sleep, self._wait_s = sleep, wait_s

    def find_user_instance(self, user_id: UUID) -> InstanceRecord | None:
        with self._transaction() as connection:
            return store.find_by_user(connection, user_id)

    def ensure_user_instance(self, user_id: UUID, organization_id: str | None = None) -> InstanceRecord:
        """The user's instance, made when there is none. Safe to repeat, also at the same time."""
        found = self.find_user_instance(user_id)
        return found or self.create_user_instance(user_id, organization_id)

    def create_user_instance(self, user_id: UUID, organization_id: str | None = None) -> InstanceRecord:
        """Make the user's instance here and on the gateway; one that exists already is kept.

        Raises NotConfigured, ProviderError, Conflict, StorageUnavailable.
        """
        provider = self._configured()
        with self._leases.hold(instance_name_for(user_id)) as lease:
            return self._create(lease, provider, user_id, organization_id)

    def connect_user_whatsapp(self, user_id: UUID, organization_id: str | None = None) -> Connecting:
        """Bring the user's WhatsApp towards "connected": to a QR where a phone has to scan one.

        Clicks at the same time make one call; the others get what it brought. Without a code in the answer,
        it comes by the live channel. Raises NotConfigured, ProviderError, Conflict, StorageUnavailable.
        """
        provider = self._configured()
        with self._leases.hold(instance_name_for(user_id)) as lease:
            record = self._create(lease, provider, user_id, organization_id)
            if record.status is Status.CONNECTED:
                lease.renew()
                found = provider.state(record.name).state
                if found is State.CONNECTED:
                    return Connecting(record=record, already_connected=True)
                lease.renew()
                record = self._change(user_id, lambda before: seen(before, found, self._clock.now()))
            if self._is_fresh(record.standing):
                return Connecting(record=record)
            snapshot = self._connect(lease, provider, record)
            lease.renew()
            record = self._show(user_id, snapshot)
        return Connecting(record=self._awaited(user_id, record))

    def _configured(self) -> Provider:
        if self._provider is None:
            raise NotConfigured("WhatsApp is not configured", missing=["EVOLUTION_API_URL", "EVOLUTION_API_KEY"])
        return self._provider

    def _create(self, lease: Lease, provider: Provider, user_id: UUID, organization_id: str | None) -> InstanceRecord:
        """The user's instance, here and on the gateway."""
        with self._transaction() as connection:
            name = instance_name_for(user_id)
            store.insert_if_new(connection, name=name, user_id=user_id, organization_id=organization_id)
            record = store.lock_by_user(connection, user_id)
        if not record.hooked:
            self._create_upstream(lease, provider, record)
        return record

    def _create_upstream(self, lease: Lease, provider: Provider, record: InstanceRecord) -> None:
        """Make the instance on the gateway, or take over the one that is there; our webhook points here after it."""
        with self._transaction() as connection:
            hook = self._hook(connection, record)
        lease.renew()
        try:
            provider.create(record.name, hook)
            log.info("instance_created", instance=record.name)
        except NameInUse:
            lease.renew()
            provider.set_hook(record.name, hook)
            log.info("instance_adopted", instance=record.name)
        lease.renew()
        with self._transaction() as connection:
            store.mark_hooked(connection, record.id)

    def _connect(self, lease: Lease, provider: Provider, record: InstanceRecord) -> Snapshot:
        lease.renew()
        try:
            return provider.connect(record.name)
        except InstanceUnknown:
            log.info("instance_lost_by_gateway", instance=record.name)
            self._create_upstream(lease, provider, record)
            lease.renew()
            return provider.connect(record.name)

    def _show(self, user_id: UUID, snapshot: Snapshot) -> InstanceRecord:
        """Keep and tell what the gateway's answer brought."""
        now = self._clock.now()
        if snapshot.state is State.CONNECTED:
            return self._change(user_id, lambda before: seen(before, State.CONNECTED, now))

        def shown(before: Standing) -> Standing:
            waiting = asked(before, now)
            return pairing_shown(waiting, snapshot.pairing, now + self._qr_ttl) if snapshot.pairing else waiting

        return self._change(user_id, shown)

    def _change(self, user_id: UUID, change: Callable[[Standing], Standing]) -> InstanceRecord:
        with self._transaction() as connection:
            before = store.lock_by_user(connection, user_id)
            after = change(before.standing)
            record = replace(before, standing=after, status=after.status)
            store.save(connection, [record])
            happened = told(before, after)
            events.record(connection, happened)
        self._told(happened)
        return record

    def _awaited(self, user_id: UUID, record: InstanceRecord) -> InstanceRecord:
        """Give the webhook a few seconds to bring a code that the gateway's answer did not have yet."""
        tries = int(self._wait_s / LOOK_EVERY_S)
        while record.status is Status.CONNECTING and tries > 0:
            self._sleep(LOOK_EVERY_S)
            record = self.find_user_instance(user_id) or record
            tries -= 1
        return record

    def _is_fresh(self, standing: Standing) -> bool:
        until = standing.pairing_expires_at
        return standing.pairing is not None and until is not None and until > self._clock.now() + FRESH_FOR

    def _hook(self, connection: Connection, record: InstanceRecord) -> Hook:
        keys = keys_of(connection, self._vault, record.id)
        url = f"{self._webhook_base}/api/webhook/user/{record.user_id}"
        return Hook(url=url, token=keys.token, jwt_key=keys.jwt_key)

    def _told(self, happened: Sequence[events.DomainEvent]) -> None:
        if happened:
            self._rung(sorted({str(event.user_id) for event in happened}))
