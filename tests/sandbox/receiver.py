"""A webhook receiver on a real socket, and what tests do with a sandbox over its HTTP."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from sandbox.server import Sandbox

GUARD_S = 60.0
KEY = "GLOBAL-KEY-EXAMPLE"


class Delivery:
    def __init__(self, path: str, headers: dict[str, str], raw: bytes) -> None:
        self.path, self.headers, self.raw = path, headers, raw
        self.body: dict[str, Any] = json.loads(raw)
        self.event: str = self.body["event"]
        self.data: Any = self.body["data"]


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default of five drops connections when many webhooks come at once


class Receiver:
    """Answers 200; under /status/<code>/… that code; under /held/… only once `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self._arrived = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join(GUARD_S)
        self._server.server_close()

    def take(self, count: int, path: str) -> list[Delivery]:
        """Wait for so many deliveries under this path and remove them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self._under(path)) >= count, GUARD_S), (
                f"{[one.event for one in self._under(path)]} instead of {count} deliveries"
            )
            taken = self._under(path)[:count]
            self._deliveries = [one for one in self._deliveries if one not in taken]
            return taken

    def under(self, path: str) -> list[Delivery]:
        with self._arrived:
            return self._under(path)

    def _under(self, path: str) -> list[Delivery]:
        return [one for one in self._deliveries if one.path.startswith(path)]

    def _arrive(self, delivery: Delivery) -> int:
        with self._arrived:
            self._deliveries.append(delivery)
            self._arrived.notify_all()
        if delivery.path.startswith("/held/"):
            self.release.wait(GUARD_S)
        return int(delivery.path.split("/")[2]) if delivery.path.startswith("/status/") else 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver._arrive(Delivery(self.path, dict(self.headers), raw))
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


class Client:
    """Calls to one sandbox, with a webhook path of its own for this test."""

    def __init__(self, box: Sandbox, receiver: Receiver, hook: str) -> None:
        self.box, self.receiver, self.hook = box, receiver, hook

    def call(self, method: str, path: str, body: object = None, key: str | None = None) -> requests.Response:
        headers = {"apikey": self.box.key if key is None else key}
        return requests.request(method, self.box.url + path, json=body, headers=headers, timeout=GUARD_S)

    def create(self, name: str, *, qrcode: bool = False, hook: dict[str, Any] | None = None, **more: Any) -> Any:
        webhook = {"url": self.receiver.url + self.hook, "events": [], **(hook or {})}
        body = {"instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": qrcode, "webhook": webhook}
        answer = self.call("POST", "/instance/create", body | more)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def scan(self, name: str, **more: Any) -> None:
        """Scan, and wait until the connection is open."""
        answer = self.call("POST", "/sandbox/phones/scan", {"instance": name, **more})
        assert answer.status_code == 200, answer.text
        self.reaches(name, "open")

    def pair(self, name: str, profile_name: str | None = None, **more: Any) -> None:
        self.create(name, qrcode=True, **more)
        self.scan(name, profile_name=profile_name)

    def drop(self, name: str, reason: int, *, silent: bool = False) -> requests.Response:
        return self.call("POST", f"/sandbox/instances/{name}/drop", {"reason": reason, "silent": silent})

    def message(self, name: str, text: str = "Oi", **more: Any) -> Any:
        body = {"instance": name, "from": "5511999990001", "text": text, "push_name": "Ana", **more}
        answer = self.call("POST", "/sandbox/phones/message", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self, name: str) -> str | None:
        answer = self.call("GET", f"/instance/connectionState/{name}")
        return answer.json()["instance"]["state"] if answer.status_code == 200 else None

    def reaches(self, name: str, state: str | None) -> None:
        eventually(lambda: self.state(name) == state)

    def take(self, count: int) -> list[Delivery]:
        return self.receiver.take(count, self.hook)


def eventually(check: Callable[[], bool]) -> None:
    """For what only HTTP can tell: ask until it is so. The wait is a guard, nothing counts on it."""
    pause = threading.Event()
    for _ in range(int(GUARD_S / 0.005)):
        if check():
            return
        pause.wait(0.005)
    raise AssertionError("it never came true")
