"""Single values in every encoding that Evolution's versions use, and whatever else may come."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.providers.evolution.jids import jid, persons, user_of
from manager.providers.evolution.kinds import Opened
from manager.providers.evolution.original import DEEPEST, original_of
from manager.providers.evolution.values import called, clean, count, integer, moment

AT = datetime(2026, 11, 22, 3, 16, 13, tzinfo=UTC)
SECONDS = int(AT.timestamp())
ANA, LID, OWN = "5511999990001@s.whatsapp.net", "77@lid", "5511988887777@s.whatsapp.net"
IMAGE = Opened(name="imageMessage", body={})


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        str(SECONDS),
        float(SECONDS),
        SECONDS + 0.5,
        SECONDS * 1000,
        str(SECONDS * 1000),
        {"low": SECONDS, "high": 0, "unsigned": True},
        {"low": SECONDS - 2**32, "high": 0, "unsigned": False},
        {"low": SECONDS * 1000 % 2**32, "high": SECONDS * 1000 // 2**32, "unsigned": False},
        {"low": SECONDS},
        "2026-11-22T03:16:13Z",
        "2026-11-22T03:16:13.000Z",
        "2026-11-22T00:16:13-03:00",
        "2026-11-22T03:16:13",
    ],
)
def test_a_time_is_read_in_every_encoding(value):
    assert moment(value) == AT


@pytest.mark.parametrize(
    "value",
    [
        None, True, "", "soon", "١٢", 0, -1, 1, 10**30, -(10**30), 1e308, float("inf"), float("nan"), "1e9",
        [], [SECONDS], {}, {"high": 1}, {"low": "x"}, {"low": 10**40, "high": 10**40}, "9" * 5000, "0001-01-01",
        "9999-12-31", SECONDS * 10**6,
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(value):
    assert moment(value) is None


def test_an_offset_in_a_time_becomes_utc():
    found = moment(AT.astimezone(timezone(timedelta(hours=-3))).isoformat())
    assert found is not None
    assert found.tzinfo is UTC


@given(st.integers(0, 2**63 - 1))
def test_a_whole_number_is_one_in_every_encoding(number):
    low, high = number % 2**32, number // 2**32
    signed = low - 2**32 if low >= 2**31 else low
    encodings = (number, str(number), {"low": low, "high": high}, {"low": signed, "high": high, "unsigned": False})
    assert {integer(one) for one in encodings} == {count(one) for one in encodings} == {number}


@pytest.mark.parametrize("value", [-1, 2**63, "-1", {"low": -1, "high": -1}, None, True, "x", [], {"high": 3}])
def test_what_counts_nothing_is_none(value):
    assert count(value) is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a\0b", "a\ufffdb"), ("a\ud800b", "a\ufffdb"), ("\udc00", "\ufffd"), ("\ud83d\ude00", "😀"), ("", "")],
)
def test_text_is_kept_as_far_as_a_database_can_hold_it(given, kept):
    assert clean(given) == kept


@given(st.text(st.characters(exclude_categories=())))
def test_clean_text_can_be_stored(text):
    assert "\0" not in clean(text)
    assert clean(text).encode().decode() == clean(text)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Ana", "Ana"), (" Ana ", "Ana"), ("", None), (" ", None), (None, None), (7, None), ({"a": 1}, None),
        ("5511999990001", None), ("+55 (11) 99999-0001", None), ("77.3", None), ("Ana 2", "Ana 2"), ("...", "..."),
        ("😀", "😀"), ("a" * 300, "a" * 200),
    ],
)  # fmt: skip
def test_a_number_is_no_name(given, name):
    assert called(given) == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("5511999990001@s.whatsapp.net", ANA), ("5511999990001:12@s.whatsapp.net", ANA), ("5511999990001@c.us", ANA),
        ("5511999990001_1:2@s.whatsapp.net", ANA), ("5511999990001@hosted", ANA), ("5511999990001", ANA),
        ("77:3@lid", LID), ("77@hosted.lid", LID), ("553188887777", "553188887777@s.whatsapp.net"),
        ("120363000000000011@g.us", "120363000000000011@g.us"), ("5511-1234@g.us", "5511-1234@g.us"),
        ("status@broadcast", "status@broadcast"), ("1@newsletter", "1@newsletter"), ("123@bot", "123@bot"),
        ("", ""), ("@", ""), ("@lid", ""), ("@g.us", ""), ("abc@s.whatsapp.net", ""), ("١٢@s.whatsapp.net", ""),
        ("a b@lid", ""), ("7" * 300 + "@lid", ""), (None, ""), (5511999990001, ""), ({"user": "1"}, ""),
    ],
)  # fmt: skip
def test_a_jid_has_no_device_and_one_server(given, name):
    assert jid(given) == name
    assert user_of(given) == (name.removesuffix("@s.whatsapp.net") if name.endswith("@s.whatsapp.net") else None)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"a": ANA, "b": LID}, (ANA, LID)),
        ({"a": LID, "b": "5511999990001:3@c.us"}, (LID, ANA)),
        ({"a": ANA, "b": ANA}, (ANA,)),
        ({"a": "", "b": LID}, (LID,)),
        ({"a": "1@g.us", "b": LID}, (LID,)),
        ({"a": LID, "b": "77"}, (LID,)),
        ({"a": 5, "b": {"c": 1}}, ()),
    ],
)
def test_the_names_of_a_person_are_each_there_once(fields, names):
    assert persons(fields, "a", "b") == names


@given(st.binary(min_size=1, max_size=40))
def test_bytes_are_one_text_in_every_encoding(given):
    text = base64.b64encode(given).decode()
    encodings = [
        {str(place): octet for place, octet in enumerate(given)},
        {"type": "Buffer", "data": list(given)},
        list(given),
        text,
    ]
    assert [original_of({"imageMessage": {"mediaKey": one}}, IMAGE) for one in encodings] == [
        {"imageMessage": {"mediaKey": text}}
    ] * 4


def test_an_original_loses_what_no_database_takes_and_every_picture():
    given = {
        "imageMessage": {
            "jpegThumbnail": {"0": 255}, "caption": "a\0\ud800", "n": float("inf"), "list": [1.5, float("nan"), "\0"],
            "scanLengths": [14, 74], "empty": {}, "none": None, "flags": [True, False], "0": {"1": 5}, "far": [300],
            "contextInfo": {"quotedMessage": {"imageMessage": {"jpegThumbnail": "abc", "width": 3}}},
        },
        "base64": "iVBORw0KGgo=",
    }  # fmt: skip
    assert original_of(given, IMAGE) == {
        "imageMessage": {
            "caption": "a\ufffd\ufffd", "list": [1.5, "\ufffd"], "scanLengths": [14, 74], "empty": {}, "none": None,
            "flags": [True, False], "0": {"1": 5}, "far": [300],
            "contextInfo": {"quotedMessage": {"imageMessage": {"width": 3}}},
        }
    }  # fmt: skip


def test_an_original_ends_where_no_content_goes():
    given: object = "bottom"
    for _ in range(900):
        given = {"a": [given]}
    found: object = original_of({"imageMessage": given}, IMAGE)
    depth = 0
    while found:
        found, depth = (next(iter(found.values())) if isinstance(found, dict) else found[0]), depth + 1  # type: ignore[index]  # made above
    assert depth <= DEEPEST
