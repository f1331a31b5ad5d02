"""Rows and users: read the suspects, decide about each user's, write.

What is written rests on rows that are locked: what the survey saw may be old by then, and another run at work.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from core.errors import NotNow, StorageUnavailable
from manager.adoption import rows
from manager.adoption.gateway import Silent
from manager.adoption.job import Job
from manager.adoption.names import technical
from manager.adoption.plan import Group, Row, Seen, settle
from manager.adoption.report import Finding, Kind, done, unmapped

TRIES = 5
AGAIN = ("40P01", "40001", "55P03")  # a deadlock, a serialization failure, a lock that took too long


class Settling:
    """All methods raise StorageUnavailable, and NotNow where somebody does not let go of the rows."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def survey(self) -> dict[UUID, list[Row]]:
        """The rows that are not as they should be, by the user they say; what says nobody is reported."""
        with self._job.house.transaction() as connection:
            self._job.report.rows = rows.count(connection)
        suspects: dict[UUID, list[Row]] = {}
        self._job.progress.begin("reading", self._job.report.rows)
        for page in self._job.pages(suspects=True):
            for row in page:
                user_id = self._job.owner(row)
                if user_id is None:
                    self._job.report.add([unmapped(row.name, row.id)])
                else:
                    suspects.setdefault(user_id, []).append(row)
            self._job.progress.step(len(page))
        return suspects

    def of_user(self, user_id: UUID) -> list[Row]:
        """The user's row, and the unbound ones that say this user."""
        mapped = [name for name, user in self._job.names.mapped.items() if user == user_id]
        with self._job.house.transaction() as connection:
            found = rows.of_user(connection, user_id, mapped)
        return [row for row in found if self._job.owner(row) == user_id]

    def settle(self, users: Sequence[UUID], suspects: dict[UUID, list[Row]], only: UUID | None = None) -> list[Finding]:
        """Decide about these users' rows, and do it where this run writes; with `only`, about that row alone."""
        with self._job.house.transaction() as connection:
            groups = self._groups(connection, users, suspects, lock=False)
        several = [group for group in groups if len(group.unbound) + (group.bound is not None) > 1]
        names = [row.on_gateway for group in several for row in (*group.unbound, *filter(None, [group.bound]))]
        seen = self._look(names)
        if not self._job.write:
            return _of_row(self._decided(groups, seen), only)
        for _ in range(TRIES):
            try:
                return self._written(users, suspects, seen, only)
            except IntegrityError:  # somebody made an instance in the meantime: decide anew
                continue
            except StorageUnavailable as error:
                if error.details.get("dbCode") not in AGAIN:
                    raise
        raise NotNow("The rows are too busy, try later")

    def _look(self, names: list[str]) -> Seen:
        """Whether these are connected now. From a gateway that falls silent just then we only know that."""
        try:
            return self._job.gateway.seen(names)
        except Silent:
            return self._job.gateway.seen()

    def _written(
        self, users: Sequence[UUID], suspects: dict[UUID, list[Row]], seen: Seen, only: UUID | None
    ) -> list[Finding]:
        with self._job.house.transaction() as connection:
            rows.wait_for_turn(connection)
            groups = self._groups(connection, users, suspects, lock=True)
            findings = _of_row(self._decided(groups, seen), only)
            before = {row.id: row for group in groups for row in (*group.unbound, *filter(None, [group.bound]))}
            rows.write(connection, [finding for finding in findings if finding.kind is Kind.MENDABLE], before)
        return [done(finding) for finding in findings]

    def _decided(self, groups: Iterable[Group], seen: Seen) -> list[Finding]:
        return [finding for group in groups for finding in settle(group, self._job.names, seen)]

    def _groups(
        self, connection: Connection, users: Sequence[UUID], suspects: dict[UUID, list[Row]], *, lock: bool
    ) -> list[Group]:
        """The users' rows as they are now; with `lock` they stay so until the commit."""
        surveyed = [row for user in users for row in suspects[user]]
        ids = {row.id for row in surveyed}
        found = rows.group(
            connection,
            ids=list(ids),
            users=users,
            wanted=[technical(user) for user in users],
            names=[row.on_gateway for row in surveyed],
            lock=lock,
        )
        known = rows.known_users(connection, users, lock=lock)
        bound = {row.user_id: row for row in found if row.user_id}
        unbound: dict[UUID | None, list[Row]] = {}
        for row in found:
            if row.user_id is None and row.id in ids and not row.deleted:
                unbound.setdefault(self._job.owner(row), []).append(row)
        taken = {row.name: row.id for row in found}
        taken_there = {row.gateway_name: row.id for row in found if row.gateway_name}
        return [
            Group(
                user_id=user,
                exists=user in known,
                bound=bound.get(user),
                unbound=unbound.get(user, []),
                taken=taken,
                taken_there=taken_there,
            )
            for user in users
        ]


def _of_row(findings: list[Finding], only: UUID | None) -> list[Finding]:
    return [finding for finding in findings if only in (None, finding.row_id)]
