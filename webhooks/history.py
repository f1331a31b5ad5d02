"""What is kept of deliveries, the log and what is set aside, as people select it.

Functions of a connection; the caller's transaction. They only read.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, text

from core.db import array
from core.selection import Selection
from webhooks.lanes import Stored
from webhooks.tables import InboxRow, SetAside, WebhookEvent

AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A delivery that was selected: the reason it is set aside for, where it is; `pending`: it is in its lane."""

    id: int
    lane: str | None
    reason: str | None
    aside: bool
    pending: bool


@dataclass(frozen=True, kw_only=True)
class SetAsideDelivery:
    """What people see of a delivery that is set aside. Never its body; `size` is its bytes."""

    id: int
    instance: str | None
    event: str | None
    state: str
    reason: str
    fingerprint: str | None
    waits_for: str | None
    issues: Sequence[str] | None
    received_at: datetime
    at: datetime
    size: int


def find_aside(
    connection: Connection, selection: Selection, *, limit: int, after: tuple[datetime, int] | None
) -> list[SetAsideDelivery]:
    """What is set aside, newest first, beyond `after` (at, id)."""
    columns = (
        WebhookEvent.id, WebhookEvent.instance, WebhookEvent.event, SetAside.state, SetAside.reason,
        SetAside.fingerprint, SetAside.waits_for, WebhookEvent.issues, WebhookEvent.received_at, SetAside.at,
        func.octet_length(WebhookEvent.body).label("size"),
    )  # fmt: skip
    query = select(*columns).join(SetAside, SetAside.event_id == WebhookEvent.id).where(*_conditions(selection))
    if after:
        query = query.where(
            text("(set_aside.at, set_aside.event_id) < (:at, :id)").bindparams(at=after[0], id=after[1])
        )
    query = query.order_by(SetAside.at.desc(), SetAside.event_id.desc()).limit(limit)
    return [SetAsideDelivery(**row) for row in connection.execute(query).mappings()]


def candidates(connection: Connection, selection: Selection) -> Iterator[list[Candidate]]:
    """What the selection means, in order, a few thousand at a time."""
    query = (
        select(
            WebhookEvent.id,
            func.coalesce(SetAside.lane, WebhookEvent.instance).label("lane"),
            SetAside.reason,
            SetAside.event_id.is_not(None).label("aside"),
            InboxRow.id.is_not(None).label("pending"),
        )
        .join(SetAside, SetAside.event_id == WebhookEvent.id, isouter=selection.reaches_finished)
        .outerjoin(InboxRow, InboxRow.id == WebhookEvent.id)
        .where(*_conditions(selection))
        .order_by(WebhookEvent.id)
        .limit(AT_ONCE)
    )
    last: int | None = None
    while True:
        more = query if last is None else query.where(WebhookEvent.id > last)
        some = [Candidate(**row) for row in connection.execute(more).mappings()]
        if some:
            yield some
        if len(some) < AT_ONCE:
            return
        last = some[-1].id


def of_use(connection: Connection, instance: str, useless: Collection[str]) -> list[int]:
    """What the log holds of an instance, in order; not what is parked, `useless`, or still in its lane."""
    query = (
        select(WebhookEvent.id)
        .outerjoin(SetAside, SetAside.event_id == WebhookEvent.id)
        .where(WebhookEvent.instance == instance)
        .where(SetAside.event_id.is_(None) | ((SetAside.state != "parked") & SetAside.reason.not_in(useless)))
        .where(~select(InboxRow.id).where(InboxRow.id == WebhookEvent.id).exists())
        .order_by(WebhookEvent.id)
    )
    return list(connection.execute(query).scalars())


def read(connection: Connection, ids: Sequence[int]) -> list[Stored]:
    """These deliveries as a lane would give them, in order."""
    query = (
        select(WebhookEvent.id, WebhookEvent.instance, WebhookEvent.event, WebhookEvent.body, WebhookEvent.received_at)
        .where(text("webhook_events.id = ANY(CAST(:ids AS bigint[]))").bindparams(ids=array(ids)))
        .order_by(WebhookEvent.id)
    )
    return [
        Stored(id=row.id, lane=row.instance, attempts=0, event=row.event, body=row.body, received_at=row.received_at)
        for row in connection.execute(query)
        if row.instance
    ]


def _conditions(selection: Selection) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if selection.ids is not None:
        wanted.append(WebhookEvent.id.in_(selection.ids))
    if selection.instance is not None:
        wanted.append(WebhookEvent.instance == selection.instance)
    if selection.event is not None:
        wanted.append(WebhookEvent.event == selection.event)
    if selection.state is not None:
        wanted.append(SetAside.state == selection.state)
    if selection.reason is not None:
        wanted.append(SetAside.reason == selection.reason)
    if selection.since is not None:
        wanted.append(WebhookEvent.received_at >= selection.since)
    if selection.until is not None:
        wanted.append(WebhookEvent.received_at < selection.until)
    return wanted
