"""The tables: medians with the smallest and the largest of all rounds, and ratios of the pairs of rounds."""

import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

Side = TypeVar("Side")
Column = tuple[str, Callable[[Side], float], str]  # heading, value, format


def table(names: tuple[str, str], pairs: Sequence[tuple[Side, Side]], columns: Sequence[Column[Side]]) -> list[str]:
    """Two rows, one a side: `median (min–max)` under each heading."""
    rows = [["", *(heading for heading, _, _ in columns)]]
    for side, name in enumerate(names):
        measured = [[value(pair[side]) for pair in pairs] for _, value, _ in columns]
        rows.append([name, *(spread(values, how) for values, (_, _, how) in zip(measured, columns, strict=True))])
    return _aligned(rows)


def ratio(pairs: Sequence[tuple[Side, Side]], value: Callable[[Side], float]) -> str:
    """The first side against the second, pair by pair."""
    return spread([value(first) / value(second) for first, second in pairs], ".2f")


def spread(values: Sequence[float], how: str) -> str:
    middle = statistics.median(values)
    return f"{middle:{how}} ({min(values):{how}}–{max(values):{how}})"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
