"""The inbox's tables. Written by `webhooks` alone."""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base

# rows come and go all the time: vacuum early, by a fixed number of dead rows, not by a share of the table
BUSY = {
    "fillfactor": 70,
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 1000,
    "autovacuum_vacuum_cost_delay": 0,
}
BATCHES = Sequence("inbox_batches", metadata=Base.metadata)


class WebhookEvent(Base):
    """The log: every delivery as it came, without its secrets, for `event_retention_days`.

    `id` is `batch * 1000 + place in the batch`: rising in the order of arrival in each web process.
    `key` is SHA-256 over instance and bytes; it makes a repeated delivery a duplicate. `issues` are the codes of
    what was odd about it; NULL: nothing.
    """

    __tablename__ = "webhook_events"
    __table_args__ = (
        Index("uq_webhook_events_key", "key", unique=True),
        Index("ix_webhook_events_received_at", "received_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key: Mapped[bytes] = mapped_column(LargeBinary)
    instance: Mapped[str | None] = mapped_column(Text)
    event: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    issues: Mapped[list[str] | None] = mapped_column(ARRAY(Text))


class InboxRow(Base):
    """An event that has not taken effect yet. A lane is due when it has one."""

    __tablename__ = "inbox"
    __table_args__ = (Index("ix_inbox_lane", "lane", "id"), {"postgresql_with": BUSY})

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    lane: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class Lane(Base):
    """Who works on an instance's events, and until when. `epoch` rises with each claim and fences late writers.

    `unsettled`, `careful` and `gave` find the event that brings workers down (webhooks.lanes). `storm_count` is the
    chatter that came in the minute `storm_minute`; `storm_since` says since when it is too much, NULL: it is not;
    `coalesced` counts what the log kept only the newest of (webhooks.storms).
    """

    __tablename__ = "lanes"
    __table_args__ = ({"postgresql_with": BUSY},)

    lane: Mapped[str] = mapped_column(Text, primary_key=True)
    owner: Mapped[str] = mapped_column(Text)
    epoch: Mapped[int] = mapped_column(BigInteger)
    lease_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    retry_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    unsettled: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    careful: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    gave: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    storm_minute: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    storm_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    storm_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    coalesced: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class SetAside(Base):
    """An event kept out of its lane, and why: parked (it failed), waiting (for another), quarantined (no use).

    `waits_for` is the key it waits for; `fingerprint` the shape of one that was not understood (webhooks.drift).
    """

    __tablename__ = "set_aside"
    __table_args__ = (
        CheckConstraint("state IN ('parked', 'waiting', 'quarantined')", name="state"),
        Index("ix_set_aside_state", "state", "at"),
        Index("ix_set_aside_at", "at", "event_id"),
        Index("ix_set_aside_waits_for", "lane", "waits_for", postgresql_where=text("state = 'waiting'")),
        Index("ix_set_aside_fingerprint", "fingerprint", "at", postgresql_where=text("fingerprint IS NOT NULL")),
    )

    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    lane: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    waits_for: Mapped[str | None] = mapped_column(Text)
    fingerprint: Mapped[str | None] = mapped_column(Text)
