"""What is done to an instance on its gateway, call by call, while the caller holds its lease.

No call is made inside a transaction, and the lease is renewed before each: who lost it does no more.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from core.crypto import Vault
from core.db import Transaction
from core.errors import InstanceUnknown, NameInUse, ProviderError
from manager import store
from manager.keys import keys_of
from manager.leases import Lease
from manager.lifecycle import InstanceRecord
from manager.providers.port import Found, Hook, Provider, Snapshot, State

log = structlog.get_logger()
LOOK_EVERY_S = 0.25
GONE_WITHIN_S = 30.0  # Evolution removes an instance once we have taken its last webhook
OUT_WITHIN_S = 10.0


class StillThere(ProviderError):
    """The gateway said that it deletes the instance, and still has it."""

    code, http_status, retryable = "PROVIDER_BUSY", 503, True


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """One gateway server. `name` is what `whatsapp_instances.provider` says of its instances; `secret_path`: it sends
    no headers, so the webhook's path carries the key. `sleep` is the tests' seam. All methods raise ProviderError,
    NotConfigured, Conflict (the lease is lost), StorageUnavailable."""

    transaction: Transaction
    provider: Provider
    vault: Vault
    webhook_base: str
    name: str = "evolution"
    secret_path: bool = False
    sleep: Callable[[float], None] = time.sleep

    def create(self, lease: Lease, record: InstanceRecord) -> None:
        """Make the instance, or take over the one that is there; our webhook points here after it."""
        hook = self.hook_of(record)
        lease.renew()
        try:
            self.provider.create(record.gateway_name, hook)
            log.info("instance_created", instance=record.name)
        except NameInUse:
            lease.renew()
            self.provider.set_hook(record.gateway_name, hook)
            log.info("instance_adopted", instance=record.name)
        lease.renew()
        with self.transaction() as connection:
            store.mark_hooked(connection, record.id)

    def renew(self, lease: Lease, record: InstanceRecord) -> None:
        """Make it anew: on 2.3.x an instance that was logged out pairs again, and never hears a message."""
        if not self.remove(lease, record):
            raise StillThere("The gateway is still deleting the instance, try again in a minute")
        self.create(lease, record)

    def remove(self, lease: Lease, record: InstanceRecord) -> bool:
        """Delete it, and see that it is gone. False where the gateway takes longer than 30 s."""
        lease.renew()
        try:
            self.provider.delete(record.gateway_name)
        except InstanceUnknown:
            return True
        return self._until(lease, record, GONE_WITHIN_S, State.NOT_FOUND)

    def logout(self, lease: Lease, record: InstanceRecord) -> None:
        """Unpair its phone; some versions say so before it is done, so look. None to unpair is fine."""
        lease.renew()
        try:
            self.provider.logout(record.gateway_name)
        except InstanceUnknown:
            return
        if not self._until(lease, record, OUT_WITHIN_S, State.DISCONNECTED, State.NOT_FOUND, State.CONNECTING):
            raise StillThere("The gateway has not let go of the phone yet, try again in a minute")

    def connect(self, lease: Lease, record: InstanceRecord, phone: str | None = None) -> Snapshot:
        """Ask for a connection; an instance that the gateway lost is made again."""
        hook = self.hook_of(record)
        lease.renew()
        try:
            return self.provider.connect(record.gateway_name, phone, hook)
        except InstanceUnknown:
            log.info("instance_lost_by_gateway", instance=record.name)
            self.create(lease, record)
            lease.renew()
            return self.provider.connect(record.gateway_name, phone, hook)

    def restart(self, lease: Lease, record: InstanceRecord) -> Snapshot:
        """Close and open it again; one that is closed cannot be restarted, but connected."""
        lease.renew()
        try:
            return self.provider.restart(record.gateway_name)
        except ProviderError as error:
            if type(error) is not ProviderError:  # 200 {"error":true} is one; a time-out or a refusal is no answer
                raise
        return self.connect(lease, record)

    def look(self, lease: Lease, record: InstanceRecord) -> State:
        lease.renew()
        return self.provider.state(record.gateway_name).state

    def identity(self, lease: Lease, record: InstanceRecord) -> Found | None:
        """Whose phone is connected, where no webhook says it; None also where the gateway does not say it now."""
        lease.renew()
        try:
            return self.provider.identity(record.gateway_name)
        except ProviderError as error:
            log.warning("identity_unknown", instance=record.name, code=error.code)
            return None

    def hook_of(self, record: InstanceRecord) -> Hook:
        """Where and how the gateway shall post this instance's events."""
        with self.transaction() as connection:
            keys = keys_of(connection, self.vault, record.id)
        path = f"{self.name}/{keys.token}" if self.secret_path else f"user/{record.user_id}"
        return Hook(url=f"{self.webhook_base}/api/webhook/{path}", token=keys.token, jwt_key=keys.jwt_key)

    def _until(self, lease: Lease, record: InstanceRecord, within_s: float, *wanted: State) -> bool:
        """Look again and again, until the gateway shows one of these states."""
        for _ in range(int(within_s / LOOK_EVERY_S)):
            if self.look(lease, record) in wanted:
                return True
            self.sleep(LOOK_EVERY_S)
        return False
