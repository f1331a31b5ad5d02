"""Which deliveries: what the API, the shell and webhooks.repair say to each other. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Protocol

from core.diff import Change
from core.errors import Malformed

STATES = ("parked", "waiting", "quarantined")
LONGEST = 200  # characters
MOST_IDS = 10_000
BIGGEST = 2**63


class Repaired(Protocol):
    """What came of doing them again: webhooks.repair.Repaired."""

    @property
    def replayed(self) -> int: ...
    @property
    def refused(self) -> Mapping[str, int]: ...
    @property
    def failed(self) -> Mapping[str, int]: ...
    @property
    def changes(self) -> Sequence[Change] | None: ...
    @property
    def frames(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Deliveries that meet all of it; None asks for nothing. `since` and `until` are about when they came in."""

    ids: tuple[int, ...] | None = None
    instance: str | None = None
    event: str | None = None
    state: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, one.name) is None for one in fields(self))

    @property
    def reaches_finished(self) -> bool:
        """Whether deliveries that took effect are meant too: by number, or by instance and time."""
        by_state = self.state is not None or self.reason is not None
        in_time = self.since is not None or self.until is not None
        return not by_state and (self.ids is not None or (self.instance is not None and in_time))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Selection":
        """From what people send: `{"ids":[1],"state":"parked","since":"2026-11-22T03:00:00Z"}`. Raises Malformed."""
        names = {one.name for one in fields(cls)}
        if unknown := set(given) - names:
            raise Malformed(f"Unknown: {', '.join(sorted(map(_clipped, unknown)))}")
        said = {name: given[name] for name in names if given.get(name) not in (None, "")}
        read: dict[str, Callable[[str, Any], Any]] = {"ids": _ids, "since": _moment, "until": _moment}
        return cls(**{name: read.get(name, _word)(name, value) for name, value in said.items()})

    def __post_init__(self) -> None:
        if self.state not in (None, *STATES):
            raise Malformed(f"state must be one of {', '.join(STATES)}")


def _word(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or "\0" in value:
        raise Malformed(f"{name} must be a text of at most {LONGEST} characters")
    return value


def _ids(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MOST_IDS:
        raise Malformed(f"{name} must be a list of 1 to {MOST_IDS} numbers")
    if any(type(one) is not int or not -BIGGEST <= one < BIGGEST for one in value):
        raise Malformed(f"{name} must be whole numbers")
    return tuple(value)


def _moment(name: str, value: object) -> datetime:
    """ISO 8601; UTC where it names no zone."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Malformed(f"{name} must be a moment like 2026-11-22T03:16:13Z") from None


def _clipped(name: str) -> str:
    return name[:40]
