"""What people and chats are called. Readers of `events`. Pure.

One comes after every message, mostly without a name: "" and numbers are no names, and nothing is forgotten for them.
"""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.heard import Heard, Reports, fields_of, unknown_shape
from manager.providers.evolution.jids import STATUS, jid
from manager.providers.evolution.values import called, text
from manager.providers.port import ChatReported, ContactReported, ProviderEvent

ALIASES = ("remoteJid", "remoteJidAlt", "remoteLid", "lid", "lidJid", "pnJid", "phoneNumber", "jid")
NAMES = ("pushName", "name", "notify", "verifiedName", "subject")


def contacts(heard: Heard) -> Reports:
    """`{"remoteJid","pushName"?,"profilePicUrl"|null}`, one or an array. Nothing for a group: what stands there is its
    last writer's name."""
    return heard.each(_contact)


def chats(heard: Heard) -> Reports:
    """`[{"remoteJid","name"?,"unreadMessages"?}]`; `{"id","name"}` has a row's id and names no chat. Nothing for a
    group, as in contacts."""
    return heard.each(_chat)


def synchronised_chats(heard: Heard) -> Reports:
    """The same of a synchronisation, where a group has its own name."""
    return heard.each(_titled)


def deleted_chats(heard: Heard) -> Reports:
    """`["5511…@s.whatsapp.net"]`, or objects with `remoteJid` or `id`."""
    return heard.each(_deleted)


def _contact(heard: Heard, item: object) -> Reports:
    names, name = _named(heard, item)
    if not names:
        return []
    return [] if names[0].endswith("@g.us") else [ContactReported(**heard.about, names=names, name=name)]


def _chat(heard: Heard, item: object) -> Reports:
    found = _titled(heard, item)
    return [] if any(_is_group(report) for report in found) else found


def _is_group(report: ProviderEvent) -> bool:
    return isinstance(report, ChatReported) and report.chat[0].endswith("@g.us")


def _titled(heard: Heard, item: object) -> Reports:
    """Nothing for a chat of one name and no title."""
    names, title = _named(heard, item)
    if names and (title or len(names) > 1):
        return [ChatReported(**heard.about, chat=names, title=title)]
    return []


def _deleted(heard: Heard, item: object) -> Reports:
    if isinstance(item, str) and not jid(item):
        raise unknown_shape()
    names, _ = _named(heard, {"remoteJid": item} if isinstance(item, str) else item)
    return [ChatReported(**heard.about, chat=names, deleted=True)] if names else []


def _named(heard: Heard, item: object) -> tuple[tuple[str, ...], str | None]:
    """The item's names and what it is called; () where it is known by a row's id only."""
    fields = _with_jid(fields_of(item, "remoteJid", "id", "jid"))
    if "remoteJid" not in fields:
        return (), None
    name = next((found for key in NAMES if (found := called(fields.get(key)))), None)
    names = heard.chat(fields, *ALIASES)
    return (() if names == (STATUS,) else names), name


def _with_jid(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Baileys' own contacts and chats have their JID as `id`; in Evolution's that is a row's."""
    if fields.get("remoteJid"):
        return fields
    found = next((value for key in ("id", "jid") if "@" in text(value := fields.get(key))), None)
    others = {key: value for key, value in fields.items() if key != "remoteJid"}
    return {**others, "remoteJid": found} if found else others
