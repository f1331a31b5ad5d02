"""Conversations and messages of the caller's own instance."""

from uuid import UUID

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api import shapes
from api.openapi.declaring import answers
from api.paging import Cursors, Paging, Search, limit_of, text_of
from api.schemas.chats import Conversation, Message
from api.schemas.common import Page
from conversations.service import Conversations
from core.errors import NotFound
from core.web import Guard


def make_blueprint(conversations: Conversations, guard: Guard, cursors: Cursors) -> Blueprint:
    blueprint = Blueprint("messages", __name__)

    @blueprint.get("/api/messages")
    @answers(Page[Message], query=Search)
    def messages() -> ResponseReturnValue:
        """One's own messages, newest first."""
        caller, words = guard.user(), text_of(request.args, "q")
        limit, after = limit_of(request.args), cursors.message(request.args.get("cursor"))
        page = conversations.find_messages(caller.user_id, words=words, limit=limit, after=after)
        return jsonify(shapes.page([shapes.message(row) for row in page.items], cursors.write(page.last)))

    @blueprint.get("/api/conversations")
    @answers(Page[Conversation], query=Paging)
    def all_conversations() -> ResponseReturnValue:
        """One's own conversations, the liveliest first."""
        caller, limit = guard.user(), limit_of(request.args)
        after = cursors.conversation(request.args.get("cursor"))
        page = conversations.find_conversations(caller.user_id, limit=limit, after=after)
        return jsonify(shapes.page([shapes.conversation(row) for row in page.items], cursors.write(page.last)))

    @blueprint.get("/api/conversations/<conversation_id>/messages")
    @answers(Page[Message], query=Paging, raises={404: ("CONVERSATION_NOT_FOUND",)})
    def conversation(conversation_id: str) -> ResponseReturnValue:
        """The messages of one conversation, newest first."""
        caller, limit = guard.user(), limit_of(request.args)
        after = cursors.message(request.args.get("cursor"))
        found = _uuid(conversation_id)
        page = conversations.conversation_messages(caller.user_id, found, limit=limit, after=after)
        return jsonify(shapes.page([shapes.message(row) for row in page.items], cursors.write(page.last)))

    return blueprint


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no such conversation", code="CONVERSATION_NOT_FOUND") from None
