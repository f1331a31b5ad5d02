"""Who knows what deliveries mean: the table that bootstrap hands to the worker and to repairs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from core.events import Effects
from webhooks.lanes import Stored


class Reading(Protocol):
    """What a delivery means, and what was odd about it."""

    @property
    def events(self) -> Sequence[Any]: ...
    @property
    def issues(self) -> Sequence[str]: ...


class Owner(Protocol):
    """Who knows what some kinds of provider events mean. `fold` is pure; the others use the caller's transaction."""

    def keys(self, incoming: Sequence[Any]) -> Any: ...
    def load(self, connection: Connection, keys: Any) -> Any: ...
    def fold(self, state: Any, incoming: Sequence[Any]) -> Any: ...
    def apply(self, connection: Connection, changes: Any) -> Effects: ...


Translate = Callable[[Stored, Any], Reading]
Resolve = Callable[[Connection, Collection[str]], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Owners:
    """`resolve` finds what a lane's name stands for, None for what was deleted; `translate` reads a delivery, or
    raises Malformed; `by_kind` says who owns which type of provider event. Nobody owns it: the log keeps it.

    `known_events` are the names that metrics may show. `chatter` are the types of which only the newest counts
    when an instance brings too many (webhooks.storms).
    """

    resolve: Resolve
    translate: Translate
    by_kind: Mapping[type, Owner]
    known_events: Collection[str] = ()
    chatter: Collection[type] = ()
