"""What a client may send: for each verb the fields it must bring and the message WhatsApp makes of it. Pure but
for media that has to be fetched."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import errors, ids, media
from sandbox.encoding import Long
from sandbox.errors import ApiError

# WhatsApp's disappearing-mode timestamp in a recording lay two days before the message.
EPHEMERAL_BEFORE_S = 172_800
MEDIA_TYPES = ("image", "document", "video", "audio")

Body = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """`context` False: the answer has no contextInfo of its own; `raw` is the file, `participant` stands in the
    key."""

    kind: str
    content: dict[str, Any]
    text: str
    context: bool = True
    raw: bytes | None = None
    participant: bool = False


@dataclass(frozen=True, kw_only=True)
class Verb:
    """`never` is the answer while the instance was never connected."""

    required: tuple[str, ...]
    build: Callable[[Body], Outgoing]
    never: tuple[int, object] = (500, "Cannot read properties of undefined (reading 'onWhatsApp')")


def context() -> dict[str, Any]:
    return {
        "mentionedJid": [],
        "groupMentions": [],
        "ephemeralSettingTimestamp": Long(ids.epoch_s() - EPHEMERAL_BEFORE_S),
        "disappearingMode": {"initiator": 0},
    }


def check(verb: Verb, body: Body) -> Outgoing:
    """The message that is asked for. Raises ApiError in the order of Evolution's own checks."""
    missing = [f'instance requires property "{field}"' for field in verb.required if field not in body]
    if missing:
        raise errors.invalid(*missing)
    if "number" in verb.required and not isinstance(body["number"], str):
        raise errors.invalid("Invalid format")
    return verb.build(body)


def _text(body: Body) -> Outgoing:
    text = body["text"]
    if not isinstance(text, str):
        raise errors.invalid("text is not of a type(s) string")
    if not text.strip():
        raise ApiError(400, ["Text is required"])
    return Outgoing(kind="conversation", content={"conversation": text}, text=text)


def _media(body: Body) -> Outgoing:
    kind = body["mediatype"]
    if kind not in MEDIA_TYPES:
        raise errors.invalid(f"mediatype is not one of enum values: {','.join(MEDIA_TYPES)}")
    raw = media.read(body.get("media"))
    part = media.described(kind, raw, str(body.get("mimetype") or "application/octet-stream"))
    part |= {name: body[name] for name in ("caption", "fileName") if body.get(name) and _says(kind, name)}
    if kind == "image":
        part |= {"interactiveAnnotations": [], "scanLengths": [], "annotations": [], "height": 1, "width": 1}
        part["jpegThumbnail"] = secrets.token_bytes(274)
    part["contextInfo"] = context()
    shown = f"(anexo) {body.get('fileName') or kind} {body.get('caption') or ''}".strip()
    return Outgoing(kind=f"{kind}Message", content={f"{kind}Message": part}, text=shown, raw=raw)


def _says(kind: str, name: str) -> bool:
    return kind == "document" if name == "fileName" else kind != "audio"


def _reaction(body: Body) -> Outgoing:
    key, said = body["key"], body["reaction"]
    if not isinstance(key, dict) or not isinstance(key.get("remoteJid"), str):
        raise errors.invalid('key requires property "remoteJid"')
    if not isinstance(said, str) or (said.isascii() and said):
        raise ApiError(400, ["Reaction must be a single emoji or empty string"])
    content = {"text": said, "key": key, "senderTimestampMs": ids.epoch_s() * 1000}
    return Outgoing(kind="reactionMessage", content={"reactionMessage": content}, text=said, context=False)


def _location(body: Body) -> Outgoing:
    place = {"degreesLatitude": body["latitude"], "degreesLongitude": body["longitude"]}
    place |= {"name": body["name"], "address": body["address"], "contextInfo": context()}
    return Outgoing(kind="locationMessage", content={"locationMessage": place}, text=f"(localização) {body['name']}")


def _contact(body: Body) -> Outgoing:
    cards = body["contact"]
    if not isinstance(cards, list) or not cards or not all(isinstance(one, dict) for one in cards):
        raise errors.invalid("contact is not of a type(s) array")
    name, number = str(cards[0].get("fullName")), str(cards[0].get("phoneNumber"))
    card = f"BEGIN:VCARD\nVERSION:3.0\nN:{name}\nFN:{name}\nitem1.TEL;waid={number}:{number}\nEND:VCARD"
    content = {"displayName": name, "vcard": card, "contextInfo": context()}
    return Outgoing(kind="contactMessage", content={"contactMessage": content}, text=f"(contato) {name}")


def _poll(body: Body) -> Outgoing:
    poll = {"name": body["name"], "selectableOptionsCount": body["selectableCount"]}
    poll["options"] = [{"optionName": value} for value in body["values"]]
    secret = {"messageSecret": secrets.token_bytes(32), "contextInfo": context()}
    content = {"messageContextInfo": secret, "pollCreationMessageV3": poll}
    return Outgoing(kind="pollCreationMessageV3", content=content, text=f"(enquete) {body['name']}", context=False)


def _buttons(body: Body) -> Outgoing:
    pressed = [{"name": "quick_reply", "buttonParamsJson": "{}"} for _ in body["buttons"]]
    flow = {"buttons": pressed, "messageParamsJson": "{}"}
    shown = {"body": {"text": f"*{body['title']}*\n\n{body.get('description', '')}\n"}, "nativeFlowMessage": flow}
    if "footer" in body:
        shown["footer"] = {"text": body["footer"]}
    content = {"viewOnceMessage": {"message": {"interactiveMessage": shown}}}
    return Outgoing(
        kind="viewOnceMessage", content=content, text=f"(botões) {body['title']}", context=False, participant=True
    )


def _list(_: Body) -> Outgoing:
    """It cannot be sent with Baileys 7.0.0-rc.6."""
    raise ApiError(400, ["TypeError: this.isZero is not a function"])


VERBS = {
    "sendText": Verb(required=("number", "text"), build=_text),
    "sendMedia": Verb(
        required=("number", "mediatype"),
        build=_media,
        never=(500, ["TypeError: Cannot read properties of undefined (reading 'waUploadToServer')"]),
    ),
    "sendReaction": Verb(required=("key", "reaction"), build=_reaction),
    "sendLocation": Verb(required=("number", "latitude", "longitude", "name", "address"), build=_location),
    "sendContact": Verb(required=("number", "contact"), build=_contact),
    "sendPoll": Verb(required=("number", "name", "selectableCount", "values"), build=_poll),
    "sendButtons": Verb(required=("number", "title", "buttons"), build=_buttons),
    "sendList": Verb(required=("number", "title", "sections"), build=_list),
}
