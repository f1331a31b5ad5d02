"""A stand-in of WPPConnect Server 2.10 on a real socket, with its quirks, as contracts read from its source say.

Sessions begin with a start and end with a logout; a browser boots at once, or waits for `boot` where `slow` is set.
`scan`, `unpair`, `auto_close`, `crash` play the phone and the browser; webhooks are posted before a call returns.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import unquote

import bcrypt
import requests

VERSION = "2.10.4"
PHONE = "5511999990001"
NOBODY = "00000000"  # a number that ends so has no WhatsApp
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
INACTIVE = {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}
NOT_CLOSED = {"status": False, "message": "Error closing session", "error": {}}
WRONG_SECRET = {"response": False, "message": "The token is incorrect"}
Said = tuple[int, Any]


@dataclass(eq=False)
class Entry:
    """A session in the server's memory. `browser`: what the API's calls go to, there only once WhatsApp is open."""

    status: str | None = None
    urlcode: str | None = None
    browser: bool = False
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, Any]:
        if self.status is None:
            return {"status": None, "qrcode": None}
        picture = f"data:image/png;base64,{PNG}" if self.urlcode else None
        return {"status": self.status, "qrcode": picture, "urlcode": self.urlcode, "version": VERSION}


class WppConnectServer:
    """`slow`: browsers wait for `boot`. `mute`, `hanging`: sessions whose start, whose check is never answered.
    `nameless`: webhooks of pairing lack `session`. `failing`: a message is taken and not sent. `listing`: as before
    2.2.1. `cli_secret`: the secret came on the command line, which some routes do not look at. `phone`: whose scans.
    `faceless`: it does not say whose phone it is. `flapping`: sessions whose next check says no. `seen`: (method, path,
    headers, body) of every request."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._entries: dict[str, Entry] = {}
        self._stored: dict[str, dict[str, Any]] = {}
        self._paired: set[str] = set()
        self._proven: set[tuple[str, str]] = set()
        self._numbers, self._lock, self._over = count(1), threading.RLock(), threading.Event()
        self.slow = self.nameless = self.failing = self.listing = self.cli_secret = False
        self.mute: set[str] = set()
        self.hanging: set[str] = set()
        self.flapping: set[str] = set()
        self.phone, self.faceless = PHONE, False
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def serving(self) -> Iterator["WppConnectServer"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._server.shutdown()
            self._server.block_on_close = False
            self._server.server_close()
            thread.join(timeout=5)

    # ---- the phone and the browser -----------------------------------------------------------------------------

    def boot(self, name: str) -> None:
        """The browser is up: a stored pairing connects, else a code is shown."""
        with self._lock:
            entry = self._entries[name]
            if name in self._paired:
                self._open(name, entry, "isLogged")
            elif phone := entry.config.get("phone"):
                entry.status = "PHONECODE"
                self.emit(name, "phoneCode", phoneCode=f"WPPC{next(self._numbers):04}", phone=phone)
            else:
                self.emit(name, "status-find", status="notLogged")
                self.refresh(name)

    def refresh(self, name: str) -> None:
        """WhatsApp shows another code, as it does every 20 s."""
        with self._lock:
            entry = self._entries[name]
            entry.status, entry.urlcode = "QRCODE", f"2@wppconnect-{next(self._numbers)}"
            self.emit(name, "qrcode", qrcode=PNG, urlcode=entry.urlcode)

    def scan(self, name: str) -> None:
        """A phone takes the code that is shown."""
        with self._lock:
            entry = self._entries[name]
            if entry.status not in ("QRCODE", "PHONECODE"):
                raise ValueError("No code is shown")
            self._paired.add(name)
            self._open(name, entry, "qrReadSuccess")

    def unpair(self, name: str) -> None:
        """The phone parts from it."""
        with self._lock:
            self._paired.discard(name)
            self.emit(name, "status-find", status="disconnectedMobile")
            del self._entries[name]

    def auto_close(self, name: str) -> None:
        """Nobody scanned in time. Nobody is told, and the last code stays there."""
        with self._lock:
            self._entries[name].status = "CLOSED"

    def crash(self, name: str) -> None:
        """The browser dies, and the status stays CONNECTED."""
        with self._lock:
            self._entries[name].browser = False

    def reboot(self) -> None:
        """The server begins anew, with `startAllSession` off."""
        with self._lock:
            self._entries.clear()

    def emit(self, name: str, event: str, **facts: Any) -> None:
        """One POST, never repeated, whatever is answered."""
        named = {} if self.nameless and event in ("qrcode", "status-find") else {"session": name}
        webhook = self._entries[name].config.get("webhook")
        if webhook:
            with contextlib.suppress(requests.RequestException):
                requests.post(webhook, json={"event": event, **named, **facts}, timeout=10)

    # ---- its HTTP ----------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, bearer: str | None, body: dict[str, Any]) -> Said | None:
        """None: never. An unknown route has Express' own page."""
        given = [unquote(part) for part in path.split("/")[2:]]
        if given[1:] == ["show-all-sessions"]:
            return self._list(given[0])
        if given[2:] == ["clear-session-data"]:
            return self._clear(*given[:2])
        route = ROUTES.get((method, given[-1])) if len(given) == 2 else None
        if route is None:
            return 404, f"<pre>Cannot {method} {path}</pre>"
        refusal = self._refusal(given[0], bearer)
        with self._lock:
            said: Said | None = refusal or route(self, given[0], body)
        if said is None:
            self._over.wait(60)
        return said

    def _refusal(self, name: str, bearer: str | None) -> Said | None:
        if not bearer:
            return 401, {"message": "Token is not present. Check your header and try again"}
        if (name, bearer) not in self._proven:
            hashed = bearer.replace("_", "/").replace("-", "+").encode()
            try:
                good = bcrypt.checkpw((name + self._secret).encode()[:72], hashed)
            except ValueError:
                good = False
            if not good:
                return 401, {"error": "Check that the Session and Token are correct"}
            self._proven.add((name, bearer))
        return None

    def _list(self, secret: str) -> Said:
        if secret != self._secret:
            return 400, WRONG_SECRET
        if self.listing:
            return 200, {"response": [{"session": name} for name in self._entries]}
        return 200, {"response": sorted(self._stored)}

    def _clear(self, name: str, secret: str) -> Said:
        """A wrong secret is told so, and the files are deleted all the same; what runs goes on."""
        with self._lock:
            self._stored.pop(name, None)
            self._paired.discard(name)
        if secret != self._secret or self.cli_secret:
            return 400, {"response": "error", "message": "The token is incorrect"}
        return 200, {"success": True}

    def _status(self, name: str, _: dict[str, Any]) -> Said:
        entry = self._entries.get(name)
        if entry is None or entry.status is None:
            return 200, {"status": "CLOSED", "qrcode": None}
        return 200, entry.shown

    def _start(self, name: str, body: dict[str, Any]) -> Said | None:
        """The answer shows how it was before; a second start of what runs does nothing."""
        known = name in self._entries
        entry = self._entries.setdefault(name, Entry())
        before = entry.shown if known else {"status": "CLOSED", "qrcode": None}
        if entry.status in (None, "CLOSED"):
            entry.status, entry.urlcode = "INITIALIZING", None
            entry.config = body or self._stored.get(name, {})
            self._stored[name] = entry.config
            if not self.slow:
                self.boot(name)
        waits = body.get("waitQrCode") and not known
        if name in self.mute or (waits and name in self._paired):
            return None
        return 200, {"status": "qrcode", "qrcode": PNG, "urlcode": entry.urlcode} if waits else before

    def _check(self, name: str, _: dict[str, Any]) -> Said | None:
        if name in self.hanging:
            return None
        alive = self._alive(name) and name not in self.flapping
        self.flapping.discard(name)
        return 200, {"status": alive, "message": "Connected" if alive else "Disconnected"}

    def _close(self, name: str, _: dict[str, Any]) -> Said:
        """Until WhatsApp is open there is nothing to close, and the session is closed all the same."""
        entry = self._entries.get(name)
        if entry is None:
            return 500, NOT_CLOSED
        if entry.status is not None:
            was_open = entry.browser
            if was_open:
                self.emit(name, "closesession", message=f"Session: {name} disconnected", connected=False)
            self._entries[name] = Entry()
            if not was_open:
                return 500, NOT_CLOSED
        return 200, {"status": True, "message": "Session successfully closed"}

    def _logout(self, name: str, _: dict[str, Any]) -> Said:
        if not self._alive(name):
            return 404, INACTIVE
        self.emit(name, "logoutsession", message=f"Session: {name} logged out", connected=False)
        self._entries.pop(name)
        self._stored.pop(name, None)
        self._paired.discard(name)
        return 200, {"status": True, "message": "Session successfully closed"}

    def _device(self, name: str, _: dict[str, Any]) -> Said:
        if not self._alive(name):
            return 404, INACTIVE
        if self.faceless:
            return 400, "Error getting the device"
        device = {"pushname": "Ana", "platform": "android", "phoneNumber": f"{self.phone}@c.us"}
        return 200, {"status": "success", "response": device, "mapper": "device"}

    def _phone(self, name: str, _: dict[str, Any]) -> Said:
        if not self._alive(name):
            return 404, INACTIVE
        return 200, {"status": "success", "response": f"{self.phone}@c.us", "mapper": "device"}

    def _send(self, name: str, body: dict[str, Any]) -> Said:
        if not self._alive(name):
            return 404, INACTIVE
        to = body["phone"].partition("@")[0]
        if to.endswith(NOBODY):
            return 400, {"response": None, "status": "Connected", "message": f"O número {to} não existe."}
        server = "g.us" if body.get("isGroup") else "lid" if body.get("isLid") or len(to) > 14 else "c.us"
        sent = {"id": f"true_{to}@{server}_3EB0{next(self._numbers):06X}", "body": body["message"], "ack": 0}
        if self.failing:
            sent |= {"ack": -1, "isSendFailure": True}
        return 201, {"status": "success", "response": [sent], "mapper": "return"}

    def _alive(self, name: str) -> bool:
        return name in self._entries and self._entries[name].browser

    def _open(self, name: str, entry: Entry, found: str) -> None:
        for word in (found, "inChat"):
            self.emit(name, "status-find", status=word)
        entry.status, entry.browser, entry.urlcode = "CONNECTED", True, None


ROUTES: dict[tuple[str, str], Any] = {
    ("GET", "status-session"): WppConnectServer._status,
    ("GET", "check-connection-session"): WppConnectServer._check,
    ("GET", "host-device"): WppConnectServer._device,
    ("GET", "get-phone-number"): WppConnectServer._phone,
    ("POST", "start-session"): WppConnectServer._start,
    ("POST", "close-session"): WppConnectServer._close,
    ("POST", "logout-session"): WppConnectServer._logout,
    ("POST", "send-message"): WppConnectServer._send,
}


def _handler(server: WppConnectServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.seen.append((self.command, self.path, dict(self.headers), body))
            scheme, _, bearer = (self.headers.get("Authorization") or "").partition(" ")
            said = server.answer(self.command, self.path, bearer if scheme == "Bearer" else None, _json(body))
            if said is None:
                self.close_connection = True
                return
            status, document = said
            if isinstance(document, dict) and self.headers.get("Content-Type") == "application/json":
                document = {**document, "session": self.path.split("/")[2]}
            with contextlib.suppress(OSError):
                self._reply(status, document)

        def _reply(self, status: int, document: Any) -> None:
            plain = isinstance(document, str) and document.startswith("<")
            body = (document if plain else json.dumps(document)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if plain else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _json(body: bytes) -> dict[str, Any]:
    found = json.loads(body) if body else {}
    return found if isinstance(found, dict) else {}
