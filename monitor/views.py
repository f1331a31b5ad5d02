"""Health and history as people see them: what the monitor hands to the API and the pages. Values only."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from monitor.policy.health import HealthState


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthView:
    """An instance's health as people see it. `state` is `unknown` where the last check is too old to say anything;
    `issues`: what is wrong, as codes (docs/api.md lists them)."""

    id: UUID
    instance_name: str
    user_id: UUID | None
    organization_id: str | None
    status: str
    messages_sent_count: int
    messages_received_count: int
    last_connected_at: datetime | None
    state: HealthState
    failures: int
    checked_at: datetime | None
    issues: tuple[str, ...]
    incident_id: int | None
    public_token: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """`until` is exclusive; of the last one it is when we last looked."""

    verdict: str
    since: datetime
    until: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Uptime:
    """Seconds within a window. What is missing to its length was not under watch."""

    up: float = 0
    down: float = 0
    unknown: float = 0

    @property
    def share(self) -> float | None:
        """Of the time that we know of, 0 to 1; None where we know of none."""
        known = self.up + self.down
        return self.up / known if known else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconnection:
    """An attempt of ours. `outcome`: what the gateway answered; None: nobody knows."""

    id: int
    incident_id: int | None
    at: datetime
    action: str
    number: int
    reason: int | None
    outcome: str | None
    ended_at: datetime | None
