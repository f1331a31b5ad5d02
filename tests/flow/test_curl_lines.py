"""The third seed's connect, and the lines that README tells newcomers to type, as they stand."""

import re
from functools import reduce
from pathlib import Path
from uuid import UUID

import pytest

from tests import curl
from tests.waiting import until

README = Path(__file__).resolve().parents[2] / "README.md"
USER = UUID("550e8400-e29b-41d4-a716-446655440000")  # the README's
CONNECT = """curl -X POST {base}/api/whatsapp/connect -H "Authorization: Bearer {token}" """


@pytest.fixture
def token(bearer):
    return bearer(USER)["Authorization"].partition(" ")[2]


def test_connecting(web, working, sandbox, token):
    """A034, A062: ensured, made on the gateway, connected; and a QR."""
    status, body = curl.send(CONNECT, base=web, token=token)
    assert (status, body["success"], body["instanceName"]) == (200, True, f"user_{USER}")
    assert body["qrCode"].startswith("data:image/png;base64,")
    asked = [f"{item['method']} {item['path']}" for item in sandbox.log.items() if item["kind"] == "request"]
    assert asked == ["POST /instance/create", f"GET /instance/connect/user_{USER}"]


def lines():
    """README's curl lines, each in one piece."""
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"^curl .*$", text, re.MULTILINE)


def test_the_lines_of_the_readme(web, working, sandbox, token):
    """Connect, scan with the sandbox's phone, ask how it stands, disconnect."""
    places = {"http://127.0.0.1:8000": web, "http://127.0.0.1:8081": sandbox.url, "$TOKEN": token}
    connect, scan, status, disconnect = (
        reduce(lambda line, at: line.replace(*at), places.items(), one) for one in lines()
    )
    assert curl.send(connect)[0] == 200
    assert curl.send(scan)[0] == 200
    assert until(lambda: curl.send(status)[1], lambda found: found["status"] == "connected")["phoneNumber"]
    assert curl.send(disconnect)[0] == 200
