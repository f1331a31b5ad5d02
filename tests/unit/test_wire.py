"""Evolution's answers in our words: every recorded one, and whatever else may come."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.providers.evolution import wire
from manager.providers.port import Snapshot, State

PAYLOADS = Path(__file__).parent.parent / "payloads"
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
keys = st.text() | st.sampled_from(["qrcode", "code", "pairingCode", "state", "status", "count", "instance", "message"])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=20
)


def lines(name):
    return [json.loads(line) for line in (PAYLOADS / "recorded" / name).read_text(encoding="utf-8").splitlines()]


@given(anything)
def test_any_answer_makes_a_snapshot_and_a_reason(answer):
    assert isinstance(wire.snapshot("user_x", answer).state, State)
    assert isinstance(wire.reason_text(answer), str)


ASKED = ("/instance/create", "/instance/connect/", "/instance/connectionState/", "/instance/restart/")


def answers():
    """Recorded successes of the calls that answer with an instance."""
    for exchange in lines("http.jsonl"):
        path, answer = exchange["request"]["path"], exchange["response"]
        if path.startswith(ASKED) and answer["status"] < 300:
            yield exchange["name"], answer["body"]


@pytest.mark.parametrize(("name", "body"), list(answers()))
def test_a_recorded_answer_is_understood(name, body):
    found = wire.snapshot("user_x", body)
    instance = body.get("instance", {})
    word = instance.get("state") or instance.get("status")
    code = body.get("qrcode", body).get("code")
    if body.get("error"):
        assert found.state is State.UNKNOWN  # the client refuses it before it comes here
    elif word:
        assert found.state is wire.STATES[word]
    else:
        assert found.state is State.CONNECTING
    assert (found.pairing.qr if found.pairing else None) == code


def test_an_answer_without_a_code_yet_is_connecting():
    assert wire.snapshot("user_x", {"count": 0}) == Snapshot(name="user_x", state=State.CONNECTING)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"response": {"message": "text"}}, "text"),
        ({"response": {"message": ["in a list"]}}, "in a list"),
        ({"response": {"message": [["in two lists", "more"]]}}, "in two lists"),
        ({"response": {"message": [{"exists": False}]}}, ""),
        ({"message": "at the top"}, "at the top"),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_reason_of_a_failure_is_found_wherever_it_stands(body, reason):
    assert wire.reason_text(body) == reason
