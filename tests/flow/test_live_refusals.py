"""What clients are told that do it wrong: in words that say what, and about which command."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import requests
from websockets.exceptions import ConnectionClosed

from notify.commands import MOST_CHANNELS
from notify.rooms import LONGEST_NAME
from tests.factories import make_instance
from tests.live import GUARD_S, HANDSHAKE, hear, line, say, subscribed

KEY = HANDSHAKE["Sec-WebSocket-Key"]
SOCKETS = ("/ws", "/socket.io/?EIO=4&transport=websocket")


@pytest.fixture
def user(system):
    with system.transaction() as connection:
        return make_instance(connection)[0]


def answer_to(base: str, path: str, headers: Mapping[str, str | None]) -> Any:
    return requests.get(base + path, headers=headers, timeout=GUARD_S)


# --- handshakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [["Upgrade"], ["Connection"], ["Upgrade", "Connection"]])
@pytest.mark.parametrize("path", ["/ws", "/ws/instances/x"])
def test_a_socket_whose_upgrade_was_taken_out_says_so_and_keeps_the_ticket(web, user, bearer, lost, path):
    ticket = requests.post(f"{web}/api/ws/ticket", headers=bearer(user), timeout=GUARD_S).json()["ticket"]
    headers = HANDSHAKE | dict.fromkeys(lost, "close" if lost == ["Connection"] else None)
    answer = answer_to(web, f"{path}?ticket={ticket}", headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_HANDSHAKE")
    assert "a proxy may have taken it out" in answer.json()["message"]
    with line(web, path=f"/ws?ticket={ticket}") as client:
        assert hear(subscribed(client))["type"] == "snapshot"


def test_another_address_speaks_no_websocket(web):
    answer = answer_to(web, "/livez", HANDSHAKE)
    assert (answer.status_code, answer.json()["message"]) == (400, "There is no websocket at this address")


@pytest.mark.parametrize("key", ["", "YWJj", "!!!!", f"{KEY}, {KEY}", f"{KEY[:-2]}é="])
@pytest.mark.parametrize("path", SOCKETS)
def test_a_key_is_16_bytes_of_base64(web, user, bearer, path, key):
    headers = {name: value.encode() for name, value in (HANDSHAKE | {"Sec-WebSocket-Key": key} | bearer(user)).items()}
    answer = requests.get(web + path, headers=headers, timeout=GUARD_S)
    assert (answer.status_code, answer.headers["Sec-WebSocket-Version"]) == (400, "13")


@pytest.mark.parametrize("query", ["since=1&since=2", "wait=0&wait=0"])
def test_the_long_poll_takes_each_number_once(web, user, bearer, query):
    answer = answer_to(web, f"/api/events?{query}", bearer(user))
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")


# --- commands ------------------------------------------------------------------------------------------------------


def test_an_error_names_the_channel_it_is_about(web, user, bearer):
    somebody, longer = uuid4(), "x" * (LONGEST_NAME + 1)
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        for kind, data in (
            ("join", f"user:{somebody}"),
            ("join", "instance:nowhere"),
            ("join-organization", "org_7"),
            ("join", "elsewhere"),
            ("join", "org:\x1b[0m"),
            ("join-organization", longer),
        ):
            say(client, type=kind, data=data)
        heard = [hear(client) for _ in range(6)]
    assert [(error["code"], error.get("channel")) for error in heard] == [
        ("NOT_FOUND", f"user:{somebody}"),
        ("INSTANCE_NOT_FOUND", "instance:nowhere"),
        ("FORBIDDEN", "org:org_7"),
        ("BAD_CHANNEL", "elsewhere"),
        ("FORBIDDEN", None),
        ("BAD_CHANNEL", None),
    ]
    assert {error["type"] for error in heard} == {"error"}


def test_one_socket_joins_only_so_many_rooms(web, bearer):
    with line(web, bearer(uuid4(), role="admin")) as client:
        hear(subscribed(client))
        for number in range(MOST_CHANNELS + 1):
            say(client, type="join-organization", data=f"org_{number}")
        heard = [hear(client) for _ in range(MOST_CHANNELS + 1)]
    assert {frame["type"] for frame in heard[:-1]} == {"joined"}
    assert (heard[-1]["code"], heard[-1]["channel"]) == ("RATE_LIMITED", f"org:org_{MOST_CHANNELS}")
    assert str(MOST_CHANNELS) in heard[-1]["message"]


NO_ORGANIZATIONS: list[Any] = [None, 123, {}, [], "", True, "x" * (LONGEST_NAME + 1), "a\0b"]


@pytest.mark.parametrize("data", NO_ORGANIZATIONS)
def test_what_is_no_organization_is_called_that(web, user, bearer, data):
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        say(client, type="join-organization", data=data)
        error = hear(client)
    assert (error["code"], error["message"]) == ("BAD_CHANNEL", "join-organization takes the id of an organization")


# --- Socket.IO -----------------------------------------------------------------------------------------------------


@contextmanager
def client_of(base: str, headers: dict[str, str]) -> Iterator[Any]:
    """Somebody connected, over a websocket at once."""
    with line(base, headers, path=SOCKETS[1]) as client:
        assert client.recv(timeout=GUARD_S).startswith("0{")
        client.send("40")
        assert client.recv(timeout=GUARD_S).startswith("40{")
        yield client


def acknowledged(client: Any, event: list[Any]) -> tuple[Any, Any]:
    """The `error` that goes before a refusal, and the acknowledgement."""
    client.send(f"421{json.dumps(event)}")
    error, answer = client.recv(timeout=GUARD_S), client.recv(timeout=GUARD_S)
    assert error.startswith('42["error",')
    assert answer.startswith("431[")
    return json.loads(error[2:])[1], json.loads(answer[3:])[0]


@pytest.mark.parametrize("event", [["make-coffee"], ["leave", "org:org_1"], ["message", {"a": 1}, 2]])
def test_an_unknown_event_is_acknowledged_as_such(web, user, bearer, event):
    with client_of(web, bearer(user)) as client:
        error, answer = acknowledged(client, event)
    assert error == {"code": "UNKNOWN_TYPE", "message": "This command is not known"}
    assert answer == {"success": False, **error}


def test_an_organization_may_be_a_number_over_socket_io(web, user, bearer):
    with client_of(web, bearer(user, organization_id="42")) as client:
        client.send('421["join-organization",42]')
        assert client.recv(timeout=GUARD_S) == '431[{"success":true,"channel":"org:42"}]'


@pytest.mark.parametrize("said", [[], *([data] for data in NO_ORGANIZATIONS if data != 123)])
def test_what_is_no_organization_is_called_that_over_socket_io(web, user, bearer, said):
    with client_of(web, bearer(user)) as client:
        _, answer = acknowledged(client, ["join-organization", *said])
    assert answer["code"] == "BAD_CHANNEL"
    assert "channel" not in answer or answer["channel"] == "org:"


def test_a_refusal_of_socket_io_names_the_channel_too(web, user, bearer):
    with client_of(web, bearer(user)) as client:
        error, answer = acknowledged(client, ["join-organization", "org_7", "and more"])
    assert (answer["code"], answer["channel"]) == ("FORBIDDEN", "org:org_7")
    assert answer == {"success": False, **error}


def test_nobody_connects_anew_on_a_session_by_an_event(web, system, user, bearer):
    """`connect` is python-socketio's own word: what came with it would stand for the request's headers."""
    with client_of(web, bearer(user)) as client:
        client.send(f'42["connect",{json.dumps({"HTTP_AUTHORIZATION": "Bearer x"})}]')
        client.send('42["disconnect"]')
        acknowledged(client, ["anything"])
        assert system.seats.taken == 1


def test_pages_of_other_sites_are_forbidden(web):
    for path in (SOCKETS[1], "/socket.io/?EIO=4&transport=polling"):
        for origin in ("https://evil.example", "null", ""):
            assert answer_to(web, path, HANDSHAKE | {"Origin": origin}).status_code == 403
    own = requests.get(f"{web}/socket.io/?EIO=4&transport=polling", headers={"Origin": web}, timeout=GUARD_S)
    assert (own.status_code, own.headers["Access-Control-Allow-Origin"]) == (200, web)


def test_a_session_that_changes_to_a_websocket_badly_does_no_harm(web, user, bearer):
    opened = requests.get(f"{web}/socket.io/?EIO=4&transport=polling", headers=bearer(user), timeout=GUARD_S)
    sid = json.loads(opened.text[1:])["sid"]
    with line(web, bearer(user), path=f"{SOCKETS[1]}&sid={sid}") as client:
        client.send("{")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=GUARD_S)
    with line(web, bearer(user), path=f"{SOCKETS[1]}&sid={sid}") as client:
        client.send("2probe")
        assert client.recv(timeout=GUARD_S) == "3probe"
