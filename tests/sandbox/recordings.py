"""The recordings of a real Evolution API 2.3.6, and the comparison by shape: keys and types, not values."""

import json
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent / "payloads" / "recorded"


@cache
def exchanges() -> list[dict[str, Any]]:
    return _lines("http.jsonl")


@cache
def webhooks() -> list[dict[str, Any]]:
    return _lines("webhooks.jsonl")


@cache
def retry_runs() -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads((_FOLDER / "retry-policy.json").read_text())["runs"]
    return runs


def shape(value: Any) -> Any:
    """`{"a": [1, 2], "b": None}` → `{"a": ["int"], "b": "NoneType"}`; equal elements of a list count once."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        shapes: list[Any] = []
        for inner in map(shape, value):
            if inner not in shapes:
                shapes.append(inner)
        return shapes
    return type(value).__name__


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_FOLDER / name).read_text(encoding="utf-8").splitlines()]
