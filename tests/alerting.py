"""What tests of alerts need: something to tell, targets, and somebody who listens to them on a real socket."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from core.crypto import Vault
from core.db import Transaction
from monitor.alerting.alerts import Told

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GUARD_S = 60.0


class Listener:
    """Takes alerts as `json://` sends them, at any path. `answers[path]` is the status for that path, 200 otherwise;
    what comes to `/held…` is answered once `release` is set, what comes to `/drip…` a byte at a time for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.release = threading.Event()
        self.headers: list[dict[str, str]] = []
        self._got: list[tuple[str, dict[str, Any]]] = []
        self._came = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.port = self._server.server_port

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join(GUARD_S)
        self._server.server_close()

    def url(self, path: str = "/in") -> str:
        return f"json://127.0.0.1:{self.port}{path}"

    def titles(self, path: str = "/in") -> list[str]:
        return [body["title"] for body in self.bodies(path)]

    def bodies(self, path: str = "/in") -> list[dict[str, Any]]:
        with self._came:
            return [body for where, body in self._got if where == path]

    def wait_for(self, count: int, path: str = "/in") -> None:
        with self._came:
            assert self._came.wait_for(lambda: sum(where == path for where, _ in self._got) >= count, GUARD_S)

    def _take(self, path: str, raw: bytes) -> None:
        with self._came:
            self._got.append((path, json.loads(raw)))
            self._came.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.headers.append(dict(self.headers))
                whole = self.rfile.read(length := int(self.headers["Content-Length"]))
                if len(whole) < length:
                    return  # its sender died over it
                listener._take(self.path, whole)
                if self.path.startswith("/held"):
                    listener.release.wait(GUARD_S)
                if self.path.startswith("/drip"):
                    self._drip()
                    return
                self.send_response(listener.answers.get(self.path, 200))
                if listener.answers.get(self.path) == 307:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def _drip(self) -> None:
                try:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                    while not listener.release.wait(0.05):
                        self.wfile.write(b"x")
                except OSError:
                    pass

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


class PostOffice:
    """An SMTP server that takes every mail."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        office = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 ready\r\n")
                for line in self.rfile:
                    verb = line[:4].upper()
                    if verb == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        office.mails.append("".join(one.decode() for one in iter(self.rfile.readline, b".\r\n")))
                    self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(GUARD_S)
        self._server.server_close()


def incident(
    connection: Connection,
    name: str | None = "user_1",
    *,
    kind: str = "down",
    at: datetime = NOON,
    user_id: UUID | None = None,
    organization_id: str | None = None,
) -> int:
    """An open incident; its number. Of the instance with this name, which need not exist any more; without a name it is
    the gateway server's."""
    number: int = connection.execute(
        text(
            "INSERT INTO incidents (gateway, instance_id, instance_name, user_id, organization_id, kind, opened_at)"
            " VALUES ('evolution', (SELECT id FROM whatsapp_instances WHERE instance_name = :name), :name, :user,"
            " :organization, :kind, :at) RETURNING id"
        ),
        {"name": name, "user": user_id, "organization": organization_id, "kind": kind, "at": at},
    ).scalar_one()
    return number


def told(
    incident_id: int,
    kind: str = "down",
    name: str | None = "user_1",
    *,
    after: timedelta = timedelta(),
    **more: Any,
) -> Told:
    about: dict[str, Any] = {"instance_id": None, "user_id": None, "organization_id": None, "facts": {}, **more}
    return Told(incident_id=incident_id, kind=kind, at=NOON + after, gateway="evolution", instance_name=name, **about)


def target(transaction: Transaction, vault: Vault, url: str, **columns: Any) -> UUID:
    """A target's row, as it is: without looking at the URL."""
    values = {"name": url, "scheme": url.partition(":")[0], "sealed": vault.seal({"url": url}), "created_by": "test"}
    values |= {"least": "info", **columns}
    names = ", ".join(values)
    with transaction() as connection:
        found: UUID = connection.execute(
            text(
                f"INSERT INTO alert_targets ({names}) VALUES ({', '.join(f':{name}' for name in values)}) RETURNING id"
            ),
            values,
        ).scalar_one()
        return found


Rows = Callable[..., list[dict[str, Any]]]


def states(rows: Rows) -> list[tuple[str, str, str]]:
    """Kind, target's name and state of each delivery, in the order decided."""
    found = rows(
        "SELECT kind, name, state FROM alert_deliveries d JOIN alerts a ON a.id = alert_id"
        " JOIN alert_targets t ON t.id = target_id ORDER BY a.id, name"
    )
    return [(row["kind"], row["name"], row["state"]) for row in found]
