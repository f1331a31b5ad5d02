"""The gateway and the rows: what one has and the other has not, and the adoption of what it has."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from core.errors import Conflict, ProviderError
from manager.adoption import rows
from manager.adoption.gateway import Silent
from manager.adoption.job import Job, chunks
from manager.adoption.names import technical
from manager.adoption.plan import Row
from manager.adoption.report import Finding, Kind, done
from manager.adoption.takeover import ALREADY, TakeOver
from manager.providers.port import Found


class Comparing:
    """For a gateway that was reached. All public methods raise Silent where it stops answering, StorageUnavailable."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._webhook_base = job.house.upstream.webhook_base if job.house.upstream else ""
        self._of_row: dict[UUID, int] = {}  # where in the report stands what was done about a row

    def all(self) -> None:
        """What the gateway and the rows say of each other."""
        planned = self._planned()
        strangers = dict(self._job.gateway.found)
        hooked: dict[str, Row] = {}
        unhooked: list[tuple[Row, Found]] = []
        self._job.progress.begin("comparing", self._job.report.rows)
        for page in self._job.pages(suspects=False):
            for before in page:
                row = _as_planned(before, planned.get(before.id))
                found = strangers.pop(row.on_gateway, None)
                if row.user_id is None or row.deleted:
                    continue
                if found is None:
                    self._job.report.add([_about(row, "not_on_gateway")])
                elif row.hooked:
                    hooked[found.name] = row
                else:
                    unhooked.append((row, found))
            self._job.progress.step(len(page))
        self._look_at_hooks(hooked)
        self._job.progress.begin("adopting", len(unhooked) + len(strangers))
        for row, found in unhooked:
            self._hook_up(row, found)
        self._adopt_all(strangers)

    def own(self, mine: list[Row]) -> None:
        """The rows of one user."""
        found = self._job.gateway.found
        planned = self._planned()
        for row in (_as_planned(row, planned.get(row.id)) for row in mine):
            if row.user_id is None or row.deleted:
                continue
            if row.on_gateway not in found:
                self._job.report.add([_about(row, "not_on_gateway")])
            elif row.hooked:
                self._look_at_hooks({row.on_gateway: row})
            else:
                self._hook_up(row, found[row.on_gateway])

    def stranger(self, found: Found) -> None:
        """One instance that has no row."""
        self._adopt_all({found.name: found})

    def _adopt_all(self, strangers: dict[str, Found]) -> None:
        for user_id, found in self._adoptable(strangers):
            self._job.report.add(self._adopt(user_id, found, "no_row"))

    def _look_at_hooks(self, hooked: dict[str, Row]) -> None:
        """Notes only: the manager repairs what drifts."""
        self._job.progress.begin("webhooks", len(hooked))

        def each() -> None:
            self._job.progress.step(1)
            self._job.go_on()

        for name, hook in self._job.gateway.hooks(hooked, each).items():
            row = hooked[name]
            if isinstance(hook, ProviderError):
                self._job.report.add([_about(row, "hook_elsewhere", text=f"could not be seen: {hook.message}")])
            elif hook is None or not hook.enabled or hook.url != f"{self._webhook_base}/api/webhook/user/{row.user_id}":
                self._job.report.add([_about(row, "hook_elsewhere")])

    def _adoptable(self, strangers: dict[str, Found]) -> Iterator[tuple[UUID, Found]]:
        """Those of a known user who has no instance, one each; the others are reported."""
        said: dict[UUID, list[Found]] = {}
        for name, found in strangers.items():
            if owner := self._job.names.of(name):
                said.setdefault(owner.user_id, []).append(found)
            else:
                self._job.report.add([_only(found, "its name says nobody")])
        for chunk in chunks(said, self._job.batch):
            with self._job.house.transaction() as connection:
                known = rows.known_users(connection, chunk)
                served = rows.users_with_row(connection, chunk)
            for finding in self._job.report.findings:
                if finding.kind is Kind.MENDABLE and finding.user_id:
                    served.add(finding.user_id)  # a dry run has not written what it would
            for user_id in chunk:
                if user_id not in known or user_id in served:
                    why = "its user has an instance" if user_id in served else "there is no such user"
                    self._job.report.add(_only(found, why, user_id) for found in said[user_id])
                    continue
                best = self._best(user_id, said[user_id])
                others = [found for found in said[user_id] if found is not best]
                self._job.report.add(_only(found, f"adopted: {best.name}", user_id) for found in others)
                yield user_id, best

    def _best(self, user_id: UUID, found: list[Found]) -> Found:
        """Connected now, then named as it should be."""
        if len(found) == 1:
            return found[0]
        connected = self._job.gateway.seen([one.name for one in found]).connected
        return max(found, key=lambda one: (one.name in connected, one.name == technical(user_id), one.name))

    def _planned(self) -> dict[UUID, Finding]:
        """What this run is about to do about rows, or did: the latter shows in the rows already."""
        planned: dict[UUID, Finding] = {}
        for index, finding in enumerate(self._job.report.findings):
            if finding.row_id and finding.kind in (Kind.MENDABLE, Kind.MIGRATED):
                self._of_row[finding.row_id] = index
                planned[finding.row_id] = finding
        return planned

    def _hook_up(self, row: Row, found: Found) -> None:
        """A row's instance gets our webhook. That belongs to what is said of the row, where something is."""
        if row.user_id is None:
            return
        adopted = self._adopt(row.user_id, found, "unhooked", row.id)
        index = self._of_row.get(row.id)
        if index is None or any(one.kind not in (Kind.MENDABLE, Kind.MIGRATED) for one in adopted):
            self._job.report.add(adopted)
            return
        text = (
            "its webhook is set, its session stays" if self._job.write else "its webhook will be set, its session stays"
        )
        known = self._job.report.findings[index]
        self._job.report.findings[index] = replace(known, text="; ".join(filter(None, [known.text, text])))

    def _adopt(self, user_id: UUID, found: Found, code: str, row_id: UUID | None = None) -> list[Finding]:
        """Point its webhook here, with a row for it where there is none; only said where this run writes nothing."""
        self._job.go_on()
        self._job.progress.step(1)
        mendable = Finding(
            code=code,
            kind=Kind.MENDABLE,
            instance=found.name,
            user_id=user_id,
            row_id=row_id,
            becomes=technical(user_id) if found.name != technical(user_id) else None,
            gateway_name=found.name if found.name != technical(user_id) else None,
            on_gateway=True,
        )
        return self._adopted(mendable, found) if self._job.write else [mendable]

    def _adopted(self, mendable: Finding, found: Found) -> list[Finding]:
        house, user_id = self._job.house, mendable.user_id
        if house.upstream is None or user_id is None:
            return []
        take_over = TakeOver(
            transaction=house.transaction,
            upstream=house.upstream,
            leases=house.leases,
            clock=house.clock,
            rung=house.rung,
        )
        try:
            why_not = self._job.gateway.ask(lambda: take_over.take(user_id, found))
        except Silent:
            self._job.report.add([replace(mendable, text="left out")])
            raise
        except ProviderError as error:
            return [replace(mendable, code="gateway_failed", kind=Kind.ERROR, text=error.message)]
        except Conflict:
            return [replace(mendable, code="busy", kind=Kind.SKIPPED)]
        if why_not == ALREADY:
            return []
        if why_not == "not_on_gateway":
            return [replace(mendable, code=why_not, kind=Kind.NOTE)]
        return [replace(mendable, code=why_not, kind=Kind.ERROR) if why_not else done(mendable)]


def _as_planned(row: Row, finding: Finding | None) -> Row:
    """The row as it will be once what was found is mended."""
    if finding is None:
        return row
    name = finding.becomes or finding.instance
    return replace(row, name=name, user_id=finding.user_id, gateway_name=finding.gateway_name)


def _about(row: Row, code: str, text: str | None = None) -> Finding:
    return Finding(code=code, kind=Kind.NOTE, instance=row.name, user_id=row.user_id, row_id=row.id, text=text)


def _only(found: Found, why: str, user_id: UUID | None = None) -> Finding:
    return Finding(code="gateway_only", kind=Kind.NOTE, instance=found.name, user_id=user_id, on_gateway=True, text=why)
