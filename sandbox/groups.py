"""The one group that every sandbox phone is in, in the words of the group routes. Pure."""

from typing import Any

from sandbox import numbers
from sandbox.errors import ApiError
from sandbox.state import Instance

_MEMBERS = ("5511999990001@s.whatsapp.net", "5521988880000@s.whatsapp.net")


def info(instance: Instance, jid: str | None) -> dict[str, Any]:
    """GET /group/findGroupInfos. Raises ApiError 400, or 404 for a group nobody is in."""
    if not jid:
        raise ApiError(400, ["The group id needs to be informed in the query"])
    if jid not in numbers.KNOWN_GROUPS or instance.live.state != "open":
        raise ApiError(404, ["Error fetching group", "AxiosError: not found"])
    people = [*_MEMBERS, *([instance.owner_jid] if instance.owner_jid else [])]
    return {
        "id": jid,
        "subject": "Clientes",
        "subjectOwner": _MEMBERS[0],
        "subjectTime": 1_700_000_000,
        "pictureUrl": None,
        "size": len(people),
        "creation": 1_700_000_000,
        "owner": _MEMBERS[0],
        "restrict": False,
        "announce": False,
        "participants": [{"id": person, "admin": None} for person in people],
        "isCommunity": False,
        "isCommunityAnnounce": False,
    }


def everything(instance: Instance, get_participants: str | None) -> list[dict[str, Any]]:
    """GET /group/fetchAllGroups; whether with participants has to be said."""
    if get_participants not in ("true", "false"):
        raise ApiError(400, ["The getParticipants needs to be informed in the query"])
    if instance.live.socket == 0:
        raise ApiError(500, "Cannot convert undefined or null to object")
    if instance.live.state != "open":
        return []
    found = [info(instance, jid) for jid in sorted(numbers.KNOWN_GROUPS)]
    return found if get_participants == "true" else [_without_people(group) for group in found]


def _without_people(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "participants"}
