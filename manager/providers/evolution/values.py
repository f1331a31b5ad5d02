"""Single values of Evolution's JSON: texts, numbers and times, in every encoding its versions use.

Called by everything in this folder; calls nothing. Pure, and never surprised: what is not of the kind is None or empty.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

EARLIEST, LATEST = datetime(2009, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)  # WhatsApp began in 2009
LONGEST_NAME = 200
PHONE_LIKE = re.compile(r"[\s()+.-]*\d[\d\s()+.-]*")


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # as JSON has it; to ask for a Mapping takes ten times as long


def items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def said(value: object) -> str | None:
    """A text that says something, clean; None for an empty one and for what is no text."""
    return clean(text(value)).strip() or None


def called(value: object) -> str | None:
    """A person's or a group's name, 200 characters at most. None for a number, which is who they are."""
    name = clean(text(value)).strip()[:LONGEST_NAME]
    return None if PHONE_LIKE.fullmatch(name) else name or None


def identifier(value: object) -> str:
    """An id or a JID, fit for an index; "" for what cannot be one."""
    name = clean(text(value))
    return name if len(name) <= LONGEST_NAME else ""


def clean(given: str) -> str:
    """The text as PostgreSQL and JSON can hold it: NUL and lone surrogates become U+FFFD."""
    if given.isascii() and "\0" not in given:
        return given
    return given.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def integer(value: object) -> int | None:
    """A whole number: as number or string (to 2.3.5), or as `{"low":1761400001,"high":0,"unsigned":true}` (2.3.6)."""
    if isinstance(value, Mapping):
        low, high = _integer(value.get("low")), _integer(value.get("high"))
        return None if low is None else (high or 0) * 2**32 + low % 2**32
    return _integer(value)


def count(value: object) -> int | None:
    """A whole number of something, 0 to 2⁶³ - 1."""
    number = integer(value)
    return number if number is not None and 0 <= number < 2**63 else None


def real(value: object) -> float | None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def moment(value: object) -> datetime | None:
    """A time: seconds or milliseconds in any encoding of a whole number, or ISO text; None for an impossible one."""
    seconds = integer(value)
    try:
        if seconds is None:
            found = datetime.fromisoformat(value) if isinstance(value, str) else None
            found = found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
        else:
            found = datetime.fromtimestamp(seconds / 1000 if seconds > 10**11 else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found and EARLIEST < found < LATEST else None


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None
