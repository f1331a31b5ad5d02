"""Other versions: each row of the table, seen from outside."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from sandbox.profiles import PROFILES
from sandbox.server import Sandbox
from tests.sandbox.receiver import GUARD_S, KEY, Client, Receiver

Start = Callable[..., Client]
ALL = tuple(PROFILES)


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[str, Sandbox]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000, profile=name, licensed=True))
            for name in ALL
        }


@pytest.fixture
def start(boxes: dict[str, Sandbox], receiver: Receiver, hook: str) -> Start:
    def client(name: str) -> Client:
        boxes[name].reset()
        return Client(boxes[name], receiver, hook)

    return client


def heard(client: Client, **more: Any) -> dict[str, Any]:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    client.message("shop1", **more)
    data: dict[str, Any] = client.take(1)[0].data
    return data


@pytest.mark.parametrize(("name", "version"), [(name, profile.version) for name, profile in PROFILES.items()])
def test_it_says_its_version(start: Start, name: str, version: str) -> None:
    client = start(name)
    assert client.call("GET", "/").json()["version"] == version
    assert f'version="{version}"' in client.call("GET", "/metrics").text


def test_there_is_no_other_profile() -> None:
    with pytest.raises(ValueError, match=r"no profile \"1.8\", only 2.2.3"):
        Sandbox(profile="1.8")


LIDS: dict[str, tuple[set[str], str, str | None]] = {
    "2.2.3": ({"remoteJid", "fromMe", "id"}, "@lid", None),
    "2.3.0": ({"remoteJid", "fromMe", "id", "senderPn"}, "@lid", "senderPn"),
    "2.3.6": ({"remoteJid", "remoteJidAlt", "fromMe", "id", "participant", "addressingMode"}, "@lid", "remoteJidAlt"),
    "2.3.7": (
        {"remoteJid", "remoteJidAlt", "fromMe", "id", "participant", "addressingMode"},
        "@s.whatsapp.net",
        "remoteJidAlt",
    ),
    "2.4": (
        {"remoteJid", "remoteJidAlt", "fromMe", "id", "participant", "addressingMode"},
        "@s.whatsapp.net",
        "remoteJid",
    ),
}


@pytest.mark.parametrize("name", ALL)
def test_a_person_known_by_lid(start: Start, name: str) -> None:
    keys, domain, phone = LIDS[name]
    key = heard(start(name), sample="lid")["key"]
    assert set(key) == keys
    assert key["remoteJid"].endswith(domain)
    assert phone is None or key[phone] == "5511999990001@s.whatsapp.net"
    assert key.get("addressingMode") == {"2.4": "pn"}.get(name, "lid" if "addressingMode" in keys else None)


@pytest.mark.parametrize(
    ("name", "length", "key"),
    [("2.2.3", str, str), ("2.3.0", str, str), ("2.3.6", dict, dict), ("2.3.7", dict, dict), ("2.4", dict, dict)],
)
def test_long_numbers_and_bytes(start: Start, name: str, length: type, key: type) -> None:
    part = heard(start(name), sample="image")["message"]["imageMessage"]
    assert (type(part["fileLength"]), type(part["mediaKey"])) == (length, key)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("event", ["INSTANCE_CREATE", "MESSAGING_HISTORY_SET", "GROUPS_UPDATE"])
def test_the_events_a_version_takes(start: Start, name: str, event: str) -> None:
    client = start(name)
    client.create("shop1")
    hook = {"enabled": True, "url": "http://127.0.0.1:1/", "events": [event]}
    answer = client.call("POST", "/webhook/set/shop1", {"webhook": hook})
    if event in PROFILES[name].events:
        assert answer.status_code == 201
    else:
        listed = ",".join(PROFILES[name].events)
        refused = f"webhook.events[0] is not one of enum values: {listed}"
        assert (answer.status_code, answer.json()["response"]["message"]) == (400, [[refused]])


def test_old_versions_look_at_the_url_and_send_the_key_as_it_is(start: Start) -> None:
    client = start("2.2.3")
    client.create("shop1", hook={"headers": {"jwt_key": "k3y"}})
    refused = client.call("POST", "/webhook/set/shop1", {"webhook": {"enabled": True, "url": "x", "events": []}})
    assert refused.json()["response"]["message"] == ['Invalid "url" property']
    client.call("GET", "/instance/connect/shop1")
    headers = client.take(1)[0].headers
    assert (headers["jwt_key"], "Authorization" in headers) == ("k3y", False)


@pytest.mark.parametrize(("name", "attempts"), [("2.2.3", 10), ("2.3.6", 1)])
def test_what_a_refusal_ends(receiver: Receiver, hook: str, name: str, attempts: int) -> None:
    with Sandbox(key=KEY, time_scale=0, profile=name) as box:
        client = Client(box, receiver, f"/status/404{hook}")
        client.create("shop1", hook={"events": ["REMOVE_INSTANCE"]})
        client.call("DELETE", "/instance/delete/shop1")
        client.reaches("shop1", None)
        items = client.call("GET", "/sandbox/log").json()["items"]
    assert len([one for one in items if one["kind"] == "webhook"]) == attempts


@pytest.mark.parametrize(
    ("name", "logout", "delete"),
    [
        ("2.3.6", (200, "Instance logged out"), (200, "Instance deleted")),
        ("2.3.7", (500, ["Error: Connection Closed"]), (400, ["[object Object]"])),
        ("2.4", (200, "Instance logged out"), (200, "Instance deleted")),
    ],
)
def test_a_dead_socket(start: Start, name: str, logout: tuple[int, Any], delete: tuple[int, Any]) -> None:
    client = start(name)
    client.pair("shop1")
    client.call("POST", "/sandbox/instances/shop1/mode", {"mode": "half_open"})
    for path, expected in (("logout", logout), ("delete", delete)):
        answer = client.call("DELETE", f"/instance/{path}/shop1")
        assert (answer.status_code, answer.json()["response"]["message"]) == expected
    if delete[0] == 400:
        assert client.state("shop1") == "open"


@pytest.mark.parametrize("name", ["2.2.3", "2.3.0", "2.3.7"])
def test_elsewhere_a_logout_does_not_make_deaf(start: Start, name: str) -> None:
    client = start(name)
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    client.call("DELETE", "/instance/logout/shop1")
    client.call("GET", "/instance/connect/shop1")
    client.scan("shop1")
    client.message("shop1")
    assert client.take(1)[0].event == "messages.upsert"


def test_2_4_never_comes_back_after_a_logout(start: Start) -> None:
    client = start("2.4")
    client.pair("shop1")
    client.take(5)
    client.call("DELETE", "/instance/logout/shop1")
    client.call("GET", "/instance/connect/shop1")
    assert sorted(one.event for one in client.take(2)) == ["connection.update", "qrcode.updated"]  # no close was told
    assert client.call("POST", "/sandbox/phones/scan", {"instance": "shop1"}).status_code == 200
    assert client.state("shop1") == "connecting"


def test_2_4_logs_out_twice_and_trims_names(start: Start) -> None:
    client = start("2.4")
    client.create(" shop1 ")
    again = client.call("DELETE", "/instance/logout/shop1")
    assert (again.status_code, again.json()["response"]["message"]) == (200, "Instance was already disconnected")


@pytest.mark.parametrize(("name", "state"), [("2.3.6", "open"), ("2.4", "close")])
def test_2_4_takes_a_timeout_for_a_logout(start: Start, name: str, state: str) -> None:
    client = start(name)
    client.pair("shop1")
    client.drop("shop1", 408)
    client.reaches("shop1", state)


def test_2_4_says_more_in_headers(start: Start) -> None:
    client = start("2.4")
    created = client.create("shop1")
    headers = client.take(1)[0].headers
    assert headers["User-Agent"] == "EvolutionAPI-Webhook/2.3.7"
    assert headers["X-Instance-ID"] == created["instance"]["instanceId"]
    assert (headers["X-Instance-Name"], headers["X-Event-Type"]) == ("shop1", "instance.create")
    assert headers["X-Timestamp"].endswith("Z")


def test_2_4_wants_a_licence_until_it_is_activated() -> None:
    with Sandbox(key=KEY, profile="2.4") as box:
        headers = {"apikey": KEY}
        refused = requests.get(f"{box.url}/instance/fetchInstances", headers=headers, timeout=GUARD_S)
        assert (refused.status_code, refused.json()["code"]) == (503, "LICENSE_REQUIRED")
        assert requests.get(box.url, timeout=GUARD_S).json()["version"] == "2.4.0-rc2"
        requests.post(f"{box.url}/sandbox/faults", json={"license_required": False}, timeout=GUARD_S)
        answer = requests.get(f"{box.url}/instance/fetchInstances", headers=headers, timeout=GUARD_S)
        assert answer.status_code == 200


@pytest.mark.parametrize(("name", "state"), [("2.3.6", "connecting"), ("2.3.7", "close")])
def test_what_connects_at_start(receiver: Receiver, hook: str, name: str, state: str) -> None:
    with (box := Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000, profile=name)):
        client = Client(box, receiver, hook)
        client.create("closed")
        client.pair("shop1")
    with box:
        client.reaches("shop1", "open")
        client.reaches("closed", state)


def test_in_2_3_7_an_edit_holds_connection_events_too(start: Start) -> None:
    client = start("2.3.7")
    client.pair("shop1", hook={"events": ["MESSAGES_EDITED", "CONNECTION_UPDATE"]})
    client.take(3)
    client.receiver.release.clear()
    healthy = {"enabled": True, "url": client.receiver.url + client.hook, "events": ["CONNECTION_UPDATE"]}
    held = {"enabled": True, "url": f"{client.receiver.url}/held{client.hook}", "events": ["MESSAGES_EDITED"]}
    client.call("POST", "/webhook/set/shop1", {"webhook": held})
    client.message("shop1", sample="edit")
    client.receiver.take(1, f"/held{client.hook}")
    client.call("POST", "/webhook/set/shop1", {"webhook": healthy})
    client.call("POST", "/instance/restart/shop1")
    client.reaches("shop1", "open")
    assert client.receiver.under(client.hook) == []
    client.receiver.release.set()
    assert {one.data["state"] for one in client.take(2)} == {"connecting", "open"}


def test_repeats_are_told_where_nothing_remembers_them(start: Start) -> None:
    client = start("2.3.7")
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    for text in ("once", "twice"):
        client.message("shop1", text, id="3EB0SAME")
    assert {one.data["message"]["conversation"] for one in client.take(2)} == {"once", "twice"}


def test_a_server_for_browsers_only_refuses_who_has_no_origin() -> None:
    with Sandbox(key=KEY, cors_origin="https://app.example.com") as box:
        url, headers = f"{box.url}/instance/fetchInstances", {"apikey": KEY}
        refused = requests.get(url, headers=headers, timeout=GUARD_S)
        assert (refused.status_code, refused.json()["response"]["message"]) == (500, "Not allowed by CORS")
        allowed = {**headers, "Origin": "https://app.example.com"}
        assert requests.get(url, headers=allowed, timeout=GUARD_S).status_code == 200
