"""An incident as a report that people can read: what happened, what was seen, what Zelador did, what to do. Pure.

It is made of codes alone, when somebody asks: nothing is guessed, and a language can be added later.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from monitor.casebook import IncidentRecord
from monitor.incidents import Step
from monitor.languages import english_report, portuguese_report
from monitor.languages.wording import ReportWording
from monitor.texts import LANGUAGES, SERVERS, duration, moment, reason_word, words

REPORTS: Final[Mapping[str, ReportWording]] = {"pt": portuguese_report.PT, "en": english_report.EN}
SEEN, DONE = ("signal", "verdict", "person"), ("action", "notice")
TRIED = "try_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """`code`: happened, evidence, done or advice."""

    code: str
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    language: str
    title: str
    sections: tuple[Section, ...]

    @property
    def text(self) -> str:
        """All of it as plain text."""
        parts = [f"{one.title}\n" + "\n".join(f"- {line}" for line in one.lines) for one in self.sections]
        return "\n\n".join([self.title, *parts]) + "\n"

    def as_dict(self) -> dict[str, Any]:
        sections = [{"code": one.code, "title": one.title, "lines": list(one.lines)} for one in self.sections]
        return {"language": self.language, "title": self.title, "sections": sections, "text": self.text}


def report(incident: IncidentRecord, steps: Sequence[Step], language: str = "pt") -> Report:
    """In `pt` or `en` (others are a KeyError). Times are UTC; steps whose code is not known are left out."""
    said = REPORTS[language]
    sections = {
        "happened": _happened(incident, said, language),
        "evidence": _lines(steps, SEEN, said, language) or [said.frame["nothing_seen"]],
        "done": _done(incident, steps, said, language),
        "advice": _advice(incident, said),
    }
    title = words(incident.kind, {}, language).title
    return Report(
        language=language,
        title=said.frame["title"].format(what=title),
        sections=tuple(
            Section(code=code, title=said.headings[code], lines=tuple(lines)) for code, lines in sections.items()
        ),
    )


def told(step: Step, language: str = "pt") -> str | None:
    """One step in words; None where its code is not known."""
    said = REPORTS[language]
    if step.kind == "notice":
        return _notice(step, said, language)
    sentence = next((said.steps[code] for code in _codes(step) if code in said.steps), None)
    if sentence is None:
        return None
    line = sentence.format_map({"number": step.facts.get("number", "?")})
    reason = reason_word(step.code, step.facts.get("reason")) if step.facts.get("state") != "connected" else None
    return f"{line} {LANGUAGES[language].reasons[reason]}" if reason else line


def _codes(step: Step) -> Iterable[str]:
    """The most exact first: `reported_disconnected` of a report of that state, `answered_asked` of that outcome."""
    more = step.facts.get("state") or step.facts.get("outcome")
    return (f"{step.code}_{more}", step.code) if more else (step.code,)


def _notice(step: Step, said: ReportWording, language: str) -> str | None:
    try:
        return said.frame["told"].format(title=words(step.code, {}, language).title)
    except KeyError:
        return None


def _happened(incident: IncidentRecord, said: ReportWording, language: str) -> list[str]:
    name = incident.instance_name
    word = reason_word(incident.kind, incident.reason)
    lines = [
        said.happened[incident.kind],
        *([LANGUAGES[language].reasons[word]] if word else []),
        _span(incident, said, language),
    ]
    whose = {"of": name} if name else {"of_server": incident.gateway}
    return [*lines, *(said.frame[which].format(name=called) for which, called in whose.items())]


def _span(incident: IncidentRecord, said: ReportWording, language: str) -> str:
    opened, closed = incident.opened_at, incident.closed_at
    if closed is None:
        return said.frame["open"].format(opened=moment(opened))
    lasted = duration((closed - opened).total_seconds(), language)
    return said.frame["over"].format(opened=moment(opened), closed=moment(closed), lasted=lasted)


def _done(incident: IncidentRecord, steps: Sequence[Step], said: ReportWording, language: str) -> list[str]:
    """What was tried and told; where nothing was tried, why."""
    lines = _lines(steps, DONE, said, language)
    if any(step.code.startswith(TRIED) for step in steps):
        return lines
    if incident.kind in said.restraint:
        return [said.restraint[incident.kind], *lines]
    came_back = incident.closed_at is not None and incident.kind not in SERVERS
    return [said.frame["came_back"], *lines] if came_back else lines


def _advice(incident: IncidentRecord, said: ReportWording) -> list[str]:
    if incident.closed_at is None:
        return [said.advice.get(incident.kind, said.frame["nothing_to_do"])]
    lesson = said.lessons.get(incident.kind)
    return [said.frame["nothing_to_do"], *([lesson] if lesson else [])]


def _lines(steps: Sequence[Step], kinds: tuple[str, ...], said: ReportWording, language: str) -> list[str]:
    found = ((step, told(step, language)) for step in steps if step.kind in kinds)
    return [f"{moment(step.at)}: {_counted(line, step.facts, said)}" for step, line in found if line]


def _counted(line: str, facts: Mapping[str, Any], said: ReportWording) -> str:
    times, until = facts.get("times"), facts.get("until")
    if not (times and until):
        return line
    return said.frame["times"].format(line=line, times=times, until=moment(datetime.fromisoformat(until)))
