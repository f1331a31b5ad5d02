"""How instances are and were, and incidents (api.health, api.incidents, api.pausing)."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.common import Done, Facts, Id, Moment
from api.schemas.whatsapp import HealthWord

Verdict = Literal["up", "down", "unknown"]
Severity = Literal["info", "warning", "critical"]
Seconds = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Watched(TypedDict):
    """`issues`: what is wrong, as codes."""

    health: HealthWord
    failures: Annotated[int, Field(ge=0)]
    lastCheckAt: Moment | None
    issues: list[str]


class WatchedInstance(Watched):
    """One instance of many."""

    id: Id
    instance_name: str
    organization_id: str | None
    status: str
    messages_sent_count: int
    messages_received_count: int
    last_connected_at: Moment | None
    days_since_connection: Annotated[int, Field(ge=0)] | None
    uptime30d: Share | None
    incidentId: int | None


class Interval(TypedDict):
    verdict: Verdict
    since: Moment
    until: Moment


class Uptime(TypedDict):
    """Seconds; `share` is up / (up + down), null where both are 0."""

    up: Seconds
    down: Seconds
    unknown: Seconds
    share: Share | None


class Day(Uptime):
    """A day of UTC."""

    day: Annotated[str, Field(json_schema_extra={"format": "date"})]


Uptimes = TypedDict("Uptimes", {"30d": Uptime, "90d": Uptime})


class Reconnection(TypedDict):
    """An attempt of ours. An outcome of null: nobody knows."""

    at: Moment
    action: str
    number: int
    reasonCode: int | None
    outcome: str | None
    endedAt: Moment | None
    incidentId: int | None


class OwnIncident(TypedDict):
    """`title` is in the language asked for; `instanceName` is null where it is the gateway's trouble."""

    id: int
    kind: str
    severity: Severity
    title: str
    instanceName: str | None
    gateway: str
    userId: Id | None
    organizationId: str | None
    reasonCode: int | None
    openedAt: Moment
    closedAt: Moment | None
    acknowledgedAt: Moment | None


class Incident(OwnIncident):
    """With the administrator who knows of it."""

    acknowledgedBy: str | None


class _History(Done, Watched):
    id: Id
    instanceName: str
    status: str
    intervals: list[Interval]
    uptime: Uptimes
    days: list[Day]
    reconnections: list[Reconnection]


class History(_History):
    """An instance's last 90 days."""

    incident: Incident | None


class OwnHistory(_History):
    """The same of one's own, and the address of its public status."""

    incident: OwnIncident | None
    publicToken: str | None


class Step(TypedDict):
    """One line of a timeline; `text` is null where there are no words for it."""

    at: Moment
    kind: Literal["signal", "verdict", "action", "notice", "person"]
    code: str
    facts: Facts
    text: str | None


class Section(TypedDict):
    code: Literal["happened", "evidence", "done", "advice"]
    title: str
    lines: list[str]


class Report(TypedDict):
    """What happened, for people; `text` is all of it."""

    language: str
    title: str
    sections: list[Section]
    text: str


class _Told(TypedDict):
    timeline: list[Step]
    report: Report


class OwnStory(Done, OwnIncident, _Told):
    """An incident with all that belongs to it."""


class Story(Done, Incident, _Told):
    """An incident with all that belongs to it."""


class Acknowledged(Done, Incident):
    """The incident, acknowledged."""


class Paused(Done):
    instanceName: str
    paused: bool
