"""The feed, read: rows past a cursor. Functions of a connection; the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from core.db import array, straight

AFTER = """
SELECT feed.user_id, feed.id, feed.type, feed.data, feed.at
FROM unnest(CAST(%s AS uuid[]), CAST(%s AS bigint[])) AS wanted (user_id, cursor)
CROSS JOIN LATERAL (
    SELECT * FROM feed WHERE feed.user_id = wanted.user_id AND feed.id > wanted.cursor ORDER BY feed.id LIMIT %s
) AS feed
ORDER BY feed.user_id, feed.id
"""
HEAD = text("""
SELECT coalesce((SELECT last_id FROM feed_heads WHERE user_id = :user), 0) AS head,
       (SELECT min(id) FROM feed WHERE user_id = :user) AS oldest
""")
BEGINNINGS = text("""
SELECT wanted.user_id, coalesce(young.id - 1, feed_heads.last_id, 0) AS cursor
FROM unnest(CAST(:users AS uuid[]), CAST(:since AS timestamptz[])) AS wanted (user_id, since)
LEFT JOIN feed_heads USING (user_id)
LEFT JOIN LATERAL (
    SELECT min(feed.id) AS id FROM feed
    WHERE feed.user_id = wanted.user_id AND feed.at >= wanted.since AND wanted.since > now() - :young
) AS young ON true
""")
PRUNE = text("""
DELETE FROM feed WHERE (user_id, id) IN (SELECT user_id, id FROM feed WHERE at < now() - :age LIMIT :most)
""")
MOST = 500  # rows a user and look; the rest comes with the next look
PRUNED_AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True)
class FeedEvent:
    user_id: UUID
    id: int
    type: str
    data: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Where a user's stream stands: the last id given out, and the oldest row still there (None: no row)."""

    head: int
    oldest: int | None

    def holds(self, since: int) -> bool:
        """Is everything after `since` still there?"""
        return since <= self.head and (since == self.head or (self.oldest is not None and self.oldest <= since + 1))


def events_after(connection: Connection, cursors: Mapping[UUID, int]) -> Sequence[FeedEvent]:
    """What came after each user's cursor, at most 500 rows a user, in order."""
    rows = straight(connection, AFTER, (array(cursors), array(cursors.values()), MOST))
    return [FeedEvent(user_id=user, id=number, type=kind, data=data, at=at) for user, number, kind, data, at in rows]


def beginnings(connection: Connection, users: Mapping[UUID, datetime | None], young: timedelta) -> dict[UUID, int]:
    """Where to begin to listen to these users: at the time given, where that is at most so young, else at the end."""
    values = {"users": array(users), "since": array(users.values()), "young": young}
    rows = connection.execute(BEGINNINGS, values)
    return {row.user_id: row.cursor for row in rows}


def stream(connection: Connection, user_id: UUID) -> Stream:
    row = connection.execute(HEAD, {"user": user_id}).one()
    return Stream(head=row.head, oldest=row.oldest)


def prune(connection: Connection, age: timedelta) -> int:
    """Drop one batch of events older than `age`; who was away longer gets a reset. Rows dropped."""
    return connection.execute(PRUNE, {"age": age, "most": PRUNED_AT_ONCE}).rowcount
