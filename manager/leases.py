"""One hand on an instance at a time: whoever changes the gateway's state holds its lease.

Across processes and hosts, by the database's clock. A process that dies lets go when its time is over.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import DateTime, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Transaction
from core.errors import Conflict

# one guarded call, renewed before each: retries begin within 15 s, then 90 s, a second look, a place among 16
HOLD = timedelta(seconds=130)
WAIT_S = 30.0
LOOK_EVERY_S = 0.15
# `before` is what somebody was doing who never let go
TAKE = text("""
WITH before AS (SELECT operation FROM instance_leases WHERE instance_name = :name)
INSERT INTO instance_leases AS held (instance_name, holder, until, operation)
VALUES (:name, :holder, now() + :hold, :operation)
ON CONFLICT (instance_name) DO UPDATE SET
    holder = excluded.holder, until = excluded.until, operation = excluded.operation
WHERE held.until < now()
RETURNING (SELECT operation FROM before) AS interrupted
""")
RENEW = text("""
UPDATE instance_leases SET until = now() + :hold WHERE instance_name = :name AND holder = :holder
""")
INTERRUPTED = text("SELECT instance_name FROM instance_leases WHERE until < now() ORDER BY until LIMIT 100")
GIVE_BACK = text("""
UPDATE instance_leases SET until = now(), operation = :operation, holder = 'nobody'
WHERE instance_name = :name AND holder = :holder
""")
DROP = text("DELETE FROM instance_leases WHERE instance_name = :name AND holder = :holder")


class InstanceLease(Base):
    __tablename__ = "instance_leases"

    instance_name: Mapped[str] = mapped_column(Text, primary_key=True)
    holder: Mapped[str] = mapped_column(Text)
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    operation: Mapped[str | None] = mapped_column(Text)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """An instance in our hands. `interrupted`: what somebody was doing to it who died over it; nobody knows how far
    that got."""

    transaction: Transaction
    name: str
    holder: str
    interrupted: str | None = None

    def renew(self) -> None:
        """Hold it for the time of one more call, in a transaction of its own.

        Raises Conflict where its time was over and somebody else took it, StorageUnavailable.
        """
        with self.transaction() as connection:
            mine = {"name": self.name, "holder": self.holder, "hold": HOLD}
            if connection.execute(RENEW, mine).rowcount != 1:
                raise busy()


class Leases:
    def __init__(self, transaction: Transaction, sleep: Callable[[float], None] = time.sleep) -> None:
        self._transaction, self._sleep = transaction, sleep

    @contextlib.contextmanager
    def hold(self, name: str, operation: str) -> Iterator[Lease]:
        """Wait for the instance, at most 30 s, and hold it for one call. Raises Conflict, StorageUnavailable."""
        holder = uuid4().hex
        for _ in range(int(WAIT_S / LOOK_EVERY_S)):
            if lease := self._take(name, holder, operation):
                break
            self._sleep(LOOK_EVERY_S)
        else:
            raise busy()
        try:
            yield lease
        except BaseException:
            if lease.interrupted:  # nobody has looked yet: it stays known that somebody must
                with self._transaction() as connection:
                    mine = {"name": name, "holder": holder, "operation": lease.interrupted}
                    connection.execute(GIVE_BACK, mine)
            raise
        finally:
            with self._transaction() as connection:
                connection.execute(DROP, {"name": name, "holder": holder})

    def interrupted(self) -> list[str]:
        """The instances that somebody died over."""
        with self._transaction() as connection:
            return list(connection.execute(INTERRUPTED).scalars())

    def _take(self, name: str, holder: str, operation: str) -> Lease | None:
        with self._transaction() as connection:
            values = {"name": name, "holder": holder, "hold": HOLD, "operation": operation}
            taken = connection.execute(TAKE, values).first()
        if taken is None:
            return None
        return Lease(transaction=self._transaction, name=name, holder=holder, interrupted=taken.interrupted)


def busy() -> Conflict:
    return Conflict("Another operation on this instance is still running", code="OPERATION_IN_PROGRESS")
