"""Alerts, where they go, and when they do not (api.alerts)."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.common import Done, Id, Moment
from api.schemas.health import Severity

HourOfDay = Annotated[str, Field(pattern="^[0-2][0-9]:[0-5][0-9]$")]


class Delivery(TypedDict):
    """What became of an alert at one target. `collapsed`: the recovery told of it."""

    target: str
    state: Literal["pending", "sent", "collapsed", "muted", "failed"]
    attempts: int
    sentAt: Moment | None
    error: str | None


class Alert(TypedDict):
    """What was told; `instanceName` is null where it was about the gateway."""

    id: int
    incidentId: int
    instanceName: str | None
    gateway: str
    userId: Id | None
    kind: str
    severity: Severity
    at: Moment
    title: str
    text: str
    deliveries: list[Delivery]


class Target(TypedDict):
    """Where alerts go; never its URL. `undelivered`: alerts it has not taken, `error`: the code of why."""

    id: Id
    organizationId: str | None
    name: str
    scheme: str
    language: str
    least: Severity
    kinds: list[str] | None
    quietFrom: HourOfDay | None
    quietUntil: HourOfDay | None
    timezone: str
    digestMinutes: int | None
    enabled: bool
    fromEnvironment: bool
    createdBy: str
    createdAt: Moment
    undelivered: int
    error: str | None


class KeptTarget(Done):
    target: Target


class Silence(TypedDict):
    """Alerts are held back while it lasts."""

    id: int
    kind: str
    instanceName: str | None
    organizationId: str | None
    startsAt: Moment
    endsAt: Moment
    reason: str | None
    createdBy: str
    createdAt: Moment


class KeptSilence(Done):
    silence: Silence
