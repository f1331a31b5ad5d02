"""Pairing, breaking and repairing a connection; what the control routes refuse."""

import pytest
import requests

from sandbox import samples
from sandbox.phone import Habits
from sandbox.server import Sandbox
from tests.sandbox.receiver import GUARD_S, KEY, Client, Receiver


def test_scanning_opens_the_connection_with_the_phone_asked_for(client: Client) -> None:
    client.create("shop1", qrcode=True)

    client.scan("shop1", phone="5511977770001", profile_name="Barbearia")

    row = client.call("GET", "/instance/fetchInstances?instanceName=shop1").json()[0]
    assert row["connectionStatus"] == "open"
    assert row["ownerJid"] == "5511977770001@s.whatsapp.net"
    assert row["profileName"] == "Barbearia"


def test_connect_when_open_answers_the_state(client: Client) -> None:
    client.pair("shop1")
    answer = client.call("GET", "/instance/connect/shop1").json()
    assert answer == {"instance": {"instanceName": "shop1", "state": "open"}}


def test_a_silent_drop_says_nothing_and_connect_repairs_it_without_a_code(client: Client) -> None:
    client.pair("shop1")
    client.take(5)

    assert client.drop("shop1", 428, silent=True).json()["state"] == "close"

    assert client.receiver.under(client.hook) == []
    row = client.call("GET", "/instance/fetchInstances?instanceName=shop1").json()[0]
    assert (client.state("shop1"), row["connectionStatus"]) == ("close", "open")
    client.call("GET", "/instance/connect/shop1")
    client.reaches("shop1", "open")
    assert {one.data["state"] for one in client.take(2)} == {"connecting", "open"}


def test_restart_repairs_a_silent_drop_too(client: Client) -> None:
    client.pair("shop1")
    client.drop("shop1", 408, silent=True)
    assert client.call("POST", "/instance/restart/shop1").status_code == 200
    client.reaches("shop1", "open")


@pytest.mark.parametrize("reason", [401, 403])
def test_losing_the_session_closes_for_good(client: Client, reason: int) -> None:
    client.pair("shop1")
    client.take(5)

    client.drop("shop1", reason)

    arrived = client.take(3)
    assert {one.event for one in arrived} == {"status.instance", "logout.instance", "connection.update"}
    close = next(one.data for one in arrived if one.event == "connection.update")
    assert close == {"instance": "shop1", "state": "close", "statusReason": reason}
    client.call("GET", "/instance/connect/shop1")
    assert {one.event for one in client.take(2)} == {"connection.update", "qrcode.updated"}


def test_the_limit_of_codes_refuses_and_a_connect_starts_anew(receiver: Receiver, hook: str) -> None:
    with Sandbox(key=KEY, time_scale=0.001, qr_limit=1) as box:
        client = Client(box, receiver, hook)
        client.create("shop1", qrcode=True)

        told = [(one.event, one.data) for one in client.take(5)]  # in any order on a slow machine

        over = {"message": "QR code limit reached, please login again", "statusCode": 500}
        assert [event for event, _ in told].count("qrcode.updated") == 2
        assert ("qrcode.updated", over) in told
        assert ("connection.update", {"instance": "shop1", "state": "refused", "statusReason": 428}) in told
        assert client.state("shop1") == "close"
        box.habits = Habits(qr_every_s=1e6, qr_limit=1)
        assert client.call("GET", "/instance/connect/shop1").json()["count"] == 1


def test_one_code_follows_another_as_often_as_it_was_asked_for(receiver: Receiver, hook: str) -> None:
    with Sandbox(key=KEY, time_scale=1, qr_after_s=0, qr_every_s=0.6) as box:
        client = Client(box, receiver, hook)
        client.create("shop1", qrcode=True, hook={"events": ["QRCODE_UPDATED"]})

        shown = [one.data["qrcode"]["code"] for one in client.take(2)]

        assert len(set(shown)) == 2


def test_many_messages_get_ids_of_their_own(client: Client) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})

    ids = client.message("shop1", "Oi", count=20)["ids"]

    arrived = client.take(20)
    assert {one.data["key"]["id"] for one in arrived} == set(ids)
    assert len(set(ids)) == 20


@pytest.mark.parametrize("sample", samples.NAMES)
def test_every_sample_can_be_sent_without_words(client: Client, sample: str) -> None:
    client.pair("shop1")
    client.message("shop1")
    before = client.call("GET", "/sandbox/state").json()
    assert sample in before["samples"]
    body = {"instance": "shop1", "from": "5511999990001", "sample": sample}
    answer = client.call("POST", "/sandbox/phones/message", body)
    assert (answer.status_code, len(answer.json()["ids"])) == (200, 1), answer.text


def test_a_contact_known_by_lid_keeps_its_lid(client: Client) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    client.message("shop1", **{"from": "123456789012345@lid"})
    key = client.take(1)[0].data["key"]
    assert (key["remoteJid"], key["addressingMode"]) == ("123456789012345@lid", "lid")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/sandbox/phones/scan", {"instance": "ghost"}, 404),
        ("/sandbox/phones/scan", {}, 400),
        ("/sandbox/phones/scan", {"instance": "closed"}, 409),
        ("/sandbox/phones/message", {"instance": "closed", "from": "5511999990001", "text": "Oi"}, 409),
        ("/sandbox/phones/message", {"instance": "closed", "from": "abc", "text": "Oi"}, 400),
        ("/sandbox/phones/message", {"instance": "closed", "from": "5511999990001"}, 400),
        (
            "/sandbox/phones/message",
            {"instance": "closed", "from": "120363000000000001@g.us", "text": "Oi"},
            400,
        ),
        (
            "/sandbox/phones/message",
            {"instance": "closed", "from": "5511999990001", "text": "", "count": 0},
            400,
        ),
        (
            "/sandbox/phones/message",
            {"instance": "closed", "from": "5511999990001", "sample": "smoke signals"},
            400,
        ),
        ("/sandbox/instances/closed/drop", {"reason": 418}, 400),
        ("/sandbox/instances/closed/drop", {"reason": [401]}, 400),
        ("/sandbox/instances/closed/drop", {"reason": 401}, 409),
        ("/sandbox/instances/ghost/drop", {"reason": 401}, 404),
        ("/sandbox/nothing", {}, 404),
    ],
)
def test_control_routes_say_what_is_wrong(client: Client, path: str, body: object, status: int) -> None:
    client.create("closed")
    answer = client.call("POST", path, body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_control_routes_want_json(client: Client) -> None:
    url = client.box.url + "/sandbox/phones/scan"
    malformed = requests.post(url, data='{"instance"', headers={"Content-Type": "application/json"}, timeout=GUARD_S)
    plain = requests.post(url, data='{"instance": "shop1"}', timeout=GUARD_S)
    assert [(one.status_code, list(one.json())) for one in (malformed, plain)] == [(400, ["error"])] * 2


def test_many_phones_at_once_are_connected_and_those_that_exist_stay(client: Client) -> None:
    client.pair("shop")
    names = ["shop", *(f"user_{number}" for number in range(200))]
    assert client.call("POST", "/sandbox/phones/fill", {"names": names}).json() == {"instances": 201}
    lines = requests.get(client.box.url + "/metrics", timeout=GUARD_S).text.splitlines()
    assert sum('state="open"' in line for line in lines) == 201
    assert client.call("GET", "/instance/connectionState/user_7").json()["instance"]["state"] == "open"
    client.drop("user_7", 408, silent=True)
    client.call("GET", "/instance/connect/user_7")
    client.reaches("user_7", "open")  # its phone is still paired


@pytest.mark.parametrize("names", [None, "shop", [1], [""]])
def test_only_a_list_of_names_fills(client: Client, names: object) -> None:
    assert client.call("POST", "/sandbox/phones/fill", {"names": names}).status_code == 400
