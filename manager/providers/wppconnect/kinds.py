"""Which kind a message of WhatsApp Web is, and what it says: its flat fields, put as Evolution's readers know them.

Called by `messages`. Pure. `body` is a text in some types, a thumbnail or the whole file in base64 in others: it is
looked at only where it is known to be a text.
"""

from collections.abc import Callable, Mapping
from typing import Any

from manager.providers.evolution import cards, media, menus
from manager.providers.evolution.content import Body, Content
from manager.providers.evolution.values import clean, items, mapping, text

SILENT = frozenset(  # what says nothing to a person (keys, settings, WhatsApp's own notes), or comes as its own event
    {
        "revoked", "ciphertext", "protocol", "debug", "e2e_notification", "notification", "notification_template",
        "gp2", "group_notification", "broadcast_notification", "reaction", "poll_update", "call_log",
    }
)  # fmt: skip
FILES = ("mimetype", "caption", "width", "height")


def content_of(data: Body) -> Content | None:
    """What the message says; None for a type that nobody knows."""
    read = READERS.get(text(data.get("type")))
    return read(data) if read else None


def _chat(data: Body) -> Content:
    return Content(kind="text", text=clean(text(data.get("body")) or text(data.get("content"))))


def _file(data: Body, **more: object) -> dict[str, Any]:
    """`{"mimetype","caption"?,"size","duration"?,"width","height","isViewOnce"}`"""
    same = {name: data.get(name) for name in FILES}
    sizes = {"fileLength": data.get("size"), "seconds": data.get("duration"), "viewOnce": data.get("isViewOnce")}
    return {**same, **sizes, **more}


def _document(data: Body) -> Content:
    """A file without a caption has its name there."""
    name, caption = data.get("filename"), data.get("caption")
    shown = {"fileName": name, "title": data.get("title"), "pageCount": data.get("pageCount")}
    return media.document(_file(data, **shown, caption=None if caption == name else caption))


def _location(data: Body) -> Content:
    """`{"lat":-23.5,"lng":-46.6,"loc":"Loja\\nRua X","isLive"?}`; `body` is a thumbnail of the map."""
    name, _, address = text(data.get("loc")).partition("\n")
    place = {"degreesLatitude": data.get("lat"), "degreesLongitude": data.get("lng"), "name": name, "address": address}
    return cards.live_location(place) if data.get("isLive") is True else cards.location(place)


def _contact(data: Body) -> Content:
    return cards.contact({"displayName": data.get("vcardFormattedName"), "vcard": data.get("body")})


def _contacts(data: Body) -> Content:
    """`{"vcardList":[{"displayName","vcard"}]}`"""
    return cards.contacts({"contacts": data.get("vcardList")})


def _poll(data: Body) -> Content:
    """`{"pollName":"Qual?","pollOptions":[{"name":"A","localId":0}],"pollSelectableOptionsCount":1}`"""
    options = [{"optionName": mapping(one).get("name")} for one in items(data.get("pollOptions"))]
    most = data.get("pollSelectableOptionsCount")
    return cards.poll({"name": data.get("pollName"), "options": options, "selectableOptionsCount": most})


def _invite(data: Body) -> Content:
    return cards.invite({"groupName": data.get("inviteGrpName"), "caption": data.get("comment")})


def _list_reply(data: Body) -> Content:
    """`{"body":"Opção 1","listResponse":{"title","singleSelectReply":{"selectedRowId"}}}`"""
    return menus.list_reply({"title": data.get("body"), **mapping(data.get("listResponse"))})


def _buttons_reply(data: Body) -> Content:
    return menus.buttons_reply({"selectedDisplayText": data.get("body"), "selectedButtonId": data.get("selectedId")})


def _template_reply(data: Body) -> Content:
    return menus.template_reply({"selectedDisplayText": data.get("body"), "selectedId": data.get("selectedId")})


READERS: Mapping[str, Callable[[Body], Content]] = {
    "chat": _chat,
    "image": lambda data: media.image(_file(data)),
    "video": lambda data: media.video(_file(data, gifPlayback=data.get("isGif"))),
    "ptv": lambda data: media.video_note(_file(data)),
    "ptt": lambda data: media.audio(_file(data, ptt=True)),
    "audio": lambda data: media.audio(_file(data)),
    "document": _document,
    "sticker": lambda data: media.sticker(_file(data, isAnimated=data.get("isAnimated"))),
    "location": _location,
    "vcard": _contact,
    "multi_vcard": _contacts,
    "poll_creation": _poll,
    "groups_v4_invite": _invite,
    "list_response": _list_reply,
    "buttons_response": _buttons_reply,
    "template_button_reply": _template_reply,
}
