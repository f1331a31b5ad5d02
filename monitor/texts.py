"""What people are told, in plain words: why WhatsApp stopped, what Zelador does, what they must do. Pure.

A text is a row of sentences; one that names a fact nobody knows is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from string import Formatter
from typing import Any, Final

from manager.fold import REASONS
from monitor.languages.english import EN
from monitor.languages.portuguese import PT
from monitor.languages.wording import Wording
from monitor.policy.health import Kind
from monitor.policy.servers import ServerKind

LANGUAGES: Final[Mapping[str, Wording]] = {"pt": PT, "en": EN}
REMINDER: Final = "reminder"
GRAVITY: Final = (  # of an incident's kinds, the gravest last
    Kind.RECOVERED, ServerKind.GATEWAY_RECOVERED, REMINDER,
    Kind.FLAPPING, Kind.DEAF, Kind.DOWN, Kind.RECONNECT_FAILED,
    Kind.GAVE_UP, Kind.CONFLICT, Kind.NEEDS_QR, Kind.GONE, Kind.BANNED,
    ServerKind.GATEWAY_MASS, ServerKind.GATEWAY_DOWN, ServerKind.GATEWAY_OUTDATED, ServerKind.GATEWAY_AUTH,
    ServerKind.GATEWAY_LICENCE,
)  # fmt: skip
SEVERITIES: Final[Mapping[str, str]] = {
    **dict.fromkeys((Kind.RECOVERED, ServerKind.GATEWAY_RECOVERED), "info"),
    **dict.fromkeys((REMINDER, Kind.FLAPPING, Kind.DEAF, Kind.DOWN, Kind.RECONNECT_FAILED), "warning"),
}
SCAN_MISSED = 428  # with a lost pairing: nobody scanned the code; otherwise only a connection that ended
TEMPORARY_BAN = 402
SERVERS = frozenset(ServerKind)
FORMATTER = Formatter()


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """`action`: what the button beside it says, which starts a connection; None: there is nothing to press."""

    title: str
    text: str
    action: str | None = None


def words(kind: str, facts: Mapping[str, Any], language: str = "pt") -> Words:
    """What is said of `kind` (Kind, ServerKind or `reminder`) in `language`, `pt` or `en`; others are a KeyError.

    Facts, all optional: `instanceName`, `gateway`, `reason` (Baileys' code), `deaf`, `failures`, `attempts`, `since`
    (ISO 8601), `seconds` (how long it lasted), `affected` (instances), and `collapsed`: the alert before was never
    sent, so this recovery tells of both.
    """
    said = LANGUAGES[language]
    about = "gateway_reminder" if kind == REMINDER and not facts.get("instanceName") else kind
    title, sentences, action = said.texts[f"{kind}_collapsed" if facts.get("collapsed") else about]
    known = _known(kind, facts, said)
    text = " ".join(sentence.format_map(known) for sentence in sentences if _named(sentence) <= known.keys())
    return Words(title=title, text=text, action=said.actions[action] if action else None)


def severity(kind: str) -> str:
    """`info`, `warning` or `critical`: that needs a person."""
    return SEVERITIES.get(kind, "critical")


def duration(seconds: float, language: str = "pt") -> str:
    """`45 s`, `3 min`, `2 h 5 min`, `1 dia 4 h`: the two biggest units that there are."""
    day, days = LANGUAGES[language].days
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    whole_days, hours = divmod(hours, 24)
    if whole_days:
        parts = (f"{whole_days} {day if whole_days == 1 else days}", f"{hours} h" if hours else "")
    else:
        parts = (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "")
    return " ".join(part for part in parts if part)


def reason_word(kind: str, reason: int | None) -> str | None:
    """The word of manager.fold.REASONS for why it stopped, more exactly where the kind tells; None: nobody knows."""
    if reason is None:
        return None
    if reason == SCAN_MISSED and kind != Kind.NEEDS_QR:
        return "connection_lost"
    return "banned_for_now" if reason == TEMPORARY_BAN else REASONS.get(reason, "connection_lost")


def moment(at: datetime) -> str:
    """`22/11/2026 03:17 UTC`"""
    return f"{at:%d/%m/%Y %H:%M} UTC"


def _known(kind: str, facts: Mapping[str, Any], said: Wording) -> dict[str, str]:
    language = next(code for code, one in LANGUAGES.items() if one is said)
    given = {name: value for name, value in facts.items() if value is not None}
    read: dict[str, Callable[[Any], str]] = {
        "failures": lambda number: said.counted("checks", number),
        "attempts": lambda number: said.counted("attempts", number),
        "affected": lambda number: said.counted("connections", number),
        "seconds": lambda seconds: duration(seconds, language),
        "since": lambda at: moment(datetime.fromisoformat(at)),
        "deaf": lambda word: said.deaf[word],
        "instanceName": str,
        "gateway": str,
    }
    known = {name: read[name](value) for name, value in given.items() if name in read}
    word = reason_word(kind, given.get("reason"))
    return known | ({"why": said.reasons[word]} if word else {})


def _named(sentence: str) -> set[str]:
    return {name for _, name, _, _ in FORMATTER.parse(sentence) if name}
