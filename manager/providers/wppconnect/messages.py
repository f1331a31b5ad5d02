"""Messages, as they come and are sent. Readers of `events`. Pure.

`{"id":"false_5511…@c.us_3EB0…","type":"chat","body":"Oi","t":1761400001,"from","to","chatId","author"?,"fromMe":false,
"ack":1,"notifyName":"Ana","sender":{"id","pushname",…},"quotedMsgId"?,"caption"?,"mimetype"?,…}`
"""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.content import UNSUPPORTED, Content
from manager.providers.evolution.context import context_details
from manager.providers.evolution.heard import Heard, Reports, fields_of
from manager.providers.evolution.jids import is_personal, persons
from manager.providers.evolution.kinds import Opened
from manager.providers.evolution.original import original_of
from manager.providers.evolution.values import items, mapping, text
from manager.providers.port import MessageReported
from manager.providers.wppconnect.ids import address, is_ours, message_id
from manager.providers.wppconnect.kinds import SILENT, content_of
from manager.providers.wppconnect.wire import status_of

TEXTS = ("chat", "vcard", "list_response", "buttons_response", "template_button_reply")  # elsewhere `body` is a file
BESIDE = frozenset({"event", "session", "sender", "chat", "mediaData", "quotedMsg", "quotedMsgObj", "msgs"})


def message(heard: Heard) -> Reports:
    """Somebody wrote, or the account did on another device; what was unread at the start comes by this too."""
    data = fields_of(heard.document, "type")
    if text(data["type"]) in SILENT:
        return []
    ours = _is_ours(data)
    chat = _chat(heard, data, ours=ours)
    found = heard.message_id(message_id(data.get("id"))) if chat else ""
    return [_reported(heard, data, chat, found, ours=ours)] if found else []


def _is_ours(data: Mapping[str, Any]) -> bool:
    return data.get("fromMe") is True or (data.get("fromMe") is None and is_ours(data.get("id")) is True)


def _reported(
    heard: Heard, data: Mapping[str, Any], chat: tuple[str, ...], found: str, *, ours: bool
) -> MessageReported:
    content = content_of(data) or UNSUPPORTED
    if content is UNSUPPORTED:
        heard.odd("unknown_message")
    return MessageReported(
        **heard.about,
        message_id=found,
        chat=chat,
        author=() if ours else _author(data, chat),
        from_me=ours,
        kind=content.kind,
        text=content.text,
        status=(status_of(data.get("ack")) or "pending") if ours else "delivered",
        push_name=heard.push_name(data.get("notifyName") or _sender(data).get("pushname")),
        sent_at=heard.time(data.get("t") or data.get("timestamp")),
        quoted_id=message_id(data.get("quotedMsgId") or data.get("quotedStanzaID")) or None,
        details=_details(content, data) or None,
        original=_original(content, data),
    )


def _sender(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(data.get("sender"))


def _chat(heard: Heard, data: Mapping[str, Any], *, ours: bool) -> tuple[str, ...]:
    """The group, or the other person by all names."""
    first = address(data.get("chatId")) or address(data.get("to" if ours else "from"))
    others = {} if ours else {"from": address(data.get("from")), "sender": address(_sender(data).get("id"))}
    return heard.chat({"chat": first, **others}, "chat", *others)


def _author(data: Mapping[str, Any], chat: tuple[str, ...]) -> tuple[str, ...]:
    if is_personal(chat[0]):
        return chat
    named = {"author": address(data.get("author")), "sender": address(_sender(data).get("id"))}
    return persons(named, *named)


def _details(content: Content, data: Mapping[str, Any]) -> dict[str, Any]:
    """The kind's own facts, and those that any message may have."""
    about = {
        "mentionedJid": [address(one) for one in items(data.get("mentionedJidList"))],
        "isForwarded": data.get("isForwarded"),
        "forwardingScore": data.get("forwardingScore"),
        "expiration": data.get("ephemeralDuration"),
    }
    return {**content.details, **context_details(about)}


def _original(content: Content, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """What came, without files and people; None where the text is all there is."""
    if content.kind == "text":
        return None
    files = () if data["type"] in TEXTS else ("body", "content")
    kept = {key: value for key, value in data.items() if key not in BESIDE and key not in files}
    return original_of(kept, Opened(name="", body=kept))
