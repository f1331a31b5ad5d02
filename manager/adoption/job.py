"""What the parts of one run share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol
from uuid import UUID

from core.clock import Clock
from core.db import Transaction
from manager.adoption import rows
from manager.adoption.gateway import Gateway
from manager.adoption.names import Names
from manager.adoption.plan import Row
from manager.adoption.report import Report
from manager.leases import Leases
from manager.upstream import Upstream

USUAL_BATCH = 1000


class Progress(Protocol):
    def begin(self, what: str, total: int) -> None: ...
    def step(self, count: int) -> None: ...


class Stopped(Exception):
    """The operator wants it to end."""


class House(Protocol):
    """manager.adoption.Adoption: what a run works on."""

    @property
    def transaction(self) -> Transaction: ...
    @property
    def upstream(self) -> Upstream | None: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def rung(self) -> Callable[[list[str]], None]: ...


@dataclass(kw_only=True)
class Job:
    """`write`: False for a run that only says what it would do. `mapped_seen`: names of the table that were met."""

    house: House
    gateway: Gateway
    report: Report
    names: Names
    write: bool
    progress: Progress
    stop: Callable[[], bool]
    batch: int
    mapped_seen: set[str] = field(default_factory=set)

    def go_on(self) -> None:
        """Called between steps. Raises Stopped."""
        if self.stop():
            raise Stopped

    def owner(self, row: Row) -> UUID | None:
        """Whose the row is, or who it says it is."""
        if row.name in self.names.mapped:
            self.mapped_seen.add(row.name)
        said = self.names.of(row.name)
        return row.user_id or (said.user_id if said else None)

    def pages(self, *, suspects: bool) -> Iterator[list[Row]]:
        """All rows, or the suspects, in small transactions."""
        after = rows.FIRST
        while True:
            self.go_on()
            with self.house.transaction() as connection:
                page = rows.page(connection, after, max(self.batch, USUAL_BATCH), suspects=suspects)
            if not page:
                return
            yield page
            after = page[-1].id


def chunks(users: Iterable[UUID], size: int) -> Iterator[list[UUID]]:
    rest = iter(users)
    while chunk := list(islice(rest, size)):
        yield chunk
