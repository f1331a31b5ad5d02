"""Rooms: whose events are heard in `user:<id>`, `instance:<id>` and `org:<id>`, and who may listen there.

The instances are somebody else's tables: `bootstrap` hands in a `Directory`, and `Members`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from core.access import Principal, storable
from core.errors import Forbidden, Malformed, NotFound

LONGEST_NAME = 128  # characters


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A user's, also of one who has not connected yet."""

    name: str
    user_id: UUID


class Directory(Protocol):
    def named(self, name: str) -> Instance | None:
        """By id or technical name."""


# the users of each of these organizations, with the time since when each may be heard there
Members = Callable[[Connection, Collection[str]], Mapping[str, Mapping[UUID, datetime]]]


@dataclass(frozen=True, kw_only=True)
class Room:
    """Of one user, or of an organization."""

    channel: str
    user_id: UUID | None = None
    organization: str | None = None


def users_of(
    connection: Connection, rooms: Collection[Room], members: Members
) -> dict[str, Mapping[UUID, datetime | None]]:
    """Who is heard in each of the rooms, by channel, and since when; None: from now on."""
    organizations = {room.organization for room in rooms if room.organization}
    found = members(connection, organizations) if organizations else {}
    return {
        room.channel: {room.user_id: None} if room.user_id else found.get(room.organization or "", {}) for room in rooms
    }


class Rooms:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def open(self, principal: Principal, channel: str) -> Room:
        """Raises Malformed, Forbidden, NotFound."""
        kind, _, name = channel.partition(":")
        if not 0 < len(name) <= LONGEST_NAME or storable(name) != name:
            raise Malformed("A channel is user:<id>, instance:<id> or org:<id>", code="BAD_CHANNEL")
        if kind == "org":
            return self._organization(principal, name)
        if kind == "instance":
            user_id = self.instance(principal, name).user_id
        elif kind == "user":
            user_id = self._user(principal, name)
        else:
            raise Malformed("A channel is user:<id>, instance:<id> or org:<id>", code="BAD_CHANNEL")
        return Room(channel=channel, user_id=user_id)

    def instance(self, principal: Principal, name: str) -> Instance:
        """Somebody's own, or anybody's for an administrator. Raises NotFound, for those of others too."""
        found = self._directory.named(name) if storable(name) == name else None
        if found is None or not (principal.is_admin or found.user_id == principal.user_id):
            raise NotFound("There is no such instance", code="INSTANCE_NOT_FOUND")
        return found

    def _organization(self, principal: Principal, name: str) -> Room:
        if not principal.is_admin and name not in (principal.organization_id, str(principal.user_id)):
            raise Forbidden("Only members of the organization may join it")
        return Room(channel=f"org:{name}", organization=name)

    @staticmethod
    def _user(principal: Principal, name: str) -> UUID:
        if name == str(principal.user_id):
            return principal.user_id
        try:
            user_id = UUID(name)
        except ValueError:
            user_id = None
        if user_id is None or not principal.is_admin:
            raise NotFound("There is no such user")
        return user_id
