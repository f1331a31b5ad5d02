"""The live channel's HTTP side: a ticket that opens one socket, and the feed for where sockets do not pass."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import Field
from typing_extensions import TypedDict

from api.openapi.declaring import answers
from api.schemas.whatsapp import Events as EventsShape
from api.schemas.whatsapp import Ticket
from core.access import Principal
from core.errors import Malformed
from core.web import Guard

LONGEST_WAIT_S = 25
USUAL_WAIT_S = 20
HIGHEST = 2**63 - 1
Events = Callable[[Principal, int | None, float], Mapping[str, Any]]  # the feed after an id, within so many seconds


class Since(TypedDict, total=False):
    since: Annotated[int, Field(ge=0, le=HIGHEST, description="The last id that is known; none for a snapshot")]
    wait: Annotated[
        int, Field(ge=0, le=LONGEST_WAIT_S, description="Seconds", json_schema_extra={"default": USUAL_WAIT_S})
    ]


def make_blueprint(guard: Guard, issue: Callable[[Principal], str], valid_s: int, events: Events) -> Blueprint:
    blueprint = Blueprint("live", __name__)

    @blueprint.post("/api/ws/ticket")
    @answers(Ticket)
    def ticket() -> ResponseReturnValue:
        """A ticket that opens one socket."""
        return jsonify({"success": True, "ticket": issue(guard.user()), "expiresIn": valid_s})

    @blueprint.get("/api/events")
    @answers(EventsShape, query=Since)
    def feed() -> ResponseReturnValue:
        """The live channel's events without a websocket. Waits for news while there is none."""
        since, wait = _number("since", HIGHEST), _number("wait", LONGEST_WAIT_S)
        return jsonify(events(guard.user(), since, USUAL_WAIT_S if wait is None else wait))

    return blueprint


def _number(name: str, most: int) -> int | None:
    every = request.args.getlist(name)
    if not every:
        return None
    given = every[0]
    if len(every) > 1 or not (given.isascii() and given.isdigit() and len(given) < 20 and int(given) <= most):
        raise Malformed(f"{name} must be one whole number up to {most}")
    return int(given)
