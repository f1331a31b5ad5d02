"""Messages that contacts send, by kind: content, messageType and contextInfo as they were recorded. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sandbox import media

ABSENT: Final = {"absent": True}  # no contextInfo at all, as with plain text


@dataclass(frozen=True)
class Sample:
    """`text` is what the page shows; `raw` the file, when there is one."""

    kind: str
    content: dict[str, Any]
    text: str
    context: dict[str, Any] | None = None
    raw: bytes | None = None


def _text(text: str) -> Sample:
    return Sample("conversation", {"conversation": text}, text, ABSENT)


def _link(text: str) -> Sample:
    link = f"{text} https://example.com/a?b=1".strip()
    return Sample("conversation", {"conversation": link}, link)


def _reply(text: str) -> Sample:
    quoted = {"stanzaId": "3EB0QUOTED0001", "participant": "", "quotedMessage": {"conversation": "Oi"}}
    return Sample("conversation", {"conversation": text}, text, {"mentionedJid": [], "groupMentions": [], **quoted})


def _media(kind: str, mimetype: str, shown: str, **more: Any) -> Callable[[str], Sample]:
    def build(text: str) -> Sample:
        part = more | media.described(kind, media.PIXEL, mimetype)
        if text and kind in ("image", "video"):
            part["caption"] = text
        return Sample(f"{kind}Message", {f"{kind}Message": part}, f"{shown} {text}".strip(), raw=media.PIXEL)

    return build


def _location(text: str) -> Sample:
    name = text or "Loja"
    place = {"degreesLatitude": -23.55, "degreesLongitude": -46.63, "name": name, "address": "Rua X 1"}
    return Sample("locationMessage", {"locationMessage": place}, f"(localização) {name}")


def _contact(text: str) -> Sample:
    card = "BEGIN:VCARD\nVERSION:3.0\nFN:Bia\nTEL;waid=5511999990002:+55 11 99999-0002\nEND:VCARD"
    return Sample("contactMessage", {"contactMessage": {"displayName": text or "Bia", "vcard": card}}, "(contato) Bia")


def _buttons(text: str) -> Sample:
    said = text or "Sim"
    pressed = {"selectedButtonId": "yes", "selectedDisplayText": said, "type": 1}
    return Sample("buttonsResponseMessage", {"buttonsResponseMessage": pressed}, said)


def _list(text: str) -> Sample:
    said = text or "Opção 1"
    chosen = {"title": said, "listType": 1, "singleSelectReply": {"selectedRowId": "row1"}}
    return Sample("listResponseMessage", {"listResponseMessage": chosen}, said)


def _poll(text: str) -> Sample:
    options = [{"optionName": "A"}, {"optionName": "B"}]
    poll = {"options": options, "name": text or "Qual?", "selectableOptionsCount": 1}
    return Sample("pollCreationMessageV3", {"pollCreationMessageV3": poll}, f"(enquete) {poll['name']}")


def _ephemeral(text: str) -> Sample:
    inner = {"message": {"extendedTextMessage": {"text": text, "contextInfo": {"expiration": 604800}}}}
    return Sample("ephemeralMessage", {"ephemeralMessage": inner}, text)


def _view_once(text: str) -> Sample:
    picture = _media("image", "image/png", "(visualização única)", viewOnce=True)(text)
    return Sample("viewOnceMessageV2", {"viewOnceMessageV2": {"message": picture.content}}, picture.text)


def _reaction(text: str) -> Sample:
    key = {"remoteJid": "", "fromMe": True, "id": "3EB0REACTED0001"}
    said = text or "👍"
    reaction = {"key": key, "text": said, "senderTimestampMs": "1795316000000"}
    return Sample("reactionMessage", {"reactionMessage": reaction}, said, ABSENT)


def _empty(_: str) -> Sample:
    return _text("")


_EMPTY_LISTS: dict[str, Any] = {"interactiveAnnotations": [], "annotations": []}

CONTENTS: dict[str, Callable[[str], Sample]] = {
    "text": _text,
    "empty": _empty,
    "link": _link,
    "reply": _reply,
    "image": _media("image", "image/png", "(imagem)", scanLengths=[], **_EMPTY_LISTS),
    "audio": _media("audio", "audio/ogg; codecs=opus", "(áudio)", seconds=3, ptt=True),
    "video": _media("video", "video/mp4", "(vídeo)", seconds=1, processedVideos=[], **_EMPTY_LISTS),
    "document": _media("document", "application/pdf", "(documento)", title="orçamento.pdf", fileName="orçamento.pdf"),
    "sticker": _media("sticker", "image/webp", "(figurinha)"),
    "location": _location,
    "contact": _contact,
    "buttons": _buttons,
    "list": _list,
    "poll": _poll,
    "ephemeral": _ephemeral,
    "view_once": _view_once,
    "reaction": _reaction,
}

# The same text, but who writes it, or where, is told in another way.
ADDRESSED = ("lid", "pn_lid", "group", "own_phone", "no_name")
# What is no message: something happens to an older one, or beside them.
SCENES = ("edit", "revoke", "read", "repeat", "undecryptable", "presence", "call", "history")

NAMES = (*CONTENTS, *ADDRESSED, *SCENES)
