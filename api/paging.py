"""Cursor paging: `limit` and an opaque, signed `cursor`."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from core.errors import Malformed

MOST = 200
USUAL = 50
Position = tuple[datetime, int, UUID]


class Cursors:
    """Signed, so that nobody builds one: what comes back is what was given out."""

    def __init__(self, secret_key: str) -> None:
        self._serializer = URLSafeSerializer(secret_key, salt="cursor")

    def write(self, position: Position | None) -> str | None:
        if position is None:
            return None
        text = self._serializer.dumps([position[0].isoformat(), position[1], str(position[2])])
        return text if isinstance(text, str) else text.decode()

    def read(self, cursor: str | None) -> Position | None:
        """Raises Malformed."""
        if not cursor:
            return None
        try:
            at, arrival, number = self._serializer.loads(cursor)
            return datetime.fromisoformat(at), int(arrival), UUID(number)
        except (BadData, TypeError, ValueError):
            raise Malformed("The cursor is not one of ours") from None


def limit_of(arguments: Mapping[str, str]) -> int:
    """`limit`, 1 to 200; 50 where it is missing. Raises Malformed."""
    given = arguments.get("limit", str(USUAL))
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MOST):
        raise Malformed(f"limit must be a number from 1 to {MOST}")
    return int(given)
