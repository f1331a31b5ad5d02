"""The instances as a list that is there even while the database is not, and a new one in it.

What was last read is kept in memory for each question; without that, the gateways say which instances they have.
Called by the API.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection, RowMapping, select

from core.clock import Clock
from core.db import Transaction
from core.errors import StorageUnavailable
from manager.asking import Asking, Key
from manager.catalog import note_made
from manager.lifecycle import Status
from manager.providers.port import Found, State
from manager.service import WhatsAppManager
from manager.tables import Instance

log = structlog.get_logger()
KEPT_FOR = timedelta(hours=1)
MOST_KEPT = 1000  # questions
STORAGE, MEMORY, GATEWAY = "storage", "memory", "gateway"
LIVE = {State.CONNECTED: Status.CONNECTED, State.CONNECTING: Status.CONNECTING}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An instance. What only a gateway told has neither `id` nor times. `label`: how its owner calls it."""

    id: UUID | None = None
    name: str
    gateway_name: str
    provider: str
    status: Status
    user_id: UUID | None = None
    organization_id: str | None = None
    label: str | None = None
    phone: str | None = None
    profile_name: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    connected_at: datetime | None = None

    @property
    def key(self) -> Key:
        return self.provider, self.gateway_name


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whose instances (None: everybody's), of which organization (None: of any), how many, after which name."""

    owner: UUID | None
    organization_id: str | None = None
    limit: int = 50
    after: str = ""

    @property
    def kept_as(self) -> "Question":
        """What is read and kept: of one's own all there is, so that nobody's questions push out what others know."""
        return Question(owner=self.owner) if self.owner else self


@dataclass(frozen=True, kw_only=True)
class Listing:
    """By name. `source`: storage, memory or gateway; `read_at`: when that said so. `more`: others follow. `live`: how
    many of them stand as their gateway says at this moment."""

    items: Sequence[Listed]
    source: str
    read_at: datetime
    more: bool = False
    live: int = 0


class Snapshots:
    """What was last read for each question: for an hour, a thousand at most. Safe for many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Question, Listing] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, question: Question, listing: Listing) -> None:
        with self._lock:
            self._kept[question] = replace(listing, source=MEMORY)
            self._kept.move_to_end(question)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def find(self, question: Question, now: datetime) -> Listing | None:
        found = self._kept.get(question)
        return found if found and now - found.read_at < KEPT_FOR else None


class Instances:
    """`sparing`: while the database is away, the gateways are only asked for what memory has not."""

    def __init__(
        self, transaction: Transaction, manager: WhatsAppManager, asking: Asking, clock: Clock, *, sparing: bool = False
    ) -> None:
        self._transaction, self._manager, self._asking, self._clock = transaction, manager, asking, clock
        self._sparing, self._snapshots = sparing, Snapshots()

    def find(self, question: Question, *, refresh: bool = False) -> Listing:
        """With `refresh`, as far as the gateways say so within 3 s, as they stand now; that is not written down.

        Raises StorageUnavailable where the database is away, nothing was read before and no gateway knows better.
        """
        try:
            listing = self._from_storage(question.kept_as)
        except StorageUnavailable as error:
            log.warning("listing_without_storage", db_code=error.details.get("dbCode"))
            known = self._snapshots.find(question.kept_as, self._clock.now())
            listing = known or self._told(question, error)
            refresh = refresh and known is not None and not self._sparing
        theirs = [one for one in listing.items if question.organization_id in (None, one.organization_id)]
        listing = replace(listing, items=theirs)
        return self._refreshed(listing) if refresh else listing

    def create(self, user_id: UUID, organization_id: str | None, label: str) -> Listed:
        """Make the user's instance, and note it in its history.

        Raises Conflict where they have one, NotConfigured before anything is done, ProviderError, StorageUnavailable.
        """
        said = {"organization_id": organization_id} if organization_id else {}
        self._manager.create_user_instance(user_id, organization_id, as_new={**said, "display_name": label})
        with self._transaction() as connection:
            [made] = _read(connection, Question(owner=user_id))
            note_made(connection, user_id, made.name, made.organization_id, label)
        return made

    def _from_storage(self, question: Question) -> Listing:
        with self._transaction() as connection:
            found = _read(connection, question)
        items, more = found[: question.limit], len(found) > question.limit
        listing = Listing(items=items, source=STORAGE, read_at=self._clock.now(), more=more)
        self._snapshots.keep(question, listing)
        return listing

    def _refreshed(self, listing: Listing) -> Listing:
        said = self._asking.states([one.key for one in listing.items])
        items = [replace(one, status=_status(one.status, said.get(one.key))) for one in listing.items]
        return replace(listing, items=items, live=len(said))

    def _told(self, question: Question, error: StorageUnavailable) -> Listing:
        """By the gateways, which know nothing of organizations."""
        is_all = question.organization_id is None and not question.after
        found = self._asking.instances(question.owner) if is_all else None
        if found is None:
            raise error
        items = sorted((_listed(*one) for one in found), key=lambda one: one.name)[: question.limit]
        return Listing(items=items, source=GATEWAY, read_at=self._clock.now())


def _status(before: Status, said: State | None) -> Status:
    """What a gateway says, in our words. While a code is shown, it is connecting by its own."""
    if said is None or said is State.UNKNOWN or (said is State.CONNECTING and before is Status.QR_PENDING):
        return before
    return LIVE.get(said, Status.DISCONNECTED)


def _read(connection: Connection, question: Question) -> list[Listed]:
    """One more than was asked for, where there is one."""
    query = select(Instance.__table__).where(Instance.deleted_at.is_(None), Instance.instance_name > question.after)
    if question.owner is not None:
        query = query.where(Instance.user_id == question.owner)
    if question.organization_id is not None:
        query = query.where(Instance.organization_id == question.organization_id)
    rows = connection.execute(query.order_by(Instance.instance_name).limit(question.limit + 1)).mappings()
    return [_of_row(row) for row in rows]


def _of_row(row: RowMapping) -> Listed:
    return Listed(
        id=row["id"],
        name=row["instance_name"],
        gateway_name=row["gateway_name"] or row["instance_name"],
        provider=row["provider"],
        status=Status(row["status"] or "disconnected"),
        user_id=row["user_id"],
        organization_id=row["organization_id"],
        label=row["display_name"],
        phone=row["phone_number"],
        profile_name=row["profile_name"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        connected_at=row["last_connected_at"],
    )


def _listed(provider: str, found: Found) -> Listed:
    return Listed(
        name=found.name,
        gateway_name=found.name,
        provider=provider,
        status=_status(Status.DISCONNECTED, found.stored_state),
        phone=found.phone,
        profile_name=found.profile_name,
    )
