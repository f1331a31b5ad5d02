"""Personal API tokens: `zt_` and 256 random bits, made and revoked by their owner, shown once, only their hash kept.

A token stands for its owner as our table knows them now: it never has more rights, and an administrator only by their
own JWT's word is a user by token. `core.access` asks who one belongs to; `api.tokens` is the owner's side.
"""

import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    ForeignKey,
    Index,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from core import audit
from core.access import API_TOKEN, KNOWN_FOR, Principal, Profile
from core.clock import Clock
from core.crypto import fingerprint
from core.db import Base, Transaction
from core.errors import Conflict, Forbidden, NotFound, Unauthenticated

TOKEN_BYTES = 32
SHAPE = re.compile(rf"{API_TOKEN}[A-Za-z0-9_-]{{43}}", re.ASCII)
MOST_EACH = 50
COARSE = timedelta(minutes=5)  # how exactly `last_used_at` is kept
KEPT = timedelta(days=30)  # after its end
MOST_KNOWN = 10_000


class ApiToken(Base):
    __tablename__ = "api_tokens"
    __table_args__ = (Index("ix_api_tokens_user_id", "user_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True, kw_only=True)
class TokenRecord:
    """What its owner may see of a token. `last_used_at` to 5 minutes; `expires_at` is None where it has no end."""

    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


SHOWN = [getattr(ApiToken, name) for name in TokenRecord.__dataclass_fields__]


class ApiTokens:
    """Any thread may call; every method raises StorageUnavailable."""

    def __init__(self, transaction: Transaction, clock: Clock) -> None:
        self._transaction, self._clock = transaction, clock
        self._known: dict[bytes, tuple[datetime, Principal]] = {}
        self._lock = threading.Lock()

    def make(self, owner: Principal, name: str, valid_for: timedelta | None = None) -> tuple[str, TokenRecord]:
        """The token itself, which nobody can see again. Raises Forbidden where the owner came with a token, Conflict
        where they have 50."""
        if owner.token_id:
            raise Forbidden("A token makes no tokens: log in, or use a JWT", code="TOKEN_NOT_ENOUGH")
        token = API_TOKEN + secrets.token_urlsafe(TOKEN_BYTES)
        until = func.now() + valid_for if valid_for else None
        values = {"user_id": owner.user_id, "token_hash": fingerprint(token), "name": name, "expires_at": until}
        with self._transaction() as connection:
            _make_room(connection, owner.user_id)
            made = connection.execute(insert(ApiToken).values(values).returning(*SHOWN)).one()
            _note(connection, "token.made", owner, made.id, name)
        return token, TokenRecord(**made._mapping)

    def list(self, user_id: UUID) -> Sequence[TokenRecord]:
        """Their own that were not revoked, the newest first."""
        query = select(*SHOWN).where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
        with self._transaction() as connection:
            rows = connection.execute(query.order_by(ApiToken.created_at.desc(), ApiToken.id))
            return [TokenRecord(**row._mapping) for row in rows]

    def revoke(self, owner: Principal, token_id: UUID) -> None:
        """Refused from now on here, and within 5 s by other processes. Raises NotFound, for somebody else's too."""
        mine = (ApiToken.id == token_id, ApiToken.user_id == owner.user_id, ApiToken.revoked_at.is_(None))
        ending = update(ApiToken).where(*mine).values(revoked_at=func.now())
        with self._transaction() as connection:
            ended = connection.execute(ending.returning(ApiToken.token_hash, ApiToken.name)).first()
            if ended is None:
                raise NotFound("There is no such token", code="TOKEN_NOT_FOUND")
            _note(connection, "token.revoked", owner, token_id, ended.name)
        self._known.pop(ended.token_hash, None)

    def owner_of(self, token: str) -> Principal:
        """Who the token stands for. Raises Unauthenticated."""
        hashed = fingerprint(token)
        if known := self._recall(hashed):
            return known
        found, now = None, self._clock.now()
        if SHAPE.fullmatch(token):
            with self._transaction() as connection:
                found = _find(connection, hashed)
        if found is None:
            self._known.pop(hashed, None)
            raise Unauthenticated("The token is not valid")
        self._keep(hashed, now, found)
        return found

    def _recall(self, hashed: bytes) -> Principal | None:
        if (known := self._known.get(hashed)) is None:
            return None
        (seen_at, principal), now = known, self._clock.now()
        over = principal.until is not None and principal.until <= now
        return principal if timedelta(0) <= now - seen_at < KNOWN_FOR and not over else None

    def _keep(self, hashed: bytes, now: datetime, principal: Principal) -> None:
        with self._lock:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[hashed] = (now, principal)


def prune(connection: Connection, age: timedelta) -> int:
    """Drop those that ended longer ago than `age`. How many there were."""
    since = func.now() - age
    ended = or_(ApiToken.revoked_at < since, ApiToken.expires_at < since)
    return connection.execute(delete(ApiToken).where(ended)).rowcount


def _good() -> ColumnElement[bool]:
    return ApiToken.revoked_at.is_(None) & or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > func.now())


def _make_room(connection: Connection, user_id: UUID) -> None:
    """Raises Conflict. Two at once count one after the other."""
    connection.execute(select(Profile.id).where(Profile.id == user_id).with_for_update(key_share=True))
    mine = select(func.count()).where(ApiToken.user_id == user_id, _good())
    if connection.execute(mine).scalar_one() >= MOST_EACH:
        raise Conflict(f"Nobody may have more than {MOST_EACH} tokens", code="TOO_MANY_TOKENS")


def _find(connection: Connection, hashed: bytes) -> Principal | None:
    columns = (ApiToken.id, ApiToken.user_id, ApiToken.expires_at, Profile.role, Profile.email, Profile.organization_id)
    row = connection.execute(
        select(*columns, _unmarked().label("unmarked")).join(Profile).where(ApiToken.token_hash == hashed, _good())
    ).first()
    if row is None:
        return None
    if row.unmarked:
        used = update(ApiToken).where(ApiToken.id == row.id, _unmarked())
        connection.execute(used.values(last_used_at=func.now()))
    return Principal(
        user_id=row.user_id,
        role=row.role,
        email=row.email,
        organization_id=row.organization_id,
        until=row.expires_at,
        token_id=row.id,
    )


def _unmarked() -> ColumnElement[bool]:
    return or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < func.now() - COARSE)


def _note(connection: Connection, action: str, owner: Principal, token_id: UUID, name: str) -> None:
    user = str(owner.user_id)
    audit.note(connection, actor=user, action=action, subject=str(token_id), scope=user, details={"name": name})
