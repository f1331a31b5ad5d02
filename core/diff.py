"""What a transaction has changed, before it is committed or rolled back.

PostgreSQL stamps each row version with its writer's number; the rows as they were are read on a second connection,
which sees nothing of ours. So it is exact whatever the SQL was: triggers, cascades and savepoints too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, MetaData, Table, select, text, tuple_

BOOKKEEPING = ("updated_at",)
AT_ONCE = 1_000  # rows
# Assigns the number now: those of savepoints are larger. Compared by age, for numbers start again from 3 one day.
MARK = text("SELECT CAST(pg_current_xact_id() AS xid)")
WRITTEN = "age({0}.xmin) <= age(CAST(CAST(:mark AS text) AS xid))"
Row = Mapping[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Columns that differ. `before` is None for a row that is new, `after` for one that is gone."""

    table: str
    key: Key
    before: Row | None
    after: Row | None


def tables_named(connection: Connection, names: Sequence[str]) -> list[Table]:
    """Read from the database, so that whoever asks need not import who owns them."""
    return [Table(name, MetaData(), autoload_with=connection, resolve_fks=False) for name in names]


def mark(connection: Connection) -> str:
    """To be called before the transaction writes."""
    return str(connection.execute(MARK).scalar_one())


def changes(
    connection: Connection,
    before: Connection,
    tables: Sequence[Table],
    since: str,
    *,
    ignored: Collection[str] = BOOKKEEPING,
) -> list[Change]:
    """What `connection`'s transaction has changed in these tables since `mark`, in their order and their keys'.

    `before` is another connection, at READ COMMITTED. Both read each table once, from one end to the other. What
    others have committed meanwhile is the same on both sides and therefore no change.
    """
    return [
        change
        for table in tables
        for change in sorted(_of_table(connection, before, table, since, ignored), key=lambda one: str(one.key))
    ]


def _of_table(
    ours: Connection, theirs: Connection, table: Table, since: str, ignored: Collection[str]
) -> Iterator[Change]:
    written = select(*_columns(table, ignored)).where(text(WRITTEN.format(table.name)).bindparams(mark=since))
    for some in _parts(ours.execute(written).mappings().all()):
        after = {_key(table, row): row for row in some}
        known = _rows(theirs, table, list(after), ignored)
        for key, row in after.items():
            yield from _compare(table, key, known.get(key), row)
    yield from _gone(ours, theirs, table, ignored)


def _gone(ours: Connection, theirs: Connection, table: Table, ignored: Collection[str]) -> Iterator[Change]:
    """Of the rows that somebody has locked, changed or deleted, those that are not there for us."""
    touched = select(*_columns(table, ignored)).where(text(f"{table.name}.xmax::text <> '0'"))
    for some in _parts(theirs.execute(touched).mappings().all()):
        before = {_key(table, row): row for row in some}
        still = _rows(ours, table, list(before), ignored)
        for key, row in before.items():
            if key not in still:
                yield from _compare(table, key, row, None)


def _compare(table: Table, key: Key, before: Row | None, after: Row | None) -> Iterator[Change]:
    names = [name for name in (after or before or {}) if not (before and after and before[name] == after[name])]
    names = [name for name in names if before is None or after is None or name not in table.primary_key.columns]
    if names:
        kept = [{name: row[name] for name in names} if row else None for row in (before, after)]
        yield Change(table=table.name, key=key, before=kept[0], after=kept[1])


def _rows(connection: Connection, table: Table, keys: Sequence[Key], ignored: Collection[str]) -> dict[Key, Row]:
    wanted = select(*_columns(table, ignored)).where(tuple_(*table.primary_key.columns).in_(keys))
    found = (dict(row) for row in connection.execute(wanted).mappings())
    return {_key(table, row): row for row in found}


def _columns(table: Table, ignored: Collection[str]) -> list[Column[Any]]:
    """All that say something of their own."""
    keys = table.primary_key.columns
    return [one for one in table.columns if one.name in keys or (one.name not in ignored and one.computed is None)]


def _key(table: Table, row: Row) -> Key:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))
