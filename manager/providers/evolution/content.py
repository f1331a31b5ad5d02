"""What one message says: its kind, the text a person reads in a list, and the kind's own facts.

The kinds' readers (`media`, `cards`, `menus`) make it from the gateway's content, `kinds` knows which reader is whose.
Pure. Texts that are ours are Brazilian Portuguese; details have camelCase keys and stand in docs/events.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from manager.providers.evolution.values import said

KINDS = frozenset(
    {
        "text", "image", "video", "video_note", "audio", "voice", "document", "sticker",
        "location", "live_location", "contact", "contacts", "poll", "poll_vote", "event", "call", "invite",
        "list", "list_reply", "buttons", "buttons_reply", "template", "template_reply",
        "interactive", "interactive_reply", "order", "product", "unsupported",
    }
)  # fmt: skip
Body = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Content:
    """`kind` is one of KINDS."""

    kind: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)


UNSUPPORTED = Content(kind="unsupported", text="Mensagem não suportada")


def known(**facts: Any) -> dict[str, Any]:
    """The facts that are there: no None, no empty text, list or object, and flags only where they are set."""
    return {
        key: value for key, value in facts.items() if value is not False and (value or isinstance(value, int | float))
    }


def joined(separator: str, parts: Iterable[object]) -> str:
    """The texts among these that say something, one after the other."""
    return separator.join(found for part in parts if (found := said(part)))


def labelled(label: str, *parts: object) -> str:
    """`Localização: Loja, Rua X 1`, or the label alone where there is nothing to say."""
    return joined(": ", (label, joined(", ", parts)))


def with_options(body: str, options: list[str]) -> str:
    """`Qual? (A / B)`"""
    return f"{body} ({' / '.join(options)})" if options else body


def clock(seconds: int | None) -> str | None:
    """3 → `0:03`, 3661 → `1:01:01`."""
    if seconds is None:
        return None
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def money(amount: float | None, currency: str | None) -> str | None:
    """12 BRL → `R$ 12,00`; another currency goes by its code."""
    if amount is None:
        return None
    figures = f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))
    return f"{'R$' if currency == 'BRL' else currency or ''} {figures}".strip()
