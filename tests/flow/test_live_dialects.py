"""The live channel's dialects with a real gateway behind them: ours, the `whatsapp:*` events, seed 004's socket."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import text
from websockets.exceptions import InvalidStatus

from manager.pictures import data_url
from tests.factories import make_instance
from tests.live import hear, line, record, say, subscribed
from tests.waiting import until

ALREADY = "Sessão já está ativa e conectada"


def scan(sandbox, user: UUID) -> None:
    requests.post(
        f"{sandbox.url}/sandbox/phones/scan", json={"instance": f"user_{user}"}, timeout=10
    ).raise_for_status()


def heard_until(client, kind: str) -> dict[str, Any]:
    """The frames up to one of this type, by type."""
    heard: dict[str, Any] = {}
    while kind not in heard:
        frame = hear(client)
        heard[frame["type"]] = frame
    return heard


def instance_id(rows, user: UUID) -> str:
    return str(rows("SELECT id FROM whatsapp_instances WHERE user_id = :u", u=user)[0]["id"])


# --- start ----------------------------------------------------------------------------------------------------


def test_start_brings_a_code_and_then_says_that_it_is_connected(web, working, sandbox, bearer):
    user = uuid4()
    with line(web, bearer(user)) as client:
        assert hear(subscribed(client))["data"]["status"] == "disconnected"
        say(client, type="start")
        started = heard_until(client, "started")["started"]["data"]
        assert started["status"] == "qr_pending"
        assert started["qrCode"].startswith("data:image/png;base64,")
        scan(sandbox, user)
        heard_until(client, "connected")
        say(client, type="start")
        assert heard_until(client, "error")["error"] == {
            "type": "error",
            "code": "ALREADY_CONNECTED",
            "message": ALREADY,
        }


def test_a_start_without_a_gateway_says_so(web, system, bearer, sandbox):
    user = uuid4()
    requests.post(f"{sandbox.url}/sandbox/faults", json={"status": 400}, timeout=10).raise_for_status()
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        say(client, type="start")
        assert heard_until(client, "error")["error"]["code"].startswith("PROVIDER")


def test_thirty_starts_make_one_connection(web, working, sandbox, bearer):
    user = uuid4()
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        for _ in range(30):
            say(client, type="start")
        refused = [frame for frame in (hear(client) for _ in range(31)) if frame["type"] == "error"]
    assert len(refused) >= 24
    assert {frame["code"] for frame in refused} == {"RATE_LIMITED"}
    asked = requests.get(f"{sandbox.url}/sandbox/log", timeout=10).json()["items"]
    assert sum("/instance/connect/" in entry["path"] for entry in asked) <= 1


# --- seed 004's socket -------------------------------------------------------------------------------------------


def test_seed_004_start_brings_qr_and_qrcode_and_an_error_once_connected(web, working, sandbox, bearer, rows):
    user = uuid4()
    with line(web, bearer(user), path=f"/ws/instances/user_{user}") as client:
        say(client, type="start")
        heard = heard_until(client, "qrcode")
        assert heard["qr"] == {"type": "qr", "data": heard["qrcode"]["data"]["qrCode"]}
        assert heard["qr"]["data"].startswith("data:image/png;base64,")
        shown = heard["qrcode"]["data"]
        assert (shown["instanceName"], shown["status"]) == (f"user_{user}", "waiting_qr")
        scan(sandbox, user)
        heard_until(client, "connected")
        say(client, type="start")
        assert heard_until(client, "error")["error"] == {"type": "error", "data": ALREADY}
    with line(web, bearer(user), path=f"/ws/instances/{instance_id(rows, user)}") as client:
        say(client, type="start")
        assert hear(client) == {"type": "error", "data": ALREADY}
        say(client, type="start", data={"again": True})
        assert hear(client) == {"type": "error", "data": ALREADY}


def test_a_second_tab_gets_the_code_that_is_on_the_screen(web, working, sandbox, bearer, rows):
    user = uuid4()
    place = f"/ws/instances/user_{user}"
    with line(web, bearer(user), path=place) as first:
        say(first, type="start")
        code = heard_until(first, "qrcode")["qr"]
        with line(web, bearer(user), path=place) as second:
            say(second, type="start")
            heard = heard_until(second, "qrcode")
            assert heard["qr"] == code
            assert "id" not in heard["qrcode"]
    assert len(rows("SELECT FROM feed WHERE user_id = :u AND type = 'qrcode'", u=user)) == 1


def test_seed_004_errors_have_their_text_as_data_too(web, system, bearer):
    user = uuid4()
    with line(web, bearer(user), path=f"/ws/instances/user_{user}") as client:
        for sent, code in (("hello", "BAD_FRAME"), ('{"type":"drop"}', "UNKNOWN_TYPE"), ('{"type":{}}', "BAD_FRAME")):
            client.send(sent)
            frame = hear(client)
            assert (frame["type"], frame["code"]) == ("error", code)
            assert frame["data"] == frame["message"]
        say(client, type="join-organization", data="org_other")
        assert hear(client)["code"] == "FORBIDDEN"
        subscribed(client, since=999_999_999)
        assert hear(client) == {"type": "reset"}
        assert hear(client)["type"] == "snapshot"


def test_nobody_opens_the_socket_of_somebody_elses_instance(web, system, bearer, rows):
    with system.transaction() as connection:
        owner, name = make_instance(connection)
    stranger, admin = uuid4(), uuid4()
    for place in (name, instance_id(rows, owner), str(uuid4()), "Z_qdEw2Qs7vmTGwvUPIbM", f"user_{uuid4()}"):
        with (
            pytest.raises(InvalidStatus) as refused,
            line(web, bearer(stranger), path=f"/ws/instances/{place}"),
        ):
            pass
        assert refused.value.response.status_code == 404
    with line(web, bearer(admin, role="admin"), path=f"/ws/instances/{name}") as client:
        say(client, type="ping")
        assert hear(client) == {"type": "pong"}
        record(system, owner, "notice", {"n": 1})
        assert hear(client)["data"] == {"n": 1}


# --- the whatsapp:* events ---------------------------------------------------------------------------------------


def test_the_whatsapp_dialect_has_its_names_and_payloads(web, system, bearer):
    with system.transaction() as connection:
        user, name = make_instance(connection, organization_id="org_123")
    told: list[tuple[str, dict[str, Any]]] = [
        ("status", {"status": "connected", "previous": "disconnected"}),
        ("qrcode", {"qr": "2@abc", "status": "waiting_qr", "expiresAt": "2026-11-22T03:17:05Z"}),
        ("pairing_code", {"pairingCode": "ABCD1234", "pairingCodeFormatted": "ABCD-1234", "expiresAt": "2026-11-22Z"}),
        ("connected", {"phoneNumber": "5511999999999", "profileName": "Ana", "organizationId": "org_123"}),
        (
            "message",
            {"messageId": "M1", "from": "5511", "fromMe": False, "text": "oi", "contactId": "C", "kind": "text"},
        ),
        ("message", {"messageId": "M2", "from": "5511", "fromMe": True, "text": "eu", "kind": "text"}),
        ("message", {"messageId": "M3", "from": "5511", "fromMe": False, "text": "sim", "bookingId": "B"}),
        ("disconnected", {"reason": "logged_out", "reasonCode": 401, "needsUser": True}),
        ("disconnected", {"reason": None}),
    ]
    with line(web, bearer(user), path="/ws?dialect=whatsapp") as client:
        assert hear(subscribed(client))["type"] == "snapshot"
        for kind, data in told:
            record(system, user, kind, {"instanceName": name, "instanceId": "an-id", **data})
        heard = [hear(client) for _ in range(7)]
    with line(web, bearer(user), path="/ws?dialect=whatsapp") as client:
        subscribed(client, since=0)
        assert [hear(client) for _ in range(7)] == heard
    assert [frame["id"] for frame in heard] == [2, 3, 4, 5, 7, 8, 9]
    payloads = [(frame["type"], dict(frame["data"])) for frame in heard]
    for _, data in payloads:
        assert data.pop("instanceId") == "an-id"
        assert datetime.fromisoformat(data.pop("timestamp")).tzinfo
    assert payloads == [
        ("whatsapp:qr", {"qr": "2@abc"}),
        ("whatsapp:pairing-code", {"pairingCode": "ABCD1234", "expiresAt": "2026-11-22Z"}),
        (
            "whatsapp:connected",
            {"organizationId": "org_123", "phoneNumber": "5511999999999", "phone_number": "5511999999999"},
        ),
        ("whatsapp:message", {"messageId": "M1", "from": "5511", "text": "oi", "contactId": "C"}),
        ("whatsapp:message", {"messageId": "M3", "from": "5511", "text": "sim", "bookingId": "B"}),
        ("whatsapp:disconnected", {"reason": "logged_out"}),
        ("whatsapp:disconnected", {}),
    ]


def test_an_unknown_dialect_is_refused(web, bearer):
    with pytest.raises(InvalidStatus) as refused, line(web, bearer(uuid4()), path="/ws?dialect=klingon"):
        pass
    assert refused.value.response.status_code == 400


def test_frames_of_others_pass_as_they_are(web, system, bearer):
    """Alerts and what the monitor will think of: the channel does not need to know them."""
    user = uuid4()
    action = {"label": "Reconectar Agora", "command": "start"}
    told: list[tuple[str, dict[str, Any]]] = [
        ("alert", {"kind": "down", "title": "⚠️", "text": "…", "incidentId": 7}),
        ("notice", {"kind": "note", "title": "t", "text": "x", "incidentId": None, "action": action}),
        ("reconnected", {"instanceName": f"user_{user}", "text": "Reconectado! ✅"}),
        ("reconnect_failed", {"instanceName": f"user_{user}", "text": "Reconexão falhou ❌", "action": action}),
        ("born_tomorrow", {"deep": [{"er": None}]}),
    ]
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        for kind, data in told:
            record(system, user, kind, data)
        heard = [hear(client) for _ in told]
    assert [(frame["type"], frame["data"]) for frame in heard] == told


def test_an_event_that_cannot_be_drawn_holds_up_nobody(web, system, bearer):
    """No QR code holds so much."""
    user = uuid4()
    with pytest.raises(ValueError, match=r"."):
        data_url("x" * 5000)
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        record(system, user, "qrcode", {"qr": "x" * 5000})
        record(system, user, "notice", {"n": 2})
        assert hear(client)["id"] == 2
    until(lambda: system.hub.listening, lambda n: n == 0)
    with system.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM feed")).scalar_one() == 2
