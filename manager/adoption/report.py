"""What a run found and did, for people and for programs. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

DONE, NOT_DONE, UNAVAILABLE, LATER, INTERRUPTED = 0, 1, 69, 75, 130
SHOWN = 10
WORDS = {
    "user_id_missing": "rows without user_id whose name says the user",
    "old_prefix": "rows named auzap_<id>: become user_<id>, the gateway keeps the old name",
    "no_prefix": "rows named by the id alone: become user_<id>, the gateway keeps the old name",
    "spelling": "rows whose name spells the id in another way: become user_<id>, the gateway keeps the old name",
    "mapped": "rows whose user the table says",
    "no_row": "gateway instances of a known user without a row: adopted, session and old name are kept",
    "unhooked": "gateway instances of a row that never had our webhook: it is set, the session stays",
    "unmapped": "rows whose name says nobody: name them in --map FILE.csv",
    "surplus": "more than one instance for a user: the best one is kept, these stay unbound",
    "needs_gateway": "several rows for a user, and only the gateway knows the best: run again when it is there",
    "busy": "another operation on the instance was still running: run again",
    "no_such_user": "the name says a user who does not exist",
    "name_taken": "the name it should have belongs to another row",
    "gateway_failed": "the gateway did not do it",
    "better_unbound": "an unbound row is connected and the user's own is not: decide by hand",
    "named_otherwise": "rows with a user whose name is a free one, or says somebody else: left as they are",
    "not_on_gateway": "rows whose instance the gateway does not have: the next connect asks for a pairing",
    "gateway_only": "gateway instances without a row that are nobody's here: left as they are",
    "hook_elsewhere": "instances whose webhook does not point here: Zelador's own repair sees to it",
    "map_unused": "names of --map that nothing is called",
    "gateway_away": "the gateway part was left out",
}  # fmt: skip


class Kind(StrEnum):
    """`mendable`: an update would do it; `note`: nothing is wrong with the rows."""

    MENDABLE = "mendable"
    MIGRATED = "migrated"
    SKIPPED = "skipped"
    ERROR = "error"
    NOTE = "note"


TITLES = {
    Kind.MENDABLE: "to mend",
    Kind.MIGRATED: "migrated",
    Kind.ERROR: "errors",
    Kind.SKIPPED: "skipped",
    Kind.NOTE: "notes",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing about one instance. `instance` is its name before, `becomes` the one after, where that is another;
    `gateway_name` what the gateway calls it, where it is another. `on_gateway`: it is no row's, only the gateway's."""

    code: str
    kind: Kind
    instance: str
    user_id: UUID | None = None
    row_id: UUID | None = None
    becomes: str | None = None
    gateway_name: str | None = None
    on_gateway: bool = False
    text: str | None = None

    def as_dict(self) -> dict[str, Any]:
        user_id = str(self.user_id) if self.user_id else None
        return {
            "code": self.code,
            "kind": self.kind.value,
            "instance": self.instance,
            "user_id": user_id,
            "becomes": self.becomes,
            "gateway_name": self.gateway_name,
            "text": self.text,
        }

    def line(self) -> str:
        words = [self.instance]
        words += [f"→ {self.becomes}"] if self.becomes else []
        if self.becomes and self.gateway_name:
            is_kept = self.gateway_name == self.instance
            words.append("(old name kept for the gateway)" if is_kept else f"(on the gateway {self.gateway_name})")
        is_said = str(self.user_id) in (self.becomes or self.instance)
        words += [f"user {self.user_id}"] if self.user_id and not is_said else []
        words += [f"– {self.text}"] if self.text else []
        return " ".join(words)


@dataclass(kw_only=True)
class Report:
    """Grows while a run works, so that one that is broken off can still be told."""

    command: str
    dry_run: bool = False
    rows: int = 0
    gateway: str = "none"
    gateway_instances: int | None = None
    interrupted: bool = False
    broke_off: bool = False
    findings: list[Finding] = field(default_factory=list)

    def add(self, findings: Iterable[Finding]) -> None:
        self.findings.extend(findings)

    def count(self, kind: Kind) -> int:
        return sum(finding.kind is kind for finding in self.findings)

    @property
    def processed(self) -> int:
        """What was not in order, and looked into."""
        return sum(finding.kind is not Kind.NOTE for finding in self.findings)

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        codes = {finding.code for finding in self.findings if finding.kind is Kind.SKIPPED}
        if self.command != "check" and (self.broke_off or "needs_gateway" in codes):
            return UNAVAILABLE
        if self.command != "check" and "busy" in codes:
            return LATER
        if self.count(Kind.ERROR) or (self.command == "check" and self._is_to_mend()):
            return NOT_DONE
        return NOT_DONE if self.command == "migrate" and codes else DONE

    def _is_to_mend(self) -> bool:
        """Rows only: differences with the gateway alone are notes to whoever asks whether all is well."""
        waits = any(finding.code == "needs_gateway" for finding in self.findings)
        return waits or any(finding.kind is Kind.MENDABLE and not finding.on_gateway for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "dry_run": self.dry_run,
            "rows": self.rows,
            "gateway": self.gateway,
            "gateway_instances": self.gateway_instances,
            "processed": self.processed,
            "migrated": self.count(Kind.MIGRATED),
            "skipped": self.count(Kind.SKIPPED),
            "errors": self.count(Kind.ERROR),
            "mendable": self.count(Kind.MENDABLE),
            "notes": self.count(Kind.NOTE),
            "interrupted": self.interrupted,
            "counts": dict(sorted(Counter(finding.code for finding in self.findings).items())),
            "findings": [finding.as_dict() for finding in self.findings],
            "exit_code": self.exit_code,
        }

    def lines(self) -> Iterator[str]:
        """The report as people read it; of many alike, the first ones."""
        of_gateway = f", {self.gateway_instances} instances" if self.gateway_instances is not None else ""
        yield f"{self.rows} rows in whatsapp_instances · gateway: {self.gateway}{of_gateway}"
        for kind, title in TITLES.items():
            yield from self._part(kind, title)
        if self.interrupted:
            yield "interrupted: what is listed is done; run it again for the rest"
        mend = f" (to mend: {self.count(Kind.MENDABLE)})" if self.count(Kind.MENDABLE) else ""
        numbers = (Kind.MIGRATED, Kind.SKIPPED, Kind.ERROR)
        migrated, skipped, errors = (self.count(kind) for kind in numbers)
        yield f"processed {self.processed}, migrated {migrated}, skipped {skipped}, errors {errors}{mend}"

    def _part(self, kind: Kind, title: str) -> Iterator[str]:
        by_code: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.kind is kind:
                by_code.setdefault(finding.code, []).append(finding)
        for code, findings in by_code.items():
            yield f"{title}: {code} {len(findings)} – {WORDS[code]}"
            yield from (f"    {finding.line()}" for finding in findings[:SHOWN])
            if len(findings) > SHOWN:
                yield f"    … and {len(findings) - SHOWN} more (--json lists all)"


def done(finding: Finding) -> Finding:
    return replace(finding, kind=Kind.MIGRATED) if finding.kind is Kind.MENDABLE else finding


def unmapped(name: str, row_id: UUID) -> Finding:
    return Finding(code="unmapped", kind=Kind.SKIPPED, instance=name, row_id=row_id)
