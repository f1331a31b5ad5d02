"""Instances as callers name and list them: their own, and anybody's for an administrator.

Called by the API. Reads the manager's table, and keeps what people say of an instance: its label and its owner's
number. What is done to it is WhatsAppManager's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, exists, select, tuple_

from core import audit
from core.access import Access, Principal, storable
from core.db import Transaction
from core.errors import NotFound
from manager import store
from manager.lifecycle import InstanceRecord
from manager.phones import full_number
from manager.register import already_made
from manager.service import WhatsAppManager
from manager.tables import Instance

Position = tuple[str, UUID]  # technical name, id


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An instance with what people say of it, and its counters. `label`: None where nobody gave it one."""

    record: InstanceRecord
    user_id: UUID
    label: str | None
    pairing_method: str
    created_at: datetime | None
    sent: int
    received: int

    @property
    def owner_phone(self) -> str | None:
        """The number that was named as the owner's, else the one that was connected last."""
        return next(iter(self.record.owner_phones), self.record.standing.phone)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """`is_known`: whether anybody's contacts stand under an organization's name. `is_open`: who has no organization may
    begin one. `default_country`: what a number without a country's code gets in front, where there is one. All methods
    raise StorageUnavailable."""

    transaction: Transaction
    manager: WhatsAppManager
    access: Access
    is_known: Callable[[str], bool]
    is_open: bool = False
    default_country: str | None = None

    def find(self, caller: Principal, called: str, *, deleted: bool = False, doing: str | None = None) -> Entry:
        """`called`: its UUID or its technical name; anything else is nobody's. Raises NotFound, for others' alike.

        `deleted`: also one that is. `doing`: what an administrator is about to do with somebody else's is written down.
        """
        with self.transaction() as connection:
            query = _visible(caller, deleted=deleted).where(_goes_by(called))
            row = connection.execute(query).mappings().first()
            if row is None:
                raise NotFound("There is no such instance", code="INSTANCE_NOT_FOUND")
            found = _entry(row)
            if doing and found.user_id != caller.user_id:
                actor, whose = str(caller.user_id), found.record
                audit.note(connection, actor=actor, action=f"instance.{doing}", subject=whose.name, scope=whose.scope)
        return found

    def find_all(self, caller: Principal, *, limit: int, after: Position | None) -> tuple[list[Entry], Position | None]:
        """`limit` of them by technical name, beyond `after`; and the last one's position, None where it was the last
        of all."""
        query = _visible(caller).order_by(Instance.instance_name, Instance.id).limit(limit + 1)
        query = query.where(tuple_(Instance.instance_name, Instance.id) > after) if after else query
        with self.transaction() as connection:
            entries = [_entry(row) for row in connection.execute(query).mappings()]
        last = entries[limit - 1].record if len(entries) > limit else None
        return entries[:limit], (last.name, last.id) if last else None

    def create(self, caller: Principal, organization_id: str, *, label: str, phone: object = None) -> Entry:
        """The caller's instance, here and on the gateway; one that was deleted is there again.

        Raises Conflict where they have one, NotFound for an organization of others, InvalidPhone, NotConfigured,
        ProviderError.
        """
        self.manager.expect_gateway()
        numbers = [] if phone in (None, "") else [full_number(phone, self.default_country)]
        found = self.manager.find_user_instance(caller.user_id)
        if found and found.is_made:  # before anybody joins anything
            raise already_made()
        self._join(caller, organization_id)
        said = {"organization_id": organization_id, "display_name": label, "owner_phones": numbers}
        how = {"pairing_method": "code"}
        made = self.manager.create_user_instance(caller.user_id, organization_id, as_new={**said, **how})
        with self.transaction() as connection:
            note_made(connection, caller.user_id, made.name, made.organization_id, label)
        return self.find(caller, str(made.id))

    def name_owner(self, entry: Entry, phone: object) -> Entry:
        """Whoever writes from this number is the owner from now on. Raises PhoneRequired, InvalidPhone."""
        number = full_number(phone, self.default_country)
        with self.transaction() as connection:
            store.mark(connection, entry.record.id, owner_phones=[number])
        return replace(entry, record=replace(entry.record, owner_phones=(number,)))

    def _join(self, caller: Principal, organization_id: str) -> None:
        """Their own; any for an administrator; and where it is allowed who has none begins one that nobody knows: its
        first real member would find a stranger in it. Raises NotFound."""
        if caller.is_admin or organization_id == caller.organization_id:
            return
        is_free = self.is_open and not (caller.organization_id or self._is_taken(caller, organization_id))
        if not (is_free and self.access.found_organization(caller.user_id, organization_id)):
            raise NotFound("There is no such organization", code="ORGANIZATION_NOT_FOUND")

    def _is_taken(self, caller: Principal, organization_id: str) -> bool:
        others = exists().where(Instance.organization_id == organization_id, Instance.user_id != caller.user_id)
        with self.transaction() as connection:
            taken: bool = connection.execute(select(others)).scalar_one()
        return taken or self.is_known(organization_id)


def note_made(connection: Connection, user_id: UUID, name: str, organization_id: str | None, label: str) -> None:
    """Write into its history that a user has made their instance."""
    told = {"actor": str(user_id), "action": "instance.create", "subject": name}
    audit.note(connection, **told, scope=organization_id or str(user_id), details={"label": label})


def _visible(caller: Principal, *, deleted: bool = False) -> Select[tuple[object, ...]]:
    """Those that belong to somebody whom the caller may see."""
    whose = Instance.user_id.is_not(None) if caller.is_admin else Instance.user_id == caller.user_id
    query = select(Instance.__table__).where(whose)
    return query if deleted else query.where(Instance.deleted_at.is_(None))


def _goes_by(called: str) -> ColumnElement[bool]:
    try:
        return Instance.id == UUID(called)
    except ValueError:
        return Instance.instance_name == (storable(called) if storable(called) == called else None)


def _entry(row: RowMapping) -> Entry:
    return Entry(
        record=store.record_of(row),
        user_id=row["user_id"],
        label=row["display_name"],
        pairing_method=row["pairing_method"],
        created_at=row["created_at"],
        sent=row["messages_sent_count"],
        received=row["messages_received_count"],
    )
