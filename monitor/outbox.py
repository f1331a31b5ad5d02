"""Sends what `monitor.alerts` wrote down: claim, send outside of any transaction, confirm. A job of the schedule.

A target is served by one thread at a time, and has one message under way at most, so a slow or broken one holds up
nobody else, and what it gets is in order. A process that dies between claim and confirmation leaves a claim that lapses
by the database's clock: the message is sent again, perhaps for the second time, never not at all.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, text

from core.crypto import Vault
from core.db import Transaction, array
from core.errors import AppError
from monitor.alerts import RECOVERIES
from monitor.letter import Item, Letter, letter
from monitor.pacing import Manner, Waiting, next_try, turn

log = structlog.get_logger()
LEASE: Final = timedelta(seconds=90)  # longer than any sending: WhatsApp may take 60 s
WIDTH: Final = 8
LOOKED_AT_MOST: Final = 200  # deliveries of one target
Send = Callable[[str, str, str, str], None]

# the due ones' targets, but for those that somebody is sending to
DUE = text("""
SELECT delivery.target_id
FROM alert_deliveries AS delivery JOIN alert_targets AS target ON target.id = delivery.target_id
WHERE delivery.state = 'pending' AND delivery.next_at <= :at AND target.enabled
  AND delivery.target_id <> ALL(CAST(:busy AS uuid[]))
GROUP BY delivery.target_id
HAVING coalesce(max(delivery.claimed_until), '-infinity') < now()
ORDER BY min(delivery.next_at)
LIMIT :most
""")
# NO KEY: whoever records an alert for the target meanwhile need not wait
TARGET = text("""
SELECT id, sealed, language, quiet_from, quiet_until, timezone, digest_minutes FROM alert_targets
WHERE id = :id AND enabled FOR NO KEY UPDATE SKIP LOCKED
""")
WAITING = text("""
SELECT delivery.id, delivery.attempts, delivery.next_at, delivery.claimed_until >= now() AS claimed,
    alert.incident_id, alert.kind, alert.severity, alert.facts, alert.at, incident.opened_at,
    coalesce(incident.instance_name, incident.gateway) AS about,
    NOT EXISTS (
        SELECT FROM alerts JOIN alert_deliveries AS other ON other.alert_id = alerts.id
        WHERE alerts.incident_id = alert.incident_id AND other.target_id = delivery.target_id AND other.state = 'sent'
    ) AS unheard
FROM alert_deliveries AS delivery
JOIN alerts AS alert ON alert.id = delivery.alert_id
JOIN incidents AS incident ON incident.id = alert.incident_id
WHERE delivery.target_id = :target AND delivery.state = 'pending'
ORDER BY alert.id LIMIT :most
FOR UPDATE OF delivery SKIP LOCKED
""")
POSTPONE = text("""
UPDATE alert_deliveries AS kept SET next_at = new.at
FROM unnest(CAST(:ids AS bigint[]), CAST(:at AS timestamptz[])) AS new (id, at) WHERE kept.id = new.id
""")
CLAIM = text("""
UPDATE alert_deliveries SET claimed_until = now() + :lease, attempts = attempts + 1
WHERE id = ANY(CAST(:ids AS bigint[])) RETURNING claimed_until
""")
SENT = text("""
UPDATE alert_deliveries SET state = 'sent', sent_at = :at, claimed_until = NULL, error = NULL
WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'pending'
""")
# it takes messages again: what is between two attempts need not wait for an hour
HASTEN = text("""
UPDATE alert_deliveries SET next_at = :at
WHERE target_id = :target AND state = 'pending' AND attempts > 0 AND next_at > :at
""")
FAILED = text("""
UPDATE alert_deliveries AS kept SET
    state = CASE WHEN new.next_at IS NULL THEN 'failed' ELSE 'pending' END,
    next_at = coalesce(new.next_at, kept.next_at), error = :code, claimed_until = NULL
FROM unnest(CAST(:ids AS bigint[]), CAST(:next_at AS timestamptz[])) AS new (id, next_at)
WHERE kept.id = new.id AND kept.state = 'pending' AND kept.claimed_until = :claim
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """One message under way: the deliveries that it is, and until when they are ours."""

    target_id: UUID
    sealed: bytes
    letter: Letter
    rows: Sequence[Row[Any]]
    claim: datetime


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
            busy = sorted(self._serving)
        if len(busy) >= self._width or self._stopping.is_set():
            return []
        values = {"at": at, "busy": array(busy), "most": self._width - len(busy)}
        with self._transaction() as connection:
            return list(connection.execute(DUE, values).scalars())

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
            target = connection.execute(TARGET, {"id": target_id}).first()
            if target is None:
                return None
            rows = connection.execute(WAITING, {"target": target_id, "most": LOOKED_AT_MOST}).all()
            if any(row.claimed for row in rows):
                return None
            chosen = turn([_waiting(row) for row in rows], _manner(target), at)
            if chosen.later:
                later = sorted(chosen.later.items())
                connection.execute(POSTPONE, {"ids": array(i for i, _ in later), "at": array(t for _, t in later)})
            if not chosen.now:
                return None
            now = [row for row in rows if row.id in chosen.now]
            claim = connection.execute(CLAIM, {"ids": array(chosen.now), "lease": LEASE}).scalars().all()[0]
        said = letter([_item(row) for row in now], target.language, target.timezone)
        return Parcel(target_id=target_id, sealed=target.sealed, letter=said, rows=now, claim=claim)

    def _carry(self, parcel: Parcel, at: datetime) -> bool:
        """Whether it arrived."""
        trouble = self._trouble_with(parcel)
        with self._transaction() as connection:
            if trouble is None:
                _confirm(connection, parcel, at)
            else:
                _put_back(connection, parcel, trouble, at)
        how = {"target": str(parcel.target_id), "alerts": len(parcel.rows)}
        if trouble is not None:
            log.warning("alert_not_sent", **how, error_code=trouble, attempts=parcel.rows[0].attempts + 1)
            return False
        with self._lock:
            self._sent += 1
        log.info("alert_sent", **how)
        return True

    def _trouble_with(self, parcel: Parcel) -> str | None:
        """Send it; the code of what went wrong. No transaction is open here."""
        said = parcel.letter
        try:
            self._send(self._vault.open(parcel.sealed)["url"], said.title, said.body, said.severity)
        except AppError as error:
            return error.code
        except Exception as error:  # its text may quote the URL
            log.error("alert_crashed", target=str(parcel.target_id), type=type(error).__qualname__)
            return "CRASHED"
        return None


def _confirm(connection: Connection, parcel: Parcel, at: datetime) -> None:
    connection.execute(SENT, {"ids": array(row.id for row in parcel.rows), "at": at})
    connection.execute(HASTEN, {"target": parcel.target_id, "at": at})


def _put_back(connection: Connection, parcel: Parcel, trouble: str, at: datetime) -> None:
    values = {
        "ids": array(row.id for row in parcel.rows),
        "next_at": array(next_try(row.attempts + 1, row.at, at) for row in parcel.rows),
        "code": trouble,
        "claim": parcel.claim,
    }
    connection.execute(FAILED, values)


def _waiting(row: Row[Any]) -> Waiting:
    return Waiting(id=row.id, incident_id=row.incident_id, severity=row.severity, at=row.at, next_at=row.next_at)


def _manner(target: Row[Any]) -> Manner:
    return Manner(
        quiet_from=target.quiet_from,
        quiet_until=target.quiet_until,
        timezone=target.timezone,
        digest=timedelta(minutes=target.digest_minutes) if target.digest_minutes else None,
    )


def _item(row: Row[Any]) -> Item:
    """A recovery that is the first they hear of it tells the whole story."""
    facts = dict(row.facts)
    if row.kind in RECOVERIES and row.unheard:
        facts = {"seconds": (row.at - row.opened_at).total_seconds(), **facts, "collapsed": True}
    return Item(incident_id=row.incident_id, kind=row.kind, facts=facts, at=row.at, about=row.about)
