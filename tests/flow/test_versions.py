"""Somebody who only knows the API, on every version: connect, scan, status, log out, connect again, delete."""

from uuid import uuid4

import pytest
import requests

from sandbox.profiles import PROFILES
from sandbox.server import Sandbox
from tests.conftest import KEY
from tests.waiting import until

ANA = "5511999990001"


@pytest.fixture(params=sorted(PROFILES))
def sandbox(request):
    with Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000, profile=request.param, licensed=True) as box:
        yield box


@pytest.fixture
def curl(web, working, bearer):
    headers = bearer(uuid4())

    def call(verb, path, body=None):
        answer = requests.request(verb, f"{web}/api/whatsapp/{path}", json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return call


def pair(curl, box):
    name = curl("POST", "connect", {})["instanceName"]
    until(lambda: curl("GET", "status")["status"], lambda status: status == "qr_pending")
    requests.post(f"{box.url}/sandbox/phones/scan", json={"instance": name}, timeout=10).raise_for_status()
    status = until(lambda: curl("GET", "status"), lambda status: status["connected"])
    assert status["phoneNumber"].isdigit()
    return name


def test_the_whole_way(curl, web, sandbox, rows):
    name = pair(curl, sandbox)
    assert curl("POST", "connect", {})["alreadyConnected"] is True
    assert curl("POST", "disconnect")["status"] == "disconnected"
    assert pair(curl, sandbox) == name
    message = {"instance": name, "from": ANA, "text": "ainda aí?"}
    requests.post(f"{sandbox.url}/sandbox/phones/message", json=message, timeout=10).raise_for_status()
    heard = until(lambda: rows("SELECT content FROM messages WHERE direction = 'inbound'"))
    assert heard == [{"content": "ainda aí?"}]
    assert curl("POST", "disconnect", {"mode": "delete"})["status"] == "disconnected"
    answer = requests.get(f"{sandbox.url}/instance/connectionState/{name}", headers={"apikey": KEY}, timeout=10)
    assert answer.status_code == 404
