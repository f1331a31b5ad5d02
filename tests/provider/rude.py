"""An HTTP server that misbehaves as it is told, and remembers what it was sent."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Play = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _play(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers)))  # type: ignore[attr-defined]
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client has gone: some of them must
            self.server.play(self)  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        self._play()

    def do_POST(self) -> None:
        self._play()

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Rude:
    """`play` answers every request; `seen` holds (method, path, headers)."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._server.seen = self.seen  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def plays(self, play: Play) -> None:
        self._server.play = play  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def serving(self) -> Iterator["Rude"]:
        self._thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
