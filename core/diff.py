"""What a transaction has changed, before it is committed or rolled back.

PostgreSQL stamps each row version with its writer's number; the rows as they were are read on a second connection,
which sees nothing of ours. So it is exact whatever the SQL was: triggers, cascades and savepoints too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, MetaData, Select, Table, select, text, tuple_

BOOKKEEPING = ("updated_at",)
AT_ONCE = 1_000  # rows
# Assigns the transaction's number now: those of its savepoints are larger. A row that several of them have locked, or
# one locked and another deleted, has the number of the group instead; groups of before the last checkpoint are older.
# Compared by age, for both kinds of numbers start again one day.
MARK = text("""
SELECT CAST(CAST(pg_current_xact_id() AS xid) AS text) AS xid, CAST(next_multixact_id AS text) AS multixact
FROM pg_control_checkpoint()
""")
WRITTEN = "age({0}.xmin) <= age(CAST(CAST(:xid AS text) AS xid))"
# A row's number does not say of which kind it is: taken for the other one it is one row more to look at. Locks leave
# theirs for ever, so that the old ones must not count.
TOUCHED = """(
    age({0}.xmax) <= age(CAST(CAST(:xid AS text) AS xid))
    OR mxid_age({0}.xmax) BETWEEN 1 AND mxid_age(CAST(CAST(:multixact AS text) AS xid))
)"""
Row = Mapping[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Columns that differ. `before` is None for a row that is new, `after` for one that is gone."""

    table: str
    key: Key
    before: Row | None
    after: Row | None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where the numbers begin that a transaction may have stamped rows with."""

    xid: str
    multixact: str


def tables_named(connection: Connection, names: Sequence[str]) -> list[Table]:
    """Read from the database, so that whoever asks need not import who owns them."""
    return [Table(name, MetaData(), autoload_with=connection, resolve_fks=False) for name in names]


def mark(connection: Connection) -> Mark:
    """To be called before the transaction writes."""
    return Mark(**connection.execute(MARK).mappings().one())


def changes(
    connection: Connection,
    before: Connection,
    tables: Sequence[Table],
    since: Mark,
    *,
    ignored: Collection[str] = BOOKKEEPING,
) -> list[Change]:
    """What `connection`'s transaction has changed in these tables since `mark`, in their order and their keys'.

    `before` is another connection, at READ COMMITTED. Both look through each table once, from one end to the other, and
    take 1,000 rows at a time of those that this transaction may have changed. What others have committed meanwhile is
    the same on both sides and therefore no change.
    """
    return [
        change
        for table in tables
        for change in sorted(_of_table(connection, before, table, since, ignored), key=lambda one: str(one.key))
    ]


def _of_table(
    ours: Connection, theirs: Connection, table: Table, since: Mark, ignored: Collection[str]
) -> Iterator[Change]:
    written = text(WRITTEN.format(table.name)).bindparams(xid=since.xid)
    for some in _parts(ours, select(*_columns(table, ignored)).where(written)):
        after = {_key(table, row): row for row in some}
        known = _rows(theirs, table, list(after), ignored)
        for key, row in after.items():
            yield from _compare(table, key, known.get(key), row)
    yield from _gone(ours, theirs, table, since, ignored)


def _gone(
    ours: Connection, theirs: Connection, table: Table, since: Mark, ignored: Collection[str]
) -> Iterator[Change]:
    """Of the rows that we may have locked, changed or deleted, those that are not there for us."""
    keys = select(*table.primary_key.columns)
    touched = text(TOUCHED.format(table.name)).bindparams(xid=since.xid, multixact=since.multixact)
    for some in _parts(theirs, keys.where(touched)):
        there = [_key(table, row) for row in some]
        still = {tuple(row) for row in ours.execute(keys.where(_one_of(table, there)))}
        if gone := [key for key in there if key not in still]:
            for key, row in _rows(theirs, table, gone, ignored).items():
                yield from _compare(table, key, row, None)


def _compare(table: Table, key: Key, before: Row | None, after: Row | None) -> Iterator[Change]:
    names = [name for name in (after or before or {}) if not (before and after and before[name] == after[name])]
    names = [name for name in names if before is None or after is None or name not in table.primary_key.columns]
    if names:
        kept = [{name: row[name] for name in names} if row else None for row in (before, after)]
        yield Change(table=table.name, key=key, before=kept[0], after=kept[1])


def _rows(connection: Connection, table: Table, keys: Sequence[Key], ignored: Collection[str]) -> dict[Key, Row]:
    wanted = select(*_columns(table, ignored)).where(_one_of(table, keys))
    found = (dict(row) for row in connection.execute(wanted).mappings())
    return {_key(table, row): row for row in found}


def _one_of(table: Table, keys: Sequence[Key]) -> ColumnElement[bool]:
    return tuple_(*table.primary_key.columns).in_(keys)


def _columns(table: Table, ignored: Collection[str]) -> list[Column[Any]]:
    """All that say something of their own."""
    keys = table.primary_key.columns
    return [one for one in table.columns if one.name in keys or (one.name not in ignored and one.computed is None)]


def _key(table: Table, row: Row) -> Key:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _parts(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Row]]:
    """Read by a cursor of the server, so that however many rows there are, few are here."""
    rows = connection.execute(query, execution_options={"yield_per": AT_ONCE}).mappings()
    return ([dict(row) for row in some] for some in rows.partitions())
