"""What an HTTP answer of Evolution is: its JSON, or the error that its status stands for. Pure.

Called by the client. Texts are for people: "[object Object]" is one like any other, and nothing branches on them but
`Cannot GET /…`, which echoes our own request line.

| answer | error | whose trouble |
|---|---|---|
| 200, 201 with JSON | none | |
| 200 `{"error":true}` | ProviderError | the instance's |
| 400, 500 with a JSON object | ProviderError | the instance's |
| 401; 403 | ProviderRefused; on create in Evolution's envelope NameInUse | the key's |
| 404 in Evolution's envelope | InstanceUnknown; `Cannot GET /…`: NotOffered | the instance's |
| 429 | RateLimited, `retry_after_s` in its details where told | nobody's |
| 503 `{"code":"LICENSE_REQUIRED"}` | LicenceRequired | the operator's |
| 502, 503, 504 | Unavailable | the server's |
| anything else, or no JSON | BadResponse | the server's |
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from core.errors import (
    BadResponse,
    InstanceUnknown,
    LicenceRequired,
    NameInUse,
    NotOffered,
    ProviderError,
    ProviderRefused,
    RateLimited,
    Unavailable,
)
from manager.providers.evolution.values import mapping

SUCCESS = (200, 201)
ABOUT_THE_REQUEST = (400, 500)
OUT_OF_ORDER = (502, 503, 504)
LONGEST_REASON = 200
LONGEST_WAIT_S = 60.0
LICENCE = "LICENSE_REQUIRED"
UNREADABLE = object()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A status with its JSON, or UNREADABLE. `wait_s` is what the server told us to wait."""

    status: int
    document: Any
    wait_s: float | None = None

    def result(self, *, creating: bool = False) -> Any:
        """The JSON of a success. Raises what the table says."""
        if self.status not in SUCCESS:
            raise self.failure(creating=creating)
        if self.document is UNREADABLE:
            raise BadResponse(f"The gateway answered {self.status} without JSON", provider_status=self.status)
        if mapping(self.document).get("error") is True:
            raise ProviderError(_said("The gateway failed", self.document), provider_status=self.status)
        return self.document

    def an_object(self, *, creating: bool = False) -> Mapping[str, Any]:
        """The same, where an array, a scalar or null is a BadResponse."""
        found = self.result(creating=creating)
        if not isinstance(found, Mapping):
            raise BadResponse("The gateway answered with something else than an object", provider_status=self.status)
        return found

    def failure(self, *, creating: bool = False) -> ProviderError:
        """The error for any status but a success."""
        text = _said(f"The gateway answered {self.status}", self.document)
        if mapping(self.document).get("code") == LICENCE:
            return LicenceRequired("The gateway asks for its licence", provider_status=self.status)
        if self.status == 429:
            told = {} if self.wait_s is None else {"retry_after_s": self.wait_s}
            return RateLimited(text, provider_status=self.status, **told)
        return _kind(self.status, self.document, creating)(text, provider_status=self.status)


def reply(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Reply:
    """`headers` with lower-case names; `now` is for a `Retry-After` that is a date."""
    return Reply(status=status, document=parsed(body), wait_s=wait_s(headers.get("retry-after"), now))


def parsed(body: bytes) -> Any:
    """The JSON; UNREADABLE where it is none, or nested or numbered beyond reason."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return UNREADABLE


def reason_text(document: object) -> str:
    """The first text in an error body: string, list, list of lists, list of objects. For people; never branch on it."""
    found = message(document)
    while isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, str) else ""


def message(document: object) -> Any:
    """`response.message`, or `message` at the top: of any type."""
    body = mapping(document)
    return mapping(body.get("response")).get("message", body.get("message"))


def wait_s(header: str | None, now: datetime) -> float | None:
    """`Retry-After` in seconds, as a number or a date, 0 to 60; None where there is none or it makes no sense."""
    if not header:
        return None
    try:
        told = float(header) if header.strip().isdigit() else (parsedate_to_datetime(header) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):  # no date, or one without a zone
        return None
    return min(max(told, 0.0), LONGEST_WAIT_S)


def _kind(status: int, document: object, creating: bool) -> type[ProviderError]:
    if status in OUT_OF_ORDER:
        return Unavailable
    if status == 403 and creating and _is_evolutions(document):
        return NameInUse  # it says 403 for a name in use, and never for a key
    if status in (401, 403):
        return ProviderRefused
    if status == 404 and _is_evolutions(document):
        return NotOffered if reason_text(document).startswith("Cannot ") else InstanceUnknown
    if status in ABOUT_THE_REQUEST and isinstance(document, Mapping):
        return ProviderError
    return BadResponse


def _is_evolutions(document: object) -> bool:
    """`{"status":404,"error":"Not Found","response":{"message":[…]}}`: no proxy's page, no other program's JSON."""
    return "message" in mapping(mapping(document).get("response"))


def _said(text: str, document: object) -> str:
    """With the gateway's words, unless they only repeat our request line, which may hold somebody's number."""
    reason = reason_text(document)[:LONGEST_REASON]
    return f"{text}: {reason}" if reason and not reason.startswith("Cannot ") else text
