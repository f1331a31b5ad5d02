"""Socket.IO spoken by hand over plain HTTP: what stock clients never send, and what it may not cost others."""

import json
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from flask import Flask
from sqlalchemy import Engine

from bootstrap.system import System
from core.access import Principal
from core.clock import SystemClock
from notify.commands import MOST_CHANNELS
from notify.hub import Hub
from notify.line import FLOOD
from notify.live import Live
from notify.rooms import Instance, Room, Rooms
from notify.seats import Seats
from notify.socket_io import SocketIO
from notify.tickets import Tickets
from tests.live import GUARD_S, Settled, parts_of, served
from tests.waiting import until

OPEN = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def system(place: Path, database_url: str) -> Iterator[System]:
    built = parts_of(place, database_url)
    yield built
    built.stop()


@pytest.fixture(autouse=True)
def _emptied(engine: Engine) -> None:
    """The database is left empty."""


class Gate:
    """While it is shut, who comes waits."""

    def __init__(self) -> None:
        self._open, self.reached = threading.Event(), threading.Event()
        self._open.set()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def go(self) -> None:
        self.reached.set()
        assert self._open.wait(GUARD_S)


class Empty:
    """A directory without an instance; asked for `org_slow` it waits at the gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def members(self, _: object, organizations: Collection[str]) -> dict[str, dict[UUID, datetime]]:
        if "org_slow" in organizations:
            self._gate.go()
        return {}

    def named(self, name: str) -> Instance | None:
        return None


class Expelling(Settled):
    """Whoever is asked about is nobody's administrator any more."""

    def changed(self, known: Collection[Principal]) -> dict[Principal, Principal | None]:
        return {one: replace(one, role="user") for one in known if one.is_admin}


class Judging(Rooms):
    """Everybody is judged right after a room was found open to somebody."""

    def __init__(self, directory: Empty, seats: Seats) -> None:
        super().__init__(directory)
        self._seats = seats

    def open(self, principal: Principal, channel: str) -> Room:
        found = super().open(principal, channel)
        self._seats.check()
        return found


@contextmanager
def adapter(
    system: System,
    *,
    most: int = 100,
    connecting: Gate | None = None,
    joining: Gate | None = None,
    judging: bool = False,
) -> Any:
    """A server of Socket.IO alone, for one administrator: base, live."""
    directory = Empty(joining or Gate())
    seats = Seats(Expelling() if judging else Settled(), SystemClock(), most=most)
    principal = Principal(user_id=uuid4(), role="admin")

    def user() -> Principal:
        if connecting:
            connecting.go()
        return principal

    live = Live(
        user=user,
        status=lambda _: {},
        start=lambda *_: {},
        transaction=system.transaction,
        hub=Hub(system.transaction, directory.members),
        seats=seats,
        rooms=Judging(directory, seats) if judging else Rooms(directory),
        tickets=Tickets(system.transaction),
        origins=frozenset(),
    )
    app = Flask("alone")
    app.wsgi_app = SocketIO(app, live, app.wsgi_app).answer  # type: ignore[method-assign]
    with served(app) as base:
        yield base, live
        live.hub.stop()


class Client:
    """One session over long polling."""

    def __init__(self, base: str) -> None:
        opened = requests.get(base + OPEN, timeout=GUARD_S)
        self._url = f"{base}{OPEN}&sid={json.loads(opened.text[1:])['sid']}"

    def post(self, *packets: str) -> int:
        return requests.post(self._url, data="\x1e".join(packets), timeout=GUARD_S).status_code

    def poll(self) -> list[str]:
        return requests.get(self._url, timeout=GUARD_S).text.split("\x1e")

    def connected(self) -> "Client":
        assert self.post("40") == 200
        assert self.poll()[0].startswith("40{")
        return self

    def join(self, organization: str) -> Any:
        """The acknowledgement."""
        assert self.post(f'421["join-organization","{organization}"]') == 200
        found: list[str] = []
        while not found:
            found = [packet for packet in self.poll() if packet.startswith("431")]
        return json.loads(found[0][3:])[0]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Version": "8"}],
    ids=["no key", "version 8"],
)
def test_what_is_no_websocket_handshake_is_told_so(system, wrong):
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", **wrong}
    with adapter(system) as (base, _):
        answer = requests.get(f"{base}/socket.io/?EIO=4&transport=websocket", headers=headers, timeout=GUARD_S)
        assert answer.status_code == 400
        assert answer.headers["Sec-WebSocket-Version"] == "13"


def test_no_parameter_opens_a_session_where_the_server_is_full(system):
    with adapter(system, most=1) as (base, _):
        Client(base)
        for more in ("", "&xsid=1", "&sid="):
            assert requests.get(base + OPEN + more, timeout=GUARD_S).status_code == 503


def test_a_session_that_closes_while_it_connects_leaves_its_seat(system):
    gate = Gate()
    with adapter(system, connecting=gate) as (base, live), ThreadPoolExecutor() as others:
        gate.shut()
        client = Client(base)
        connecting = others.submit(client.post, "40")
        assert gate.reached.wait(GUARD_S)
        client.post("1")  # closes
        gate.open()
        connecting.result(GUARD_S)
        until(lambda: live.seats.taken == 0, guard_s=GUARD_S)
        Client(base).connected()
        assert live.seats.taken == 1


@pytest.mark.parametrize("name", ["join-organization", "anything"])
def test_too_many_commands_end_the_session(system, name):
    with adapter(system) as (base, live):
        client = Client(base).connected()
        packets = [f'42["{name}","org_1"]'] * 10
        assert [client.post(*packets) for _ in range(FLOOD // 10)] == [200] * (FLOOD // 10)
        assert live.seats.taken == 1
        client.post(packets[0])
        assert live.seats.taken == 0
        assert client.post("40") == 400


def test_nobody_is_in_more_rooms_than_a_websocket_may_be(system):
    with adapter(system) as (base, _):
        client = Client(base).connected()
        assert all(client.join(f"org_{number}")["success"] for number in range(MOST_CHANNELS))
        assert client.join("org_more")["code"] == "RATE_LIMITED"
        assert client.join("org_0")["success"]  # in it already


def test_who_is_judged_while_joining_does_not_stay_in_the_room(system):
    with adapter(system, judging=True) as (base, live):
        client = Client(base).connected()
        assert client.join("org_1")["code"] == "FORBIDDEN"
        assert live.seats.taken == 1  # the judge found no room to object to
        assert client.join("org_1")["code"] == "FORBIDDEN"


def test_while_somebody_enters_slowly_everybody_else_goes_on(system):
    gate = Gate()
    with adapter(system, joining=gate) as (base, _), ThreadPoolExecutor() as others:
        gate.shut()
        slow = Client(base).connected()
        entering = others.submit(slow.join, "org_slow")
        assert gate.reached.wait(GUARD_S)
        assert Client(base).connected().join("org_1")["success"]
        gate.open()
        assert entering.result(GUARD_S)["success"]
