"""A small picture that says whether WhatsApp works, for people's own pages. Pure."""

from typing import Final
from xml.sax.saxutils import escape

LABEL: Final = "WhatsApp"
WORDS: Final = {
    "pt": {"up": "conectado", "down": "desconectado", "unknown": "sem dados"},
    "en": {"up": "connected", "down": "disconnected", "unknown": "no data"},
}
COLOURS: Final = {"up": "#1b7f4b", "down": "#b3261e", "unknown": "#5f6368"}  # white on them reads well
LETTER, MARGIN = 7, 12  # pixels


def badge(verdict: str, language: str) -> str:
    """An SVG of `up`, `down` or `unknown`, which screen readers can say."""
    word = WORDS[language][verdict]
    left, right = (len(text) * LETTER + MARGIN for text in (LABEL, word))
    whole, said = left + right, escape(f"{LABEL}: {word}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{said}">'
        f"<title>{said}</title>"
        f'<rect width="{whole}" height="20" rx="3" fill="#3c4043"/>'
        f'<rect x="{left}" width="{right}" height="20" rx="3" fill="{COLOURS[verdict]}"/>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="14">{escape(LABEL)}</text>'
        f'<text x="{left + right / 2}" y="14">{escape(word)}</text></g></svg>'
    )
