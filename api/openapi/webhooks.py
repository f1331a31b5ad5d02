"""The webhooks' entrance, described by hand: it stands in front of the application and is in no URL map.

`webhooks.routes` is what is described; tests hold the two together.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from api.openapi.declaring import Codes
from api.openapi.failures import response
from api.schemas.common import Done, Failure

TAG: Final = {"name": "webhooks", "description": "Where gateways post their events."}
WAYS: Final = {
    "/api/webhook/whatsapp": "A gateway's events",
    "/api/webhook/evolution": "Evolution API's events",
    "/api/webhook/user/{user_id}": "The events of a user's instance",
    "/api/webhook/t/{token}": "Events of whom the token in the path proves",
    "/api/webhook/wppconnect/{token}": "WPPConnect Server's events of the instance that the path proves",
    "/api/webhook/broker": "The Baileys broker's events, which it signs",
}
SCHEMES: Final = {
    "hook": {"type": "apiKey", "in": "header", "name": "X-Webhook-Token", "description": "An instance's token."},
    "signature": {"type": "apiKey", "in": "header", "name": "X-Signature", "description": "HMAC-SHA256 of the body."},
    "evolution": {"type": "http", "scheme": "bearer", "description": "Made by Evolution of the webhook's `jwt_key`."},
}
REFUSALS: Final[Codes] = {
    400: ("INVALID_JSON", "NOT_AN_OBJECT", "INVALID_ENCODING"),
    401: ("UNAUTHENTICATED",),
    408: ("BODY_TOO_SLOW",),
    413: ("BODY_TOO_LARGE",),
    415: ("UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_ENCODING", "UNSUPPORTED_CHARSET"),
    503: ("NOT_NOW",),
}
BY_EVENTS: Final = "/{event}"
ABOUT: Final = (
    "One valid credential suffices. It is answered once it is on disk; what is authentic and useless is quarantined."
    " Trailing and doubled slashes are taken too. 503: send it again."
)


class Receipt(Done):
    """It is kept."""

    status: Literal["stored", "duplicate", "quarantined"]
    id: int


SHAPES: Final = (Receipt,)


def paths(schema_of: Callable[[Any], Any]) -> dict[str, Any]:
    """Each way, and the same with an event's name behind it."""
    return {
        path: {"post": _operation(path, f"{summary}{', one kind a path' if end else ''}", schema_of)}
        for way, summary in WAYS.items()
        for end in ("", BY_EVENTS)
        for path in [way + end]
    }


def _operation(path: str, summary: str, schema_of: Callable[[Any], Any]) -> dict[str, Any]:
    kept = {"description": "Kept", "content": {"application/json": {"schema": schema_of(Receipt)}}}
    refused = {str(status): response(status, codes, schema_of(Failure)) for status, codes in REFUSALS.items()}
    return {
        "operationId": "webhook_" + "_".join(part.strip("{}") for part in path.split("/")[3:]),
        "tags": [TAG["name"]],
        "summary": summary,
        "description": ABOUT,
        "security": _security(path),
        "parameters": list(_places(path)),
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {"200": kept, **refused},
    }


def _security(path: str) -> list[dict[str, list[str]]]:
    if "{token}" in path:
        return [{}]
    return [{"signature": []}] if path.startswith("/api/webhook/broker") else [{"hook": []}, {"evolution": []}]


def _places(path: str) -> Iterator[dict[str, Any]]:
    for part in path.split("/"):
        if part.startswith("{"):
            name = part.strip("{}")
            yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
