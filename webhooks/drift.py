"""What a delivery that nobody understood looks like, without its contents. Pure.

Deliveries of one shape have one fingerprint, whoever is in them: so a gateway's new format is seen as one thing,
however many deliveries it spoils.
"""

import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from core.errors import Malformed
from webhooks.envelope import event_name, parse

DEEPEST = 12
MOST_VALUES = 2_000  # looked at; what comes after them does not count
LONGEST_KEY = 48
DIGITS = 12
_NAME_OF_ONE = re.compile(r"\d+|[0-9A-Fa-f-]{12,}|[0-9A-Z]{16,}|.*@.*", re.DOTALL)  # an id, a message, a person


def fingerprint(event: str | None, body: bytes) -> str:
    """12 hex digits for the event's name and the shape of the JSON; `event` is what the entrance made of it."""
    try:
        document = parse(body)
    except Malformed as unreadable:
        return _digits(event or "", unreadable.code)
    named = document.get("event")
    return _digits(event or (event_name(named) if isinstance(named, str) else ""), shape(document))


def shape(document: Any) -> str:
    """`{"a":[1,"x"],"5511@lid":null}` is `{*:null,a:[number|string]}`."""
    return _shape(document, 0, iter(range(MOST_VALUES)))


def _shape(value: Any, depth: int, left: Iterator[int]) -> str:
    if next(left, None) is None or depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        members = {f"{_key(key)}:{_shape(value[key], depth + 1, left)}" for key in islice(sorted(value), MOST_VALUES)}
        return "{" + ",".join(sorted(members)) + "}"
    if isinstance(value, list):
        return "[" + "|".join(sorted({_shape(item, depth + 1, left) for item in islice(value, MOST_VALUES)})) + "]"
    return _kind(value)


def _key(key: str) -> str:
    return "*" if len(key) > LONGEST_KEY or _NAME_OF_ONE.fullmatch(key) else key


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    return "string" if isinstance(value, str) else "number"


def _digits(event: str, shaped: str) -> str:
    return hashlib.sha256(f"{event}\n{shaped}".encode("utf-8", "replace")).hexdigest()[:DIGITS]
