"""Personal API tokens, for their owner: make one (shown once), list them, revoke one."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, NotRequired
from uuid import UUID

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field
from typing_extensions import TypedDict

from api.openapi.declaring import answers
from api.schemas.admin import MadeToken, Token
from api.schemas.common import Done, Page
from api.shapes import iso, page
from core.api_tokens import ApiTokens, TokenRecord
from core.errors import Malformed
from core.web import Guard, json_body

TOKENS = "/api/tokens"
FIELDS = ("name", "expiresInDays")
LONGEST_NAME = 80
LONGEST_DAYS = 3650


class NewToken(TypedDict, closed=True):
    """Without `expiresInDays` it has no end."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    expiresInDays: NotRequired[Annotated[int, Field(ge=1, le=LONGEST_DAYS)] | None]


def make_blueprint(tokens: ApiTokens, guard: Guard) -> Blueprint:
    blueprint = Blueprint("tokens", __name__)

    @blueprint.get(TOKENS)
    @answers(Page[Token])
    def list_tokens() -> ResponseReturnValue:
        """One's own tokens."""
        return jsonify(page([_item(one) for one in tokens.list(guard.user().user_id)], None))

    @blueprint.post(TOKENS)
    @answers(MadeToken, 201, body=NewToken, raises={403: ("TOKEN_NOT_ENOUGH",), 409: ("TOO_MANY_TOKENS",)})
    def make_token() -> ResponseReturnValue:
        """Make a token. It is shown this once."""
        caller, asked = guard.user(), json_body()
        token, made = tokens.make(caller, *_wanted(asked))
        return jsonify({"success": True, "token": token, **_item(made)}), 201

    @blueprint.delete(f"{TOKENS}/<uuid:token_id>")
    @answers(Done, raises={404: ("TOKEN_NOT_FOUND",)})
    def revoke_token(token_id: UUID) -> ResponseReturnValue:
        """Revoke a token. It is refused within 5 s, its sockets are closed."""
        tokens.revoke(guard.user(), token_id)
        return jsonify(success=True)

    return blueprint


def _wanted(asked: Mapping[str, Any]) -> tuple[str, timedelta | None]:
    if unknown := sorted(set(asked) - set(FIELDS)):
        raise Malformed(f"Unknown: {', '.join(name[:40] for name in unknown)}")
    name, days = asked.get("name"), asked.get("expiresInDays")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise Malformed(f"name must be a line of 1 to {LONGEST_NAME} characters")
    if days is not None and (type(days) is not int or not 1 <= days <= LONGEST_DAYS):
        raise Malformed(f"expiresInDays must be a number from 1 to {LONGEST_DAYS}")
    return name.strip(), timedelta(days=days) if days else None


def _item(one: TokenRecord) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "name": one.name,
        "createdAt": iso(one.created_at),
        "lastUsedAt": iso(one.last_used_at),
        "expiresAt": iso(one.expires_at),
    }
