"""Evolution's routes for messages, chats and groups, as one table; what is not in it does not exist."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from sandbox import channel, groups
from sandbox.chats import Chats, RawAnswer
from sandbox.guards import Guards, read_body
from sandbox.line import Line
from sandbox.outgoing import VERBS
from sandbox.routes import answer
from sandbox.sending import Sending
from sandbox.state import Instance, World

Action = Callable[[Instance, dict[str, Any]], object]


def make_messages(world: World, guards: Guards, sending: Sending, chats: Chats, line: Line) -> Blueprint:
    blueprint = Blueprint("messages", __name__)
    for verb in VERBS:
        _add(blueprint, guards, "POST", f"/message/{verb}", partial(_sent, sending, verb), 201)
    for method, path, action, status in _table(chats):
        _add(blueprint, guards, method, path, action, status)

    @blueprint.post("/webhook/evolution")
    def from_channel() -> Response:
        known = channel.receive(world, line, read_body())
        return answer({"status": "success"}) if known else Response("", 200)

    @blueprint.errorhandler(RawAnswer)
    def raw(error: RawAnswer) -> Response:
        return answer(error.body, error.status)

    return blueprint


def _table(chats: Chats) -> list[tuple[str, str, Action, int]]:
    return [
        ("POST", "/chat/whatsappNumbers", chats.whatsapp_numbers, 200),
        ("POST", "/chat/findMessages", chats.find_messages, 200),
        ("POST", "/chat/findContacts", chats.find_contacts, 200),
        ("POST", "/chat/findChats", chats.find_chats, 200),
        ("POST", "/chat/markMessageAsRead", chats.mark_read, 201),
        ("POST", "/chat/sendPresence", chats.send_presence, 201),
        ("POST", "/chat/fetchProfilePictureUrl", lambda _, body: chats.profile_picture(body), 200),
        ("POST", "/chat/fetchProfile", chats.profile, 200),
        ("POST", "/chat/getBase64FromMediaMessage", chats.base64_of, 201),
        ("DELETE", "/chat/deleteMessageForEveryone", chats.delete, 201),
        ("POST", "/chat/updateMessage", chats.update, 200),
        ("GET", "/group/findGroupInfos", lambda one, _: groups.info(one, request.args.get("groupJid")), 200),
        ("GET", "/group/fetchAllGroups", lambda one, _: groups.everything(one, _participants()), 200),
    ]


def _add(blueprint: Blueprint, guards: Guards, method: str, path: str, action: Action, status: int) -> None:
    def serve(name: str) -> Response:
        body = read_body()
        return answer(action(guards.instance(name), body), status)

    blueprint.add_url_rule(f"{path}/<name>", path.rsplit("/", maxsplit=1)[-1], serve, methods=[method])


def _sent(sending: Sending, verb: str, instance: Instance, body: dict[str, Any]) -> object:
    return sending.send(instance, verb, body)


def _participants() -> str | None:
    return request.args.get("getParticipants")
