"""What strangers can make the web role write into its log: whole JSON lines, few, and nothing of what they sent."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from sqlalchemy import Engine
from websockets.exceptions import ConnectionClosed

from notify.line import BAD_FRAMES
from tests.conftest import KEY
from tests.live import GUARD_S, HANDSHAKE, NOWHERE, hear, line, subscribed
from tests.waiting import until
from tests.web_process import WebProcess

SECRET = "SEGREDO123"
OPEN = f"/socket.io/?EIO=4&transport=websocket&token={SECRET}"
POLL = f"/socket.io/?EIO=4&transport=polling&token={SECRET}"
EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def process(place: Path, database_url: str) -> Iterator[WebProcess]:
    environ = {"DATABASE_URL": database_url, "ZELADOR_DATA_DIR": str(place / "settings")}
    with WebProcess(**environ, EVOLUTION_API_URL=NOWHERE, EVOLUTION_API_KEY=KEY) as running:
        yield running


@pytest.fixture(autouse=True)
def _emptied(engine: Engine) -> None:
    """The database is left empty."""


class Log:
    """What is written from now on."""

    def __init__(self, process: WebProcess) -> None:
        self._process, self._before = process, len(process.log())

    def lines(self) -> list[dict[str, Any]]:
        """Each is JSON, else this fails."""
        said = self._process.log()[self._before :]
        assert SECRET not in said
        assert "Traceback" not in said
        return [json.loads(one) for one in said.splitlines()]

    def of(self, action: str) -> list[dict[str, Any]]:
        return [one for one in self.lines() if one["action"] == action]


@pytest.fixture
def log(process: WebProcess) -> Log:
    return Log(process)


def read_to_the_end(client: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(timeout=GUARD_S)


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "",
        "4",
        "9",
        "²",
        "4{",
        "4" + "[" * 9000,
        "42" + "[" * 9000,
        "42",
        "42{}",
        "42[]",
        "42[[]]",
        f'42["connect",{{"QUERY_STRING":"{SECRET}"}}]',
        '42["disconnect"]',
        f'42["*","{SECRET}"]',
        '451-["x"]',
        "44",
        f"b{SECRET}",
        b"\xff\xfe",
        b"2",
    ],
)
def test_bad_packets_end_a_session_of_socket_io_with_one_line(process, log, bad):
    with line(process.url, path=OPEN) as client:
        assert client.recv(timeout=GUARD_S).startswith("0{")
        for _ in range(BAD_FRAMES):
            client.send(bad)
        client.send("40")
        assert client.recv(timeout=GUARD_S).startswith("44{")  # still there: somebody who has no credential
        client.send(bad)
        read_to_the_end(client)
    [said] = until(lambda: log.of("socket_closed"))
    assert (said["close_code"], said["why"]) == (4400, "too many bad packets")
    assert len(log.lines()) == 1


def test_bad_packets_over_http_count_too(process, log):
    opened = requests.get(process.url + POLL, timeout=GUARD_S)
    url = f"{process.url}{POLL}&sid={json.loads(opened.text[1:])['sid']}"
    for _ in range(BAD_FRAMES):
        assert requests.post(url, data=b"\xff", timeout=GUARD_S).status_code == 200
    requests.post(url, data="{", timeout=GUARD_S)
    assert requests.post(url, data="40", timeout=GUARD_S).status_code == 400
    assert [one["close_code"] for one in log.lines()] == [4400]


def test_what_is_no_request_of_socket_io_is_not_logged(process, log):
    for path, method, headers in (
        (f"{POLL}&sid={SECRET}", "GET", {}),
        (f"{POLL}&sid={SECRET}", "POST", {}),
        (POLL.replace("polling", SECRET), "GET", {}),
        (POLL.replace("EIO=4", "EIO=3"), "GET", {}),
        (f"{POLL}&j=x", "GET", {}),
        (OPEN, "GET", {}),
        (OPEN, "GET", HANDSHAKE | {"Connection": "close"}),
        (OPEN, "GET", HANDSHAKE | {"Sec-WebSocket-Key": "YWJj"}),
        (POLL, "DELETE", {}),
    ):
        answer = requests.request(method, process.url + path, headers=headers, timeout=GUARD_S)
        assert 400 <= answer.status_code < 500, path
    assert log.lines() == []


def test_a_foreign_origin_is_named_once_a_minute(process, log):
    origin = {"Origin": f"{EVIL}/{'x' * 300}"}
    for path in (POLL, OPEN, POLL):
        assert requests.get(process.url + path, headers=HANDSHAKE | origin, timeout=GUARD_S).status_code == 403
    [said] = log.lines()
    assert (said["action"], said["origin"]) == ("origin_refused", origin["Origin"][:200])
    for _ in range(3):
        assert requests.get(f"{process.url}/ws", headers=HANDSHAKE | origin, timeout=GUARD_S).status_code == 403
    assert len(log.of("origin_refused")) == 2  # each of the doors says it


def test_a_socket_that_is_closed_is_somebodys(process, log, bearer):
    user = uuid4()
    with line(process.url, bearer(user)) as client:
        hear(subscribed(client))
        for _ in range(BAD_FRAMES + 1):
            client.send("{")
        read_to_the_end(client)
    [said] = until(lambda: log.of("socket_closed"))
    assert (said["close_code"], said["user_id"]) == (4400, str(user))


@pytest.mark.parametrize(
    ("request_line", "said"),
    [
        (f"GET /ws?ticket={SECRET}", "Invalid HTTP request line"),
        (f"GET /ws?ticket={SECRET} HTTP/9.9", "Invalid HTTP Version"),
        (f"GET /ws HTTP/1.1\r\nAuth orization: {SECRET}", "Invalid HTTP header name"),
        (f"GET /ws HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {SECRET}", "Unsupported transfer coding"),
    ],
)
def test_a_request_that_is_none_is_not_quoted(process, log, request_line, said):
    with socket.create_connection(("127.0.0.1", process.port), timeout=GUARD_S) as client:
        client.sendall(f"{request_line}\r\n\r\n".encode())
        assert client.recv(100)
    [line] = until(log.lines)
    assert line["action"] == f"Invalid request from ip=127.0.0.1: {said}"
