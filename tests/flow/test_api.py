"""The REST interface as other programs see it: exact shapes, and what operators ask."""

import json
from datetime import datetime
from uuid import uuid4

import pytest
import requests
from flask import make_response
from sqlalchemy import text

from bootstrap.system import build
from bootstrap.web import build_app
from core.access import Principal
from core.errors import RateLimited
from core.web import failure
from tests.conftest import KEY
from tests.factories import make_instance, token_for
from tests.waiting import until

FERNET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
CONNECT_KEYS = {
    "success", "instanceName", "status", "qrCode", "qrcode", "qr", "pairingCode", "pairingCodeFormatted", "expiresAt",
    "message",
}  # fmt: skip
STATUS_KEYS = {
    "success", "instanceName", "status", "connected", "needsQR", "phoneNumber", "profileName", "health", "lastUpdate",
}  # fmt: skip


@pytest.fixture
def browser(system):
    with build_app(system).test_client() as client:
        yield client


@pytest.fixture
def owner(system):
    """Somebody with an instance: user id, instance name."""
    with system.transaction() as connection:
        return make_instance(connection)


def is_time(value):
    return datetime.fromisoformat(value).tzinfo is not None and value.endswith("Z") and value[-5] == "."


def test_connect_answers_with_a_qr_in_both_forms(browser, bearer):
    user = uuid4()
    answer = browser.post("/api/whatsapp/connect", headers=bearer(user))
    body = answer.json
    assert (answer.status_code, body.keys()) == (200, CONNECT_KEYS)
    assert (body["success"], body["instanceName"], body["status"]) == (True, f"user_{user}", "qr_pending")
    assert body["qrCode"] == body["qrcode"]
    assert body["qrCode"].startswith("data:image/png;base64,")
    assert (body["pairingCode"], body["pairingCodeFormatted"]) == (None, None)
    assert is_time(body["expiresAt"])
    assert body["message"]


def test_connect_while_connected_says_so(browser, bearer, sandbox, system):
    user = uuid4()
    name = browser.post("/api/whatsapp/connect", headers=bearer(user)).json["instanceName"]
    requests.post(f"{sandbox.url}/sandbox/phones/scan", json={"instance": name}, timeout=10).raise_for_status()
    state = f"{sandbox.url}/instance/connectionState/{name}"
    until(lambda: requests.get(state, headers={"apikey": KEY}, timeout=10).json()["instance"]["state"] == "open")
    with system.transaction() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET state='connected', status='connected', qr_code=NULL"))
    body = browser.post("/api/whatsapp/connect", headers=bearer(user)).json
    assert body.keys() == CONNECT_KEYS | {"alreadyConnected"}
    assert (body["status"], body["alreadyConnected"], body["qr"], body["qrCode"]) == ("connected", True, None, None)


def test_a_pairing_code_is_shown_in_both_forms(browser, bearer, system, owner):
    user, _ = owner
    pair = "UPDATE whatsapp_instances SET status='qr_pending', hooked_at=now(), pairing_code='K3ZT9QWB', qr_code='2@x'"
    with system.transaction() as connection:
        connection.execute(text(f"{pair}, qr_expires_at = now() + interval '40 seconds'"))
    body = browser.post("/api/whatsapp/connect", headers=bearer(user)).json
    assert (body["pairingCode"], body["pairingCodeFormatted"], body["qr"]) == ("K3ZT9QWB", "K3ZT-9QWB", "2@x")


@pytest.mark.parametrize("method", ["fax", 5, None, ["qr"], {"a": 1}])
def test_an_unknown_method_is_400(browser, bearer, method):
    answer = browser.post("/api/whatsapp/connect", json={"method": method}, headers=bearer(uuid4()))
    assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")


def test_only_an_admin_may_name_an_organization(browser, bearer, rows):
    user, admin = uuid4(), uuid4()
    asked = {"organization_id": "org_other"}
    browser.post("/api/whatsapp/connect", json=asked, headers=bearer(user, organization_id="org_own"))
    browser.post("/api/whatsapp/connect", json=asked, headers=bearer(admin, role="admin"))
    kept = {row["user_id"]: row["organization_id"] for row in rows("SELECT * FROM whatsapp_instances")}
    assert kept == {user: "org_own", admin: "org_other"}


def test_the_status_of_somebody_new(browser, bearer):
    user = uuid4()
    body = browser.get("/api/whatsapp/status", headers=bearer(user)).json
    assert body == {
        "success": True,
        "instanceName": f"user_{user}",
        "status": "disconnected",
        "connected": False,
        "needsQR": True,
        "phoneNumber": None,
        "profileName": None,
        "health": {"status": "unknown", "consecutiveFailures": 0, "lastCheckAt": None, "uptime": 0, "issues": []},
        "lastUpdate": None,
    }


def test_the_status_of_somebody_connected(browser, bearer, system, owner):
    user, name = owner
    with system.transaction() as connection:
        connection.execute(
            text(
                "UPDATE whatsapp_instances SET status='connected', state='connected', phone_number='5511999990001',"
                " profile_name='Loja', last_connected_at = now() - interval '90 seconds'"
            )
        )
    body = browser.get("/api/whatsapp/status", headers=bearer(user)).json
    assert body.keys() == STATUS_KEYS
    assert (body["instanceName"], body["status"], body["connected"], body["needsQR"]) == (
        name,
        "connected",
        True,
        False,
    )
    assert (body["phoneNumber"], body["profileName"]) == ("5511999990001", "Loja")
    assert 90 <= body["health"]["uptime"] < 150
    assert is_time(body["lastUpdate"])


def test_queue_stats_are_for_admins(browser, bearer):
    assert browser.get("/api/admin/queue-stats", headers=bearer(uuid4())).status_code == 403
    answer = browser.get("/api/admin/queue-stats", headers=bearer(uuid4(), role="admin"))
    assert answer.json == {
        "success": True,
        "pending": 0,
        "oldest_age_s": None,
        "processing": 0,
        "parked": 0,
        "waiting": 0,
        "storms": 0,
        "coalesced_total": 0,
        "quarantined": 0,
        "processed_total": 0,
    }


def test_the_webhook_test_says_what_arrived(browser, bearer):
    answer = browser.post("/api/webhook/test", json={"a": [1]}, headers=bearer(uuid4(), role="admin"))
    assert answer.json == {"success": True, "message": "Webhook received", "received": {"a": [1]}}
    assert browser.post("/api/webhook/test", json={}, headers=bearer(uuid4())).status_code == 403
    assert browser.post("/api/webhook/test", json={}).status_code == 401


def test_in_production_there_is_no_webhook_test(engine, database_url, settings_of):
    secrets = {"SECRET_KEY": "s" * 40, "AUTH_JWT_SECRET": "j" * 40, "APP_ENCRYPTION_KEY": FERNET}
    live = build(settings_of(APP_ENV="production", **secrets), database_url)
    try:
        token = token_for(live, Principal(user_id=uuid4(), role="admin"))
        answer = (
            build_app(live)
            .test_client()
            .post("/api/webhook/test", json={}, headers={"Authorization": f"Bearer {token}"})
        )
    finally:
        live.stop()
    assert (answer.status_code, answer.get_json()["code"]) == (404, "NOT_FOUND")


def test_health_has_its_two_keys_and_what_else_there_is_under_checks(browser):
    answer = browser.get("/health")
    assert (answer.status_code, answer.json.keys()) == (200, {"status", "timestamp", "checks"})
    assert answer.json["status"] == "ok"
    assert is_time(answer.json["timestamp"])
    assert answer.json["checks"] == {
        "database": {"status": "ok"},
        "gateway": {"breaker": "closed"},
        "monitor": {"status": "unknown"},
    }


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_the_probes_are_open_to_all(browser, path):
    answer = browser.get(path)
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_metrics_are_for_this_host_and_admins(browser, bearer):
    answer = browser.get("/metrics")
    assert answer.status_code == 200
    assert b"zelador_inbox_pending 0.0" in answer.data
    for elsewhere in ({"environ_base": {"REMOTE_ADDR": "203.0.113.5"}}, {"headers": {"X-Forwarded-For": "1.2.3.4"}}):
        assert browser.get("/metrics", **elsewhere).status_code == 401
    admin = bearer(uuid4(), role="admin")
    assert browser.get("/metrics", headers=admin, environ_base={"REMOTE_ADDR": "203.0.113.5"}).status_code == 200


def test_who_is_told_when_to_ask_again_is_told_what_the_gateway_said(system):
    with build_app(system).test_request_context():
        answer = make_response(failure(RateLimited("Too many", provider_status=429, retry_after_s=29.2)))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")


def test_nothing_secret_is_in_an_answer(browser, bearer, system, owner):
    headers = bearer(owner[0])
    answers = [browser.post("/api/whatsapp/connect", headers=headers), browser.get("/health")]
    said = json.dumps([answer.json for answer in answers])
    secrets = (system.settings.secret_key, system.settings.auth_jwt_secret, system.settings.evolution_api_key)
    assert not [secret for secret in secrets if secret.get_secret_value() in said]
    assert "whk_" not in said
