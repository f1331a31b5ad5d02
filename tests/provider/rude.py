"""An HTTP server that misbehaves as it is told, and remembers what it was sent."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Play = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sent = b""

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _play(self) -> None:
        self.sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers)))  # type: ignore[attr-defined]
        self.server.ports.append(self.client_address[1])  # type: ignore[attr-defined]
        self.close_connection = not self.server.keeps  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):  # the client has gone: some of them must
            self.server.play(self)  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        self._play()

    def do_POST(self) -> None:
        self._play()

    def do_DELETE(self) -> None:
        self._play()

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Rude:
    """`play` answers every request; `seen` holds (method, path, headers), `ports` whom they came from.

    With `keeps` it leaves connections open behind an answer.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.ports: list[int] = []
        self._server.seen, self._server.ports = self.seen, self.ports  # type: ignore[attr-defined]
        self._server.keeps = keeps  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def plays(self, play: Play) -> None:
        self._server.play = play  # type: ignore[attr-defined]

    def forget(self) -> None:
        self.seen.clear()
        self.ports.clear()

    @contextlib.contextmanager
    def serving(self) -> Iterator["Rude"]:
        self._thread.start()
        yield self
        self._server.shutdown()
        self._server.daemon_threads = True  # one may still wait for the next request of a kept connection
        self._server.block_on_close = False
        self._server.server_close()
        self._thread.join(timeout=5)
