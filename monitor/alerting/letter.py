"""What a message to a target says: one alert, or several together. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from monitor.alerting.pacing import zone
from monitor.texts import Words, severity, words

GRAVEST: Final = ("info", "warning", "critical")
SAYS: Final = {
    "pt": {
        "incident": "Incidente {id}",
        "together": "{count} avisos do Zelador",
        "test": "Mensagem de teste ✅",
        "test_text": "Os avisos do Zelador chegam aqui.",
    },
    "en": {
        "incident": "Incident {id}",
        "together": "{count} alerts from Zelador",
        "test": "Test message ✅",
        "test_text": "Alerts from Zelador arrive here.",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An alert. `about`: the instance, or else the gateway server."""

    incident_id: int
    kind: str
    facts: Mapping[str, Any]
    at: datetime
    about: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    title: str
    body: str
    severity: str


def letter(items: Sequence[Item], language: str, timezone: str) -> Letter:
    """Of at least one alert, in the order given; several are a line each."""
    said = [words(item.kind, item.facts, language) for item in items]
    gravest = max((severity(item.kind) for item in items), key=GRAVEST.index)
    if len(items) == 1:
        tail = SAYS[language]["incident"].format(id=items[0].incident_id)
        return Letter(title=said[0].title, body=f"{said[0].text}\n\n{tail}", severity=gravest)
    lines = [_line(item, one, timezone) for item, one in zip(items, said, strict=True)]
    title = SAYS[language]["together"].format(count=len(items))
    return Letter(title=title, body="\n".join(lines), severity=gravest)


def trial(language: str) -> Letter:
    """What a person sends to see whether a target works."""
    return Letter(title=SAYS[language]["test"], body=SAYS[language]["test_text"], severity="info")


def _line(item: Item, said: Words, timezone: str) -> str:
    return f"{item.at.astimezone(zone(timezone)):%H:%M} {said.title} ({item.about})"
