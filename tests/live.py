"""Clients of the live channel, well behaved and not, and servers for them: threads here, gunicorn in a process."""

import contextlib
import json
import socket
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from werkzeug.serving import make_server

from bootstrap.rooms import Instances, members
from bootstrap.system import FEED_GREW, System, build
from core import events
from core.access import Principal
from core.clock import SystemClock
from core.events import DomainEvent
from core.settings import Settings
from core.web import install as install_web
from notify import sockets
from notify.hub import Hub
from notify.live import Live
from notify.rooms import Rooms
from notify.seats import Seats
from notify.tickets import Tickets
from tests.conftest import KEY

GUARD_S = 60
NOWHERE = "http://127.0.0.1:9"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}


def parts_of(place: Path, database_url: str) -> System:
    """The web role's parts, with a gateway that is not there."""
    environ = {"ZELADOR_DATA_DIR": str(place / "settings"), "EVOLUTION_API_URL": NOWHERE, "EVOLUTION_API_KEY": KEY}
    return build(Settings.from_env(environ), database_url)


def line(base: str, headers: dict[str, str] | None = None, path: str = "/ws", **how: Any) -> Any:
    """A socket, closed at the end of its `with`."""
    url = base.replace("http", "ws", 1) + path
    times: dict[str, Any] = {"open_timeout": GUARD_S, "close_timeout": 3}
    return connect(url, additional_headers=headers, compression=None, proxy=None, **times, **how)


def say(client: ClientConnection, **frame: object) -> None:
    client.send(json.dumps(frame))


def hear(client: ClientConnection) -> Any:
    return json.loads(client.recv(timeout=GUARD_S))


def subscribed(client: ClientConnection, since: int | None = None) -> ClientConnection:
    say(client, type="subscribe", since=since)
    return client


def close_code(client: ClientConnection) -> int | None:
    """Read to the end; the code the server closed with."""
    try:
        while True:
            client.recv(timeout=GUARD_S)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def tell(system: System, user: UUID, *numbers: int, ring: bool = True, filler: str = "") -> None:
    """One event a number, each in a transaction of its own."""
    for number in numbers:
        record(system, user, "notice", {"number": number, "filler": filler}, ring=False)
    if ring:
        system.bell.ring(FEED_GREW, [str(user)])


def record(system: System, user: UUID, kind: str, data: dict[str, Any], *, ring: bool = True) -> None:
    """One event, as the owners of events write it."""
    with system.transaction() as connection:
        events.record(connection, [DomainEvent(user_id=user, type=kind, data=data)])
    if ring:
        system.bell.ring(FEED_GREW, [str(user)])


@contextlib.contextmanager
def served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True  # type: ignore[attr-defined]  # a mixin's
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class Settled:
    """Nobody's rights change."""

    def touched(self) -> set[UUID]:
        return set()

    def changed(self, known: Collection[Principal]) -> dict[Principal, Principal | None]:
        return {}


@contextlib.contextmanager
def tiny(
    system: System, user: UUID, *, most: int = 100, look_s: float = 3.0, **seams: Any
) -> Iterator[tuple[str, Live]]:
    """The socket routes alone, for this user, with other times and a hub of its own. `seams`: fields of Live."""

    app = Flask("tiny")
    install_web(app, secret_key="x" * 32, origins=frozenset(), secure=False)
    parts: dict[str, Any] = {
        "user": lambda: Principal(user_id=user),
        "status": lambda _: {},
        "start": lambda *_: {},
        "transaction": system.transaction,
        "hub": Hub(system.transaction, members),
        "seats": Seats(Settled(), SystemClock(), most=most, look_s=look_s),
        "rooms": Rooms(Instances(system.transaction)),
        "tickets": Tickets(system.transaction),
        "origins": frozenset(),
    }
    live = Live(**parts | seams)
    sockets.install(app, live)
    live.hub.start()
    live.seats.start()
    with served(app) as base:
        yield base, live
        live.hub.stop()
        live.seats.stop()


def raw_socket(base: str, headers: dict[str, str] | None = None) -> socket.socket:
    """A client that subscribes and never reads again."""
    port = int(base.rpartition(":")[2])
    client = socket.create_connection(("127.0.0.1", port), timeout=GUARD_S)
    lines = ["GET /ws HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    assert b" 101 " in client.recv(200)
    frame = b'{"type":"subscribe"}'
    client.sendall(bytes([0x81, 0x80 | len(frame), 0, 0, 0, 0]) + frame)  # masked with zeros
    return client


def bytes_until_eof(client: socket.socket) -> int:
    received = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(1 << 20):
            received += len(piece)
    return received


def waiting_for_locks(system: System) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with system.transaction() as connection:
        return int(connection.execute(text(query)).scalar_one())


def reading_threads() -> int:
    """Sockets of servers in this process: each has a thread that reads it."""
    return sum("simple_websocket" in thread.name for thread in threading.enumerate())
