"""What is known of a gateway server: is it the instance that is ill, or the server that they all hang on? Values only;
`monitor.policy.gateway` folds rounds into it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class ServerState(StrEnum):
    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"
    AUTH = "auth"
    MASS = "mass"
    RECOVERING = "recovering"


class Trouble(StrEnum):
    """Why a question to the gateway brought nothing."""

    UNREACHABLE = "unreachable"  # timeout, refused, DNS, TLS, 5xx, 429, nonsense, breaker open
    AUTH = "auth"
    LICENCE = "licence"


class ServerKind(StrEnum):
    """What people are told about a server; each at most once in an incident."""

    GATEWAY_DOWN = "gateway_down"
    GATEWAY_AUTH = "gateway_auth"
    GATEWAY_LICENCE = "gateway_licence"
    GATEWAY_MASS = "gateway_mass"
    GATEWAY_OUTDATED = "gateway_outdated"
    GATEWAY_RECOVERED = "gateway_recovered"


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one look at a server brought. `probe`: the server itself was asked (the bulk answer, or the probe):
    True it answered, False it did not (`trouble` says why), None it was not asked. `answered`: single questions that
    were answered; `troubles`: instance → why it was not. `enabled`: instances under watch; `failing`: those of them
    whose last check failed; `first_failed`: those whose first failure in a row was seen just now; `outdated`: those
    that say 405; `missing`: those under watch that a whole list or bulk answer did not have any more."""

    at: datetime
    probe: bool | None = None
    trouble: Trouble | None = None
    answered: int = 0
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    enabled: int = 0
    failing: int = 0
    first_failed: int = 0
    outdated: int = 0
    missing: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """`since`: when an incident began, or the last one ended. `kind`: what the open one is about. `faults`, `good`:
    probes and rounds in a row; `blamed`: two instances that the faults came from. `first_failed`: when how many
    instances failed first, of the last two minutes; `ill_before`: those that failed before the trouble began.
    `probe_at`: the server itself is asked next then, None: there is no need. `grace_until`: nothing counts yet;
    `throttled_until`: attempts are few. `tokens`: of the fleet's attempts."""

    state: ServerState = ServerState.UP
    since: datetime | None = None
    kind: ServerKind | None = None
    faults: int = 0
    blamed: tuple[str, ...] = ()
    good: int = 0
    first_failed: tuple[tuple[datetime, int], ...] = ()
    ill_before: int = 0
    probe_at: datetime | None = None
    grace_until: datetime | None = None
    throttled_until: datetime | None = None
    incident: bool = False
    announced: tuple[ServerKind, ...] = ()
    tokens: float = 5.0
    filled_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerJudgement:
    """`frozen`: nothing that is seen of its instances counts. `probe_within`: ask the server itself after this time."""

    server: Server
    notices: tuple[ServerKind, ...] = ()
    frozen: bool = False
    probe_within: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerRules:
    interval: timedelta = timedelta(seconds=60)
    probe_every: timedelta = timedelta(seconds=15)
    probe_refused_every: timedelta = timedelta(minutes=5)
    down_after: int = 3
    up_after: int = 2
    mass_share: float = 0.3
    mass_least: int = 5
    mass_within: timedelta = timedelta(seconds=120)
    calm_share: float = 0.1
    mass_at_most: timedelta = timedelta(minutes=30)
    mass_rest: timedelta = timedelta(minutes=5)
    tokens_a_minute: float = 10.0
    burst: float = 5.0
    share_a_minute: float = 0.05
