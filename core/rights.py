"""What our tables say by now of those who were let in: whose rights are others, and who should be asked about.

Triggers note what is changed of roles, organizations and tokens, also by hand (migration 0010); core.sessions notes its
own.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, Connection, DateTime, Identity, delete, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.access import Principal
from core.db import Base, Transaction, array
from core.written import Reader, written_column

KEPT = timedelta(hours=1)
# laterally: a join would read all profiles where the planner knows too little of them
CHANGED = text("""
SELECT known.place,
    profile.role IS NULL OR known.token_id IS NOT NULL AND token.valid IS NULL OR session.ended AS gone,
    profile.role, profile.email, profile.organization_id
FROM unnest(CAST(:ids AS uuid[]), CAST(:roles AS text[]), CAST(:organizations AS text[]), CAST(:tokens AS uuid[]),
            CAST(:sessions AS uuid[]))
    WITH ORDINALITY AS known (id, role, organization_id, token_id, session_id, place)
LEFT JOIN LATERAL (SELECT role, email, organization_id FROM profiles WHERE id = known.id LIMIT 1) AS profile ON true
LEFT JOIN LATERAL (
    SELECT true AS valid FROM api_tokens
    WHERE id = known.token_id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) LIMIT 1
) AS token ON true
LEFT JOIN LATERAL (SELECT true AS ended FROM ended_sessions WHERE id = known.session_id LIMIT 1) AS session ON true
WHERE profile.role IS NULL OR profile.role <> known.role
   OR known.role IS NOT NULL AND profile.organization_id IS DISTINCT FROM known.organization_id
   OR known.token_id IS NOT NULL AND token.valid IS NULL
   OR session.ended
""")


class RightsChange(Base):
    """Somebody's role, organization or personal token is another by now, a session is over, or they are gone."""

    __tablename__ = "rights_changes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[UUID] = mapped_column()
    written: Mapped[int] = written_column()
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Rights:
    """One reader of them. Both methods raise StorageUnavailable."""

    def __init__(self, question: Transaction) -> None:
        self._question, self._changes = question, Reader("rights_changes", "user_id")

    def touched(self) -> set[UUID] | None:
        """Whose rights may be others since this was asked last; None: anybody's. Not for two threads at once."""
        with self._question() as connection:
            fresh = self._changes.fresh(connection)
        return None if fresh is None else {row.user_id for row in fresh}

    def changed(self, known: Collection[Principal]) -> dict[Principal, Principal | None]:
        with self._question() as connection:
            return changed(connection, known)


def changed(connection: Connection, known: Collection[Principal]) -> dict[Principal, Principal | None]:
    """Those of whom our tables say something else by now. None: the profile is gone, or the personal token or session
    they came with is over. Who has a sworn role keeps it."""
    asked = list(known)
    facts = {
        "ids": array(one.user_id for one in asked),
        "roles": array(None if one.sworn else one.role for one in asked),
        "organizations": array(one.organization_id for one in asked),
        "tokens": array(one.token_id for one in asked),
        "sessions": array(one.session_id for one in asked),
    }
    found: dict[Principal, Principal | None] = {}
    for row in connection.execute(CHANGED, facts):
        before = asked[row.place - 1]
        now = {"role": row.role, "email": row.email, "organization_id": row.organization_id}
        found[before] = None if row.gone else replace(before, **now)
    return found


def prune(connection: Connection, age: timedelta) -> int:
    """Drop what is older than `age`: who has not read it by then asks about everybody. How many there were."""
    return connection.execute(delete(RightsChange).where(RightsChange.at < func.now() - age)).rowcount
