"""The register: one row an instance, what is known of each, and what its user hears of a change.

The manager's hold on its own table. Nothing here talks to a gateway; every method is a transaction of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from core import events
from core.db import Transaction
from core.errors import Conflict
from manager import store
from manager.fold import told
from manager.gateways import Gateways
from manager.lifecycle import InstanceRecord, Standing, instance_name_for

# what another gateway's clock has said: against the next one's its reports would count as old
CLOCKS = ("state_at", "reason_at", "alive_at", "ended_at", "pairing_at", "phone_at")


class Register:
    """`rung` is told the users whose feed has grown. Every method raises StorageUnavailable."""

    def __init__(self, transaction: Transaction, gateways: Gateways, rung: Callable[[list[str]], None]) -> None:
        self._transaction, self._gateways, self._rung = transaction, gateways, rung

    def find(self, user_id: UUID) -> InstanceRecord | None:
        with self._transaction() as connection:
            return store.find_by_user(connection, user_id)

    def row(
        self, user_id: UUID, organization_id: str | None, as_new: Mapping[str, object] | None = None
    ) -> InstanceRecord:
        """The user's row, made when there is none; a deleted one is there again. One that is on no gateway goes to the
        one that makes new instances by now. Raises NotConfigured, and Conflict where it shall be new and is not."""
        name, provider = instance_name_for(user_id), self._gateways.default()
        with self._transaction() as connection:
            store.insert_if_new(
                connection, name=name, user_id=user_id, organization_id=organization_id, provider=provider
            )
            record = store.lock_by_user(connection, user_id)
            if as_new and record.is_made:
                raise already_made()
            provider = provider if record.homeless else record.provider
            self._gateways.of(provider)  # or nothing is written
            moved: dict[str, object] = {} if provider == record.provider else dict.fromkeys(CLOCKS)
            if as_new or record.deleted or moved:
                store.mark(connection, record.id, deleted_at=None, provider=provider, **moved, **(as_new or {}))
        return replace(record, deleted=False, provider=provider)

    def current(self, user_id: UUID) -> InstanceRecord:
        """The user's row, once nobody is changing it. Raises NotFound."""
        with self._transaction() as connection:
            return store.lock_by_user(connection, user_id)

    def mark(self, record: InstanceRecord, **columns: object) -> None:
        """Set columns that nobody hears of."""
        with self._transaction() as connection:
            store.mark(connection, record.id, **columns)

    def change(
        self, record: InstanceRecord, change: Callable[[Standing], Standing], **columns: object
    ) -> InstanceRecord:
        """Take a change of its standing in, with `columns` of the row, and tell of it; what is known by then."""
        with self._transaction() as connection:
            before = store.lock(connection, record.id)
            after = change(before.standing)
            changed = replace(before, standing=after, status=after.status)
            store.save(connection, [changed])
            happened = told(before, after)
            if columns:
                store.mark(connection, record.id, **columns)
            events.record(connection, happened)
        if happened:
            self._rung(sorted({str(event.user_id) for event in happened}))
        return changed


def already_made() -> Conflict:
    return Conflict("This user has a WhatsApp instance already", code="INSTANCE_ALREADY_EXISTS")
