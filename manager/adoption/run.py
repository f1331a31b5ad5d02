"""The order of a run: list the gateway, read the suspects, settle user after user, then compare with the gateway.

Nothing of a run is remembered but in the rows, so one that was killed is simply started again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from core.clock import Clock
from core.db import Transaction
from core.errors import Malformed, NotFound
from manager.adoption import rows
from manager.adoption.comparing import Comparing
from manager.adoption.gateway import Gateway, Silent
from manager.adoption.job import USUAL_BATCH, Job, Progress, Stopped, chunks
from manager.adoption.names import read_map
from manager.adoption.report import Finding, Kind, Report, unmapped
from manager.adoption.settling import Settling
from manager.leases import Leases
from manager.upstream import Upstream


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """`upstream` is None where no gateway is configured; `is_stand_in` where it is the sandbox, which need not run."""

    transaction: Transaction
    upstream: Upstream | None
    leases: Leases
    clock: Clock
    is_stand_in: bool = False
    rung: Callable[[list[str]], None] = lambda _: None

    def run(
        self,
        command: str,
        *,
        write: bool,
        progress: Progress,
        stop: Callable[[], bool] = lambda: False,
        table: str = "",
        batch: int = USUAL_BATCH,
    ) -> "Run":
        """`command` names it in the report. `table`: old name → user id, as names.read_map reads it.

        Raises Malformed where the table is wrong or names a user who does not exist, StorageUnavailable.
        """
        names = read_map(table)
        with self.transaction() as connection:
            known = rows.known_users(connection, set(names.mapped.values()))
        for name, user_id in names.mapped.items():
            if user_id not in known:
                raise Malformed(f"line {names.lines[name]}: there is no user {user_id}")
        provider = self.upstream.provider if self.upstream else None
        job = Job(
            house=self,
            gateway=Gateway(provider, is_stand_in=self.is_stand_in),
            report=Report(command=command, dry_run=not write),
            names=names,
            write=write,
            progress=progress,
            stop=stop,
            batch=batch,
        )
        return Run(job)


class Run:
    """One run. Its report is good at any time, also after an exception."""

    def __init__(self, job: Job) -> None:
        self._job, self.report = job, job.report
        self._settling, self._comparing = Settling(job), Comparing(job)

    def all(self) -> Report:
        """Check, or update, everything. Raises StorageUnavailable."""
        self._guarded(self._all)
        return self.report

    def one(self, name: str) -> Report:
        """The one instance of this name, old or new, here or on the gateway. Raises NotFound, StorageUnavailable."""
        self._guarded(lambda: self._one(name))
        return self.report

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Stopped:
            self.report.interrupted = True
        except Silent:
            self._say_away()
        self.report.broke_off = self._job.gateway.lost

    def _all(self) -> None:
        self._list()
        suspects = self._settling.survey()
        self._job.progress.begin("users", len(suspects))
        for chunk in chunks(suspects, self._job.batch):
            self._job.go_on()
            self.report.add(self._settling.settle(chunk, {user: suspects[user] for user in chunk}))
            self._job.progress.step(len(chunk))
        if self._job.gateway.reached:
            self._comparing.all()
        else:
            self._say_away()
        self._say_unused()

    def _one(self, name: str) -> None:
        with self._job.house.transaction() as connection:
            self.report.rows = rows.count(connection)
            row = rows.named(connection, name)
        self._list()
        said = self._job.names.of(name)
        user_id = self._job.owner(row) if row else said.user_id if said else None
        if user_id is None:
            if row is None:
                raise self._not_found(name)
            self.report.add([unmapped(row.name, row.id)])
            return
        group = self._settling.of_user(user_id)
        self.report.add(self._settling.settle([user_id], {user_id: group}, only=row.id if row else None))
        if self._job.gateway.reached:
            self._compare_one(user_id, name, has_row=row is not None or bool(group))
        elif row is None and not group:
            raise self._not_found(name)
        else:
            self._say_away()

    def _compare_one(self, user_id: UUID, name: str, *, has_row: bool) -> None:
        found = self._job.gateway.found.get(name)
        if has_row:
            self._comparing.own(self._settling.of_user(user_id))
        elif found:
            self._comparing.stranger(found)
        else:
            raise self._not_found(name)

    def _not_found(self, name: str) -> NotFound:
        where = "" if self._job.gateway.reached else f"; the gateway was not asked ({self._job.gateway.trouble})"
        return NotFound(f"{name}: not found{where}")

    def _list(self) -> None:
        self._job.gateway.list()
        self.report.gateway = self._job.gateway.word
        self.report.gateway_instances = len(self._job.gateway.found) if self._job.gateway.reached else None

    def _say_away(self) -> None:
        away = Finding(code="gateway_away", kind=Kind.NOTE, instance="gateway", text=self._job.gateway.trouble)
        self.report.add([away])

    def _say_unused(self) -> None:
        """Names of the table that are nobody's: not a row's, not the gateway's, not those that earlier runs mended."""
        left = set(self._job.names.mapped) - self._job.mapped_seen - self._job.gateway.found.keys()
        with self._job.house.transaction() as connection:
            unused = sorted(left - rows.names_known(connection, left))
        self.report.add(Finding(code="map_unused", kind=Kind.NOTE, instance=name) for name in unused)
