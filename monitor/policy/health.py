"""What is known of an instance's health, what can be observed of it, and what can come of that. Values only.

`judge` folds observations into `Health`; `watch` makes the observations, keeps the health and carries out the rest.
All times are the monitor's own (`monitor.timeline`), none is the gateway's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from manager.providers.port import State


class HealthState(StrEnum):
    """The seed's four words, and two for what is no verdict."""

    UNKNOWN = "unknown"
    CONNECTING = "connecting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DISCONNECTED = "disconnected"
    ERROR = "error"


class Policy(StrEnum):
    """Whether reconnecting by ourselves can help. All but AUTO: it cannot, and would do harm."""

    AUTO = "auto"
    NEEDS_QR = "needs_qr"
    BANNED = "banned"
    CONFLICT = "conflict"
    GONE = "gone"


class Kind(StrEnum):
    """What people are told about an instance; each at most once in an incident."""

    DOWN = "down"
    RECONNECT_FAILED = "reconnect_failed"
    GAVE_UP = "gave_up"
    NEEDS_QR = "needs_qr"
    BANNED = "banned"
    CONFLICT = "conflict"
    GONE = "gone"
    DEAF = "deaf"
    FLAPPING = "flapping"
    RECOVERED = "recovered"


class Deaf(StrEnum):
    """Why an open connection is not believed: sending fails, or nothing has come for longer than it ever did."""

    SENDS_FAIL = "sends_fail"
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """We looked. UNKNOWN: that brought nothing (time-out, 5xx, nonsense …): the gateway's trouble, not the instance's.
    `deaf` only with CONNECTED."""

    at: datetime
    state: State
    deaf: Deaf | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """The gateway said so, by webhook. It proves nothing: it may be forged, old or overtaken. `reason_at` tells one
    reason from the same one once more (the gateway's clock, compared for equality only)."""

    at: datetime
    state: State
    reason: int | None = None
    reason_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A person asked for a connection."""

    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempted:
    """What an attempt of ours was answered. `shows_code`: the gateway shows a QR, so the pairing is lost."""

    at: datetime
    shows_code: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    at: datetime


Observation = Checked | Reported | Asked | Attempted | Paused | Resumed


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """One instance. `failures`: counted in a row; `attempts`: in this episode, which ends after ten minutes of unbroken
    health; `attempted_at`: of the last 24 hours. `pending`: what a report said that a check has not confirmed yet.
    `incident`: people were told something that has not ended; `announced`: what. `asked_at`: which asking of a person
    was taken in last; it is the caller's to keep."""

    state: HealthState = HealthState.UNKNOWN
    policy: Policy = Policy.AUTO
    paused: bool = False
    failures: int = 0
    not_found: int = 0
    successes: int = 0
    failing_since: datetime | None = None
    healthy_since: datetime | None = None
    connecting_since: datetime | None = None
    pairing_until: datetime | None = None
    patient_until: datetime | None = None
    attempts: int = 0
    attempted_at: tuple[datetime, ...] = ()
    next_attempt_at: datetime | None = None
    flips: tuple[datetime, ...] = ()
    flapping: bool = False
    pending: Policy | None = None
    reason: int | None = None
    reason_at: datetime | None = None
    replaced_at: tuple[datetime, ...] = ()
    deaf: Deaf | None = None
    restarted_at: datetime | None = None
    asked_at: datetime | None = None
    incident: bool = False
    announced: tuple[Kind, ...] = ()
    checked_at: datetime | None = None
    observed_at: datetime | None = None


class Action(StrEnum):
    """What the manager shall do. CONNECT and RESTART are attempts; REVIVE is the careful restart of a deaf one."""

    CONNECT = "connect"
    RESTART = "restart"
    REVIVE = "revive"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """What the others have to do with it. `frozen`: the gateway is in trouble or just back, so nothing counts.
    `token`: the fleet's budget allows one more attempt. `busy`: somebody has the instance in hand."""

    frozen: bool = False
    token: bool = True
    busy: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """`again_within`: look once more after this time, None: with everybody else."""

    health: Health
    notices: tuple[Kind, ...] = ()
    action: Action | None = None
    again_within: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The seed's numbers and those of the policy. `delay` after attempt n: between half of and all of
    min(`longest_delay`, `first_delay` · 2^(n−1))."""

    interval: timedelta = timedelta(seconds=60)
    alert_at: int = 2
    reconnect_at: int = 3
    auto_reconnect: bool = True
    attempts_an_episode: int = 5
    attempts_a_day: int = 10
    first_delay: timedelta = timedelta(seconds=30)
    longest_delay: timedelta = timedelta(minutes=30)
    refill_after: timedelta = timedelta(minutes=10)
    confirm_within: timedelta = timedelta(seconds=15)
    connecting_for: timedelta = timedelta(seconds=120)
    pairing_for: timedelta = timedelta(seconds=300)
    revive_every: timedelta = timedelta(hours=6)
