"""WPPConnect and the Baileys broker through the whole product: click, code, scan, message, health, parting."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
import requests

from manager.lifecycle import Status
from manager.service import instance_name_for
from tests.conftest import KEY
from tests.provider.broker_server import BrokerServer
from tests.provider.wppconnect_server import WppConnectServer
from tests.waiting import until

PHONE, WRITER = "5511999990001", "5511988880002"
SECRET = "of the webhook alone"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A gateway's stand-in, and the product's settings for it."""

    box: WppConnectServer | BrokerServer
    settings: dict[str, str]
    name: str


@contextmanager
def wppconnect() -> Iterator[Server]:
    with WppConnectServer(KEY).serving() as box:
        named = {"WPPCONNECT_URL": box.url, "WPPCONNECT_SECRET_KEY": KEY}
        yield Server(box=box, settings=named, name="wppconnect")


@contextmanager
def broker() -> Iterator[Server]:
    with BrokerServer(KEY, told=True).serving() as box:
        named = {"BROKER_BASE_URL": box.url, "BROKER_API_KEY": KEY}
        yield Server(box=box, settings=named, name="broker")


@pytest.fixture(params=[wppconnect, broker], ids=["wppconnect", "broker"])
def server(request) -> Iterator[Server]:
    with request.param() as found:
        yield found


@pytest.fixture
def variables(server):
    return {**server.settings, "WHATSAPP_PROVIDER": server.name, "RATE_LIMIT_CONNECTS": "0"}


@pytest.fixture
def user():
    return uuid4()


@pytest.fixture
def ask(working, web, bearer, user) -> Callable[..., requests.Response]:
    def call(method, path, body=None):
        return requests.request(method, f"{web}{path}", json=body, headers=bearer(user), timeout=30)

    return call


@pytest.fixture
def connected(ask, system, server, user):
    """A phone has scanned the code."""
    ask("POST", "/api/whatsapp/connect", {})
    server.box.scan(instance_name_for(user))
    comes_to_be_connected(ask, system)
    return instance_name_for(user)


def comes_to_be_connected(ask, system):
    """A look sees it; where the gateway tells it too, the worker may take that in after the look."""

    def looked():
        system.upkeep.look_out()
        return status(ask)

    return until(looked, lambda found: found["status"] == "connected")


def status(ask):
    return ask("GET", "/api/whatsapp/status").json()


def write(server, web, name, words):
    """Somebody writes to the user, and the gateway tells."""
    if server.name == "wppconnect":
        told = {"id": f"false_{WRITER}@c.us_3EB0{words}", "body": words, "type": "chat", "t": 1763812800}
        told |= {"from": f"{WRITER}@c.us", "to": f"{PHONE}@c.us", "fromMe": False, "isGroupMsg": False}
        server.box.emit(name, "onmessage", **told)
        return
    message = {"id": f"3EB0{words}", "chatId": f"{WRITER}@s.whatsapp.net", "type": "text", "text": words}
    contact = {"remoteJid": f"{WRITER}@s.whatsapp.net", "phone": f"+{WRITER}", "displayName": "Bia", "isGroup": False}
    payload = {"contact": contact, "message": message, "metadata": {"timestamp": 1763812800}}
    told = {"event": "MESSAGE_INBOUND", "instanceId": name, "timestamp": 1763812800, "payload": payload}
    assert post(web, told, KEY).status_code == 200


def post(web, told, secret):
    body = json.dumps(told).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Signature": signature}
    return requests.post(f"{web}/api/webhook/broker", data=body, headers=headers, timeout=10)


def test_a_click_shows_a_code_and_a_scan_connects(ask, system, server, user, rows):
    answer = ask("POST", "/api/whatsapp/connect", {}).json()
    assert (answer["status"], answer["qrCode"][:22]) == ("qr_pending", "data:image/png;base64,")
    assert (answer["qr"] is None) == (server.name == "broker")  # it shows a picture and nothing else

    server.box.scan(instance_name_for(user))

    found = comes_to_be_connected(ask, system)
    assert (found["status"], found["phoneNumber"], found["profileName"]) == ("connected", PHONE, "Ana")
    assert rows("SELECT provider FROM whatsapp_instances") == [{"provider": server.name}]
    assert ask("POST", "/api/whatsapp/connect", {}).json()["alreadyConnected"]


def test_what_somebody_writes_becomes_a_conversation(ask, server, web, connected):
    write(server, web, connected, "Oi")
    write(server, web, connected, "Oi")
    items = until(lambda: ask("GET", "/api/messages").json()["items"], bool)
    assert [(one["text"], one["phoneNumber"], one["direction"]) for one in items] == [("Oi", WRITER, "inbound")]


def test_a_message_goes_out(ask, connected):
    answer = ask("POST", "/api/whatsapp/send", {"to": WRITER, "message": "Olá"})
    assert (answer.status_code, answer.json()["success"]) == (200, True)


def test_the_monitor_looks_at_it(ask, system, connected):
    assert system.monitor.leader.keep()
    system.monitor.clock.advance(seconds=120)
    system.monitor.step()
    assert status(ask)["health"]["status"] == "healthy"


def test_a_phone_that_parts_is_told_with_its_reason(ask, system, server, user, connected, rows):
    server.box.unpair(connected)
    if server.name == "broker":  # it does not tell: the monitor sees it, and the lookout asks why
        assert system.monitor.leader.keep()
        system.monitor.clock.advance(seconds=120)
        system.monitor.step()
        system.upkeep.look_out()
    until(lambda: status(ask)["status"], lambda found: found == "disconnected")
    until(lambda: system.manager.find_user_instance(user).standing.cause, lambda cause: cause == 401)


def test_who_parts_pairs_anew(ask, system, server, user, connected):
    assert ask("POST", "/api/whatsapp/disconnect").json()["success"]
    assert status(ask)["status"] == "disconnected"

    again = ask("POST", "/api/whatsapp/connect", {}).json()
    assert again["status"] == "qr_pending"
    server.box.scan(connected)
    comes_to_be_connected(ask, system)


@pytest.mark.parametrize("how", ["close", "delete"])
def test_what_is_taken_off_the_gateway_comes_back_with_a_click(ask, system, user, connected, how):
    system.manager.part_user_whatsapp(user, how)
    assert status(ask)["status"] == "disconnected"
    assert ask("POST", "/api/whatsapp/connect", {}).json()["status"] == "qr_pending"


def test_a_pairing_code_is_shown_and_no_qr_takes_its_place(ask, system, server):
    answer = ask("POST", "/api/whatsapp/connect", {"method": "code", "phone_number": PHONE}).json()
    assert (answer["status"], len(answer["pairingCode"])) == ("qr_pending", 8)
    system.upkeep.look_out()
    again = ask("POST", "/api/whatsapp/connect", {"method": "code", "phone_number": PHONE}).json()
    assert again["pairingCode"] == answer["pairingCode"]


def test_a_code_that_nobody_scans_ends(ask, system, server, user, rows):
    ask("POST", "/api/whatsapp/connect", {})
    end = server.box.auto_close if server.name == "wppconnect" else server.box.run_out
    end(instance_name_for(user))
    system.upkeep.look_out()
    assert system.manager.find_user_instance(user).status is Status.DISCONNECTED
    assert ask("POST", "/api/whatsapp/connect", {}).json()["status"] == "qr_pending"


def test_looking_changes_nothing_where_nothing_changed(ask, system, connected, rows):
    before = rows("SELECT updated_at FROM whatsapp_instances")
    assert system.upkeep.lookouts["wppconnect"].look() + system.upkeep.lookouts["broker"].look() == 0
    assert rows("SELECT updated_at FROM whatsapp_instances") == before


@pytest.fixture
def chosen(system):
    """Which gateway makes new instances from here on, as an administrator sets it."""
    return lambda name: system.configurations.change("test", provider=name)


def test_each_instance_stays_with_its_gateway(ask, web, bearer, system, server, sandbox, user, chosen, rows):
    chosen("evolution")
    ask("POST", "/api/whatsapp/connect", {})
    chosen(server.name)
    other = uuid4()
    requests.post(f"{web}/api/whatsapp/connect", json={}, headers=bearer(other), timeout=30)

    found = rows("SELECT user_id, provider FROM whatsapp_instances")
    assert {row["user_id"]: row["provider"] for row in found} == {user: "evolution", other: server.name}
    ask("POST", "/api/whatsapp/connect", {})
    ask("POST", "/api/whatsapp/disconnect")
    asked = {item["path"] for item in sandbox.log.items() if item["kind"] == "request"}
    assert f"/instance/logout/{instance_name_for(user)}" in asked
    assert not any(str(other) in path for path in asked)


def test_who_is_on_no_gateway_goes_to_the_one_that_makes_new_instances(ask, system, server, user, chosen, rows):
    ask("POST", "/api/whatsapp/connect", {})
    chosen("evolution")
    system.manager.part_user_whatsapp(user, "delete")
    ask("POST", "/api/whatsapp/connect", {})
    assert rows("SELECT provider FROM whatsapp_instances") == [{"provider": "evolution"}]


def test_while_whatsapp_is_switched_off_no_gateway_is_asked(ask, system, connected, server):
    system.configurations.change("test", enabled=False)
    answers = [
        ask("POST", "/api/whatsapp/connect", {}),
        ask("POST", "/api/whatsapp/send", {"to": PHONE, "message": "x"}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "WHATSAPP_DISABLED")] * 2
    before = len(server.box.seen)
    assert system.monitor.leader.keep()
    system.monitor.clock.advance(seconds=120)
    system.monitor.step()
    system.upkeep.look_out()
    assert len(server.box.seen) == before


@pytest.fixture
def told():
    return {"event": "POLL_CHOICE", "instanceId": "user_x", "timestamp": 1763812800, "payload": {}}


def test_only_the_broker_signs_its_deliveries(web, told, server):
    key = KEY if server.name == "broker" else "nobody's"
    answers = [post(web, told, key), post(web, told, "wrong"), post(web, told, "")]
    assert [answer.status_code for answer in answers] == [200 if server.name == "broker" else 401, 401, 401]
    unsigned = requests.post(f"{web}/api/webhook/broker", json=told, timeout=10)
    assert (unsigned.status_code, unsigned.json()["code"]) == (401, "UNAUTHENTICATED")


def test_a_secret_path_that_nobody_has_is_refused(web, told):
    answer = requests.post(f"{web}/api/webhook/wppconnect/whk_nobodys", json=told, timeout=10)
    assert answer.status_code == 401


class TestItsOwnSecret:
    @pytest.fixture
    def variables(self, server):
        return {**server.settings, "WHATSAPP_BROKER_WEBHOOK_SECRET": SECRET}

    def test_the_webhooks_own_secret_counts_alone(self, web, told):
        assert [post(web, told, secret).status_code for secret in (SECRET, KEY)] == [200, 401]
