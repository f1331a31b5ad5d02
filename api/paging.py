"""Cursor paging: `limit` and an opaque, signed `cursor`, the position of the last row that was shown."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer
from pydantic import Field
from typing_extensions import TypedDict
from werkzeug.datastructures import MultiDict

from api.schemas.common import one_of
from core.errors import Malformed

MOST = 200
MOST_DIGITS = 9
USUAL = 50
LONGEST_QUERY = 200
NOT_OURS = ("offset", "sort")
LANGUAGES = ("pt", "en")
Reader = Callable[[Any], Any]


class InLanguage(TypedDict, total=False):
    """What `language_of` reads."""

    lang: Annotated[str, one_of(LANGUAGES), Field(json_schema_extra={"default": LANGUAGES[0]})]


class Paging(TypedDict, total=False):
    """What `limit_of` and `Cursors` read."""

    limit: Annotated[int, Field(ge=1, le=MOST, json_schema_extra={"default": USUAL})]
    cursor: Annotated[str, Field(description="The `next_cursor` of the answer before")]


class Search(Paging, total=False):
    """`text_of` too."""

    q: Annotated[str, Field(description="Words it must contain")]


class Cursors:
    """Signed, so that nobody builds one: what comes back is what was given out."""

    def __init__(self, secret_key: str) -> None:
        self._serializer = URLSafeSerializer(secret_key, salt="cursor")

    def write(self, position: Sequence[object] | None) -> str | None:
        if position is None:
            return None
        text = self._serializer.dumps([str(part) for part in position])
        return text if isinstance(text, str) else text.decode()

    def message(self, cursor: str | None) -> tuple[datetime, int, UUID] | None:
        """Where a list of messages goes on. This and the others raise Malformed."""
        place: tuple[datetime, int, UUID] | None = self._read(cursor, datetime.fromisoformat, int, UUID)
        return place

    def conversation(self, cursor: str | None) -> tuple[datetime, UUID] | None:
        place: tuple[datetime, UUID] | None = self._read(cursor, datetime.fromisoformat, UUID)
        return place

    def contact(self, cursor: str | None) -> tuple[str, UUID] | None:
        place: tuple[str, UUID] | None = self._read(cursor, str, UUID)
        return place

    def delivery(self, cursor: str | None) -> tuple[datetime, int] | None:
        place: tuple[datetime, int] | None = self._read(cursor, datetime.fromisoformat, int)
        return place

    def entry(self, cursor: str | None) -> int | None:
        place: tuple[int] | None = self._read(cursor, int)
        return place[0] if place else None

    def _read(self, cursor: str | None, *readers: Reader) -> Any:
        if not cursor:
            return None
        try:
            parts = self._serializer.loads(cursor)
            return tuple(read(part) for read, part in zip(readers, parts, strict=True))
        except (BadData, TypeError, ValueError):
            raise Malformed("The cursor is not one of ours") from None


def limit_of(arguments: MultiDict[str, str]) -> int:
    """`limit`, 1 to 200; 50 where it is missing. Raises Malformed, also for what no list of ours takes."""
    if unknown := [name for name in NOT_OURS if name in arguments]:
        raise Malformed(f"Lists have one order and go by cursor, without {unknown[0]}")
    if twice := [name for name, values in arguments.lists() if len(values) > 1]:
        raise Malformed(f"{twice[0][:40]} is given more than once")
    given = arguments.get("limit", str(USUAL))
    if not (given.isascii() and given.isdigit() and len(given) <= MOST_DIGITS and 1 <= int(given) <= MOST):
        raise Malformed(f"limit must be a number from 1 to {MOST}")
    return int(given)


def text_of(arguments: Mapping[str, str], name: str) -> str:
    """Words to search for, fit for PostgreSQL; what is longer than 200 characters is cut."""
    return arguments.get(name, "").replace("\0", "")[:LONGEST_QUERY]


def language_of(arguments: Mapping[str, str]) -> str:
    """`lang`, pt or en; pt where it is missing. Raises Malformed."""
    asked = arguments.get("lang", LANGUAGES[0])
    if asked not in LANGUAGES:
        raise Malformed(f"lang must be one of {', '.join(LANGUAGES)}")
    return asked
