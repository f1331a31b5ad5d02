"""What operators see, and personal tokens (api.admin, api.audit, api.repair, api.tokens)."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.common import Done, Facts, Id, Moment

Count = Annotated[int, Field(ge=0)]


class QueueStats(Done):
    """Deliveries; `oldest_age_s` in seconds, null with nothing pending. `storms`: instances that bring too much of the
    same, `coalesced_total`: what was not kept because of it."""

    pending: Count
    oldest_age_s: float | None
    processing: Count
    parked: Count
    waiting: Count
    quarantined: Count
    processed_total: Count
    storms: Count
    coalesced_total: Count


class Received(Done):
    message: str
    received: Facts


class SetAside(TypedDict):
    """A delivery that is set aside, never its body. `size` in bytes."""

    id: int
    instance: str | None
    event: str | None
    state: Literal["parked", "waiting", "quarantined"]
    reason: str
    fingerprint: str | None
    waitsFor: str | None
    issues: list[str]
    receivedAt: Moment
    at: Moment
    size: Count


class Replayed(Done):
    """How many are on their way again; `refused`: how many are not, by the code of why."""

    replayed: Count
    refused: dict[str, Count]


class Change(TypedDict):
    """A row, before and after, with lengths instead of texts. Null: it was not there, or is not any more."""

    table: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class DryRun(Replayed):
    """What a replay would do. `changes` are the first 1,000 of `changed`."""

    dryRun: Literal[True]
    failed: dict[str, Count]
    frames: Count
    changed: Count
    changes: list[Change]


class AuditEntry(TypedDict):
    """`actor` is a user's id, `operator` at a shell, or `zelador`."""

    id: int
    at: Moment
    actor: str
    action: str
    subject: str
    scope: str | None
    details: Facts


class Undone(Done):
    """`contactId`: the contact that is there again."""

    contactId: Id


class Token(TypedDict):
    """`lastUsedAt` is exact to 5 minutes; an `expiresAt` of null: it has no end."""

    id: Id
    name: str
    createdAt: Moment
    lastUsedAt: Moment | None
    expiresAt: Moment | None


class MadeToken(Done, Token):
    """`token` is shown this once."""

    token: str
