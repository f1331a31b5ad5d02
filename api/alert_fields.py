"""What people may say of an alert target or a silence, as our words. Pure; raises Malformed, which names the field."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from typing import Annotated, Any, NotRequired
from zoneinfo import available_timezones

from pydantic import Field
from typing_extensions import TypedDict

from api.bodies import line, word
from api.paging import LANGUAGES
from api.schemas.common import When, one_of
from core.errors import Malformed
from monitor.alerting.alerts import GRADES, KINDS
from monitor.alerting.silences import KINDS as SILENCES

LONGEST_DIGEST = 24 * 60
LONGEST_URL = 2_000
Reader = Callable[[str, Any], Any]
Words = Annotated[str, Field(min_length=1, max_length=200)]
Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
Hour = Annotated[str, Field(description="A time of day like 22:00, in the target's time zone")]


class _Target(TypedDict, total=False):
    name: Annotated[str, Field(min_length=1, max_length=80)]
    organizationId: Words | None
    language: Annotated[str, one_of(LANGUAGES)]
    least: Annotated[str, one_of(GRADES)]
    kinds: Annotated[list[Annotated[str, one_of(KINDS)]], Field(min_length=1)] | None
    quietFrom: Hour | None
    quietUntil: Hour | None
    timezone: str
    digestMinutes: Annotated[int, Field(ge=1, le=LONGEST_DIGEST)] | None
    enabled: bool


class NewTarget(_Target, closed=True):
    """`quietFrom` and `quietUntil` belong together. Without a name it is the scheme and the host."""

    url: Url


class ChangedTarget(_Target, closed=True):
    """What is not named stays."""

    url: NotRequired[Url]


class NewSilence(TypedDict, closed=True):
    """Of an instance, of an organization, or, without either, of everything."""

    kind: Annotated[str, one_of(SILENCES)]
    instance: NotRequired[Words | None]
    organizationId: NotRequired[Words | None]
    startsAt: NotRequired[When | None]
    endsAt: When
    reason: NotRequired[Words | None]


def target(given: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
    """`{"url":"ntfys://…","name":"Plantão","quietFrom":"22:00","quietUntil":"07:00"}` as columns by name."""
    read = _read(given, TARGET)
    if new and "url" not in read:
        raise Malformed("url is missing")
    if ("quiet_from" in read) != ("quiet_until" in read) or (read.get("quiet_from") is None) != (
        read.get("quiet_until") is None
    ):
        raise Malformed("quietFrom and quietUntil belong together")
    return read


def silence(given: Mapping[str, Any]) -> dict[str, Any]:
    """`{"kind":"mute","instance":"user_…","endsAt":"2026-11-22T04:00:00Z","reason":"…"}`"""
    read = _read(given, SILENCE)
    for name in ("kind", "endsAt"):
        if name not in given:
            raise Malformed(f"{name} is missing")
    return read


def _read(given: Mapping[str, Any], known: Mapping[str, tuple[str, Reader]]) -> dict[str, Any]:
    if unknown := sorted(set(given) - known.keys()):
        raise Malformed(f"Unknown: {', '.join(name[:40] for name in unknown)}")
    return {known[name][0]: known[name][1](name, value) for name, value in given.items()}


def _words(longest: int) -> Reader:
    return lambda name, value: line(value, name, longest)


def _one_of(*words: str) -> Reader:
    return lambda name, value: word(value, name, words)


def _or_none(reader: Reader) -> Reader:
    return lambda name, value: None if value is None else reader(name, value)


def _kinds(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(one in KINDS for one in value):
        raise Malformed(f"{name} must be a list of some of {', '.join(KINDS)}")
    return sorted(set(value))


def _hour(name: str, value: Any) -> time:
    try:
        return datetime.strptime(value, "%H:%M").time()  # noqa: DTZ007 — a time of day, in the target's own zone
    except (TypeError, ValueError):
        raise Malformed(f"{name} must be a time of day like 22:00") from None


def _timezone(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in available_timezones():
        raise Malformed(f"{name} must be a time zone like America/Sao_Paulo")
    return value


def _minutes(name: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= LONGEST_DIGEST:
        raise Malformed(f"{name} must be a number from 1 to {LONGEST_DIGEST}")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Malformed(f"{name} must be true or false")
    return value


def _moment(name: str, value: Any) -> datetime:
    """ISO 8601; UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise Malformed(f"{name} must be a moment like 2026-11-22T03:16:13Z") from None


TARGET: Mapping[str, tuple[str, Reader]] = {
    "url": ("url", _words(LONGEST_URL)),
    "name": ("name", _words(80)),
    "organizationId": ("organization_id", _or_none(_words(200))),
    "language": ("language", _one_of(*LANGUAGES)),
    "least": ("least", _one_of(*GRADES)),
    "kinds": ("kinds", _or_none(_kinds)),
    "quietFrom": ("quiet_from", _or_none(_hour)),
    "quietUntil": ("quiet_until", _or_none(_hour)),
    "timezone": ("timezone", _timezone),
    "digestMinutes": ("digest_minutes", _or_none(_minutes)),
    "enabled": ("enabled", _flag),
}
SILENCE: Mapping[str, tuple[str, Reader]] = {
    "kind": ("kind", _one_of(*SILENCES)),
    "instance": ("instance_name", _or_none(_words(200))),
    "organizationId": ("organization_id", _or_none(_words(200))),
    "startsAt": ("starts_at", _or_none(_moment)),
    "endsAt": ("ends_at", _moment),
    "reason": ("reason", _or_none(_words(200))),
}
