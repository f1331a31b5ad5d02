"""The gateway's content as it is kept: as it came, without pictures in it, and fit for a database. Pure.

Bytes come as `{"0":1,"1":2}` (2.3.3 and later), `{"type":"Buffer","data":[1,2]}`, `[1,2]` or base64 (up to 2.3.2, and
as it is kept here).
"""

import base64
import math
from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.kinds import Opened
from manager.providers.evolution.values import clean

DEEPEST = 40  # WhatsApp's own contents end at about 12; deeper ones are somebody's joke on our stack
PICTURES = frozenset({"base64", "jpegThumbnail", "JPEGThumbnail", "pngThumbnail", "thumbnail", "gifThumbnail"})
NUMBERS = frozenset({"scanLengths", "recipientKeyIndexes", "senderKeyIndexes"})  # lists of numbers, not bytes
NOTHING = object()


def original_of(message: object, opened: Opened) -> dict[str, Any] | None:
    """The content to keep; None where the message's text is all there is."""
    return None if _just_text(opened) or not isinstance(message, dict) else _object(message, DEEPEST)


def _just_text(opened: Opened) -> bool:
    if opened.name == "extendedTextMessage":
        return isinstance(opened.body, dict) and set(opened.body) == {"text"}
    return opened.name == "conversation"


def _object(given: Mapping[str, Any], depth: int) -> dict[str, Any]:
    found = {}
    for key, value in given.items():
        fit = NOTHING if key in PICTURES else _fit(value, depth - 1, numbers=key in NUMBERS)
        if fit is not NOTHING:
            found[clean(key)] = fit
    return found


def _fit(value: Any, depth: int, *, numbers: bool = False) -> Any:
    """The value as JSON that a database takes; NOTHING for what it does not."""
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, dict | list):
        return NOTHING if isinstance(value, float) and not math.isfinite(value) else value
    if depth <= 0:
        return NOTHING
    octets = None if numbers else _bytes(value)
    if octets is not None:
        return base64.b64encode(octets).decode()
    return _object(value, depth) if isinstance(value, dict) else _array(value, depth)


def _array(given: list[Any], depth: int) -> list[Any]:
    fits = (_fit(one, depth - 1) for one in given)
    return [fit for fit in fits if fit is not NOTHING]


def _bytes(value: Mapping[str, Any] | list[Any]) -> bytes | None:
    """The bytes that this is an encoding of; None where it is something else."""
    if isinstance(value, dict):
        if value.get("type") == "Buffer" and isinstance(value.get("data"), list):
            value = value["data"]
        elif list(value) == [str(place) for place in range(len(value))]:
            value = list(value.values())
    return bytes(value) if isinstance(value, list) and value and all(map(_is_octet, value)) else None


def _is_octet(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256
