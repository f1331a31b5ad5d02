"""What was written to a table since one asked last, at the cost of what was written, however large the table is.

By the number of the transaction that wrote a row: by a time, or a rising number, a row would be missed that was written
before the last question and committed after it. The tables have a column `written`, with an index.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, text
from sqlalchemy.orm import Mapped, mapped_column

NOW = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
# numbers above the snapshot's are another server's: of a table that was restored here
STATEMENT = """
SELECT now.oldest, now.server, now.asked_at, fresh.*
FROM (
    SELECT CAST(CAST(pg_snapshot_xmin(snapshot) AS text) AS bigint) AS oldest,
           CAST(CAST(pg_snapshot_xmax(snapshot) AS text) AS bigint) AS next,
           pg_postmaster_start_time() AS server, clock_timestamp() AS asked_at
    FROM pg_current_snapshot() AS snapshot
) AS now
LEFT JOIN LATERAL (
    SELECT {columns} FROM {table} WHERE written >= :since AND written < now.next LIMIT :most
) AS fresh ON true
"""
MOST = 1_000  # a transaction left open for hours makes each question bring all that was written since it began
PAUSE = timedelta(minutes=30)  # for whom asks as seldom, something may have been thrown away meanwhile


def written_column() -> Mapped[int]:
    """A transaction's number for each row. Where rows are updated, a trigger sets it anew (migration 0010)."""
    return mapped_column(BigInteger, server_default=text(NOW), index=True)


class Reader:
    """One reader's place in one table, whose first column named must not be null. Not for two threads at once."""

    def __init__(self, table: str, columns: str) -> None:
        self._statement = text(STATEMENT.format(table=table, columns=columns))
        self._place: Row[Any] | None = None

    def forget(self) -> None:
        """Begin anew with the next question."""
        self._place = None

    def fresh(self, connection: Connection) -> Sequence[Row[Any]] | None:
        """What was written and committed since, each row at least once; None where nobody knows: at first, after half
        an hour without a question, where the server was started anew, or is another one, and may count anew; and where
        it is too much to be read each time."""
        since = self._place and self._place.oldest
        rows = connection.execute(self._statement, {"since": since, "most": MOST}).all()
        before, self._place = self._place, rows[0]
        if before is None or not _goes_on(before, rows[0]) or len(rows) >= MOST:
            return None
        return [row for row in rows if row[3] is not None]


def _goes_on(before: Row[Any], now: Row[Any]) -> bool:
    return bool(before.server == now.server and before.oldest <= now.oldest and now.asked_at - before.asked_at < PAUSE)
