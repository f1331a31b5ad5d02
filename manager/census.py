"""What the gateway has, held against our rows: at the monitor's start, and every few hours.

Instances of known users that have no row are taken over; rows that the gateway has no more are written down, never
deleted: the next connect makes them again. Asks the gateway for its whole list, which is slow on big servers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, select

from core import audit
from core.errors import AppError
from manager import store
from manager.adoption import rows
from manager.adoption.names import Names, technical
from manager.adoption.takeover import TakeOver
from manager.lifecycle import InstanceRecord
from manager.providers.port import Found
from manager.tables import Instance

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Census:
    takeover: TakeOver

    def take(self) -> None:
        """Raises ProviderError, StorageUnavailable."""
        with self.takeover.transaction() as connection:
            # before the list is asked for: what is made meanwhile is not missed
            records = _hooked(connection, self.takeover.upstream.name)
        found = {one.name: one for one in self.takeover.upstream.provider.instances()}
        with self.takeover.transaction() as connection:
            vanished = [record for record in records if record.gateway_name not in found]
            if vanished and not found:  # F-78: it has lost its inventory, which is no news about each of them
                log.error("gateway_inventory_lost", instances=len(vanished))
                return
            for record in vanished:
                store.mark(connection, record.id, gone_at=self.takeover.clock.now())
                audit.note(connection, actor="zelador", action="instance.vanished", subject=record.name)
                log.warning("instance_vanished", instance=record.name)
        self._adopt(found)

    def _adopt(self, found: Mapping[str, Found]) -> None:
        """Those named `user_<id>` after a user who has no row; others are the operator's to map."""
        said = {name: Names().of(name) for name in found}
        named = {name: one.user_id for name, one in said.items() if one and name == technical(one.user_id)}
        with self.takeover.transaction() as connection:
            users = rows.known_users(connection, set(named.values()))
            users -= rows.users_with_row(connection, users)
        for name, user_id in named.items():
            if user_id in users:
                try:
                    if (obstacle := self.takeover.take(user_id, found[name])) is None:
                        log.info("instance_adopted", instance=name)
                    else:
                        log.warning("adoption_failed", instance=name, code=obstacle)
                except AppError as error:
                    log.warning("adoption_failed", instance=name, code=error.code)


def _hooked(connection: Connection, provider: str) -> list[InstanceRecord]:
    """Rows that the gateway should have, and was not seen without."""
    here = (Instance.hooked_at.is_not(None), Instance.deleted_at.is_(None), Instance.gone_at.is_(None))
    query = select(Instance.__table__).where(*here, Instance.provider == provider)
    found = connection.execute(query.order_by(Instance.id)).mappings()
    return [store.record_of(row) for row in found]
