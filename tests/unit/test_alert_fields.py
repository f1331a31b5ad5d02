"""What people may say of alert targets and silences."""

from datetime import UTC, datetime, time

import pytest

from api.alert_fields import silence, target
from core.errors import Malformed

ENDS = "2099-01-01T00:00:00Z"


def test_a_whole_target():
    given = {
        "url": "ntfys://x.example/a",
        "name": " Plantão ",
        "quietFrom": "22:00",
        "quietUntil": "07:00",
        "kinds": None,
    }
    assert target(given, new=True) == {
        "url": "ntfys://x.example/a",
        "name": "Plantão",
        "quiet_from": time(22),
        "quiet_until": time(7),
        "kinds": None,
    }
    assert target({"quietFrom": None, "quietUntil": None}, new=False) == {"quiet_from": None, "quiet_until": None}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "url"),
        ({"url": "json://x.example/", "fromEnv": True}, "fromEnv"),
        ({"url": "json://x.example/", "createdBy": "me"}, "createdBy"),
        ({"url": 5}, "url"),
        ({"url": "json://x.example/", "least": "loud"}, "least"),
        ({"url": "json://x.example/", "kinds": ["nonsense"]}, "kinds"),
        ({"url": "json://x.example/", "kinds": []}, "kinds"),
        ({"url": "json://x.example/", "quietFrom": "22:00"}, "quietUntil"),
        ({"url": "json://x.example/", "quietFrom": "25:00", "quietUntil": "07:00"}, "quietFrom"),
        ({"url": "json://x.example/", "timezone": "Mars"}, "timezone"),
        ({"url": "json://x.example/", "timezone": "/etc/passwd"}, "timezone"),
        ({"url": "json://x.example/", "digestMinutes": 0}, "digestMinutes"),
        ({"url": "json://x.example/", "digestMinutes": True}, "digestMinutes"),
        ({"url": "json://x.example/", "enabled": "yes"}, "enabled"),
        ({"url": "json://x.example/", "name": "a\nb"}, "name"),
        ({"url": "json://x.example/", "name": "a\u0000b"}, "name"),
        ({"url": "json://x.example/", "language": "fr"}, "language"),
    ],
)
def test_targets_that_make_no_sense(given, named):
    with pytest.raises(Malformed, match=named):
        target(given, new=True)


def test_a_whole_silence():
    given = {"kind": "mute", "instance": "user_1", "startsAt": "2098-12-31T21:00:00-03:00", "endsAt": ENDS}
    assert silence(given) == {
        "kind": "mute",
        "instance_name": "user_1",
        "starts_at": datetime(2099, 1, 1, tzinfo=UTC),
        "ends_at": datetime(2099, 1, 1, tzinfo=UTC),
    }


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"kind": "mute"}, "endsAt"),
        ({"endsAt": ENDS}, "kind"),
        ({"kind": "deaf", "endsAt": ENDS}, "kind"),
        ({"kind": "mute", "endsAt": "yesterday"}, "endsAt"),
        ({"kind": "mute", "endsAt": 5}, "endsAt"),
        ({"kind": "mute", "endsAt": ENDS, "by": "somebody"}, "by"),
        ({"kind": "mute", "endsAt": ENDS, "reason": "x" * 201}, "reason"),
    ],
)
def test_silences_that_make_no_sense(given, named):
    with pytest.raises(Malformed, match=named):
        silence(given)
