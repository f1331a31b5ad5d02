"""The webhooks of each scene against those a real Evolution API 2.3.6 sent for it: events, shapes,
envelope."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox.receiver import Client
from tests.sandbox.recordings import shape, webhooks

Scene = Callable[[Client, str], None]


def create(client: Client, name: str) -> None:
    client.create(name, qrcode=True)


def scan(client: Client, name: str) -> None:
    client.scan(name, profile_name=None)


def message(client: Client, name: str) -> None:
    client.message(name)


def send(client: Client, name: str) -> None:
    answer = client.call("POST", f"/message/sendText/{name}", {"number": "5511999990001", "text": "Olá"})
    assert answer.status_code == 201


def logout(client: Client, name: str) -> None:
    client.call("DELETE", f"/instance/logout/{name}")


def delete(client: Client, name: str) -> None:
    client.call("DELETE", f"/instance/delete/{name}")


def restart(client: Client, name: str) -> None:
    client.call("POST", f"/instance/restart/{name}")
    client.reaches(name, "open")


def replaced(client: Client, name: str) -> None:
    client.drop(name, 440)
    client.reaches(name, "open")


def connect(client: Client, name: str) -> None:
    client.call("GET", f"/instance/connect/{name}")


def connect_with_number(client: Client, name: str) -> None:
    client.call("GET", f"/instance/connect/{name}?number=5511977770009")


def create_closed(client: Client, name: str) -> None:
    client.create(name)


def pair(client: Client, name: str) -> None:
    client.pair(name, "own phone")


def nothing(client: Client, name: str) -> None:
    """The scene starts on an empty server."""


# Label of the recording, its seqs, what comes before (and how many webhooks it sends), the scene.
SCENES: list[tuple[str, tuple[int, int], list[tuple[Scene, int]], Scene]] = [
    ("create", (871, 873), [], create),
    ("scan", (874, 875), [(create, 3)], scan),
    ("first message", (1109, 1112), [(create, 3), (scan, 2)], message),
    ("second message", (1076, 1079), [(create, 3), (scan, 2), (message, 4)], message),
    ("send", (1002, 1002), [(create, 3), (scan, 2)], send),
    ("logout", (1041, 1043), [(pair, 5)], logout),
    ("connect after logout", (1065, 1066), [(pair, 5), (logout, 3)], connect),
    ("message after logout", (1069, 1070), [(pair, 5), (logout, 3), (connect, 2), (scan, 2)], message),
    ("restart", (1036, 1037), [(pair, 5)], restart),
    ("replaced", (1039, 1040), [(pair, 5)], replaced),
    ("delete open", (1099, 1103), [(pair, 5)], delete),
    ("delete closed", (1655, 1656), [(create_closed, 1)], delete),
    ("delete while a code is shown", (1118, 1122), [(create, 3)], delete),
    ("pairing code", (1283, 1284), [(create_closed, 1)], connect_with_number),
]  # fmt: skip


def recorded(first: int, last: int) -> list[dict[str, Any]]:
    return [one["body"] for one in webhooks() if first <= one["seq"] <= last]


def comparable(bodies: list[dict[str, Any]], *, sender: bool) -> list[str]:
    """Order is not part of the contract. Some recordings begin in a session that was older."""
    names = [key for key in bodies[0] if key != "sender"] if not sender else None
    return sorted(f"{body['event']} {shape({key: body[key] for key in names or body})}" for body in bodies)


@pytest.mark.parametrize(("label", "seqs", "before", "scene"), SCENES, ids=[scene[0] for scene in SCENES])
def test_a_scene_sends_what_the_real_server_sent(
    label: str, seqs: tuple[int, int], before: list[tuple[Scene, int]], scene: Scene, client: Client
) -> None:
    for prepare, count in before:
        prepare(client, "shop1")
        client.take(count)
    expected = recorded(*seqs)

    scene(client, "shop1")

    # The receipts of what was sent come on their own time, and may overtake it.
    receipts = 2 if label == "send" else 0
    kinds = {body["event"] for body in expected}
    arrived = [one.body for one in client.take(len(expected) + receipts) if one.event in kinds]
    # This recording deletes an instance that had logged in before.
    sender = label != "delete while a code is shown"
    assert comparable(arrived, sender=sender) == comparable(expected, sender=sender)


def test_receipts_follow_a_message_that_was_sent(client: Client) -> None:
    client.pair("shop1")
    client.take(5)

    answer = client.call("POST", "/message/sendText/shop1", {"number": "5511999990001", "text": "Olá"}).json()

    arrived = client.take(3)
    sent = next(one for one in arrived if one.event == "send.message")
    receipts = [one for one in arrived if one.event == "messages.update"]
    assert sent.data == answer
    assert {one.data["status"] for one in receipts} == {"SERVER_ACK", "DELIVERY_ACK"}
    assert {one.data["keyId"] for one in receipts} == {answer["key"]["id"]}
    assert shape(receipts[0].body) == shape(recorded(1022, 1022)[0])


def test_the_headers_are_axios_and_the_instances_own(client: Client) -> None:
    client.create("shop1", hook={"headers": {"X-Tenant": "t1", "Authorization": "Bearer abc"}})

    headers = client.take(1)[0].headers

    assert headers["User-Agent"] == "axios/1.12.2"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Tenant"] == "t1"
    assert headers["Authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    ("ending", "path"),
    [
        ("shop", "shop/instance-create"),
        ("shop/", "shop//instance-create"),
        ("shop?token=a", "shop?token=a/instance-create"),
    ],
)
def test_by_events_glues_the_name_on(client: Client, ending: str, path: str) -> None:
    url = client.receiver.url + client.hook + ending
    client.create("shop1", hook={"url": url, "byEvents": True})

    delivery = client.take(1)[0]

    assert delivery.path == client.hook + path
    assert delivery.body["destination"] == url


def test_only_subscribed_events_are_sent(client: Client) -> None:
    client.create("shop1", qrcode=True, hook={"events": ["QRCODE_UPDATED", "messages.upsert"]})
    client.scan("shop1")
    client.message("shop1")
    client.call("POST", "/webhook/set/shop1", {
        "webhook": {"enabled": True, "url": client.receiver.url + client.hook, "events": ["INSTANCE_DELETE"]}
    })  # fmt: skip
    client.call("DELETE", "/instance/delete/shop1")

    assert sorted(one.event for one in client.take(2)) == ["instance.delete", "qrcode.updated"]


def test_the_image_of_a_code_is_a_png(client: Client) -> None:
    created = client.create("shop1", qrcode=True)
    shown = next(one for one in client.take(3) if one.event == "qrcode.updated")

    assert created["qrcode"]["code"] == shown.data["qrcode"]["code"]
    assert created["qrcode"]["base64"].startswith("data:image/png;base64,iVBOR")
    assert [len(part) for part in created["qrcode"]["code"].split(",")] == [22, 44, 44, 44]


@pytest.mark.parametrize(
    "strange",
    [
        {"headers": ["X"]},
        {"url": 7},
        {"url": None},
        {"events": [{}]},
        {"headers": {"X": None, "bad name": "\n"}},
    ],
)
def test_a_strange_webhook_is_taken_as_evolution_takes_it(client: Client, strange: dict[str, Any]) -> None:
    client.create("shop1", hook=strange)
    assert client.state("shop1") == "close"
