"""Rooms: whose events are heard in `user:<id>`, `instance:<id>` and `org:<id>`, and who may listen there.

The instances are somebody else's tables: `bootstrap` hands in a `Directory`.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.access import Principal, storable
from core.errors import Forbidden, Malformed, NotFound, StorageUnavailable

KNOWN_FOR_S = 5.0
MOST_KNOWN = 20_000
LONGEST_NAME = 128  # characters


@dataclass(frozen=True, kw_only=True)
class Instance:
    """`id` is None where only the name is known: the user has not connected yet. `made_at`: when its row was."""

    id: UUID | None
    name: str
    user_id: UUID
    organization_id: str | None = None
    made_at: datetime | None = None


class Directory(Protocol):
    def of_user(self, user_id: UUID) -> Instance | None: ...

    def of_organization(self, organization: str) -> Sequence[Instance]:
        """Its instances; the user's own where the organization is a user's id."""

    def named(self, name: str) -> Instance | None:
        """By id or technical name."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """`users` is asked again and again: who belongs to an organization changes. Each with the time since when it may be
    heard there, None: from now on."""

    channel: str
    users: Callable[[], Mapping[UUID, datetime | None]]


class Rooms:
    def __init__(self, directory: Directory, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._monotonic = directory, monotonic
        self._known: dict[UUID, tuple[float, Instance | None]] = {}
        self._lock = threading.Lock()

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
        return Room(channel=channel, users=lambda: {user_id: None})

    def instance(self, principal: Principal, name: str) -> Instance:
        """Somebody's own, or anybody's for an administrator. Raises NotFound, for those of others too."""
        found = self._directory.named(name) if storable(name) == name else None
        if found is None or not (principal.is_admin or found.user_id == principal.user_id):
            raise NotFound("There is no such instance", code="INSTANCE_NOT_FOUND")
        return found

    def of_user(self, user_id: UUID) -> Instance | None:
        """The user's instance as it was at most 5 s ago; while the database is away as it was before, None where it was
        not known."""
        at, found = self._known.get(user_id, (-math.inf, None))
        if self._monotonic() - at < KNOWN_FOR_S:
            return found
        try:
            found = self._directory.of_user(user_id)
        except StorageUnavailable:  # an event that has been read must go out
            return found
        with self._lock:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[user_id] = (self._monotonic(), found)
        return found

    def _organization(self, principal: Principal, name: str) -> Room:
        if not principal.is_admin and name not in (principal.organization_id, str(principal.user_id)):
            raise Forbidden("Only members of the organization may join it")

        def users() -> Mapping[UUID, datetime | None]:
            return {one.user_id: one.made_at for one in self._directory.of_organization(name)}

        return Room(channel=f"org:{name}", users=users)

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
