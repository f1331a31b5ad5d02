"""The frames of the live channel as text, and a client's commands. Pure (docs/live.md)."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from notify.feed import FeedEvent


def event(happened: FeedEvent, data: Mapping[str, Any], channel: str | None = None) -> dict[str, Any]:
    """`{"id":7,"type":"status","data":{…},"timestamp":"2026-11-22T03:17:05.120Z"}`; a room's: `channel`, no id."""
    place: dict[str, object] = {"channel": channel} if channel else {"id": happened.id}
    return {**place, "type": happened.type, "data": data, "timestamp": iso(happened.at)}


def snapshot(data: Mapping[str, Any], head: int) -> str:
    """How things stand, and the id after which the stream goes on."""
    return compact({"type": "snapshot", "data": data, "id": head})


def answer(kind: str, data: object) -> str:
    return compact({"type": kind, "data": data})


def error(code: str, message: str) -> str:
    return compact({"type": "error", "code": code, "message": message})


def about(frame: str, **place: str) -> str:
    """The same frame, which also says what it is about."""
    return compact({**json.loads(frame), **place}) if place else frame


def bare(kind: str, channel: str | None = None) -> str:
    """`{"type":"pong"}`, `{"type":"reset"}`, `{"type":"joined","channel":"org:…"}`"""
    return compact({"type": kind, "channel": channel} if channel else {"type": kind})


def command(text: str | bytes) -> Mapping[str, Any] | None:
    """A client's frame: an object with a `type` of at most 64 characters; else None."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    kind = found.get("type") if isinstance(found, dict) else None
    return found if isinstance(kind, str) and 0 < len(kind) <= 64 else None


def compact(frame: Mapping[str, Any]) -> str:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
