"""What the answers of all families are made of. Types only: `api.openapi` makes JSON schemas of them."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field
from typing_extensions import TypedDict

Item = TypeVar("Item")
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
When = Annotated[str, Field(description="A moment as ISO 8601, of UTC where it names no zone")]  # as it is sent to us
Unread = Annotated[Any, Field(description="A text; by QR code it is not looked at")]
Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Facts = dict[str, Any]


class Done(TypedDict):
    """It is done."""

    success: Literal[True]


class Page(Done, Generic[Item]):
    """Items, and where the next ones begin: the `cursor` of the next request, null where these were the last."""

    items: list[Item]
    next_cursor: str | None


class Cause(TypedDict):
    """`code` is for programs, `message` for people."""

    code: str
    message: str
    details: Facts


class Failure(TypedDict):
    """Every error there is."""

    success: Literal[False]
    message: str
    status_code: int
    code: str
    error: Cause


def one_of(words: tuple[str, ...]) -> Any:
    """The words a text may be: `Annotated[str, one_of(LANGUAGES)]`."""
    return Field(json_schema_extra={"enum": list(words)})
