"""What a route says of itself: a decorator of views, read by `api.openapi.document` when somebody asks.

Nothing is checked by it while requests are answered; tests hold the answers to what is declared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from core import errors
from core.errors import AppError

View = TypeVar("View", bound=Callable[..., Any])
Codes = dict[int, tuple[str, ...]]  # errors' codes by their HTTP status; there may be more of the same status


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """`answer`, `query` and `body` are types that pydantic knows JSON schemas of. `raises`: beyond what follows from
    the rest (`api.openapi.failures`)."""

    answer: Any
    status: int
    admin: bool
    query: Any
    body: Any
    raises: Codes


def answers(
    answer: Any,
    status: int = 200,
    *,
    admin: bool = False,
    query: Any = None,
    body: Any = None,
    raises: Codes | None = None,
) -> Callable[[View], View]:
    """`@blueprint.get("/api/tokens")`, then `@answers(Page[Token])`. `admin`: administrators alone may call it."""

    def declare(view: View) -> View:
        view.declaration = Declaration(  # type: ignore[attr-defined]  # functions take attributes
            answer=answer, status=status, admin=admin, query=query, body=body, raises=raises or {}
        )
        return view

    return declare


def codes_of(*kinds: type[AppError]) -> Codes:
    """Of errors that have codes of their own."""
    return {kind.http_status: tuple(one.code for one in kinds if one.http_status == kind.http_status) for kind in kinds}


GATEWAY = codes_of(  # of routes that ask the gateway
    errors.InstanceUnknown,
    errors.NotConnected,
    errors.NameInUse,
    errors.RateLimited,
    errors.NotOffered,
    errors.ProviderError,
    errors.ProviderRefused,
    errors.Unavailable,
    errors.CircuitOpen,
    errors.Busy,
    errors.LicenceRequired,
    errors.NotConfigured,
    errors.SwitchedOff,
    errors.TimedOut,
)
GATEWAY[409] += ("OPERATION_IN_PROGRESS",)  # somebody else is at the same instance
