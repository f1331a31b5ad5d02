"""Who is who: names that were seen together are one person's. Pure.

A union of sets, so that any order of the same sightings unites the same names. Known contacts that turn out to
be one are merged; only two that people have pinned stay apart, and then a name that was seen with both is whose it
was first. The same holds at the most names that a person may have.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid5

from conversations.changes import Alias, AliasSeen, KnownAlias, Merge

SPACE = UUID("7a656c61-646f-5265-a000-000000000001")
PHONE = "@s.whatsapp.net"
MOST_NAMES = 20  # no person has more: a gateway that calls everybody by one name must not make everybody one


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Names of one person in a report, and when it was."""

    scope: str
    names: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Identities:
    """`aliases` holds what is new to the database: a name, or an earlier first sight of one. `phones` are the new
    phones' JIDs with their first sight, of several the one that was first seen last."""

    contact_of: dict[Alias, UUID] = field(default_factory=dict)
    aliases: dict[Alias, AliasSeen] = field(default_factory=dict)
    phones: dict[UUID, tuple[datetime, str]] = field(default_factory=dict)
    merges: list[Merge] = field(default_factory=list)

    def phone_of(self, contact: UUID) -> str | None:
        """Digits of the contact's new phone."""
        return self.phones[contact][1].removesuffix(PHONE) if contact in self.phones else None


def resolve(known: Mapping[Alias, KnownAlias], sightings: Iterable[Sighting]) -> Identities:
    """One contact for each name: a known one where any of the names is known, else a new one."""
    union, first = _Union(known), dict[Alias, datetime]()
    for sighting in sorted(sightings, key=lambda one: (one.at, one.names)):
        aliases = [(sighting.scope, name) for name in sighting.names]
        for alias in aliases:
            first[alias] = min(sighting.at, first.get(alias, sighting.at))
            union.unite(aliases[0], alias)
    found = Identities()
    for members in union.groups([*first, *known]):
        _settle(found, known, first, members)
    return found


def rank(alias: Alias) -> tuple[bool, str]:
    """A phone is the better name of a person; of two the lesser one, so that everybody picks the same."""
    return (not alias[1].endswith(PHONE), alias[1])


def _settle(
    found: Identities, known: Mapping[Alias, KnownAlias], first: Mapping[Alias, datetime], members: list[Alias]
) -> None:
    ordered = sorted(members, key=rank)
    held = list(dict.fromkeys(known[alias].contact for alias in ordered if alias in known))
    scope, best = ordered[0]
    contact = held[0] if held else uuid5(SPACE, f"{scope}/{best}")
    names = tuple(jid for _, jid in ordered)
    found.merges.extend(Merge(scope=scope, survivor=contact, loser=loser, names=names) for loser in held[1:])
    for alias in members:
        found.contact_of[alias] = contact
        if news := _news(known.get(alias), first.get(alias), contact):
            found.aliases[alias] = news
            if alias[1].endswith(PHONE):
                phone = (news.first_seen_at, alias[1])
                found.phones[contact] = max(phone, found.phones.get(contact, phone))


def _news(known: KnownAlias | None, seen_at: datetime | None, contact: UUID) -> AliasSeen | None:
    if seen_at is None or (known and known.first_seen_at and known.first_seen_at <= seen_at):
        return None
    return AliasSeen(contact=contact, first_seen_at=seen_at, is_new=known is None)


class _Union:
    """Disjoint sets of names. The names of one known contact begin in one set."""

    def __init__(self, known: Mapping[Alias, KnownAlias]) -> None:
        self._parent: dict[Alias, Alias] = {}
        self._pinned: dict[Alias, UUID] = {}
        self._names: dict[Alias, int] = {}
        heads: dict[UUID, Alias] = {}
        for alias, facts in known.items():
            head = self._parent[alias] = heads.setdefault(facts.contact, alias)
            self._names[head] = facts.names
            if facts.pinned:
                self._pinned[head] = facts.contact

    def unite(self, one: Alias, other: Alias) -> None:
        one, other = self._root(one), self._root(other)
        pinned, others = self._pinned.get(one), self._pinned.get(other)
        if one == other or (pinned and others and pinned != others):
            return
        names = self._names.get(one, 1) + self._names.get(other, 1)
        if names > MOST_NAMES:
            return
        self._parent[other], self._names[one] = one, names
        if others:
            self._pinned[one] = others

    def groups(self, aliases: Iterable[Alias]) -> Iterable[list[Alias]]:
        found: dict[Alias, list[Alias]] = defaultdict(list)
        for alias in dict.fromkeys(aliases):
            found[self._root(alias)].append(alias)
        return found.values()

    def _root(self, alias: Alias) -> Alias:
        parent = self._parent.setdefault(alias, alias)
        while parent != alias:
            alias, parent = parent, self._parent[parent]
        return alias
