"""What a browser gets, as text. Pure; one encoder a dialect, this is ours (docs/live.md)."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from notify.feed import FeedEvent

Enrich = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # an event's data as recorded → as shown


def event(happened: FeedEvent, enrich: Enrich) -> str:
    """`{"id":7,"type":"status","data":{…},"timestamp":"2026-11-22T03:17:05.120Z"}`"""
    data = enrich(happened.data)
    return _text({"id": happened.id, "type": happened.type, "data": data, "timestamp": _iso(happened.at)})


def as_recorded(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Nothing to add."""
    return data


def snapshot(data: Mapping[str, Any], head: int) -> str:
    """How things stand, and the id after which the stream goes on."""
    return _text({"type": "snapshot", "data": data, "id": head})


def error(code: str, message: str) -> str:
    return _text({"type": "error", "code": code, "message": message})


def bare(kind: str) -> str:
    """`{"type":"pong"}`, `{"type":"reset"}`"""
    return _text({"type": kind})


def command(text: str | bytes) -> Mapping[str, Any] | None:
    """A client's frame: an object with a `type` of at most 64 characters; else None."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    kind = found.get("type") if isinstance(found, dict) else None
    return found if isinstance(kind, str) and 0 < len(kind) <= 64 else None


def _text(frame: Mapping[str, Any]) -> str:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
