"""Looks at instances whose gateway does not tell, or not reliably, that a phone has paired or parted.

Run by the monitor's schedule every few seconds, over those in which something has happened a short while ago: a code is
shown, a connection was asked for or lost. Whether a connection lasts is the health monitor's to see.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from core import events
from core.clock import Clock
from core.db import Transaction
from core.errors import AppError, ProviderError
from manager import store
from manager.fold import told
from manager.lifecycle import (
    InstanceRecord,
    Lifetimes,
    Standing,
    Status,
    asked,
    identified,
    pairing_shown,
    seen,
)
from manager.providers.port import Found, Provider, Snapshot, State
from manager.tables import Instance

log = structlog.get_logger()
EVERY = timedelta(seconds=3)
FOR = timedelta(minutes=10)  # after the last change; a code that nobody scans ends sooner
AT_ONCE = 50
IN_FLIGHT = 8


@dataclass(frozen=True, kw_only=True)
class Lookout:
    """Over one gateway server, the one that is called `name`. `provider`: in a hurry, and without retries, for it is
    asked again by itself. `rung` is told the users whose feed has grown."""

    name: str
    provider: Provider
    transaction: Transaction
    clock: Clock
    lifetimes: Lifetimes
    rung: Callable[[list[str]], None]

    def look(self, *, late: bool = False) -> int:
        """Look at those that are due; `late`: at those that wait for a phone for longer, as after a time in which
        nobody looked. How many turned out to stand differently."""
        with self.transaction() as connection:
            due = _due(connection, self.name, _waiting() if late else _moving())
        if not due:
            return 0
        with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="lookout") as pool:
            return sum(pool.map(self._look, due))

    def _look(self, record: InstanceRecord) -> bool:
        try:
            shown = self.provider.state(record.gateway_name)
            found = self._identity(record) if shown.state is State.CONNECTED else None
            return self._take(record, shown, found)
        except AppError as error:
            log.warning("look_failed", instance=record.name, code=error.code)
            return False

    def _identity(self, record: InstanceRecord) -> Found | None:
        """Whose phone is on it: it may be another one than before. Where the gateway does not say now, the next look
        asks again."""
        try:
            return self.provider.identity(record.gateway_name)
        except ProviderError as error:
            log.warning("identity_unknown", instance=record.name, code=error.code)
            return None

    def _take(self, record: InstanceRecord, shown: Snapshot, found: Found | None) -> bool:
        with self.transaction() as connection:
            before = store.lock(connection, record.id)
            if before.spent or before.updated_at != record.updated_at:  # whoever changed it, or parts, knows better
                return False
            after = self._after(before.standing, shown, found)
            if after == before.standing:
                return False
            store.save(connection, [replace(before, standing=after, status=after.status)])
            happened = told(before, after)
            events.record(connection, happened)
        self.rung(sorted({str(event.user_id) for event in happened}))
        return True

    def _after(self, before: Standing, shown: Snapshot, found: Found | None) -> Standing:
        now = self.clock.now()
        after = identified(seen(before, shown.state, now, ended=shown.ended), found)
        if shown.pairing is None:  # a code whose time is over, and that has no successor, has ended
            return asked(after, now) if shown.state is State.CONNECTING else after
        if _has_code(after, now):
            return after
        return pairing_shown(after, shown.pairing, now + self.lifetimes.of(shown.pairing))


def _has_code(standing: Standing, now: datetime) -> bool:
    """Whether somebody is typing a pairing code: its gateway goes on to show QR codes beside it."""
    until, pairing = standing.pairing_expires_at, standing.pairing
    return bool(pairing and pairing.pairing_code and until and until > now)


def _due(connection: Connection, provider: str, which: ColumnElement[bool]) -> Sequence[InstanceRecord]:
    """Those that changed last come first."""
    on_it = (Instance.provider == provider, Instance.hooked_at.is_not(None), Instance.deleted_at.is_(None))
    query = select(Instance.__table__).where(*on_it, ~Instance.spent, which)
    rows = connection.execute(query.order_by(Instance.updated_at.desc()).limit(AT_ONCE)).mappings()
    return [store.record_of(row) for row in rows]


def _waiting() -> ColumnElement[bool]:
    return Instance.status.in_((Status.CONNECTING, Status.QR_PENDING))


def _moving() -> ColumnElement[bool]:
    recent = func.now() - FOR
    unsettled = or_(Instance.state != State.CONNECTED, Instance.phone_number.is_(None))
    return and_(unsettled, or_(Instance.updated_at > recent, Instance.asked_at > recent))
