"""Who is calling: profiles, what bearers say of them, passwords and login links.

`core.web` asks it for each request, `scripts/ops.py` makes people and tokens with it.
"""

import secrets
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, Connection, DateTime, ForeignKey, Index, Text, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from core import sessions
from core.clock import Clock
from core.crypto import fingerprint
from core.db import Base, Transaction
from core.errors import Conflict, Malformed, StorageUnavailable, Unauthenticated
from core.sessions import Session

if TYPE_CHECKING:
    from core.api_tokens import ApiTokens
    from core.bearers import Tokens

KNOWN_FOR = timedelta(seconds=3)  # a socket that is opened by it is looked at within two more
API_TOKEN = "zt_"  # noqa: S105 — how a personal token begins
LINK_BYTES = 24
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
# the id of a user, however it is written, is the name of what is theirs alone
FOUND = text("""
UPDATE profiles SET organization_id = :name, updated_at = now()
WHERE id = :user AND (organization_id IS NULL OR organization_id = :name) AND NOT EXISTS (
    SELECT FROM profiles AS other
    WHERE other.id <> :user AND (other.organization_id = :name OR other.id = CAST(:id AS uuid))
)
""")


class Profile(Base):
    __tablename__ = "profiles"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'admin')", name="role"),
        Index(
            "uq_profiles_login",
            text("lower(email)"),
            unique=True,
            postgresql_where=text("password_hash IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    email: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text, server_default="user")
    organization_id: Mapped[str | None] = mapped_column(Text)
    password_hash: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class LoginLink(Base):
    """A link that logs somebody in. `once` ends it with its first use."""

    __tablename__ = "login_links"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    once: Mapped[bool] = mapped_column(server_default=text("true"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Somebody who proved who they are.

    `until`: when the proof ends, None where it does not by itself. `sworn`: the token itself says admin. `token_id`:
    the personal API token they came with, whose rights are those of our table. `session_id`: the session of our pages.
    """

    user_id: UUID
    role: str = "user"
    email: str | None = None
    organization_id: str | None = None
    until: datetime | None = field(default=None, compare=False)
    sworn: bool = field(default=False, compare=False)
    token_id: UUID | None = None
    session_id: UUID | None = None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


def user_uuid(value: object) -> UUID:
    """A user id as a UUID. Raises Malformed, so that no cast fails inside SQL."""
    try:
        return UUID(str(value))
    except ValueError:
        raise Malformed("The user id is not a UUID", code="INVALID_USER_ID") from None


def storable(value: object) -> str | None:
    """A text as a database can hold it: without NUL and lone surrogates; None where it is none."""
    if not isinstance(value, str):
        return None
    return value.replace("\0", "").encode(errors="replace").decode() or None


class Access:
    """Makes principals of credentials, and keeps a profile row for each of them."""

    def __init__(self, transaction: Transaction, tokens: "Tokens", api_tokens: "ApiTokens", clock: Clock) -> None:
        self._transaction, self._clock = transaction, clock
        self.tokens, self.api_tokens = tokens, api_tokens
        self._known: dict[Principal, tuple[datetime, Principal]] = {}
        self._lock = threading.Lock()

    def by_bearer(self, token: str) -> Principal:
        """The token's owner, an admin also where only our table says so. Raises Unauthenticated, NotNow where a JWT's
        key cannot be read.

        While the database is away a JWT alone decides; of a personal token nobody knows then (StorageUnavailable).
        """
        if token.startswith(API_TOKEN):
            return self.api_tokens.owner_of(token)
        claimed = self.tokens.verify(token)
        now = self._clock.now()
        seen_at, principal = self._known.get(claimed, (None, claimed))
        if seen_at and now - seen_at < KNOWN_FOR:
            return replace(principal, until=claimed.until)
        try:
            with self._transaction() as connection:
                principal = remember(connection, claimed)
        except StorageUnavailable:
            return claimed
        self._keep(claimed, now, principal)
        return replace(principal, until=claimed.until)

    def by_session(self, session: Session) -> Principal:
        """Whose it is. Raises Unauthenticated when the profile is gone, or the session over."""
        with self._transaction() as connection:
            is_over = sessions.is_over(connection, session, self._clock.now())
            found = None if is_over else find_principal(connection, session.user_id)
        if found is None:
            raise Unauthenticated("The session has ended")
        return replace(found, session_id=session.id)

    def begin_session(self, person: Principal) -> Session:
        return Session.begin(person.user_id, self._clock.now())

    def end_session(self, session: Session) -> None:
        """In all tabs, and for whoever has a copy of its cookie. Raises StorageUnavailable."""
        with self._transaction() as connection:
            sessions.end(connection, session)

    def by_password(self, email: str, password: str) -> Principal:
        """Raises Unauthenticated, after the same work whether or not the address is known."""
        address = (storable(email) or "").lower()
        query = select(Profile.id, Profile.password_hash).where(
            func.lower(Profile.email) == address, Profile.password_hash.is_not(None)
        )
        with self._transaction() as connection:
            row = connection.execute(query).first()
        if not check_password_hash(row.password_hash if row else nobodys_hash(), password) or row is None:
            raise Unauthenticated("Wrong e-mail or password")
        return self._person(row.id)

    def by_link(self, token: str) -> Principal:
        """Raises Unauthenticated when the link is unknown, used up or too old."""
        query = select(LoginLink).where(LoginLink.token_hash == fingerprint(token), LoginLink.expires_at > func.now())
        with self._transaction() as connection:
            link = connection.execute(query.with_for_update()).first()
            if link and link.once:
                connection.execute(text("DELETE FROM login_links WHERE token_hash = :it"), {"it": link.token_hash})
        if not link:
            raise Unauthenticated("The link has expired or was used already")
        return self._person(link.user_id)

    def _person(self, user_id: UUID) -> Principal:
        with self._transaction() as connection:
            if found := find_principal(connection, user_id):
                return found
        raise Unauthenticated("This person is gone")

    def found_organization(self, user_id: UUID, name: str) -> bool:
        """Make the user the first of an organization; again is fine. False where somebody else has it, or they have
        another. Another process knows of it within 3 s."""
        with self._transaction() as connection:
            connection.execute(ONE_AT_A_TIME, {"name": name})
            named = {"user": user_id, "name": name, "id": _as_id(name)}
            is_theirs = connection.execute(FOUND, named).rowcount == 1
        with self._lock:
            self._known = {claimed: known for claimed, known in self._known.items() if claimed.user_id != user_id}
        return is_theirs

    def _keep(self, claimed: Principal, now: datetime, principal: Principal) -> None:
        with self._lock:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[claimed] = (now, principal)


def _as_id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


@cache
def nobodys_hash() -> str:
    """As dear to check as anybody's; made at first use, for it is as dear to make."""
    return generate_password_hash("nobody")


def remember(connection: Connection, claimed: Principal) -> Principal:
    """Make or refresh the profile of a token's owner; the caller's transaction.

    A token makes an admin for as long as it says so, and never an admin of our table.
    """
    new = insert(Profile).values(id=claimed.user_id, email=claimed.email, organization_id=claimed.organization_id)
    refreshed = {
        "email": func.coalesce(new.excluded.email, Profile.email),
        "organization_id": func.coalesce(new.excluded.organization_id, Profile.organization_id),
        "updated_at": func.now(),
    }
    changed = (new.excluded.email.is_distinct_from(Profile.email) & new.excluded.email.is_not(None)) | (
        new.excluded.organization_id.is_distinct_from(Profile.organization_id)
        & new.excluded.organization_id.is_not(None)
    )
    # a login address of ours is not changed by a token: it is what its owner types
    connection.execute(
        new.on_conflict_do_update(
            index_elements=[Profile.id], set_=refreshed, where=changed & Profile.password_hash.is_(None)
        )
    )
    found = find_principal(connection, claimed.user_id)
    return found if found and not claimed.is_admin else claimed


def find_principal(connection: Connection, user_id: UUID) -> Principal | None:
    row = connection.execute(
        select(Profile.id, Profile.role, Profile.email, Profile.organization_id).where(Profile.id == user_id)
    ).first()
    return row and Principal(user_id=row.id, role=row.role, email=row.email, organization_id=row.organization_id)


def create_person(
    connection: Connection,
    *,
    email: str,
    password: str | None = None,
    role: str = "user",
    name: str | None = None,
) -> UUID:
    """A profile that can log in here. Raises Conflict when the address is taken."""
    hashed = generate_password_hash(password or secrets.token_urlsafe())
    taken = select(Profile.id).where(func.lower(Profile.email) == email.lower(), Profile.password_hash.is_not(None))
    if connection.execute(taken).first():
        raise Conflict("Somebody with this e-mail exists already", code="EMAIL_TAKEN")
    new = insert(Profile).values(id=uuid4(), email=email, name=name, role=role, password_hash=hashed)
    return connection.execute(new.returning(Profile.id)).scalar_one()


def make_link(connection: Connection, user_id: UUID, *, once: bool = True, valid_for: timedelta) -> str:
    """The secret part of a fresh login link; only its hash is kept."""
    token = secrets.token_urlsafe(LINK_BYTES)
    until = func.now() + valid_for
    connection.execute(
        insert(LoginLink).values(token_hash=fingerprint(token), user_id=user_id, once=once, expires_at=until)
    )
    return token
