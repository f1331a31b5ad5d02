"""What a request must pass before anything is done, in Evolution's order: the instance exists (404), the
name is free (403), the key is right (401). Only then does a route look at the body (400)."""

import hmac
import json
from typing import Any

from flask import g, request

from sandbox import errors
from sandbox.errors import ApiError
from sandbox.state import Instance, World


class Guards:
    """Every method speaks about the request being served and raises ApiError."""

    def __init__(self, world: World, key: str) -> None:
        self._world = world
        self._key = key

    def instance(self, name: str) -> Instance:
        """The instance in the path, for the global key or its own token."""
        found = self._world.find(name)
        if found is None:
            raise errors.unknown_instance(name)
        if not self._is_global() and not _same(_given(), found.token):
            raise errors.unauthorized()
        return found

    def name_free(self, body: dict[str, Any]) -> None:
        """A body without a name looks for any instance: with one there, "undefined" is in use."""
        g.instance_name = name = body.get("instanceName")  # for the log: this path names no instance
        if name is None and self._world.all():
            raise errors.name_in_use("undefined")
        if isinstance(name, str) and self._world.find(name) is not None:
            raise errors.name_in_use(name)

    def global_key(self) -> None:
        if not self._is_global():
            raise errors.unauthorized()

    def visible(self) -> list[Instance]:
        """All instances for the global key, else those with the given token."""
        instances = self._world.all()
        if self._is_global():
            return instances
        own = [instance for instance in instances if _same(_given(), instance.token)]
        if not own:
            raise errors.unauthorized()
        return own

    def _is_global(self) -> bool:
        return _same(_given(), self._key)


def read_body() -> dict[str, Any]:
    """The JSON body, {} without one. Malformed JSON is refused before every guard, under a wrong title."""
    raw = request.get_data()
    if not raw or not request.is_json:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise ApiError(400, _parser_text(error, raw), title="Internal Server Error") from None
    return body if isinstance(body, dict) else {}


def _parser_text(error: ValueError, raw: bytes) -> str:
    """The words of V8's parser, for what it is given most."""
    position = error.pos if isinstance(error, json.JSONDecodeError) else 0
    if str(error).startswith("Expecting property name"):
        return f"Expected double-quoted property name in JSON at position {position}"
    if position >= len(raw.decode(errors="replace").rstrip()):
        return "Unexpected end of JSON input"
    return f"Unexpected token in JSON at position {position}"


def _given() -> str:
    return request.headers.get("apikey", "")


def _same(given: str, expected: str) -> bool:
    return bool(given) and hmac.compare_digest(given.encode(), expected.encode())
