"""Sessions of our pages that their owners have ended. A session is in its cookie: without a note of its end a copy of
the cookie, and every other tab, would go on.

`core.access` asks for each request, `core.rights` for open sockets.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, DateTime, ForeignKey, Index, delete, func, select, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base

KEPT = timedelta(days=32)  # a cookie is good for 31 days after it was signed last (Flask's PERMANENT_SESSION_LIFETIME)
END = text("""
WITH ended AS (
    INSERT INTO ended_sessions (id, user_id) SELECT :session, id FROM profiles WHERE id = :user
    ON CONFLICT DO NOTHING RETURNING user_id
)
INSERT INTO rights_changes (user_id) SELECT user_id FROM ended
""")


class EndedSession(Base):
    __tablename__ = "ended_sessions"
    __table_args__ = (Index("ix_ended_sessions_user_id", "user_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


def end(connection: Connection, session_id: UUID, user_id: UUID) -> None:
    """Once and for all; its sockets are closed within seconds."""
    connection.execute(END, {"session": session_id, "user": user_id})


def is_ended(connection: Connection, session_id: UUID) -> bool:
    return connection.execute(select(EndedSession.id).where(EndedSession.id == session_id)).first() is not None


def prune(connection: Connection, age: timedelta) -> int:
    """Drop those that ended longer ago than `age`. How many there were."""
    return connection.execute(delete(EndedSession).where(EndedSession.at < func.now() - age)).rowcount
