"""Whose an instance is, by its name or by the operator's table. Pure."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from core.errors import Malformed

OLD = re.compile(
    r"(?P<prefix>user_|auzap_|)(?P<id>[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE
)
HEADERS = {"user", "userid", "user_id", "user id", "useruuid", "user_uuid", "id", "uuid", "usuario", "usuário"}


@dataclass(frozen=True, kw_only=True)
class Said:
    """A user, and what is wrong with the name that says so (a word of report.WORDS)."""

    user_id: UUID
    code: str


def technical(user_id: UUID) -> str:
    """The name an instance of this user has here."""
    return f"user_{user_id}"


@dataclass(frozen=True, kw_only=True)
class Names:
    """Reads names; what the operator's table says comes first. `lines`: where the table says it."""

    mapped: Mapping[str, UUID] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> Said | None:
        """None where the name says nobody."""
        if name in self.mapped:
            return Said(user_id=self.mapped[name], code="mapped")
        found = OLD.fullmatch(name)
        if found is None:
            return None
        user_id = UUID(found["id"])
        if name == technical(user_id):
            return Said(user_id=user_id, code="user_id_missing")
        codes = {"auzap_": "old_prefix", "": "no_prefix"}
        return Said(user_id=user_id, code=codes.get(found["prefix"].lower(), "spelling"))


def read_map(content: str) -> Names:
    """A table of `old name,user id`: a header, empty lines, `#` comments and semicolons are understood.

    Raises Malformed with the number of the line.
    """
    mapped: dict[str, UUID] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(content.removeprefix("\ufeff").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = _fields(number, line)
        if not mapped and number == 1 and fields[1].lower() in HEADERS:
            continue
        name, user_id = fields[0], _user(number, fields[1])
        if name in mapped:
            raise Malformed(f"line {number}: {name} stands in line {lines[name]} already")
        mapped[name], lines[name] = user_id, number
    return Names(mapped=mapped, lines=lines)


def _fields(number: int, line: str) -> tuple[str, str]:
    try:
        found = next(csv.reader([line], delimiter="," if "," in line else ";", strict=True))
    except csv.Error:
        found = []
    name, user_id = [part.strip() for part in found] if len(found) == 2 else ("", "")
    if not name or not user_id or "\0" in name:
        raise Malformed(f"line {number}: must be an instance's name, a comma, and a user's id")
    return name, user_id


def _user(number: int, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Malformed(f"line {number}: the user's id is no UUID") from None
