"""Domain events: what happened, for the people it concerns. Written in the caller's transaction, read by `notify`.

Each user has a stream of its own. Its ids rise by one without gaps: they come from the user's head row, which
stays locked until the commit. So `record` is the transaction's last statement, and takes heads in user order.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, DateTime, ForeignKey, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, array
from core.written import written_column

RECORD = text("""
WITH fresh AS (
    SELECT * FROM unnest(CAST(:users AS uuid[]), CAST(:types AS text[]), CAST(:data AS text[]))
        WITH ORDINALITY AS f (user_id, type, data, n)
), heads AS (
    INSERT INTO feed_heads (user_id, last_id)
    SELECT user_id, count(*) FROM fresh GROUP BY user_id ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET last_id = feed_heads.last_id + excluded.last_id
    RETURNING user_id, last_id
)
INSERT INTO feed (user_id, id, type, data)
SELECT user_id,
       last_id - count(*) OVER (PARTITION BY user_id) + row_number() OVER (PARTITION BY user_id ORDER BY n),
       type, CAST(data AS jsonb)
FROM fresh JOIN heads USING (user_id)
""")


class FeedHead(Base):
    __tablename__ = "feed_heads"
    __table_args__ = {"postgresql_with": {"fillfactor": 70}}  # noqa: RUF012 — SQLAlchemy's own convention

    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    last_id: Mapped[int] = mapped_column(BigInteger)
    written: Mapped[int] = written_column()


class FeedRow(Base):
    __tablename__ = "feed"
    __table_args__ = (Index("ix_feed_at", "at"),)

    # no foreign key: it would cost every event a look-up; a trigger takes the rows of the gone
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


@dataclass(frozen=True, kw_only=True)
class DomainEvent:
    """`type` and `data` as design and docs/live.md name them; `data` is JSON of plain values."""

    user_id: UUID
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What came of a batch of deliveries, for those who deal with all kinds.

    `events`: for people. `waiting`: delivery → the key it waits for; it is done again once that key has come.
    `came`: (instance, key) of what others may have waited for. `odd`: delivery → why it is kept for a second
    look although it took effect.
    """

    events: Sequence[DomainEvent] = ()
    waiting: Mapping[int, str] = field(default_factory=dict)
    came: Collection[tuple[str, str]] = ()
    odd: Mapping[int, str] = field(default_factory=dict)


def record(connection: Connection, events: Sequence[DomainEvent]) -> None:
    """Append the events to their users' streams. The last statement of the caller's transaction."""
    if not events:
        return
    connection.execute(
        RECORD,
        {
            "users": array(event.user_id for event in events),
            "types": array(event.type for event in events),
            "data": array(json.dumps(event.data) for event in events),
        },
    )
