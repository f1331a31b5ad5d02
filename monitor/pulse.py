"""Is the monitor itself alive: does somebody lead, and when was the last step of the watch. By the database's clock.

Any process may ask: the web role (`routes`, `gauges`) and `ops.py doctor` do.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import Connection, text

from core.db import Transaction
from core.errors import AppError
from monitor.leader import NAME
from monitor.policy.standing import STALE_AFTER

LEAST = timedelta(seconds=30)
PULSE = text("SELECT until > now() AS is_led, now() - ticked_at AS silent_for FROM monitor_terms WHERE name = :name")


class Beat(StrEnum):
    """UNKNOWN: no monitor has ever looked after anything here, or the database is away."""

    OK = "ok"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    """`is_led`: somebody leads at this moment. `silent_for`: since the last step; None: there has never been one."""

    is_led: bool
    silent_for: timedelta | None

    def beat(self, interval: timedelta) -> Beat:
        if self.silent_for is None:
            return Beat.UNKNOWN
        return Beat.STOPPED if self.silent_for > patience(interval) else Beat.OK


@dataclass(frozen=True)
class PulseReader:
    """For processes that are not the monitor. `interval`: between two checks of an instance."""

    transaction: Transaction
    interval: timedelta

    def read(self) -> Pulse | None:
        """None: no monitor has ever led here. Raises StorageUnavailable."""
        with self.transaction() as connection:
            return pulse(connection)

    def beat(self) -> Beat:
        try:
            found = self.read()
        except AppError:
            return Beat.UNKNOWN
        return found.beat(self.interval) if found else Beat.UNKNOWN


def pulse(connection: Connection) -> Pulse | None:
    """None: no monitor has ever led here."""
    row = connection.execute(PULSE, {"name": NAME}).first()
    return Pulse(is_led=row.is_led, silent_for=row.silent_for) if row else None


def patience(interval: timedelta) -> timedelta:
    """How long it may be silent: steps are seconds apart, so even a few that fail are no silence."""
    return max(LEAST, STALE_AFTER * interval)
