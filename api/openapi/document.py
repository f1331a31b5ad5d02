"""The OpenAPI document, made of the URL map and what the views declare (`api.openapi.declaring`)."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from tomllib import loads
from typing import Any, Final

from flask import Flask

from api.openapi import failures, webhooks
from api.openapi.declaring import Declaration
from api.openapi.schemas import Schemas
from api.schemas.common import Failure

PYPROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"
API: Final = "/api/"
SAFE: Final = "GET"
ARGUMENT: Final = re.compile(r"<(?:(\w+)(?:\(.*?\))?:)?(\w+)>")
OF_CONVERTERS: Final = {
    "uuid": {"type": "string", "format": "uuid"},
    "int": {"type": "integer", "minimum": 0},
    "path": {"type": "string", "minLength": 1},
    "": {"type": "string", "minLength": 1},
}
SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A JWT, or a personal token (`zt_…`)."},
    "session": {"type": "apiKey", "in": "cookie", "name": "session", "description": "The dashboard's session."},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken", "description": "With a session, of all but GET."},
    **webhooks.SCHEMES,
}
ABOUT: Final = """Keeps every user's WhatsApp connected, and proves that nothing was lost on the way.

Every error has one shape: programs read `code`, people `message`. What is not yours is 404. A method that a path does
not have is 405, with `Allow`."""


@dataclass(frozen=True, kw_only=True)
class Route:
    verb: str
    rule: str
    endpoint: str
    view: Callable[..., Any]

    @property
    def path(self) -> str:
        """`/api/tokens/{token_id}`"""
        return ARGUMENT.sub(r"{\2}", self.rule)

    @property
    def declaration(self) -> Declaration | None:
        said: Declaration | None = getattr(self.view, "declaration", None)
        return said


def routes(app: Flask) -> Iterator[Route]:
    """Every rule under `/api/` with every verb, the webhooks' entrance aside, which stands in front of the map."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(API):
            for verb in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield Route(verb=verb, rule=rule.rule, endpoint=rule.endpoint, view=app.view_functions[rule.endpoint])


def document(app: Flask) -> dict[str, Any]:
    """OpenAPI 3.1. A route that declares nothing is left out; a test names it."""
    found = [(route, route.declaration) for route in sorted(routes(app), key=lambda route: route.rule)]
    declared = [(route, said) for route, said in found if said]
    shown = Schemas([Failure, *webhooks.SHAPES, *(said.answer for _, said in declared)], closed=True)
    sent = Schemas([said.body for _, said in declared if said.body], closed=False)
    asked = Schemas([said.query for _, said in declared if said.query], closed=False)
    paths: dict[str, Any] = {}
    for route, said in declared:
        paths.setdefault(route.path, {})[route.verb.lower()] = _operation(route, said, shown, sent, asked)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Zelador", "version": _version(), "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [*_tags([route for route, _ in declared]), webhooks.TAG],
        "paths": paths | webhooks.paths(shown.of),
        "components": {"schemas": shown.parts | sent.parts, "securitySchemes": SCHEMES},
    }


def _operation(route: Route, said: Declaration, shown: Schemas, sent: Schemas, asked: Schemas) -> dict[str, Any]:
    changes = route.verb != SAFE
    done = {"description": "Done", "content": {"application/json": {"schema": shown.of(said.answer)}}}
    failed = failures.responses(said, changes=changes, of_a_thing="<" in route.rule, failure=shown.of(Failure))
    return {
        "operationId": route.endpoint.replace(".", "_"),
        "tags": [_tag(route)],
        **_words(route.view),
        "security": [{"bearer": []}, {"session": [], "csrf": []} if changes else {"session": []}],
        "parameters": [*_places(route.rule), *(_parameters(asked, said.query) if said.query else ())],
        **({"requestBody": _body(sent, said.body)} if said.body else {}),
        "responses": {str(said.status): done, **failed},
    }


def _places(rule: str) -> Iterator[dict[str, Any]]:
    for converter, name in ARGUMENT.findall(rule):
        yield {"name": name, "in": "path", "required": True, "schema": OF_CONVERTERS[converter]}


def _parameters(asked: Schemas, query: Any) -> Iterator[dict[str, Any]]:
    for name, schema in _resolved(asked, query)["properties"].items():
        words = {"description": schema["description"]} if "description" in schema else {}
        rest = {key: value for key, value in schema.items() if key != "description"}
        yield {"name": name, "in": "query", **words, "schema": rest}


def _body(sent: Schemas, body: Any) -> dict[str, Any]:
    """To be left out where none of it is required: no body is `{}`."""
    return {
        "required": bool(_resolved(sent, body).get("required")),
        "content": {"application/json": {"schema": sent.of(body)}},
    }


def _resolved(given: Schemas, kind: Any) -> Any:
    schema = given.of(kind)
    return given.parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _words(view: Callable[..., Any]) -> dict[str, str]:
    """The docstring: its first sentence, and the rest."""
    head, _, rest = " ".join((getdoc(view) or "").split()).partition(". ")
    return {"summary": head.removesuffix("."), **({"description": rest} if rest else {})}


def _tag(route: Route) -> str:
    return route.endpoint.partition(".")[0].replace("_", " ")


def _tags(found: list[Route]) -> list[dict[str, str]]:
    """One a module, with what its docstring promises."""
    said = {_tag(route): getdoc(sys.modules[route.view.__module__]) or "" for route in found}
    return [{"name": name, "description": words.partition("\n")[0]} for name, words in said.items()]


def _version() -> str:
    version: str = loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["version"]
    return version
