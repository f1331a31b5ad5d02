"""What an HTTP answer of WPPConnect Server is: its JSON, or the error that its status stands for. Pure.

Called by the client. Its texts are for people, in two languages, and may hold somebody's number: nothing branches on
them, and none gets into an error of ours.

| answer | error | whose trouble |
|---|---|---|
| 200, 201 with a JSON object | none | |
| 401, 403; 400 `{"response":false}` or "error" (routes that want the secret) | ProviderRefused | the key's |
| 404 `{"status":"Disconnected"}` | NotConnected | the session's |
| 400 `{"response":null,"status":"Connected"}` | InvalidRecipient | the number's |
| 400, 500 with other JSON, a bare text too | ProviderError | the session's |
| 429 | RateLimited, `retry_after_s` in its details where told | nobody's |
| 502, 503, 504 | Unavailable | the server's |
| anything else, or no JSON | BadResponse | the server's |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import (
    BadResponse,
    InvalidRecipient,
    NotConnected,
    ProviderError,
    ProviderRefused,
    RateLimited,
    Unavailable,
)
from manager.providers.evolution.answers import (
    ABOUT_THE_REQUEST,
    OUT_OF_ORDER,
    SUCCESS,
    UNREADABLE,
    parsed,
    wait_s,
)
from manager.providers.evolution.values import mapping, text

SESSION_WORDS: Mapping[tuple[int, str], type[ProviderError]] = {
    (404, "Disconnected"): NotConnected,
    (400, "Connected"): InvalidRecipient,
}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A status with its JSON, or UNREADABLE. `wait_s` is what the server told us to wait."""

    status: int
    document: Any
    wait_s: float | None = None

    @property
    def nobody(self) -> bool:
        """No browser runs for the session, or none that obeys: 404 says so, and 500 where it never knew the name."""
        said = mapping(self.document)
        return (self.status == 500 and bool(said)) or (self.status == 404 and said.get("status") == "Disconnected")

    def an_object(self) -> Mapping[str, Any]:
        """The JSON of a success. Raises what the table says."""
        if self.status not in SUCCESS:
            raise self._failure()
        if not isinstance(self.document, Mapping):
            raise BadResponse(f"The gateway answered {self.status} without an object", provider_status=self.status)
        return self.document

    def _failure(self) -> ProviderError:
        text = f"The gateway answered {self.status}"
        if self.status == 429:
            told = {} if self.wait_s is None else {"retry_after_s": self.wait_s}
            return RateLimited(text, provider_status=self.status, **told)
        return _kind(self.status, self.document)(text, provider_status=self.status)


def reply(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Reply:
    """`headers` with lower-case names; `now` is for a `Retry-After` that is a date."""
    return Reply(status=status, document=parsed(body), wait_s=wait_s(headers.get("retry-after"), now))


def _kind(status: int, document: object) -> type[ProviderError]:
    if status in OUT_OF_ORDER:
        return Unavailable
    body = mapping(document)
    if status in (401, 403) or (status == 400 and body.get("response") in (False, "error")):
        return ProviderRefused
    if found := SESSION_WORDS.get((status, text(body.get("status")))):
        return found
    if status in ABOUT_THE_REQUEST and document is not UNREADABLE:
        return ProviderError
    return BadResponse
