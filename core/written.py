"""What was written to a table since one asked last, at the cost of what was written, however large the table is.

By the number of the transaction that wrote a row: by a time, or a rising number, a row would be missed that was written
before the last question and committed after it. The tables have a column `written`, with an index.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, text
from sqlalchemy.orm import Mapped, mapped_column

NOW = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
# numbers above the snapshot's are another server's: of a table that was restored here
STATEMENT = """
SELECT now.oldest, fresh.*
FROM (
    SELECT CAST(CAST(pg_snapshot_xmin(snapshot) AS text) AS bigint) AS oldest,
           CAST(CAST(pg_snapshot_xmax(snapshot) AS text) AS bigint) AS next
    FROM pg_current_snapshot() AS snapshot
) AS now
LEFT JOIN LATERAL (
    SELECT {columns} FROM {table} WHERE written >= :since AND written < now.next
) AS fresh ON true
"""


def written_column() -> Mapped[int]:
    """A transaction's number for each row; whoever updates the row sets it anew."""
    return mapped_column(BigInteger, server_default=text(NOW), index=True)


class Reader:
    """One reader's place in one table, whose first column named must not be null. Not for two threads at once."""

    def __init__(self, table: str, columns: str) -> None:
        self._statement = text(STATEMENT.format(table=table, columns=columns))
        self._since: int | None = None

    def fresh(self, connection: Connection) -> Sequence[Row[Any]] | None:
        """What was written and committed since, each row at least once; None where nobody knows: at first, and where
        the numbers begin anew because the server is another one."""
        rows = connection.execute(self._statement, {"since": self._since}).all()
        before, self._since = self._since, rows[0].oldest
        if before is None or self._since < before:
            return None
        return [row for row in rows if row[1] is not None]
