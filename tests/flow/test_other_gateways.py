"""WPPConnect and the Baileys broker through the whole product: click, code, scan, message, health, parting."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest
import requests
from cryptography.fernet import Fernet
from sqlalchemy import text

from core.crypto import Vault
from core.errors import Malformed
from manager.lifecycle import Status, instance_name_for
from manager.providers.port import Snapshot, State
from monitor.pulse import Beat
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
        look_out(system)
        return status(ask)

    return until(looked, lambda found: found["status"] == "connected")


def look_out(system, **how):
    for name in system.upkeep.lookouts:
        system.upkeep.look_out(name, **how)


def set_row(system, columns):
    """As time, another process or an operator's hand would have it."""
    with system.transaction() as connection:
        connection.execute(text(f"UPDATE whatsapp_instances SET {columns}"))


def watch(system):
    """The monitor looks."""
    assert system.monitor.leader.keep()
    system.monitor.clock.advance(seconds=120)
    system.monitor.step()


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
    watch(system)
    assert status(ask)["health"]["status"] == "healthy"


def test_a_phone_that_parts_is_told_with_its_reason(ask, system, server, user, connected, rows):
    server.box.unpair(connected)
    if server.name == "broker":  # it does not tell: the monitor sees it, and the lookout asks why
        watch(system)
        look_out(system)
    until(lambda: status(ask)["status"], lambda found: found == "disconnected")
    until(lambda: system.manager.find_user_instance(user).standing.cause, lambda cause: cause == 401)


def test_a_phone_that_parts_twice_in_the_same_words_is_believed_twice(ask, system, server, user, connected):
    """WPPConnect's reports have no time: the second one has the same bytes as the first."""
    if server.name == "broker":
        return
    server.box.unpair(connected)
    until(lambda: status(ask)["status"], lambda found: found == "disconnected")
    ask("POST", "/api/whatsapp/connect", {})
    server.box.scan(connected)
    comes_to_be_connected(ask, system)
    server.box.unpair(connected)
    until(lambda: status(ask)["status"], lambda found: found == "disconnected")
    assert system.manager.find_user_instance(user).standing.cause == 401


def test_another_phone_that_pairs_is_known_by_its_own_number(ask, system, server, connected):
    other = "5521977770003"
    ask("POST", "/api/whatsapp/disconnect")
    ask("POST", "/api/whatsapp/connect", {})
    if server.name == "broker":
        server.box.scan(connected, other)
    else:
        server.box.phone = other
        server.box.scan(connected)
    assert comes_to_be_connected(ask, system)["phoneNumber"] == other


def test_a_gateway_that_does_not_say_whose_phone_it_is_is_connected_all_the_same(ask, system, server, user):
    if server.name == "wppconnect":
        server.box.faceless = True
    ask("POST", "/api/whatsapp/connect", {})
    server.box.scan(instance_name_for(user))
    assert comes_to_be_connected(ask, system)["status"] == "connected"


def test_a_phone_that_pairs_while_nobody_looks_is_found_later(ask, system, server, user):
    """The monitor was away, or WhatsApp was switched off."""
    ask("POST", "/api/whatsapp/connect", {})
    server.box.scan(instance_name_for(user))
    until(lambda: system.queue_stats()["pending"], lambda pending: pending == 0)
    set_row(system, "updated_at = now() - interval '2 hours', asked_at = now() - interval '2 hours'")
    look_out(system)
    assert status(ask)["status"] != "connected"
    look_out(system, late=True)
    assert status(ask)["status"] == "connected"


def test_who_is_parting_is_not_told_to_be_connected(ask, system, server, user):
    """The gateway was asked before the logout, and the answer comes after its beginning."""

    class Parting:
        def state(self, name):
            set_row(system, "spent = true")
            return Snapshot(name=name, state=State.CONNECTED)

        def identity(self, _):
            return None

    ask("POST", "/api/whatsapp/connect", {})
    assert replace(system.upkeep.lookouts[server.name], provider=Parting()).look() == 0
    assert status(ask)["status"] == "qr_pending"


def test_whom_the_phone_has_left_pairs_anew_with_a_click(ask, system, server, user, connected):
    server.box.unpair(connected)
    if server.name == "broker":  # it does not tell
        watch(system)
    until(lambda: status(ask)["status"], lambda found: found != "connected")
    assert ask("POST", "/api/whatsapp/connect", {}).json()["status"] == "qr_pending"
    server.box.scan(connected)
    comes_to_be_connected(ask, system)


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
    look_out(system)
    again = ask("POST", "/api/whatsapp/connect", {"method": "code", "phone_number": PHONE}).json()
    assert again["pairingCode"] == answer["pairingCode"]


def test_a_code_that_nobody_scans_ends(ask, system, server, user, rows):
    ask("POST", "/api/whatsapp/connect", {})
    end = server.box.auto_close if server.name == "wppconnect" else server.box.run_out
    end(instance_name_for(user))
    look_out(system)
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


def test_a_gateways_clock_says_nothing_about_the_next_ones_reports(ask, system, server, sandbox, user, chosen, rows):
    """Evolution sends its host's time, which may be hours ahead."""
    ask("POST", "/api/whatsapp/connect", {})
    system.manager.part_user_whatsapp(user, "close")
    ahead = "now() + interval '3 hours'"
    set_row(system, f"state_at = {ahead}, pairing_at = {ahead}, alive_at = {ahead}, phone_at = {ahead}")
    chosen("evolution")
    ask("POST", "/api/whatsapp/connect", {})
    scanned = {"instance": instance_name_for(user)}
    requests.post(f"{sandbox.url}/sandbox/phones/scan", json=scanned, timeout=10).raise_for_status()
    until(lambda: status(ask)["status"], lambda found: found == "connected")


def test_an_instance_on_a_gateway_that_nobody_knows_is_told_so(ask, system, connected):
    set_row(system, "provider = 'zapi'")
    answer = ask("POST", "/api/whatsapp/connect", {})
    assert (answer.status_code, answer.json()["code"]) == (503, "WHATSAPP_NOT_CONFIGURED")
    assert ask("POST", "/api/whatsapp/disconnect").json()["success"]
    # whoever makes new instances has it still
    assert ask("POST", "/api/whatsapp/connect", {}).json()["status"] == "connected"


def test_a_monitor_that_has_nothing_to_watch_is_well(system):
    system.configurations.change("test", enabled=False)
    assert system.monitor.leader.keep()
    system.monitor.step()
    assert system.pulse.beat() is Beat.OK


def test_a_watch_that_fails_keeps_no_other_one_from_its_step(ask, system, connected):
    class Broken:
        def step(self, _):
            raise ZeroDivisionError

    assert system.monitor.leader.keep()
    system.monitor.clock.advance(seconds=120)
    watches = {**system.monitor.watches, "evolution": Broken()}
    with pytest.raises(ZeroDivisionError):
        replace(system.monitor, watches=watches).step()
    assert status(ask)["health"]["status"] == "healthy"


def test_while_whatsapp_is_switched_off_no_gateway_is_asked(ask, system, connected, server):
    system.configurations.change("test", enabled=False)
    answers = [
        ask("POST", "/api/whatsapp/connect", {}),
        ask("POST", "/api/whatsapp/send", {"to": PHONE, "message": "x"}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "WHATSAPP_DISABLED")] * 2
    before = len(server.box.seen)
    watch(system)
    look_out(system)
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


def told_of(rows):
    return [row["reason"] for row in rows("SELECT reason FROM set_aside ORDER BY event_id")]


def test_the_broker_speaks_for_nobody_on_another_gateway(ask, web, system, server, user, chosen, rows, sandbox):
    """Neither in its own events nor in theirs."""
    if server.name == "wppconnect":
        return
    chosen("evolution")
    ask("POST", "/api/whatsapp/connect", {})
    name = instance_name_for(user)
    write(server, web, name, "Forjado")
    opened = {"event": "connection.update", "instanceId": name, "data": {"state": "open", "statusReason": 200}}
    assert post(web, opened, KEY).json()["status"] == "quarantined"
    assert told_of(rows) == ["instance_mismatch"] * 2


def test_a_large_delivery_of_the_broker_finds_its_instance(ask, web, server, user):
    if server.name == "wppconnect":
        return
    ask("POST", "/api/whatsapp/connect", {})
    told = {"event": "POLL_CHOICE", "instanceId": instance_name_for(user), "payload": {"x": "a" * 1_100_000}}
    body = json.dumps(told).encode()
    headers = {"Content-Type": "application/json", "X-Signature": hmac.new(KEY.encode(), body, "sha256").hexdigest()}
    answer = requests.post(f"{web}/api/webhook/broker/poll-choice", data=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["status"]) == (200, "stored")


class TestSetByHand:
    """The environment names none of them."""

    @pytest.fixture
    def variables(self):
        return {"RATE_LIMIT_CONNECTS": "0"}

    @pytest.fixture
    def by_hand(self, system, server):
        system.configurations.change("test", provider=server.name, url=server.box.url, key=KEY)

    def test_a_key_that_is_lost_signs_nothing(self, system, web, told, server, by_hand):
        sealed = Vault(Fernet.generate_key().decode()).seal({"key": KEY})
        with system.transaction() as connection:
            new = text("UPDATE system_configuration SET whatsapp_evolution_api_key = :sealed")
            connection.execute(new, {"sealed": sealed})
        system.configurations.change("test", enabled=True)
        assert post(web, told, "lost").status_code == 401

    def test_a_provider_without_a_server_cannot_be_chosen(self, system, server):
        with pytest.raises(Malformed, match="names no server"):
            system.configurations.change("test", provider=server.name)

    def test_where_the_chosen_one_has_no_server_only_new_instances_suffer(
        self, ask, web, bearer, system, server, engine, rows
    ):
        """As when the environment names it no more."""
        assert ask("POST", "/api/whatsapp/connect", {}).json()["status"] == "qr_pending"
        with engine.begin() as connection:
            connection.execute(
                text("INSERT INTO system_configuration (provider) VALUES (:name)"), {"name": server.name}
            )
        system.configurations.change("test", enabled=True)
        assert ask("POST", "/api/whatsapp/connect", {}).json()["status"] == "qr_pending"
        assert ask("POST", "/api/whatsapp/disconnect").status_code == 200
        another = requests.post(f"{web}/api/whatsapp/connect", json={}, headers=bearer(uuid4()), timeout=30)
        assert (another.status_code, another.json()["code"]) == (503, "WHATSAPP_NOT_CONFIGURED")
        assert len(rows("SELECT FROM whatsapp_instances")) == 1

    @pytest.mark.parametrize("how", ["logout", "close", "delete"])
    def test_who_is_left_on_a_gateway_that_is_no_more_can_part_and_begin_anew(
        self, ask, system, user, rows, by_hand, how
    ):
        ask("POST", "/api/whatsapp/connect", {})
        system.configurations.change("test", provider=None, url=None)
        assert ask("POST", "/api/whatsapp/connect", {}).json()["code"] == "WHATSAPP_NOT_CONFIGURED"
        system.manager.part_user_whatsapp(user, how)
        assert ask("POST", "/api/whatsapp/connect", {}).json()["status"] == "qr_pending"
        assert rows("SELECT provider FROM whatsapp_instances") == [{"provider": "evolution"}]


class TestItsOwnSecret:
    @pytest.fixture
    def variables(self, server):
        return {**server.settings, "WHATSAPP_BROKER_WEBHOOK_SECRET": SECRET}

    def test_the_webhooks_own_secret_counts_alone(self, web, told):
        assert [post(web, told, secret).status_code for secret in (SECRET, KEY)] == [200, 401]
