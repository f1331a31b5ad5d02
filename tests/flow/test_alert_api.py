"""Administrators and their alerts over HTTP."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
import requests

from monitor.alerting.alerts import record
from tests.alerting import NOON, Listener, incident, told
from tests.factories import make_instance

TARGETS, SILENCES = "/api/admin/alert-targets", "/api/admin/silences"
SECRET = "s3cr3t-t0k3n"


@pytest.fixture
def variables():
    return {"ALERT_ALLOW_PRIVATE": "true"}


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def call(web, bearer):
    """As an administrator; as somebody else with `role`."""
    admin = uuid4()

    def ask(method, path, body=None, *, role="admin"):
        who = bearer(admin if role == "admin" else uuid4(), role=role)
        return requests.request(method, web + path, json=body, headers=who, timeout=30)

    return ask


@pytest.fixture
def added(call, listener):
    answer = call("POST", TARGETS, {"url": listener.url(f"/{SECRET}"), "name": "Plantão", "least": "info"})
    assert answer.status_code == 201, answer.text
    return answer.json()["target"]


ROUTES = [
    ("GET", "/api/admin/alerts"),
    ("GET", TARGETS),
    ("POST", TARGETS),
    ("PATCH", f"{TARGETS}/{uuid4()}"),
    ("DELETE", f"{TARGETS}/{uuid4()}"),
    ("POST", f"{TARGETS}/{uuid4()}/test"),
    ("GET", SILENCES),
    ("POST", SILENCES),
    ("DELETE", f"{SILENCES}/1"),
]


def test_only_administrators(call, web):
    assert [call(*route, {} if route[0] != "GET" else None, role="user").status_code for route in ROUTES] == [403] * 9
    assert [requests.request(method, web + path, timeout=10).status_code for method, path in ROUTES] == [401] * 9


def test_a_target_is_kept_shown_changed_and_removed_without_its_url(call, added, rows):
    assert added["scheme"] == "json"
    changed = call(
        "PATCH",
        f"{TARGETS}/{added['id']}",
        {
            "quietFrom": "22:00",
            "quietUntil": "07:00",
            "digestMinutes": 15,
            "kinds": ["down"],
            "organizationId": "org_1",
        },
    ).json()["target"]
    assert [changed[name] for name in ("quietFrom", "quietUntil", "digestMinutes", "kinds", "organizationId")] == [
        "22:00",
        "07:00",
        15,
        ["down"],
        "org_1",
    ]
    listed = call("GET", TARGETS)
    assert listed.json()["items"] == [changed]
    assert call("DELETE", f"{TARGETS}/{added['id']}").status_code == 200
    assert call("GET", TARGETS).json()["items"] == []
    audit = rows("SELECT action, details, actor FROM audit ORDER BY id")
    assert [row["action"] for row in audit] == ["alert_target.added", "alert_target.changed", "alert_target.removed"]
    assert audit[0]["details"]["url"] == "set"
    seen = listed.text + json.dumps(audit) + json.dumps(rows("SELECT * FROM alert_targets"), default=str)
    assert SECRET not in seen


def test_what_makes_no_sense_is_refused_and_named(call):
    given: list[dict[str, object]] = [{"url": "jsons://x.example/", "fromEnv": True}, {"url": "https://x.example/"}, {}]
    answers = [call("POST", TARGETS, one) for one in given]
    assert [answer.status_code for answer in answers] == [400] * 3
    assert "fromEnv" in answers[0].text
    assert "must begin with" in answers[1].text


def test_a_test_message_says_how_it_went(call, added, listener):
    path = f"{TARGETS}/{added['id']}/test"
    assert call("POST", path).json() == {"success": True}
    assert listener.titles(f"/{SECRET}") == ["Mensagem de teste ✅"]
    listener.answers[f"/{SECRET}"] = 403
    answer = call("POST", path)
    assert (answer.status_code, answer.json()["code"]) == (502, "HTTP_403")
    assert SECRET not in answer.text
    assert call("POST", f"{TARGETS}/{uuid4()}/test").status_code == 404


def test_alerts_are_listed_with_their_deliveries(call, system, added, listener):
    with system.transaction() as connection:
        numbers = [incident(connection, name, user_id=uuid4()) for name in ("user_1", "user_2")]
        record(connection, [told(numbers[0]), told(numbers[1], "banned", "user_2")])
    system.alerting.outbox.deliver(NOON)
    listener.wait_for(2, f"/{SECRET}")
    system.alerting.outbox.stop()
    first = call("GET", "/api/admin/alerts?limit=1").json()
    [banned] = first["items"]
    assert (banned["instanceName"], banned["kind"], banned["severity"]) == ("user_2", "banned", "critical")
    assert banned["at"] == "2026-11-22T12:00:00.000Z"
    assert banned["deliveries"] == [
        {"target": "Plantão", "state": "sent", "attempts": 1, "sentAt": "2026-11-22T12:00:00.000Z", "error": None}
    ]
    [down] = call("GET", f"/api/admin/alerts?cursor={first['next_cursor']}").json()["items"]
    assert (down["kind"], down["incidentId"]) == ("down", numbers[0])
    assert down["userId"]
    [english] = call("GET", "/api/admin/alerts?kind=down&lang=en").json()["items"]
    assert english["title"] != down["title"]
    assert call("GET", "/api/admin/alerts?instance=user_2").json()["items"] == [banned]
    assert call("GET", "/api/admin/alerts?cursor=forged").status_code == 400


def test_silences_over_http(call, system, rows):
    with system.transaction() as connection:
        _, name = make_instance(connection)
    ends = (system.clock.now() + timedelta(hours=2)).isoformat()
    answer = call("POST", SILENCES, {"kind": "maintenance", "instance": name, "endsAt": ends, "reason": "obra"})
    assert answer.status_code == 201, answer.text
    made = answer.json()["silence"]
    assert (made["instanceName"], made["kind"], made["reason"]) == (name, "maintenance", "obra")
    assert call("GET", SILENCES).json()["items"] == [made]
    assert call("DELETE", f"{SILENCES}/{made['id']}").status_code == 200
    for number in (made["id"], 2**63, 10**22):
        answer = call("DELETE", f"{SILENCES}/{number}")
        assert (answer.status_code, answer.json()["code"]) == (404, "SILENCE_NOT_FOUND")
    assert call("GET", SILENCES).json()["items"] == []
    assert [row["action"] for row in rows("SELECT action FROM audit ORDER BY id")] == ["silence.added", "silence.ended"]


def test_silences_that_make_no_sense(call):
    given = {"kind": "mute"}, {"kind": "mute", "endsAt": "2099-01-01T00:00:00Z", "instance": "nobody"}
    assert [call("POST", SILENCES, one).status_code for one in given] == [400, 404]


class TestStrictly:
    """Where the operator has not allowed private targets."""

    @pytest.fixture
    def variables(self):
        return {"ALERT_URLS": f"json://127.0.0.1:1/{SECRET}"}

    def test_a_target_inside_is_refused(self, call):
        for url in ("json://127.0.0.1/", "json://localhost/", "jsons://[::1]/", "json://2130706433/", "json://0x7f.1/"):
            answer = call("POST", TARGETS, {"url": url})
            assert (answer.status_code, answer.json()["code"]) == (400, "ALERT_TARGET_FORBIDDEN")

    def test_what_comes_from_the_environment_is_changed_there(self, call, system, rows):
        system.alerting.deliver()
        [one] = call("GET", TARGETS).json()["items"]
        assert (one["fromEnvironment"], one["createdBy"]) == (True, "ALERT_URLS")
        path = f"{TARGETS}/{one['id']}"
        assert call("PATCH", path, {"quietFrom": "22:00", "quietUntil": "07:00"}).status_code == 200
        assert call("PATCH", path, {"url": "jsons://example.org/"}).status_code in (400, 409)
        assert call("DELETE", path).status_code == 409
        answer = call("POST", f"{path}/test")
        assert answer.json()["code"] == "ALERT_TARGET_FORBIDDEN"
        assert SECRET not in answer.text
