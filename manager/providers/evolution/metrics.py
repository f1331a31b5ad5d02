"""Evolution's `/metrics`: the live state of every instance, from memory, in one answer (2.3.6). Pure.

`evolution_instance_state{instance="user_1",integration="WHATSAPP-BAILEYS",state="open"} 1`, one line an instance.
"""

import re
from collections.abc import Mapping

from manager.providers.evolution.wire import STATES
from manager.providers.port import State

FAMILY = "evolution_instance_state"
LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
ESCAPED = re.compile(r"\\(.)")


def states(text: str) -> Mapping[str, State] | None:
    """Name → state; None where the text does not know such a thing. {} from a server without instances."""
    found, known = {}, False
    for line in text.splitlines():
        known = known or FAMILY in line
        labels = _labels(line.strip())
        if "instance" in labels and "state" in labels:
            found[labels["instance"]] = STATES.get(labels["state"], State.UNKNOWN)
    return found if known else None


def _labels(line: str) -> dict[str, str]:
    """Those of a sample of the family that holds, in any order; {} for every other line."""
    if not line.startswith(FAMILY):
        return {}
    rest = line.removeprefix(FAMILY).lstrip()
    if not rest.startswith("{"):
        return {}
    labels, at = {}, 1
    while label := LABEL.match(rest, at):
        labels[label[1]] = ESCAPED.sub(_unescaped, label[2])
        at = label.end()
    closing, _, value = rest[at:].lstrip().partition("}")
    return labels if not closing and _holds(value) else {}


def _holds(value: str) -> bool:
    """`1`, perhaps with a time behind it."""
    try:
        return float(value.split(maxsplit=1)[0]) > 0
    except (ValueError, IndexError):
        return False


def _unescaped(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]
