"""Adopt one instance of the gateway: a row, our webhook, and what a live look shows. Evolution hears one call.

Safe to break off and to repeat at any point: the row is there first, so that the first webhook finds its key;
`hooked_at` is written last, and a row without it is finished by the next run (or by the user's next connect).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import Connection, text

from core import audit, events
from core.clock import Clock
from core.db import Transaction
from core.errors import InstanceUnknown
from manager import store
from manager.adoption import rows
from manager.adoption.names import technical
from manager.fold import told
from manager.leases import Lease, Leases
from manager.lifecycle import InstanceRecord, identified, seen
from manager.providers.port import Found, HookSeen, State
from manager.upstream import Upstream

INSERT = text("""
INSERT INTO whatsapp_instances (instance_name, user_id, gateway_name, phone_number, profile_name, organization_id)
SELECT :name, id, :gateway_name, :phone, :profile_name, organization_id FROM profiles WHERE id = :user FOR KEY SHARE
ON CONFLICT DO NOTHING
""")
EVENED = text("""
UPDATE whatsapp_instances SET status = 'disconnected'
WHERE user_id = :user AND status NOT IN ('disconnected', 'connecting', 'qr_pending', 'connected')
""")
ALREADY = "already"  # somebody else finished it in the meantime
MINE = text("SELECT coalesce(gateway_name, instance_name) FROM whatsapp_instances WHERE user_id = :user")


@dataclass(frozen=True, kw_only=True)
class TakeOver:
    """`rung` is told the users whose feed has grown."""

    transaction: Transaction
    upstream: Upstream
    leases: Leases
    clock: Clock
    rung: Callable[[list[str]], None]

    def take(self, user_id: UUID, found: Found) -> str | None:
        """What stood in the way (a word of report.WORDS, or ALREADY), None where it is done.

        Raises ProviderError, Conflict where somebody else has the instance in hand, StorageUnavailable.
        """
        with self.leases.hold(technical(user_id), "adopt") as lease:
            live = self.upstream.provider.state(found.name).state
            if live is State.NOT_FOUND:
                return "not_on_gateway"
            old = self._hook(lease, found.name)
            with self.transaction() as connection:
                self._put_row(connection, user_id, found)
                if connection.execute(MINE, {"user": user_id}).scalar() != found.name:
                    return "name_taken"
                connection.execute(EVENED, {"user": user_id})
                record = store.lock_by_user(connection, user_id)
            if record.hooked:
                return ALREADY
            hook = self.upstream.hook_of(record)
            lease.renew()
            self.upstream.provider.set_hook(found.name, hook)
            lease.renew()
            self._keep(user_id, found, live, old)
        return None

    def _hook(self, lease: Lease, name: str) -> HookSeen | None:
        """Where its events went until now: for the audit only, whoever cannot say it does not matter."""
        lease.renew()
        try:
            return self.upstream.provider.hook(name)
        except InstanceUnknown:
            return None
        finally:
            lease.renew()

    def _put_row(self, connection: Connection, user_id: UUID, found: Found) -> None:
        """Nothing happens where the user, or the name, has a row already."""
        name = technical(user_id)
        values = {
            "user": user_id,
            "name": name,
            "gateway_name": found.name if found.name != name else None,
            "phone": found.phone,
            "profile_name": found.profile_name,
        }
        connection.execute(INSERT, values)

    def _keep(self, user_id: UUID, found: Found, live: State, old: HookSeen | None) -> None:
        """The live look, and that it is ours now."""
        with self.transaction() as connection:
            rows.wait_long(connection)
            before = store.lock_by_user(connection, user_id)
            record = self._seen(before, found, live)
            store.save(connection, [record])
            store.mark_hooked(connection, before.id)
            host = urlsplit(old.url).netloc.rpartition("@")[2] if old and old.url else None
            details = {"gateway_name": found.name, "row": before.id, "state": live, "old": {"webhook_host": host}}
            scope = str(user_id)
            audit.note(
                connection, actor="operator", action="adopted", subject=before.name, scope=scope, details=details
            )
            happened = told(before, record.standing)
            events.record(connection, happened)
        if happened:
            self.rung([str(user_id)])

    def _seen(self, before: InstanceRecord, found: Found, live: State) -> InstanceRecord:
        after = seen(identified(before.standing, found), live, self.clock.now())
        return replace(before, standing=after, status=after.status)
