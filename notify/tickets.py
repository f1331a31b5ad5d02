"""Tickets: what opens one socket from where no header and no cookie can be sent. 30 seconds, one use.

Only a ticket's hash is kept, with who it stands for.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, DateTime, ForeignKey, Index, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from core.access import Principal
from core.crypto import fingerprint
from core.db import Base, Transaction
from core.errors import TooMany, Unauthenticated
from core.rights import changed

VALID_FOR = timedelta(seconds=30)
MOST_EACH = 30  # of one user that are valid at the same time
TICKET_BYTES = 32


class SocketTicket(Base):
    __tablename__ = "socket_tickets"
    __table_args__ = (Index("ix_socket_tickets_user_id", "user_id"),)

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True)
class Tickets:
    transaction: Transaction

    def issue(self, principal: Principal) -> str:
        """Raises TooMany, StorageUnavailable."""
        ticket = secrets.token_urlsafe(TICKET_BYTES)
        mine = SocketTicket.user_id == principal.user_id
        with self.transaction() as connection:
            connection.execute(delete(SocketTicket).where(mine, SocketTicket.expires_at < func.now()))
            if connection.execute(select(func.count()).where(mine)).scalar_one() >= MOST_EACH:
                raise TooMany("Too many tickets at once")
            values = {"token_hash": fingerprint(ticket), "user_id": principal.user_id, "facts": _facts(principal)}
            connection.execute(insert(SocketTicket).values(**values, expires_at=func.now() + VALID_FOR))
        return ticket

    def redeem(self, ticket: str) -> Principal:
        """Who it stands for; it is used up. Raises Unauthenticated, StorageUnavailable."""
        taken = delete(SocketTicket).where(SocketTicket.token_hash == fingerprint(ticket))
        with self.transaction() as connection:
            row = connection.execute(
                taken.returning(SocketTicket.user_id, SocketTicket.facts, SocketTicket.expires_at > func.now())
            ).first()
            found = _principal(row[0], row[1]) if row and row[2] else None
            if found:  # their rights may be others since
                found = changed(connection, [found]).get(found, found)
        if found is None:
            raise Unauthenticated("The ticket is unknown, used up or too old")
        return found


def prune(connection: Connection, age: timedelta) -> int:
    """Drop those that ended longer ago than `age`. How many there were."""
    return connection.execute(delete(SocketTicket).where(SocketTicket.expires_at < func.now() - age)).rowcount


def _facts(principal: Principal) -> dict[str, Any]:
    until = principal.until.isoformat() if principal.until else None
    facts = {"role": principal.role, "organization": principal.organization_id, "sworn": principal.sworn}
    came_with = {"token": principal.token_id, "session": principal.session_id}
    return facts | {"until": until} | {name: str(one) for name, one in came_with.items() if one}


def _principal(user_id: UUID, facts: dict[str, Any]) -> Principal:
    until = datetime.fromisoformat(facts["until"]) if facts["until"] else None
    token, session = (UUID(facts[name]) if facts.get(name) else None for name in ("token", "session"))
    how = {"role": facts["role"], "organization_id": facts["organization"], "sworn": facts["sworn"]}
    return Principal(user_id=user_id, until=until, token_id=token, session_id=session, **how)
