"""Instances under watch, as the database has them and as it shall have them. Values only."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from manager.providers.port import State
from monitor.policy.health import Action, Health
from monitor.policy.rhythm import Rhythm

SHOWS_CODE, OVERTAKEN = "shows_code", "overtaken"  # it was not made: something came in between


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """An instance under watch, as the database has it. `told_state`, `reason`, `updated_at` …: what webhooks say, at
    `updated_at` of our row; `noticed_at`: the same when it was last taken in. `busy`: somebody has it in hand.
    `verdict`: what the running interval of its history says."""

    id: UUID
    name: str
    gateway_name: str
    gateway: str
    user_id: UUID
    organization_id: str | None
    told_state: State
    reason: int | None
    reason_at: datetime | None
    updated_at: datetime | None
    asked_at: datetime | None
    heard_at: datetime | None
    sends_fail: bool
    health: Health
    rhythm: Rhythm
    version: int
    checked_at: datetime | None
    noticed_at: datetime | None
    incident_id: int | None
    due_at: datetime
    due: bool
    busy: bool
    verdict: str | None

    @property
    def heard_lately(self) -> bool:
        """Something came from it since the last check."""
        return bool(self.heard_at and self.checked_at and self.heard_at > self.checked_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Touched:
    """An instance of which nothing is new but that somebody looked, or that its row has changed. `rhythm`: None where
    that is as it was. `settled_until`: until then another open is no news (monitor.watching.quiet)."""

    id: UUID
    checked_at: datetime | None
    due_at: datetime
    noticed_at: datetime | None
    settled_until: datetime | None
    rhythm: Rhythm | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What an instance's row becomes. `sighted`: we have just corrected the manager's row ourselves, which is no
    report."""

    id: UUID
    health: Health
    rhythm: Rhythm
    due_at: datetime
    noticed_at: datetime | None
    incident_id: int | None
    sighted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """Instances under watch: all, those to be looked at now, those whose last check failed, those that say 405."""

    enabled: int
    due: int
    failing: int
    outdated: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """Something to be done by the manager, the `number`th time in its episode. `asked_at`: which asking of a person was
    known when it was decided, in which `term`."""

    instance_id: UUID
    user_id: UUID
    name: str
    action: Action
    number: int
    reason: int | None
    incident_id: int | None
    asked_at: datetime | None
    term: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What an attempt was answered: `asked`, `open`, SHOWS_CODE, OVERTAKEN, or an error's code."""

    instance_id: UUID
    outcome: str

    @property
    def shows_code(self) -> bool:
        return self.outcome == SHOWS_CODE
