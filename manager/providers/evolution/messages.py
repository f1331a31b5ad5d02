"""Messages, as they come, are sent, and stand in a history. Readers of `events`. Pure.

`{"key":{"remoteJid","fromMe","id",…},"pushName","status"?,"message":{…},"contextInfo"?,"messageTimestamp"}`
(2.3.6 src/api/integrations/channel/whatsapp/whatsapp.baileys.service.ts:prepareMessage)
"""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.addresses import Address, address_of
from manager.providers.evolution.changes import edit, protocol
from manager.providers.evolution.content import UNSUPPORTED, Content, known
from manager.providers.evolution.context import context_details, context_of, quoted_id
from manager.providers.evolution.heard import Heard, Reports, fields_of, unknown_shape
from manager.providers.evolution.kinds import PROTOCOL, REACTION, Opened, open_up, supported
from manager.providers.evolution.original import original_of
from manager.providers.evolution.values import clean, mapping, moment, text
from manager.providers.port import MessageReported, ReactionReported

OFFERS = ("interactive", "list", "buttons", "template")  # Evolution wraps these as view-once to get them through
STATUSES = {
    "PENDING": "pending",
    "SERVER_ACK": "sent",
    "DELIVERY_ACK": "delivered",
    "READ": "read",
    "PLAYED": "played",
    "ERROR": "error",
    # the numbers of WAProto's WebMessageInfo.Status
    "0": "error",
    "1": "pending",
    "2": "sent",
    "3": "delivered",
    "4": "read",
    "5": "played",
}


def messages(heard: Heard) -> Reports:
    """A message as an object, or several in an array."""
    return heard.each(_live)


def history(heard: Heard) -> Reports:
    """Messages of a synchronisation: an array of up to thousands."""
    return heard.each(_old)


def status_of(value: object) -> str | None:
    """How far a message got; None for a word or number that no table has."""
    return STATUSES.get(str(value)) if isinstance(value, str | int) else None


def _live(heard: Heard, item: object) -> Reports:
    return _message(heard, item, old=False)


def _old(heard: Heard, item: object) -> Reports:
    return _message(heard, item, old=True)


def _message(heard: Heard, item: object, *, old: bool) -> Reports:
    data = fields_of(item, "key")
    if not isinstance(data["key"], dict):
        raise unknown_shape()
    address = address_of(heard, data["key"])
    opened = open_up(data.get("message"))
    if address is None or opened is None:
        return []
    if opened.name == PROTOCOL:
        return protocol(heard, mapping(opened.body))
    if "editedMessage" in opened.wrappers:
        return edit(heard, address.message_id, opened, moment(data.get("messageTimestamp")))
    if opened.name == REACTION:
        return _reaction(heard, address, opened, data)
    return [_reported(heard, address, opened, data, old=old)]


def _reported(heard: Heard, address: Address, opened: Opened, data: Mapping[str, Any], *, old: bool) -> MessageReported:
    content = supported(opened)
    if content is UNSUPPORTED:
        heard.odd("unknown_message")
    context = context_of(opened, data)
    return MessageReported(
        **heard.about,
        message_id=address.message_id,
        chat=address.chat,
        author=address.author,
        from_me=address.from_me,
        kind=content.kind,
        text=content.text,
        status=status_of(data.get("status")) or ("pending" if address.from_me else "delivered"),
        push_name=heard.push_name(data.get("pushName")),
        sent_at=heard.time(data.get("messageTimestamp")),
        history=old,
        quoted_id=quoted_id(context),
        details=_details(content, opened, data, context) or None,
        original=original_of(data.get("message"), opened),
    )


def _details(content: Content, opened: Opened, data: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The kind's own facts, and those that any message may have."""
    wrapped = any(name.startswith("viewOnce") for name in opened.wrappers) and content.kind not in OFFERS
    once = wrapped or data["key"].get("isViewOnce") is True
    return {**content.details, **known(viewOnce=once), **context_details(context)}


def _reaction(heard: Heard, address: Address, opened: Opened, data: Mapping[str, Any]) -> Reports:
    """`{"key":{"id" of the message},"text":"❤️","senderTimestampMs":{…}}`; no text: taken back."""
    body = mapping(opened.body)
    message_id = heard.message_id(mapping(body.get("key")).get("id"))
    if not message_id:
        return []
    return [
        ReactionReported(
            **heard.about,
            message_id=message_id,
            author=address.author,
            from_me=address.from_me,
            emoji=clean(text(body.get("text"))),
            reacted_at=moment(body.get("senderTimestampMs")) or heard.time(data.get("messageTimestamp")),
        )
    ]
