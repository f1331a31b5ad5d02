"""Deliveries that only their signature proves: how much of them strangers can make us hold."""

import io
import json
from typing import Any

import pytest

from webhooks.routes import SIGNED_AT_MOST, UNPROVEN_AT_ONCE, Entrance

SMALL, LARGE = 60_000, 1_000_000


def delivery(body: Any, length: int | None) -> dict[str, Any]:
    sized = {"CONTENT_LENGTH": str(length)} if length is not None else {"wsgi.input_terminated": True}
    named = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/webhook/broker", "CONTENT_TYPE": "application/json"}
    return {**named, **sized, "HTTP_X_SIGNATURE": "0" * 64, "wsgi.input": body}


class Endless(io.RawIOBase):
    """While it is read, the next delivery comes in."""

    def __init__(self, call):
        self._call = call

    def read(self, wanted=-1):
        self._call()
        return b"a" * wanted


def answered(entrance: Entrance, environ: dict[str, Any]) -> str:
    """Its code."""
    body = entrance(environ, lambda *_: print)
    return str(json.loads(b"".join(body))["code"])


@pytest.mark.parametrize(("length", "refused"), [(LARGE, True), (None, True), (SMALL, False)])
def test_only_a_few_large_bodies_are_held_before_they_are_proven(length, refused):
    entrance = Entrance(lambda *_: [], gate=None, inbox=None, limit=SIGNED_AT_MOST)  # type: ignore[arg-type]
    answers: list[str] = []
    depth = 0

    def deliver():
        nonlocal depth
        depth += 1
        if depth <= UNPROVEN_AT_ONCE + 1:
            answers.append(answered(entrance, delivery(Endless(deliver), length)))

    deliver()
    assert answers.count("NOT_NOW") == refused
    assert len(answers) == UNPROVEN_AT_ONCE + 1
    assert answered(entrance, delivery(io.BytesIO(b"{}"), None)) == "UNAUTHENTICATED"
