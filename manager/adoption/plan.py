"""What is to be done about the rows that say one user. Pure: rows and what the gateway showed → findings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from manager.adoption.names import Names, technical
from manager.adoption.report import Finding, Kind

NEVER = float("-inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What of an instance's row decides. Nothing else of it is read: earlier versions wrote odd things.
    `created_s`: seconds since 1970, infinite where the database says so."""

    id: UUID
    name: str
    user_id: UUID | None = None
    gateway_name: str | None = None
    connected: bool = False
    created_s: float | None = None
    hooked: bool = False
    deleted: bool = False

    @property
    def on_gateway(self) -> str:
        return self.gateway_name or self.name


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the gateway has, and who is connected there now. `silent`: there is one, and it does not answer."""

    reached: bool = False
    silent: bool = False
    names: Collection[str] = ()
    connected: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class Group:
    """All rows that say one user, or are theirs already. `taken`: which row has a name, here or on the gateway."""

    user_id: UUID
    exists: bool
    bound: Row | None = None
    unbound: Sequence[Row] = ()
    taken: Mapping[str, UUID] = field(default_factory=dict)
    taken_there: Mapping[str, UUID] = field(default_factory=dict)


def settle(group: Group, names: Names, seen: Seen) -> list[Finding]:
    """One finding for each row that is not in order. The mendable ones say what the row becomes."""
    if not group.exists:
        return [_of("no_such_user", Kind.ERROR, row, group) for row in group.unbound]
    if group.bound is not None:
        return [*_renamed(group, group.bound, names), *_beside(group, group.bound, group.unbound, seen)]
    if not group.unbound:
        return []
    if len(group.unbound) > 1 and seen.silent:
        return [_of("needs_gateway", Kind.SKIPPED, row, group) for row in group.unbound]
    best = max(group.unbound, key=lambda row: _worth(row, seen))
    others = [row for row in group.unbound if row is not best]
    return [_taken(group, best, names, seen), *_surplus(group, best, others)]


def _taken(group: Group, row: Row, names: Names, seen: Seen) -> Finding:
    """The row becomes the user's, under the name it should have where that is free."""
    said = names.of(row.name)
    code = said.code if said else "mapped"
    wanted = technical(group.user_id)
    is_free = group.taken.get(wanted, row.id) == row.id
    name = wanted if is_free else row.name
    kept = _kept(row, name, seen)
    if kept and group.taken_there.get(kept, row.id) != row.id:
        return _of("name_taken", Kind.ERROR, row, group, text=f"{kept} is another row's name on the gateway")
    text = None if is_free else f"keeps its name: {wanted} is another row's"
    becomes = name if name != row.name else None
    return _of(code, Kind.MENDABLE, row, group, becomes=becomes, gateway_name=kept, text=text)


def _kept(row: Row, name: str, seen: Seen) -> str | None:
    """The name on the gateway, where it is another than the new one. What is there under the new one only is that."""
    if seen.reached and name in seen.names and row.on_gateway not in seen.names:
        return None
    return row.on_gateway if row.on_gateway != name else None


def _renamed(group: Group, bound: Row, names: Names) -> list[Finding]:
    """A row that has its user, under one of the old names."""
    wanted = technical(group.user_id)
    said = names.of(bound.name)
    if bound.name == wanted:
        return []
    if said is None or said.user_id != group.user_id:
        return [_of("named_otherwise", Kind.NOTE, bound, group)]
    if group.taken.get(wanted, bound.id) != bound.id:
        return [_of("name_taken", Kind.NOTE, bound, group, text=f"works as it is; {wanted} is another row's")]
    if group.taken_there.get(bound.on_gateway, bound.id) != bound.id:
        return [_of("name_taken", Kind.NOTE, bound, group, text="works as it is; its gateway name is another row's")]
    return [_of(said.code, Kind.MENDABLE, bound, group, becomes=wanted, gateway_name=bound.on_gateway)]


def _beside(group: Group, bound: Row, unbound: Sequence[Row], seen: Seen) -> list[Finding]:
    """Rows beside the user's own: never touched, reported once more where one of them is connected."""
    better = [row for row in unbound if _worth(row, seen)[:2] > _worth(bound, seen)[:2]]
    notes = [_of("better_unbound", Kind.NOTE, row, group, text=f"the user has {bound.name}") for row in better]
    return [*_surplus(group, bound, unbound), *notes]


def _surplus(group: Group, kept: Row, others: Sequence[Row]) -> list[Finding]:
    return [_of("surplus", Kind.SKIPPED, row, group, text=f"kept: {kept.name}") for row in others]


def _worth(row: Row, seen: Seen) -> tuple[bool, bool, float, int]:
    """Connected on the gateway, then connected here, then the newest; the id makes it the same for everybody."""
    return (
        row.on_gateway in seen.connected,
        row.connected,
        NEVER if row.created_s is None else row.created_s,
        row.id.int,
    )


def _of(
    code: str,
    kind: Kind,
    row: Row,
    group: Group,
    *,
    becomes: str | None = None,
    gateway_name: str | None = None,
    text: str | None = None,
) -> Finding:
    return Finding(
        code=code,
        kind=kind,
        instance=row.name,
        user_id=group.user_id,
        row_id=row.id,
        becomes=becomes,
        gateway_name=gateway_name,
        text=text,
    )
