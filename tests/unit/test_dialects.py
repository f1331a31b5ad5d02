"""Whatever was recorded, each dialect shows it or passes it over: no event must hold up those that come after it."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.dialects import NAMES, PAYLOADS, Dialect, Seed, WhatsApp
from notify.feed import FeedEvent
from notify.frames import command

USER = UUID(int=7)
AT = datetime(2026, 11, 22, 3, 17, 5, 120_000, UTC)
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
KEYS = st.sampled_from(["qr", "qrCode", "phoneNumber", "reason", "fromMe", "messageId", "from", "text", "instanceName"])
EVERYBODY = [Dialect(), Seed(), WhatsApp()]


def happened(kind: str, data: dict[str, Any]) -> FeedEvent:
    return FeedEvent(user_id=USER, id=7, type=kind, data=data, at=AT)


@pytest.mark.parametrize("dialect", EVERYBODY, ids=["ours", "seed", "whatsapp"])
@given(kind=st.sampled_from([*NAMES, "status", "alert", "born_tomorrow"]), data=st.dictionaries(KEYS, VALUES))
def test_any_event_is_shown_as_json_with_a_type_or_passed_over(dialect, kind, data):
    for channel in (None, "org:1"):
        for frame in map(json.loads, dialect.texts(happened(kind, data), channel)):
            assert isinstance(frame["type"], str)
            assert ("channel" in frame) == (channel is not None) or frame["type"] == "qr"
            assert "id" not in frame or channel is None


def test_every_name_has_a_payload():
    assert NAMES.keys() == PAYLOADS.keys()


def test_the_instance_is_named_by_its_id_where_it_is_known():
    for about, name in (({"instanceId": "an-id"}, "an-id"), ({}, "user_7")):
        found = WhatsApp().named(happened("qrcode", {"instanceName": "user_7", "qr": "2@", **about}))
        assert found == (
            "whatsapp:qr",
            {"instanceId": name, "qr": "2@", "timestamp": "2026-11-22T03:17:05.120Z"},
        )


@given(st.text() | st.binary())
def test_a_command_is_an_object_with_a_type_or_nothing(sent):
    found = command(sent)
    assert found is None or isinstance(found["type"], str)
