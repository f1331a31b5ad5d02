"""Everything that is sealed at rest, sealed again with the newest key, so that the keys before it can go.

Called by `ops.py reseal`. Which columns are sealed is handed in: their tables are other packages'.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Column, Connection, LargeBinary, bindparam, func, select, update
from sqlalchemy import column as named

from core.crypto import Vault
from core.db import Transaction
from core.errors import AppError

BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Resealed:
    """How many were sealed again, and how many open with none of the keys."""

    renewed: int = 0
    lost: int = 0

    def __add__(self, other: "Resealed") -> "Resealed":
        return Resealed(renewed=self.renewed + other.renewed, lost=self.lost + other.lost)


def reseal(transaction: Transaction, vault: Vault, columns: Iterable[Column[Any]]) -> Resealed:
    """A transaction a batch. What the newest key has sealed already is left alone: twice is safe, and so is breaking
    off. What somebody changes meanwhile is theirs, sealed with the newest key that they know."""
    return sum((_whole(transaction, vault, sealed) for sealed in columns), Resealed())


def _whole(transaction: Transaction, vault: Vault, sealed: Column[Any]) -> Resealed:
    [key] = sealed.table.primary_key.columns
    query = select(key, sealed).where(sealed.is_not(None)).order_by(key).limit(BATCH)
    found, rows = Resealed(), None
    while rows is None or len(rows) == BATCH:
        beyond = query.where(key > rows[-1][0]) if rows else query
        with transaction() as connection:
            rows = [(row_id, before) for row_id, before in connection.execute(beyond)]
            found += _batch(connection, vault, sealed, rows)
    return found


def _batch(connection: Connection, vault: Vault, sealed: Column[Any], rows: Sequence[tuple[Any, bytes]]) -> Resealed:
    """Those rows that are still as they were read."""
    ids, before, after, lost = [], [], [], 0
    for row_id, old in rows:
        try:
            new = vault.renewed(old)
        except AppError:
            lost += 1
            continue
        if new:
            ids.append(row_id)
            before.append(old)
            after.append(new)
    renewed = _write(connection, sealed, ids, before, after) if ids else 0
    return Resealed(renewed=renewed, lost=lost)


def _write(connection: Connection, sealed: Column[Any], ids: list[Any], before: list[bytes], after: list[bytes]) -> int:
    [key] = sealed.table.primary_key.columns
    old, new = (bindparam(None, values, type_=ARRAY(LargeBinary)) for values in (before, after))
    found = func.unnest(bindparam(None, ids, type_=ARRAY(key.type)), old, new)
    rows = found.table_valued(named("id", key.type), "old", "new").render_derived()
    unchanged = (key == rows.c.id) & (sealed == rows.c.old)
    return connection.execute(update(sealed.table).values({sealed: rows.c.new}).where(unchanged)).rowcount
