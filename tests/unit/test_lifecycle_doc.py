"""The drawing in docs/lifecycle.md is what the code does."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from manager.lifecycle import (
    Lifetimes,
    Standing,
    Status,
    asked,
    connection_reported,
    made_anew,
    pairing_reported,
    parted,
)
from manager.providers.port import ConnectionReported, Pairing, PairingReported, State

DRAWN = re.compile(r"^    (\w+) --> (\w+) : (.+)$", re.MULTILINE)
TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "lifecycle.md").read_text(encoding="utf-8")
BEGAN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LATER = BEGAN + timedelta(minutes=1)
FACTS: dict[str, Any] = {"delivery_id": 1, "instance": "user_x", "reported_at": LATER, "received_at": LATER}
STANDINGS = {
    Status.DISCONNECTED: Standing(state=State.DISCONNECTED, state_at=BEGAN),
    Status.CONNECTING: Standing(state=State.CONNECTING, state_at=BEGAN),
    Status.QR_PENDING: Standing(
        state=State.CONNECTING,
        state_at=BEGAN,
        pairing=Pairing(qr="2@a"),
        pairing_at=BEGAN,
        pairing_expires_at=LATER,
    ),
    Status.CONNECTED: Standing(state=State.CONNECTED, state_at=BEGAN, phone="5511999990001"),
}


def reported(state):
    return lambda before: connection_reported(before, ConnectionReported(**FACTS, state=state))


def paired(pairing):
    return lambda before: pairing_reported(
        before, PairingReported(**FACTS, pairing=pairing), Lifetimes(qr=timedelta(seconds=45))
    )


STEPS = {
    "asked": lambda before: asked(before, BEGAN),
    "connecting": reported(State.CONNECTING),
    "open": reported(State.CONNECTED),
    "close": reported(State.DISCONNECTED),
    "refused": reported(State.REFUSED),
    "code": paired(Pairing(qr="2@b")),
    "codes end": paired(None),
    "parted": parted,
    "made anew": made_anew,
}


def test_the_drawing_shows_every_way_and_no_other():
    done = {
        (before.value, step(standing).status.value, word)
        for before, standing in STANDINGS.items()
        for word, step in STEPS.items()
        if step(standing).status is not before
    }
    assert set(DRAWN.findall(TEXT)) == done


def test_every_word_of_the_drawing_is_explained():
    table = TEXT.split("| word | is |")[1].split("\n\n")[0]
    assert [word for word in STEPS if word not in table] == []
