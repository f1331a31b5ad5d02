"""Fingerprints: the same for the same shape whatever stands in it, another for another shape; never long to make."""

import json

import pytest

from webhooks.drift import DIGITS, MOST_VALUES, fingerprint, shape


def of(data: object, event: str | None = "messages.upsert") -> str:
    return fingerprint(event, json.dumps({"event": "messages.upsert", "data": data}).encode())


SAME = [
    ({"id": "3EB0", "n": 1}, {"n": 2.5, "id": "ABCD"}),
    ({"5511999990001@s.whatsapp.net": {"a": 1}}, {"93213@lid": {"a": 7}, "120363@g.us": {"a": 8}}),
    ({"0": 1, "1": 2}, {"17": 5}),
    ({"3EB0C767D097E9ECFE4C": "x"}, {"A5DD7F6B2C3A4F5E6D7C": "y"}),
    ({"550e8400-e29b-41d4-a716-446655440000": 1}, {"123e4567-e89b-12d3-a456-426614174000": 2}),
    ([{"a": 1}, {"a": 2}], [{"a": 3}]),
    ([1, "x", 2], ["y", 7]),
]
OTHER = [
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, {"a": "1"}),
    ({"a": None}, {"a": {}}),
    ({"a": True}, {"a": 1}),
    ({"a": [1]}, {"a": 1}),
    ([1], ["x"]),
    ({"a": {"b": 1}}, {"a": {"c": 1}}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_other_values_and_other_people_have_the_same_shape(one, other):
    assert of(one) == of(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_shape_has_another_fingerprint(one, other):
    assert of(one) != of(other)


def test_the_event_counts():
    assert of({"a": 1}, "call") != of({"a": 1}, "messages.upsert")
    assert of({"a": 1}, None) == of({"a": 1}, "messages.upsert")


def test_it_is_12_hex_digits():
    assert len(of({})) == DIGITS
    assert int(of({}), 16) >= 0


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1]", b"[" * 100_000])
def test_what_is_no_json_has_one_too(body):
    assert len(fingerprint(None, body)) == DIGITS


def test_depth_and_size_have_a_limit():
    deep: object = 1
    for _ in range(50):
        deep = {"a": deep}
    assert len(shape(deep)) < 200
    assert len(shape({f"key{number}": number for number in range(50_000)})) < 40 * MOST_VALUES
    assert len(shape([[list(range(100))] * 100] * 100)) < 200


def test_nothing_of_the_contents_is_in_the_shape():
    assert shape({"a": "segredo", "5511@lid": [1, "x"], "b": None}) == "{*:[number|string],a:string,b:null}"
