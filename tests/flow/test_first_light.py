"""The main job, end to end in one process: a click reaches a QR code, a webhook reaches the rows and the feed."""

from uuid import uuid4

import requests

from tests.waiting import until


def test_a_click_brings_a_qr_and_a_scan_brings_the_number(web, working, sandbox, bearer, rows):
    user, headers = uuid4(), None
    headers = bearer(user)
    answer = requests.post(f"{web}/api/whatsapp/connect", headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["status"] == "qr_pending"
    assert body["qrCode"].startswith("data:image/png;base64,")
    assert body["qr"]
    requests.post(
        f"{sandbox.url}/sandbox/phones/scan", json={"instance": f"user_{user}"}, timeout=10
    ).raise_for_status()

    def connected():
        return requests.get(f"{web}/api/whatsapp/status", headers=headers, timeout=30).json()

    status = until(connected, lambda found: found["connected"])
    assert status["phoneNumber"].isdigit()
    assert status["needsQR"] is False
    types = [row["type"] for row in rows("SELECT type FROM feed WHERE user_id = :u ORDER BY id", u=user)]
    assert types[-1] == "connected"
    assert "qrcode" in types
