"""Messages of the caller's own instance."""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api import shapes
from api.paging import Cursors, limit_of
from conversations.service import Conversations
from core.web import Guard

LONGEST_QUERY = 200


def make_blueprint(conversations: Conversations, guard: Guard, cursors: Cursors) -> Blueprint:
    blueprint = Blueprint("messages", __name__)

    @blueprint.get("/api/messages")
    def messages() -> ResponseReturnValue:
        caller = guard.user()
        words = request.args.get("q", "").replace("\0", "")[:LONGEST_QUERY]
        limit, after = limit_of(request.args), cursors.read(request.args.get("cursor"))
        page = conversations.find_messages(caller.user_id, words=words, limit=limit, after=after)
        return jsonify(shapes.page([shapes.message(row) for row in page.items], cursors.write(page.last)))

    return blueprint
