"""HTTP to one gateway server, for the clients of providers: a request out, an answer with a whole body back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manager.providers.exchange import Exchange


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long calls may take, and how large an answer may be. A slow WhatsApp holds a call for up to 60 s; what
    starts or ends a connection takes longer (`slow_s`), a second question to understand an answer is short (`look_s`).
    """

    connect_s: float = 5.0
    usual_s: float = 60.0
    slow_s: float = 90.0
    look_s: float = 10.0
    largest_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Request:
    """`body` goes as JSON. `within_s`: how long the whole call may take."""

    method: str
    path: str
    within_s: float
    body: object = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Any status. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


class Transport:
    """One object a server; safe for many threads."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url, self._limits = url, limits

    def ask(self, request: Request) -> Answer:
        """Raises Unavailable (`sent` is False where nothing can have happened), TimedOut, BadResponse."""
        return self._exchange.ask(request)

    @cached_property
    def _exchange(self) -> "Exchange":
        """Made with the first question: who never asks need not have requests in memory, which takes 6 MB."""
        from manager.providers.exchange import Exchange  # noqa: PLC0415

        return Exchange(self._url, self._limits)
