"""What a language has to say about health: the shape of each language. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass

Text = tuple[str, tuple[str, ...], str | None]  # title, sentences, action


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What is told. `reasons`: why it stopped, as a whole sentence; `counts`: one and many of a thing."""

    texts: Mapping[str, Text]
    actions: Mapping[str, str]
    reasons: Mapping[str, str]
    deaf: Mapping[str, str]
    counts: Mapping[str, tuple[str, str]]
    days: tuple[str, str]

    def counted(self, what: str, number: int) -> str:
        """`1 tentativa`, `3 tentativas`"""
        one, many = self.counts[what]
        return f"{number} {one if number == 1 else many}"


@dataclass(frozen=True, kw_only=True)
class ReportWording:
    """What a post-mortem is made of. `headings` and `frame` are its own words; `happened`, `restraint` (why nothing was
    tried), `advice` (what to do while it lasts) and `lessons` (what to do once it is over) go by an incident's kind,
    `steps` by the codes of its timeline."""

    headings: Mapping[str, str]
    frame: Mapping[str, str]
    happened: Mapping[str, str]
    restraint: Mapping[str, str]
    advice: Mapping[str, str]
    lessons: Mapping[str, str]
    steps: Mapping[str, str]
