"""An instance's webhook on its gateway: found wrong, it is set right again; its keys can be changed.

Run by the monitor's schedule, a few instances a time, those first that were not looked at for longest. One bad
instance, or a gateway that is away, only ends the round.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import Connection, func, select

from core import audit
from core.clock import Clock
from core.errors import AppError, CircuitOpen, InstanceUnknown, NotFound, NotOffered, Unavailable
from manager import store
from manager.keys import rotate
from manager.leases import Lease, Leases
from manager.lifecycle import InstanceRecord
from manager.providers.port import Hook, HookSeen
from manager.tables import Instance
from manager.upstream import Upstream

log = structlog.get_logger()
AT_ONCE = 20


def drift(wanted: Hook, found: HookSeen | None) -> list[str]:
    """What is not as we set it: `missing`, or some of disabled, url, token, jwt_key, events, by_events."""
    if found is None:
        return ["missing"]
    wrong = {
        "disabled": not found.enabled,
        "url": found.url != wanted.url,
        "token": found.token != wanted.token,
        "jwt_key": found.jwt_key != wanted.jwt_key,
        "events": bool(found.events),  # we ask for all
        "by_events": found.by_events,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


@dataclass(frozen=True, kw_only=True)
class Hooks:
    upstream: Upstream
    leases: Leases
    clock: Clock

    def check(self, at_once: int = AT_ONCE) -> int:
        """Look at the next instances' webhooks and mend what drifted. How many were mended."""
        with self.upstream.transaction() as connection:
            records = _longest_unchecked(connection, self.upstream.name, at_once)
        mended = 0
        for record in records:
            try:
                mended += self._check(record)
            except AppError as error:
                log.warning("hook_check_failed", instance=record.name, code=error.code)
                if isinstance(error, CircuitOpen) or (isinstance(error, Unavailable) and not error.sent):
                    break  # nobody there: the others would fare no better
        return mended

    def rotate(self, name: str, actor: str) -> None:
        """New keys for an instance, here and on its gateway; the ones before stay good for a day.

        Raises NotFound, ProviderError, Conflict, StorageUnavailable.
        """
        with self.upstream.transaction() as connection:
            record = store.named(connection, [name]).get(name)
            if record is None:
                raise NotFound("There is no such instance", code="INSTANCE_NOT_FOUND")
        if record.provider != self.upstream.name:
            raise NotOffered("This gateway is told its keys only when an instance starts")
        with self.leases.hold(record.lease_name, "rotate") as lease:
            with self.upstream.transaction() as connection:
                rotate(connection, self.upstream.vault, record.id)
                audit.note(connection, actor=actor, action="hook.rotated", subject=name)
            self._set(lease, record)

    def _check(self, record: InstanceRecord) -> bool:
        """Whether it had to be mended. One that fails waits for its turn like the others."""
        with self.upstream.transaction() as connection:
            store.mark(connection, record.id, hook_checked_at=self.clock.now())
        wrong = self._wrong(record)
        if wrong:
            with self.leases.hold(record.lease_name, "hook") as lease:
                wrong = self._wrong(record)  # somebody may just have set it
                if wrong:
                    self._set(lease, record)
        if wrong:
            with self.upstream.transaction() as connection:
                details = {"drift": wrong}
                audit.note(connection, actor="zelador", action="hook.repaired", subject=record.name, details=details)
            log.warning("hook_repaired", instance=record.name, drift=wrong)
        return bool(wrong)

    def _wrong(self, record: InstanceRecord) -> list[str]:
        try:
            return drift(self.upstream.hook_of(record), self.upstream.provider.hook(record.gateway_name))
        except InstanceUnknown:  # a connect makes it again; the health monitor tells people
            return []

    def _set(self, lease: Lease, record: InstanceRecord) -> None:
        lease.renew()
        self.upstream.provider.set_hook(record.gateway_name, self.upstream.hook_of(record))


def _longest_unchecked(connection: Connection, provider: str, at_once: int) -> list[InstanceRecord]:
    query = (
        select(Instance.__table__)
        .where(Instance.hooked_at.is_not(None), Instance.deleted_at.is_(None), Instance.user_id.is_not(None))
        .where(Instance.provider == provider)
        .order_by(Instance.hook_checked_at.asc().nulls_first(), Instance.id)
        .limit(at_once)
    )
    return [store.record_of(row) for row in connection.execute(query).mappings()]


@dataclass(frozen=True, kw_only=True)
class Removals:
    """Instances that the gateway had not deleted yet when somebody closed or deleted them."""

    upstream: Upstream
    leases: Leases
    clock: Clock

    def finish(self) -> int:
        """See whether they are gone, and ask again where not. How many are gone now."""
        with self.upstream.transaction() as connection:
            records = self._unfinished(connection)
        return sum(self._finish(record) for record in records)

    def _finish(self, record: InstanceRecord) -> bool:
        try:
            with self.leases.hold(record.lease_name, "delete") as lease:
                with self.upstream.transaction() as connection:
                    if not self._unfinished(connection, record.id):
                        return False  # somebody has connected it again
                is_gone = self.upstream.remove(lease, record)
                lease.renew()
                with self.upstream.transaction() as connection:
                    store.mark(connection, record.id, gone_at=self.clock.now() if is_gone else None)
                return is_gone
        except AppError as error:
            log.warning("removal_waits", instance=record.name, code=error.code)
            return False

    def _unfinished(self, connection: Connection, only: UUID | None = None) -> list[InstanceRecord]:
        """In any order, so that those that fail do not keep the others waiting."""
        conditions = [Instance.spent, Instance.hooked_at.is_(None), Instance.gone_at.is_(None)]
        conditions += [Instance.provider == self.upstream.name]
        conditions += [Instance.id == only] if only else []
        query = select(Instance.__table__).where(*conditions).order_by(func.random()).limit(AT_ONCE)
        return [store.record_of(row) for row in connection.execute(query).mappings()]
