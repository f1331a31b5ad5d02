"""Sessions of our pages. One is in its cookie: without a note of its end a copy of the cookie, and every other tab,
would go on. Notes are kept for longer than sessions last.

`core.access` asks for each request, `core.rights` for open sockets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, DateTime, ForeignKey, Index, delete, func, select, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base

LASTS = timedelta(days=31)  # from the login on, however often its cookie is signed anew
KEPT = LASTS + timedelta(days=1)
END = text("""
WITH ended AS (
    INSERT INTO ended_sessions (id, user_id) SELECT :session, id FROM profiles WHERE id = :user
    ON CONFLICT DO NOTHING RETURNING user_id
)
INSERT INTO rights_changes (user_id) SELECT user_id FROM ended
""")


@dataclass(frozen=True, kw_only=True)
class Session:
    """Somebody's, from a login on."""

    id: UUID
    user_id: UUID
    began: datetime

    @classmethod
    def begin(cls, user_id: UUID, now: datetime) -> "Session":
        return cls(id=uuid4(), user_id=user_id, began=now)

    @classmethod
    def of(cls, cookie: Mapping[str, Any]) -> "Session | None":
        """What a cookie that we signed says; None where it is nobody's."""
        if not {"uid", "sid", "began"} <= cookie.keys():
            return None
        began = datetime.fromtimestamp(cookie["began"], UTC)
        return cls(id=UUID(cookie["sid"]), user_id=UUID(cookie["uid"]), began=began)

    def as_cookie(self) -> dict[str, Any]:
        return {"uid": str(self.user_id), "sid": str(self.id), "began": int(self.began.timestamp())}


class EndedSession(Base):
    __tablename__ = "ended_sessions"
    __table_args__ = (Index("ix_ended_sessions_user_id", "user_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


def end(connection: Connection, session: Session) -> None:
    """Once and for all; its sockets are closed within seconds."""
    connection.execute(END, {"session": session.id, "user": session.user_id})


def is_over(connection: Connection, session: Session, now: datetime) -> bool:
    ended = select(EndedSession.id).where(EndedSession.id == session.id)
    return now - session.began >= LASTS or connection.execute(ended).first() is not None


def prune(connection: Connection, age: timedelta) -> int:
    """Drop those that ended longer ago than `age`. How many there were."""
    return connection.execute(delete(EndedSession).where(EndedSession.at < func.now() - age)).rowcount
