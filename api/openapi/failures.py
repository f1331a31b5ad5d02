"""The errors of an operation, as OpenAPI responses: one shape (core.web.failure), by status. Pure."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from api.openapi.declaring import Codes, Declaration

ALWAYS: Final[Codes] = {
    400: ("VALIDATION_ERROR", "INVALID_USER_ID"),
    401: ("UNAUTHENTICATED",),
    429: ("RATE_LIMITED",),
    500: ("INTERNAL_ERROR",),
    503: ("WHATSAPP_STORAGE_UNAVAILABLE", "AUTH_KEYS_UNAVAILABLE"),
}
OF_ADMINS: Final[Codes] = {403: ("FORBIDDEN",)}
OF_CHANGES: Final[Codes] = {403: ("CSRF",)}
OF_THINGS: Final[Codes] = {404: ("NOT_FOUND",)}
OF_BODIES: Final[Codes] = {413: ("REQUEST_ENTITY_TOO_LARGE",), 415: ("UNSUPPORTED_MEDIA_TYPE",)}
RETRY_AFTER: Final = {"Retry-After": {"description": "Seconds", "required": True, "schema": {"type": "integer"}}}
HEADERS: Final[Mapping[int, Any]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    429: RETRY_AFTER,
    503: RETRY_AFTER,
}


def responses(said: Declaration, *, changes: bool, of_a_thing: bool, failure: Any) -> dict[str, Any]:
    """By status. `changes`: it is no GET; `of_a_thing`: its path names one; `failure`: the schema of them all."""
    parts = [
        ALWAYS,
        *([OF_ADMINS] if said.admin else []),
        *([OF_CHANGES] if changes else []),
        *([OF_THINGS] if of_a_thing else []),
        *([OF_BODIES] if said.body else []),
        said.raises,
    ]
    return {str(status): response(status, codes, failure) for status, codes in sorted(_together(parts))}


def response(status: int, codes: tuple[str, ...], failure: Any) -> dict[str, Any]:
    described = f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in codes)}"
    headers = {"headers": HEADERS[status]} if status in HEADERS else {}
    return {"description": described, "content": {"application/json": {"schema": failure}}, **headers}


def _together(parts: list[Codes]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for status in {status for part in parts for status in part}:
        yield status, tuple(dict.fromkeys(code for part in parts for code in part.get(status, ())))
