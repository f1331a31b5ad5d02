"""Sends what `alerts` wrote down: claim, send outside of any transaction, confirm. A job of the schedule.

A target is served by one thread at a time, and has one message under way at most, so a slow or broken one holds up
nobody else, and what it gets of an incident is in order. Where it takes nothing, all that is due for it waits for the
same moment. A process that dies between claim and confirmation leaves a claim that lapses by the database's clock: the
message is sent again, perhaps for the second time, never not at all.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Row

from core.crypto import Vault
from core.db import Transaction
from core.errors import AppError
from monitor.alerting import deliveries
from monitor.alerting.alerts import RECOVERIES
from monitor.alerting.deliveries import CRASHED, Parcel
from monitor.alerting.letter import Item, letter

log = structlog.get_logger()
WIDTH: Final = 8
Send = Callable[[str, str, str, str], None]


class Outbox:
    """`send` gets URL, title, body and severity, and raises AppError. `patience_s`: how long `deliver` waits for those
    it has begun to serve; who is slower is served to the end meanwhile."""

    def __init__(
        self, transaction: Transaction, vault: Vault, send: Send, *, width: int = WIDTH, patience_s: float = 0.5
    ) -> None:
        self._transaction, self._vault, self._send = transaction, vault, send
        self._width, self._patience_s = width, patience_s
        self._serving: dict[UUID, threading.Thread] = {}
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._sent = 0

    def deliver(self, at: datetime) -> int:
        """Serve the targets for which something is due; how many messages have arrived since the last call ended.

        Raises StorageUnavailable. One caller at a time; several processes do no harm.
        """
        begun = [self._begin(target_id, at) for target_id in self._due(at)]
        end = time.monotonic() + self._patience_s
        for thread in begun:
            thread.join(max(end - time.monotonic(), 0))
        with self._lock:
            sent, self._sent = self._sent, 0
        return sent

    def stop(self, within_s: float = 5.0) -> None:
        """Begin nothing more, and wait a little for what is under way."""
        self._stopping.set()
        end = time.monotonic() + within_s
        for thread in list(self._serving.values()):
            thread.join(max(end - time.monotonic(), 0))

    def _due(self, at: datetime) -> list[UUID]:
        with self._lock:
            busy = set(self._serving)
        if len(busy) >= self._width or self._stopping.is_set():
            return []
        with self._transaction() as connection:
            return deliveries.due(connection, at, busy, self._width - len(busy))

    def _begin(self, target_id: UUID, at: datetime) -> threading.Thread:
        # daemons: a process that must end does not wait for somebody else's server
        thread = threading.Thread(target=self._serve, args=(target_id, at), name="alerts", daemon=True)
        with self._lock:
            self._serving[target_id] = thread
        thread.start()
        return thread

    def _serve(self, target_id: UUID, at: datetime) -> None:
        """Message by message, until there is none, or one fails."""
        try:
            while not self._stopping.is_set() and (parcel := self._claim(target_id, at)):
                if not self._carry(parcel, at):
                    return
        except AppError as error:
            log.warning("alerts_wait", target=str(target_id), error_code=error.code)
        except Exception as error:
            log.error("alerts_crashed", target=str(target_id), exc_info=error)
        finally:
            with self._lock:
                del self._serving[target_id]

    def _claim(self, target_id: UUID, at: datetime) -> Parcel | None:
        with self._transaction() as connection:
            return deliveries.claim(connection, target_id, at)

    def _carry(self, parcel: Parcel, at: datetime) -> bool:
        """Whether to go on. What cannot be put in words is nobody's trouble but its own."""
        if unsayable := [row for row in parcel.rows if not _is_sayable(parcel.target, row)]:
            with self._transaction() as connection:
                deliveries.put_back(connection, replace(parcel, rows=unsayable), CRASHED, at)
            parcel = replace(parcel, rows=[row for row in parcel.rows if row not in unsayable])
        return self._arrives(parcel, at) if parcel.rows else True

    def _arrives(self, parcel: Parcel, at: datetime) -> bool:
        trouble = self._trouble_with(parcel)
        with self._transaction() as connection:
            if trouble is None:
                deliveries.confirm(connection, parcel, at)
            else:
                deliveries.refuse(connection, parcel, trouble, at)
        how = {"target": str(parcel.target.id), "alerts": len(parcel.rows)}
        if trouble is not None:
            log.warning("alert_not_sent", **how, error_code=trouble, attempts=parcel.rows[0].attempts + 1)
            return False
        with self._lock:
            self._sent += 1
        log.info("alert_sent", **how)
        return True

    def _trouble_with(self, parcel: Parcel) -> str | None:
        """Send it; the code of what went wrong. No transaction is open here."""
        target = parcel.target
        try:
            said = letter([_item(row) for row in parcel.rows], target.language, target.timezone)
            self._send(self._vault.open(target.sealed)["url"], said.title, said.body, said.severity)
        except AppError as error:
            return error.code
        except Exception as error:  # its text may quote the URL
            log.error("alert_crashed", target=str(target.id), type=type(error).__qualname__)
            return CRASHED
        return None


def _is_sayable(target: Row[Any], row: Row[Any]) -> bool:
    """A kind that only a newer version knows is not."""
    try:
        letter([_item(row)], target.language, target.timezone)
    except Exception as error:
        log.error("alert_unsayable", target=str(target.id), kind=row.kind, type=type(error).__qualname__)
        return False
    return True


def _item(row: Row[Any]) -> Item:
    """A recovery that is the first they hear of it tells the whole story."""
    facts = dict(row.facts)
    if row.kind in RECOVERIES and row.unheard:
        facts = {"seconds": (row.at - row.opened_at).total_seconds(), **facts, "collapsed": True}
    return Item(incident_id=row.incident_id, kind=row.kind, facts=facts, at=row.at, about=row.about)
