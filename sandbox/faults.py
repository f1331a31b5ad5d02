"""Faults on demand: what POST /sandbox/faults switches on, for requests and for webhooks."""

import random
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from sandbox.errors import ControlError
from sandbox.webhook import key_of

LATENCY_AT_MOST_MS = 600_000


@dataclass(frozen=True, kw_only=True)
class Faults:
    """All at once; the defaults are a healthy server. `license_required` None: as the version has it."""

    latency_ms: float = 0
    error_rate: float = 0.0
    status: int = 500
    garbage: bool | Literal["html"] = False
    hang: bool = False
    license_required: bool | None = None
    duplicate: bool = False
    reorder: bool = False
    drop_events: tuple[str, ...] = field(default=())
    seed: int = 0


HEALTHY = Faults()
EVERY_EVENT = "*"


class Switchboard:
    """The faults that are on. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._faults = HEALTHY
        self._luck = random.Random(0)  # noqa: S311 - the same faults in every run, not a secret

    @property
    def now(self) -> Faults:
        return self._faults

    def switch(self, faults: Faults) -> None:
        """These instead of those before; whoever hangs is let go. The dice start anew."""
        with self._changed:
            self._faults = faults
            self._luck = random.Random(faults.seed)  # noqa: S311 - see above
            self._changed.notify_all()

    def fails(self) -> bool:
        """Throw the dice for one request."""
        with self._changed:
            return self._luck.random() < self._faults.error_rate

    def hang(self, held_by: Faults) -> None:
        """Hold the caller until these faults have changed; at once when they have already."""
        with self._changed:
            self._changed.wait_for(lambda: self._faults is not held_by)

    def drops(self, event: str) -> bool:
        wanted = self._faults.drop_events
        return EVERY_EVENT in wanted or key_of(event) in wanted


def read(body: Mapping[str, Any]) -> Faults:
    """The faults a control request asks for; `{}` is none. Raises ControlError 400."""
    unknown = sorted(set(body) - {one.name for one in fields(Faults)})
    if unknown:
        raise ControlError(400, f'there is no fault "{unknown[0]}"')
    given = dict(body)
    for name, (low, high) in _RANGES.items():
        if name in given:
            given[name] = _number(name, given[name], low, high)
    for name in ("hang", "duplicate", "reorder"):
        if not isinstance(given.get(name, False), bool):
            raise ControlError(400, f'"{name}" must be true or false')
    if given.get("garbage", False) not in (False, True, "html"):
        raise ControlError(400, '"garbage" must be true, false or "html"')
    if given.get("license_required") not in (None, False, True):
        raise ControlError(400, '"license_required" must be true, false or null')
    if "status" in given and "error_rate" not in given:
        given["error_rate"] = 1.0
    given["drop_events"] = _events(given.get("drop_events", []))
    return Faults(**given)


def shown(faults: Faults) -> dict[str, Any]:
    return asdict(faults)


_RANGES: dict[str, tuple[float, float]] = {
    "latency_ms": (0, LATENCY_AT_MOST_MS),
    "error_rate": (0, 1),
    "status": (400, 599),
    "seed": (0, 2**32),
}


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ControlError(400, f'"{name}" must be a number from {low:g} to {high:g}')
    return int(value) if name in ("status", "seed") else value


def _events(value: object) -> tuple[str, ...]:
    """`true`, `["messages.upsert"]` or `["MESSAGES_UPSERT"]`."""
    if isinstance(value, bool):
        return (EVERY_EVENT,) if value else ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ControlError(400, '"drop_events" must be true or a list of event names')
    return tuple(name if name == EVERY_EVENT else key_of(name) for name in value)
