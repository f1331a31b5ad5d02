"""Connections that are not what they seem."""

import pytest

from tests.sandbox.receiver import Client

ANA = "5511999990001"


def set_mode(client: Client, mode: str) -> int:
    return client.call("POST", "/sandbox/instances/shop1/mode", {"mode": mode}).status_code


def send(client: Client, number: str = ANA) -> tuple[int, object]:
    answer = client.call("POST", "/message/sendText/shop1", {"number": number, "text": "Oi"})
    return answer.status_code, answer.json().get("response", {}).get("message")


def test_a_half_open_connection_says_open_and_nothing_goes_through(client: Client) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    client.message("shop1", "known from now on")
    client.take(1)

    assert set_mode(client, "half_open") == 200

    assert client.state("shop1") == "open"
    assert send(client) == (400, ["Error: Connection Closed"])
    assert send(client, "5511955550000") == (500, "Connection Closed")
    asked = client.call("POST", "/chat/whatsappNumbers/shop1", {"numbers": [ANA]})
    assert (asked.status_code, asked.json()["output"]["statusCode"]) == (400, 428)
    client.message("shop1", "lost")
    client.call("POST", "/instance/restart/shop1")
    client.reaches("shop1", "open")
    assert send(client)[0] == 201
    client.message("shop1", "heard")
    assert client.take(1)[0].data["message"] == {"conversation": "heard"}


def test_normal_heals_a_half_open_connection(client: Client) -> None:
    client.pair("shop1")
    set_mode(client, "half_open")
    set_mode(client, "normal")
    assert send(client)[0] == 201


def test_a_dead_socket_cannot_log_out_and_says_it_did(client: Client) -> None:
    client.pair("shop1")
    set_mode(client, "half_open")
    assert client.call("DELETE", "/instance/logout/shop1").json()["status"] == "SUCCESS"
    assert client.state("shop1") == "open"


def test_half_open_needs_an_open_connection(client: Client) -> None:
    client.create("shop1")
    assert set_mode(client, "half_open") == 409


def test_stuck_connecting_stays_whatever_is_done_until_normal(client: Client) -> None:
    client.pair("shop1")
    client.take(5)

    set_mode(client, "stuck_connecting")

    assert [one.data["state"] for one in client.take(1)] == ["connecting"]
    assert client.state("shop1") == "connecting"
    for method, path in (("POST", "restart"), ("GET", "connect")):
        assert client.call(method, f"/instance/{path}/shop1").status_code == 200
        assert client.state("shop1") == "connecting"
    assert send(client) == (500, "Connection Closed")
    set_mode(client, "normal")
    client.reaches("shop1", "open")


def test_a_stuck_instance_shows_no_code(client: Client) -> None:
    client.create("shop1")
    set_mode(client, "stuck_connecting")
    assert client.call("GET", "/instance/connect/shop1").json() == {"count": 0}
    assert client.state("shop1") == "connecting"


def test_deleting_and_creating_anew_helps_a_stuck_one(client: Client) -> None:
    client.pair("shop1")
    set_mode(client, "stuck_connecting")
    client.call("DELETE", "/instance/delete/shop1")
    client.reaches("shop1", None)
    client.pair("shop1")


def test_the_limit_of_codes_on_demand(client: Client) -> None:
    client.create("shop1", qrcode=True)
    client.take(3)

    set_mode(client, "qr_limit")

    told = {one.event: one.data for one in client.take(2)}
    assert told["qrcode.updated"]["statusCode"] == 500
    assert told["connection.update"] == {"instance": "shop1", "state": "refused", "statusReason": 428}
    row = client.call("GET", "/instance/fetchInstances?instanceName=shop1").json()[0]
    assert (client.state("shop1"), row["connectionStatus"]) == ("close", "connecting")
    # It was for once: a new connect shows codes again.
    assert client.call("GET", "/instance/connect/shop1").json()["count"] == 1


def test_the_limit_waits_for_the_next_code(client: Client) -> None:
    client.create("shop1")
    set_mode(client, "qr_limit")
    assert client.call("GET", "/instance/connect/shop1").json() == {"count": 0}
    assert client.state("shop1") == "close"


@pytest.mark.parametrize(
    ("name", "body", "status"), [("shop1", {"mode": "odd"}, 400), ("ghost", {"mode": "normal"}, 404)]
)
def test_what_is_no_mode_is_refused(client: Client, name: str, body: object, status: int) -> None:
    client.create("shop1")
    assert client.call("POST", f"/sandbox/instances/{name}/mode", body).status_code == status
