"""Calls. Reader of `events`. Pure."""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.cards import call
from manager.providers.evolution.heard import Heard, Reports, fields_of
from manager.providers.evolution.jids import is_personal, jid, persons
from manager.providers.port import MessageReported


def calls(heard: Heard) -> Reports:
    """`{"chatId","from","id","date":"2025-10-25T14:03:20.000Z","status":"offer","isVideo"?,"isGroup"?}`. A call is told
    once, as it begins to ring; how it went on (ringing, accept, terminate …) changes nothing.
    """
    return heard.each(_call)


def _call(heard: Heard, item: object) -> Reports:
    data = fields_of(item, "status")
    if data["status"] != "offer":
        return []
    ours = heard.own is not None and jid(data.get("from")) == heard.own
    chat = _chat(heard, data, ours=ours)
    message_id = heard.message_id(data.get("id")) if chat else ""
    return [_reported(heard, data, chat, message_id, ours=ours)] if message_id else []


def _reported(
    heard: Heard, data: Mapping[str, Any], chat: tuple[str, ...], message_id: str, *, ours: bool
) -> MessageReported:
    author = chat if is_personal(chat[0]) else persons(data, "from", "callerPn")
    content = call(video=data.get("isVideo") is True)
    return MessageReported(
        **heard.about,
        message_id=message_id,
        chat=chat,
        author=() if ours else author,
        from_me=ours,
        kind=content.kind,
        text=content.text,
        status="delivered",
        push_name=None,
        sent_at=heard.time(data.get("date")),
        details=content.details or None,
    )


def _chat(heard: Heard, data: Mapping[str, Any], *, ours: bool) -> tuple[str, ...]:
    """The group, or the other person by all names: the caller's too, unless we called."""
    group = next((name for key in ("groupJid", "chatId") if (name := jid(data.get(key))).endswith("@g.us")), None)
    first = "chatId" if data.get("chatId") else "from"
    return (group,) if group else heard.chat(data, first, *(() if ours else ("from", "callerPn")))
