"""The broker's own form of a message, put back into Baileys' words, which one reader understands for all. Pure.

Called by `events`. Builds of 2026 call the content `text`, `media`, `poll` …; those of 2025 by Baileys' own key.
"""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.heard import unknown_shape
from manager.providers.evolution.kinds import READERS, VOTE
from manager.providers.evolution.values import items, mapping, text

WORDS_OF = {  # where each content has its words
    "imageMessage": "caption",
    "videoMessage": "caption",
    "documentMessage": "caption",
    "pollCreationMessage": "name",
    "pollCreationMessageV2": "name",
    "pollCreationMessageV3": "name",
    "listResponseMessage": "title",
    "buttonsResponseMessage": "selectedDisplayText",
    "templateButtonReplyMessage": "selectedDisplayText",
}
SPELT = {"poll": "pollCreationMessage"}
Message = dict[str, Any]


def in_words_of_baileys(payload: Mapping[str, Any], *, from_me: bool) -> Message:
    """`{"contact":{"owner":"user","remoteJid","participant","phone":"+5511…","displayName","isGroup"},
    "message":{"id","chatId","type","text","media"?,"interactive"?},"metadata":{"timestamp":"2026-…Z","pollChoice"?}}`

    Raises Malformed.
    """
    message, metadata = payload.get("message"), mapping(payload.get("metadata"))
    if not isinstance(message, Mapping):
        raise unknown_shape()
    message_id, chat = message.get("id") or message.get("messageId"), message.get("chatId")
    found = _message(message_id, chat, mapping(payload.get("contact")), metadata.get("timestamp"), from_me=from_me)
    choice = mapping(metadata.get("pollChoice"))
    return {**found, "message": _choice(choice) if choice else _content(message)}


def vote_in_words_of_baileys(payload: Mapping[str, Any]) -> Message | None:
    """`{"pollId","question","chatId","messageId","timestamp":"2026-…Z","voterJid","selectedOptions":[{"id","text"}],
    "contact":{…}}`; None where `messageId` is the poll itself, which is no message of the voter's.

    Raises Malformed.
    """
    if "pollId" not in payload or "messageId" not in payload:
        raise unknown_shape()
    if payload["messageId"] == payload["pollId"]:
        return None
    contact = mapping(payload.get("contact"))
    contact = {**contact, "participant": contact.get("participant") or payload.get("voterJid")}
    found = _message(payload["messageId"], payload.get("chatId"), contact, payload.get("timestamp"))
    return {**found, "message": _choice(payload)}


def _message(
    message_id: object, chat: object, contact: Mapping[str, Any], at: object, *, from_me: bool = False
) -> Message:
    """`phone` is the chat's, and in a group its author's."""
    phone = text(contact.get("phone")).lstrip("+")
    key = {
        "id": message_id,
        "fromMe": from_me or contact.get("owner") == "device",
        "remoteJid": chat or contact.get("remoteJid"),
        "remoteJidAlt": contact.get("remoteJid"),
        "previousRemoteJid": phone,
        "participant": contact.get("participant"),
        "participantAlt": phone,
    }
    return {"key": key, "messageTimestamp": at, "pushName": _name(contact)}


def _name(contact: Mapping[str, Any]) -> object:
    """Who has none is called by the number, or by the JID."""
    name = contact.get("displayName")
    return None if name in (contact.get("remoteJid"), contact.get("participant")) else name


def _content(message: Mapping[str, Any]) -> Message:
    """What the words do not need is left out: the upsert brings it."""
    media = mapping(message.get("media"))
    words = next((said for given in _words(message, media) if (said := text(given))), "")
    kind = text(media.get("mediaType")) or text(message.get("type"))
    name = SPELT.get(kind, kind if kind in READERS else f"{kind}Message")
    if words and name not in WORDS_OF:
        return {"conversation": words}
    return {name: _facts(media) | ({WORDS_OF[name]: words} if words else {})} if kind else {}


def _words(message: Mapping[str, Any], media: Mapping[str, Any]) -> tuple[object, ...]:
    return message.get("text"), message.get("conversation"), media.get("caption")


def _facts(media: Mapping[str, Any]) -> Message:
    """`{"mediaType":"image","mimetype","fileName","size":123}`"""
    kept = {name: media[name] for name in ("mimetype", "fileName", "ptt", "gifPlayback") if name in media}
    return kept | ({"fileLength": media["size"]} if "size" in media else {})


def _choice(poll: Mapping[str, Any]) -> Message:
    """The vote as Baileys would have it, had it decrypted it itself."""
    chosen = [mapping(one).get("text") or mapping(one).get("id") for one in items(poll.get("selectedOptions"))]
    return {VOTE: {"pollCreationMessageKey": {"id": poll.get("pollId")}, "vote": {"selectedOptions": chosen}}}
