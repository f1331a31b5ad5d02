"""What an HTTP answer of the broker is: its JSON, or the error that its status and its word stand for. Pure.

Called by the client. The broker says what is wrong in one field, `{"error":"instance_not_found"}`, mostly a code; the
route of the QR says it as plain text.

| answer | error | whose trouble |
|---|---|---|
| 200, 202 with JSON | none | |
| a word of NAMED, with any status | that one | the instance's |
| 400, 409, 500 with another word | ProviderError | the instance's |
| 401, 403 | ProviderRefused | the key's |
| 404 and 3xx with no word of the broker's | WrongAddress | the operator's |
| 429: too many sends, or `risk_paused` | RateLimited, `retry_after_s` in its details where told | nobody's |
| 502, 503, 504 | Unavailable | the server's |
| anything else, or no JSON | BadResponse | the server's |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import (
    BadResponse,
    InstanceUnknown,
    InvalidRecipient,
    NameInUse,
    NotConfigured,
    NotConnected,
    ProviderError,
    ProviderRefused,
    RateLimited,
    Unavailable,
)
from manager.providers.evolution.answers import UNREADABLE, parsed, wait_s
from manager.providers.evolution.values import mapping, text

SUCCESS = (200, 202)
NO_QR = "no-qr"
NAMED: Mapping[str, type[ProviderError]] = {
    "instance_not_found": InstanceUnknown,
    "instance_exists": NameInUse,
    "whatsapp_not_found": InvalidRecipient,
    "instance_offline": NotConnected,
    "socket_unavailable": NotConnected,
    "socket indisponível": NotConnected,  # builds of 2025
}
PLAIN = (NO_QR, "instance_not_found")
LONGEST_WORD = 200


class WrongAddress(BadResponse):
    """Somebody answers, and it is not the broker's list of instances."""

    code, http_status = NotConfigured.code, NotConfigured.http_status


class NotYet(RateLimited):
    """Its socket is on the way to WhatsApp, and takes no number before it is there."""

    code, http_status = "PROVIDER_BUSY", 503


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A status with its JSON, or UNREADABLE. `word`: what the broker calls the error, "" for none. `wait_s` is what the
    server told us to wait."""

    status: int
    document: Any
    word: str = ""
    wait_s: float | None = None

    def result(self) -> Any:
        """The JSON of a success. Raises what the table says."""
        if self.status not in SUCCESS:
            raise self.failure()
        if self.document is UNREADABLE:
            raise self._foreign()
        return self.document

    def an_object(self) -> Mapping[str, Any]:
        """The same, where anything but an object is a BadResponse."""
        found = self.result()
        if not isinstance(found, Mapping):
            raise self._foreign()
        return found

    def a_list(self) -> list[Any]:
        """The same, where anything but an array is a BadResponse."""
        found = self.result()
        if not isinstance(found, list):
            raise self._foreign()
        return found

    @property
    def is_astray(self) -> bool:
        """Whether there is no such route, so that this may be no broker at all."""
        return (self.status == 404 and self.word not in (*NAMED, NO_QR)) or 300 <= self.status < 400

    def failure(self) -> ProviderError:
        """The error for any status but a success."""
        if self.is_astray:
            return WrongAddress("There is no broker at its address", provider_status=self.status)
        said = f"The broker answered {self.status}" + (f": {self.word[:LONGEST_WORD]}" if self.word else "")
        told = {} if self.wait_s is None else {"retry_after_s": self.wait_s}
        if self.status == 429:
            return RateLimited(said, provider_status=self.status, **told)
        return self._kind()(said, provider_status=self.status)

    def _foreign(self) -> BadResponse:
        return BadResponse("Something else than the broker answers at its address", provider_status=self.status)

    def _kind(self) -> type[ProviderError]:
        if self.status in (401, 403):
            return ProviderRefused
        if self.word in NAMED:
            return NAMED[self.word]
        if self.status in (502, 503, 504):
            return Unavailable
        return ProviderError if self.word and self.status in (400, 409, 500) else BadResponse


def reply(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Reply:
    """`headers` with lower-case names; `now` is for a `Retry-After` that is a date."""
    document = parsed(body)
    plain = body.decode(errors="replace") if len(body) < LONGEST_WORD else ""
    word = text(mapping(document).get("error")) or (plain if plain in PLAIN else "")
    return Reply(status=status, document=document, word=word, wait_s=wait_s(headers.get("retry-after"), now))
