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
# Numbers above the snapshot's are another server's: of a table that was restored here. A server that recovers from a
# crash may give numbers out again; its start stays the same then, and its statistics begin anew.
STATEMENT = """
SELECT now.oldest, now.next, now.server, now.recovered, now.asked_at, fresh.*
FROM (
    SELECT CAST(CAST(pg_snapshot_xmin(snapshot) AS text) AS bigint) AS oldest,
           CAST(CAST(pg_snapshot_xmax(snapshot) AS text) AS bigint) AS next,
           pg_postmaster_start_time() AS server, (SELECT stats_reset FROM pg_stat_wal) AS recovered,
           clock_timestamp() AS asked_at
    FROM pg_current_snapshot() AS snapshot
) AS now
LEFT JOIN LATERAL (
    SELECT {columns} FROM {table}
    WHERE written >= :since AND written < CASE WHEN now.next - :since < :far THEN now.next END
) AS fresh ON true
"""
# A transaction left open for hours makes each question go through all that was written since it began: also what is
# dead by now, for nothing of it can be cleared away meanwhile.
FAR = 10_000  # transactions
OWN = 5  # the place of the first column of one's own
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
        an hour without a question, where the server was started anew, or is another one, and may count anew; and while
        somebody's transaction has been open for long."""
        since = self._place and self._place.oldest
        rows = connection.execute(self._statement, {"since": since, "far": FAR}).all()
        before, self._place = self._place, rows[0]
        if before is None or not _goes_on(before, rows[0]):
            return None
        return [row for row in rows if row[OWN] is not None]


def _goes_on(before: Row[Any], now: Row[Any]) -> bool:
    same = before.server == now.server and before.recovered == now.recovered and before.oldest <= now.oldest
    return bool(same and now.asked_at - before.asked_at < PAUSE and now.next - before.oldest < FAR)
