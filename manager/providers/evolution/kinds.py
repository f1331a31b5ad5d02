"""Which kind a message's content is, and who reads it. Called by `messages` and `changes`. Pure.

A content is an object whose one telling key names the kind: `{"imageMessage":{…},"messageContextInfo":{…}}`. It may be
wrapped: `{"ephemeralMessage":{"message":{…}}}`. Names as in Baileys' WAProto (7.0.0-rc.6) and older ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from manager.providers.evolution import cards, media, menus
from manager.providers.evolution.content import UNSUPPORTED, Body, Content, known
from manager.providers.evolution.values import clean, mapping, said

MOST_WRAPPED = 8
WRAPPERS = (
    "ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension",
    "documentWithCaptionMessage", "deviceSentMessage", "editedMessage", "groupMentionedMessage",
    "lottieStickerMessage", "botInvokeMessage", "botForwardedMessage", "botTaskMessage", "associatedChildMessage",
    "groupStatusMessage", "groupStatusMessageV2", "questionMessage", "eventCoverImage",
    "pollCreationMessageV4", "pollCreationMessageV5", "pollCreationOptionImageMessage",
)  # fmt: skip
WRAPPING = {name: place for place, name in enumerate(WRAPPERS)}
PROTOCOL, REACTION, VOTE = "protocolMessage", "reactionMessage", "pollUpdateMessage"
BESIDE = frozenset(  # what stands beside a content, or comes instead of one, and says nothing to a person
    {
        "messageContextInfo", "contextInfo", "base64", "mediaUrl", "speechToText", "senderKeyDistributionMessage",
        "fastRatchetKeySenderKeyDistributionMessage", "keepInChatMessage", "pinInChatMessage", "encReactionMessage",
        "encCommentMessage", "encEventResponseMessage", "secretEncryptedMessage", "stickerSyncRmrMessage",
        "messageHistoryBundle", "messageHistoryNotice", "placeholderMessage", "albumMessage",
        "scheduledCallEditMessage", "pollResultSnapshotMessage", "deviceSentMessage", "chat",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A content without its wrappings: `name` is its telling key, `body` what stands under it."""

    name: str
    body: Any
    wrappers: tuple[str, ...] = ()


def open_up(message: object) -> Opened | None:
    """The content inside all wrappings; None for what says nothing to a person. A bare string is a text."""
    wrappers: list[str] = []
    for _ in range(MOST_WRAPPED):
        if isinstance(message, str):
            return Opened(name="conversation", body=message, wrappers=tuple(wrappers))
        content = mapping(message)
        wraps = [name for name in content if name in WRAPPING and "message" in mapping(content[name])]
        wrapper = min(wraps, key=WRAPPING.__getitem__, default=None)
        if wrapper is None:
            return _opened(content, tuple(wrappers))
        wrappers.append(wrapper)
        message = content[wrapper]["message"]
    return Opened(name="", body=None, wrappers=tuple(wrappers))


def read_content(opened: Opened) -> Content | None:
    """What the content says; None for one that nobody knows."""
    read = READERS.get(opened.name)
    fitting = isinstance(opened.body, str if opened.name == "conversation" else dict)
    return read(opened.body) if read and fitting else None


def supported(opened: Opened) -> Content:
    """What the content says, if only that it cannot be shown."""
    return read_content(opened) or UNSUPPORTED


def _opened(content: Body, wrappers: tuple[str, ...]) -> Opened | None:
    """The first known key that has something under it, else the first known, else one that nobody knows."""
    said = [name for name, value in content.items() if value is not None]
    given = sorted((name for name in said if name in TELLING), key=TELLING.__getitem__)
    name = next((name for name in given if content[name]), None) or next(iter(given), None)
    name = name or min((name for name in said if name not in BESIDE), default=None)
    return None if name is None else Opened(name=name, body=content[name], wrappers=wrappers)


def _conversation(body: object) -> Content | None:
    return Content(kind="text", text=clean(body)) if isinstance(body, str) else None


def _extended_text(body: Body) -> Content | None:
    """`{"text":"veja https://…","matchedText":"https://…","title":"…","description":"…","contextInfo":{…}}`"""
    content = _conversation(body.get("text"))
    preview = known(title=said(body.get("title")), description=said(body.get("description")))
    return content and Content(kind="text", text=content.text, details=known(linkPreview=preview))


READERS: Mapping[str, Callable[[Any], Content | None]] = {
    "conversation": _conversation,
    "extendedTextMessage": _extended_text,
    "imageMessage": media.image,
    "videoMessage": media.video,
    "ptvMessage": media.video_note,
    "audioMessage": media.audio,
    "documentMessage": media.document,
    "stickerMessage": media.sticker,
    "locationMessage": cards.location,
    "liveLocationMessage": cards.live_location,
    "contactMessage": cards.contact,
    "contactsArrayMessage": cards.contacts,
    "pollCreationMessage": cards.poll,
    "pollCreationMessageV2": cards.poll,
    "pollCreationMessageV3": cards.poll,
    "pollCreationMessageV4": cards.poll,
    "pollCreationMessageV5": cards.poll,
    VOTE: cards.poll_vote,
    "eventMessage": cards.event,
    "scheduledCallCreationMessage": cards.event,
    "callLogMesssage": cards.call_log,  # so spelt in WhatsApp's protocol
    "groupInviteMessage": cards.invite,
    "listMessage": menus.options_list,
    "listResponseMessage": menus.list_reply,
    "buttonsMessage": menus.buttons,
    "buttonsResponseMessage": menus.buttons_reply,
    "templateMessage": menus.template,
    "templateButtonReplyMessage": menus.template_reply,
    "interactiveMessage": menus.interactive,
    "interactiveResponseMessage": menus.interactive_reply,
    "orderMessage": menus.order,
    "productMessage": menus.product,
}
TELLING = {name: place for place, name in enumerate((PROTOCOL, REACTION, *READERS))}
