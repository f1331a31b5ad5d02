"""What callers write in bodies, fit to be kept and sent on. Raises Malformed, which names the field."""

from typing import Annotated

from flask import request
from pydantic import Field
from typing_extensions import TypedDict

from api.openapi.declaring import Codes
from core.access import Principal
from core.errors import Malformed
from core.web import json_body

LONGEST_MESSAGE = 4096  # characters; phones show no more of one message
LONGEST_ORGANIZATION = 128  # characters
LARGEST_BODY = 4 * 1024 * 1024  # bytes: a message that is too long is one, not a body that is too large
NUMBER: Codes = {400: ("PHONE_NUMBER_REQUIRED", "INVALID_PHONE_NUMBER")}
MESSAGE: Codes = {400: ("MESSAGE_TOO_LONG", "INVALID_PHONE_NUMBER")}


class Text(TypedDict):
    to: str
    message: Annotated[str, Field(min_length=1, max_length=LONGEST_MESSAGE)]


def to_send() -> tuple[object, str]:
    """To whom, as it was written, and what: the request's body."""
    request.max_content_length = LARGEST_BODY
    asked = json_body()
    if asked.get("to") in (None, ""):
        raise Malformed("to is required")
    return asked["to"], message(asked.get("message"))


def message(value: object) -> str:
    """A text that says something."""
    words = value.replace("\0", "").strip() if isinstance(value, str) else ""
    if not words:
        raise Malformed("message must be a text")
    if len(words) > LONGEST_MESSAGE:
        raise Malformed(f"message must not be longer than {LONGEST_MESSAGE} characters", code="MESSAGE_TOO_LONG")
    return words


def line(value: object, name: str, longest: int) -> str:
    found = value.strip() if isinstance(value, str) else ""
    if not 0 < len(found) <= longest or not found.isprintable():
        raise Malformed(f"{name} must be a line of 1 to {longest} characters")
    return found


def word(value: object, name: str, words: tuple[str, ...]) -> str:
    """One of these."""
    if not isinstance(value, str) or value not in words:
        raise Malformed(f"{name} must be one of {', '.join(words)}")
    return value


def organization(caller: Principal, asked: object, name: str) -> str | None:
    """The caller's own; only an administrator's body may name another: a body makes nobody a member."""
    is_told = caller.is_admin and asked not in (None, "")
    return line(asked, name, LONGEST_ORGANIZATION) if is_told else caller.organization_id
