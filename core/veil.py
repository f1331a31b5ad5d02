"""Changes as operators may see them: how long texts are, not what people wrote. Pure."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from core.diff import Change

# columns whose texts are the product's own words
WORDS = frozenset(
    {
        "kind",
        "status",
        "direction",
        "state",
        "type",
        "role",
        "reason",
        "source",
        "instance_name",
        "instance",
        "provider",
    }
)
CLIPPED = 4  # characters of a key that is a text: enough to find the row, too few to name a person


def shown(change: Change, words: Collection[str] = WORDS) -> dict[str, Any]:
    """`{"table":"messages","key":"7f…","before":{"content":"12 characters"},"after":{…}}`, for JSON."""
    before, after = (
        None if row is None else {name: veiled(name, value, words) for name, value in row.items()}
        for row in (change.before, change.after)
    )
    return {"table": change.table, "key": _key(change), "before": before, "after": after}


def line(change: Change, words: Collection[str] = WORDS) -> str:
    """`messages 3EB0…: content 12 → 31 characters, kind text → image`, `… new (…)` or `… gone`."""
    head = f"{change.table} {_key(change)}"
    if change.after is None:
        return f"{head}: gone"
    if change.before is None:
        row = [f"{name} {veiled(name, value, words)}" for name, value in change.after.items() if value is not None]
        return f"{head}: new ({', '.join(row)})"
    return f"{head}: " + ", ".join(
        f"{name} {_turn(veiled(name, change.before[name], words), veiled(name, after, words))}"
        for name, after in change.after.items()
    )


def veiled(name: str, value: Any, words: Collection[str] = WORDS) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID) or (isinstance(value, str) and name in words):
        return str(value)
    text = value if isinstance(value, str | bytes) else json.dumps(value, default=str)
    return f"{len(text)} {'bytes' if isinstance(text, bytes) else 'characters'}"


def _turn(before: Any, after: Any) -> str:
    """Two lengths share their unit."""
    old, new = ("null" if value is None else str(value) for value in (before, after))
    for unit in (" characters", " bytes"):
        if old.endswith(unit) and new.endswith(unit):
            old = old.removesuffix(unit)
    return f"{old} → {new}"


def _key(change: Change) -> str:
    return "/".join(
        part[:CLIPPED] + "…" if isinstance(part, str) and len(part) > CLIPPED else str(part) for part in change.key
    )
