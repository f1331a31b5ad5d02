"""A stand-in of the plain Baileys broker, on a real socket, with somebody who plays the phones.

`told`: as builds of 2026, which tell how a connection stands; without, as those of 2025, where `connected` means that
a phone was paired once. Instances connect from the moment they are made.
"""

import contextlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import segno

NOBODY = "900000000"
AT = "2026-11-22T12:00:00.000Z"
OFFLINE_2025 = (503, {"error": "socket indisponível"})
UNKNOWN = (404, {"error": "instance_not_found"})
CLOSED = (500, {"error": "internal_server_error", "message": "Connection Closed"})
Answer = tuple[int, object]


@dataclass
class Instance:
    """`qr` is its text, None while none is shown. `is_opening`: the socket is there, and has not reached WhatsApp."""

    id: str
    state: str = "connecting"
    user: dict[str, str] | None = None
    qr: str | None = None
    has_socket: bool = True
    is_opening: bool = False
    detail: dict[str, object] | None = None
    sent: list[tuple[str, str]] = field(default_factory=list)


class BrokerServer:
    """`url` once it serves; `seen` holds every request as `METHOD /path`."""

    def __init__(self, key: str, *, told: bool) -> None:
        self.key, self.told = key, told
        self.instances: dict[str, Instance] = {}
        self.seen: list[str] = []
        self.has_exited = self.is_paused = False
        self.in_broker_mode = False  # builds of 2025 with BROKER_MODE=true serve no /instances
        self._numbers, self.lock = count(1), threading.Lock()

    @contextlib.contextmanager
    def serving(self) -> Iterator["BrokerServer"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False  # kept connections wait for more
        server.broker = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield self
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    # ---- the phones ------------------------------------------------------------------------------------------------

    def scan(self, name: str, phone: str = "5511999990001") -> None:
        """A phone takes the code that is shown."""
        found = self.instances[name]
        if found.qr is None:
            raise ValueError("No code is shown")
        found.state, found.qr, found.detail = "open", None, None
        found.user = {"id": f"{phone}:18@s.whatsapp.net", "name": "Ana"}

    def drop(self, name: str) -> None:
        """The connection breaks; the phone stays paired."""
        self.instances[name].state = "close"

    def unpair(self, name: str) -> None:
        """The phone parts from it. Builds of 2026 say so until the session is made anew, those of 2025 keep what they
        have."""
        found = self.instances[name]
        found.state, found.has_socket = "close", self.told
        if self.told:
            found.user = None
            found.detail = {"statusCode": 401, "reason": "loggedOut", "isLoggedOut": True, "isTimedOut": False}

    def run_out(self, name: str) -> None:
        """Nobody scanned a code for too long."""
        found = self.instances[name]
        found.state, found.qr, found.has_socket = "qr_timeout", None, False

    # ---- the routes ------------------------------------------------------------------------------------------------

    def health(self, _: str, __: Any) -> Answer:
        return 200, {"status": "ok", "uptime": 12.5, "instances": [{"id": one} for one in self.instances]}

    def everything(self, _: str, __: Any) -> Answer:
        return 200, [self._listed(one) for one in self.instances.values()]

    def make(self, _: str, body: Any) -> Answer:
        name = re.sub(r"[^\w]+", "-", str(body.get("name", "")).strip().lower(), flags=re.ASCII)
        if name in self.instances:
            return 409, {"error": "instance_exists"}
        self.instances[name] = Instance(id=name, qr=self._next_qr())
        metadata = {"note": "", "createdAt": AT, "updatedAt": AT}
        return 200, {"id": name, "name": body["name"], "dir": f"sessions/{name}", "metadata": metadata}

    def show(self, name: str, _: Any) -> Answer:
        if name not in self.instances:
            return UNKNOWN
        found = self.instances[name]
        more = {"last": {"sentId": None}, "metricsStartedAt": 1763812800000}
        if self.told:
            more |= {"connectionStateDetail": found.detail, "hasLastQr": found.qr is not None, "lastError": None}
        return 200, {**self._listed(found), **more}

    def remove(self, name: str, _: Any) -> Answer:
        if name == "default":
            return 400, {"error": "default_instance_cannot_be_deleted"}
        return (200, {"ok": True}) if self.instances.pop(name, None) else UNKNOWN

    def picture(self, name: str, _: Any) -> Answer:
        if name not in self.instances:
            return 404, "instance_not_found"
        found = self.instances[name]
        if found.qr:
            drawn = io.BytesIO()
            segno.make(found.qr, micro=False).save(drawn, kind="png", scale=6, border=1)
            return 200, drawn.getvalue()
        if self.told and not found.has_socket:
            found.state, found.has_socket, found.qr = "connecting", True, self._next_qr()
        return (204, b"") if self.told else (404, "no-qr")

    def pair(self, name: str, body: Any) -> Answer:
        if refused := self._offline(name, "open", "connecting"):
            return refused
        if not body.get("phoneNumber"):
            return 400, {"error": "phoneNumber obrigatório (ex: 5544...)"}
        found = self.instances[name]
        if found.is_opening:
            return CLOSED
        if not self.told:
            found.user = {"id": f"{body['phoneNumber']}@s.whatsapp.net", "name": "~"}
        return 200, {"pairingCode": f"K3ZT{next(self._numbers):04}"}

    def logout(self, name: str, _: Any) -> Answer:
        if refused := self._offline(name, "open"):
            return refused
        if self.told:
            self._begin_anew(name)
        else:
            self.instances[name].has_socket, self.instances[name].qr = False, None
        return 200, {"ok": True, "message": "Sessão desconectada. Um novo QR aparecerá em breve."}

    def wipe(self, name: str, _: Any) -> Answer:
        if name not in self.instances:
            return UNKNOWN
        self.has_exited = self.has_exited or not self.told
        self._begin_anew(name)
        return 202 if self.told else 200, {"ok": True, "message": "Sessão reiniciando."}

    def message_status(self, _: str, __: Any) -> Answer:
        return 400, {"error": "id obrigatório"}

    def send(self, name: str, body: Any) -> Answer:
        if refused := self._offline(name, "open"):
            return refused
        if self.is_paused:
            return 429, {"error": "risk_paused"}
        number, words = _brazilian(str(body.get("to", ""))), str(body.get("message", "")).strip()
        if not number or not words:
            return 400, {"error": "to inválido. Use E.164: 55DDDNUMERO" if words else "message_required"}
        if self.instances[name].state != "open":
            return CLOSED
        if number.endswith(NOBODY):
            return 404, {"error": "whatsapp_not_found"}
        self.instances[name].sent.append((number, words))
        message_id = f"3EB0{next(self._numbers):06}"
        return 200, {"id": message_id, "status": 1, **({"messageId": message_id} if self.told else {"ack": None})}

    def _offline(self, name: str, *states: str) -> Answer | None:
        found = self.instances.get(name)
        if not self.told:
            return None if found and found.has_socket else OFFLINE_2025
        if found is None:
            return UNKNOWN
        if found.has_socket and found.state in states:
            return None
        return 503, {"error": "instance_offline", "state": found.state, "updatedAt": AT}

    def _listed(self, one: Instance) -> dict[str, object]:
        told = {"connectionState": one.state, "connectionUpdatedAt": AT} if self.told else {}
        connected = one.state == "open" if self.told else one.user is not None
        rate = {"limit": 20, "windowMs": 15000, "inWindow": 0, "usage": 0}
        about = {"note": "", "notes": "", "metadata": {"note": "", "createdAt": AT, "updatedAt": AT}, "rate": rate}
        user = one.user if connected else None
        counters = {"sent": len(one.sent), "status": {}}
        return {
            "id": one.id,
            "name": one.id,
            "connected": connected,
            "user": user,
            "counters": counters,
            **about,
            **told,
        }

    def _begin_anew(self, name: str) -> None:
        self.instances[name] = Instance(id=name, qr=self._next_qr())

    def _next_qr(self) -> str:
        return f"2@stand-in-{next(self._numbers)}"


Route = Callable[[BrokerServer, str, Any], Answer]
ROUTES: dict[str, Route] = {
    r"GET /health": BrokerServer.health,
    r"GET /instances": BrokerServer.everything,
    r"POST /instances": BrokerServer.make,
    r"GET /instances/([^/]+)": BrokerServer.show,
    r"DELETE /instances/([^/]+)": BrokerServer.remove,
    r"GET /instances/([^/]+)/qr\.png": BrokerServer.picture,
    r"POST /instances/([^/]+)/pair": BrokerServer.pair,
    r"POST /instances/([^/]+)/logout": BrokerServer.logout,
    r"POST /instances/([^/]+)/session/wipe": BrokerServer.wipe,
    r"GET /instances/([^/]+)/status": BrokerServer.message_status,
    r"POST /instances/([^/]+)/send-text": BrokerServer.send,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        broker: BrokerServer = self.server.broker  # type: ignore[attr-defined]
        line = f"{self.command} {self.path.partition('?')[0]}"
        with broker.lock:
            broker.seen.append(line)
            status, said = self._answered(broker, line, json.loads(body or b"{}"))
        self._say(status, said)

    def _answered(self, broker: BrokerServer, line: str, body: Any) -> Answer:
        if "/instances" in line and broker.in_broker_mode:
            return 404, f"<!DOCTYPE html><pre>Cannot {line}</pre>"
        if "/instances" in line and self.headers.get("x-api-key") != broker.key:
            return 401, {"error": "unauthorized"}
        for pattern, route in ROUTES.items():
            if found := re.fullmatch(pattern, line):
                return route(broker, found[1] if found.groups() else "", body)
        return 404, f"<!DOCTYPE html><pre>Cannot {line}</pre>"

    def _say(self, status: int, said: object) -> None:
        if isinstance(said, bytes):
            kind, body = "image/png", said
        elif isinstance(said, str):
            kind, body = "text/html; charset=utf-8", said.encode()
        else:
            kind, body = "application/json; charset=utf-8", json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()


def _brazilian(to: str) -> str | None:
    """The broker's own rule: ten or eleven digits are Brazil's, whatever they were meant to be."""
    digits = re.sub(r"\D", "", to)
    digits = f"55{digits}" if len(digits) in (10, 11) else digits
    return digits if re.fullmatch(r"55\d{10,11}", digits) else None
