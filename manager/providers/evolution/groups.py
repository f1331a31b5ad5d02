"""Groups: what they are called, and which names of their members belong together. Readers of `events`. Pure."""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.heard import Heard, Reports, fields_of, unknown_shape
from manager.providers.evolution.jids import jid, persons
from manager.providers.evolution.values import called, items, mapping
from manager.providers.port import ChatReported, ContactReported

MEMBER = ("id", "lid", "jid", "phoneNumber")


def groups(heard: Heard) -> Reports:
    """`[{"id":"…@g.us","subject","participants":[{"id":"…@lid","jid"|"phoneNumber","admin"}],…}]`"""
    return heard.each(_group)


def participants(heard: Heard) -> Reports:
    """`{"id":"…@g.us","action","participants":["…@lid" | {"id","phoneNumber"}],"participantsData"?:[{"jid",
    "phoneNumber","name"}]}`; who came and went is not asked here, but who is who.
    """
    return heard.each(_participants)


def _group(heard: Heard, item: object) -> Reports:
    group = fields_of(item, "id")
    if not jid(group["id"]).endswith("@g.us"):
        raise unknown_shape()
    title = called(group.get("subject"))
    titled: Reports = [ChatReported(**heard.about, chat=(jid(group["id"]),), title=title)] if title else []
    return titled + _members(heard, items(group.get("participants")))


def _participants(heard: Heard, item: object) -> Reports:
    change = fields_of(item, "participants", "participantsData")
    return _members(heard, [*items(change.get("participantsData")), *items(change.get("participants"))])


def _members(heard: Heard, members: list[Any]) -> Reports:
    """One report a person, where there is something to say: a name, or two names of one person."""
    found: Reports = []
    seen: set[str] = set()
    for member in members:
        names, name = _member(mapping(member))
        if names and (name or len(names) > 1) and not seen.issuperset(names):
            found.append(ContactReported(**heard.about, names=names, name=name))
            seen.update(names)
    return found


def _member(member: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    return persons(member, *MEMBER), called(member.get("name"))
