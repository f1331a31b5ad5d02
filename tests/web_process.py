"""The web role as operators run it, gunicorn in a process of its own; and a way to its database that breaks."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.ports import free_ports
from tests.product import ROOT
from tests.waiting import until

GUNICORN = (sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app")
SOCKET = ".s.PGSQL.5432"


class WebProcess:
    """`with WebProcess(DATABASE_URL=…) as web: web.url`; only these variables are set. `within`: what runs it."""

    within: tuple[str, ...] = ()

    def __init__(self, **variables: str) -> None:
        [self.port] = free_ports(1)
        self._environ = {"HOST": "127.0.0.1", "PORT": str(self.port), "LOG_LEVEL": "INFO", **variables}
        self._host = self._environ["HOST"]
        self.url = f"http://{self._host}:{self.port}"
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 — closed by __exit__
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._process = subprocess.Popen(
            self.within + GUNICORN,
            cwd=ROOT,
            env=kept | self._environ,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self

    def ready(self) -> Self:
        until(self._answers)
        return self

    def __enter__(self) -> Self:
        return self.start().ready()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def end(self) -> int:
        """SIGTERM; the exit code. It may be started again."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=60)

    def kill_worker(self) -> None:
        """kill -9 of the process that serves; gunicorn makes another one."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with contextlib.suppress(OSError), socket.create_connection((self._host, self.port), timeout=5) as line:
            line.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b" 200 " in line.recv(100)
        return False


class Detour:
    """A way to the database that can freeze, as with a stopped server, or be cut. Its `url` is a libpq URL."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        self._behind = str(Path(parse_qs(parts.query)["host"][0]) / SOCKET)
        self._folder = tempfile.TemporaryDirectory(prefix="zd-")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}?host={self._folder.name}"
        self._open, self._gone = threading.Event(), threading.Event()
        self._open.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener.bind(str(Path(self._folder.name) / SOCKET))
        self._listener.listen(64)
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cut()
        for thread in self._threads:
            thread.join(timeout=5)
        self._folder.cleanup()

    def freeze(self) -> None:
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def cut(self) -> None:
        """The database is away: what was connected is closed, nothing connects any more."""
        self._gone.set()
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _spawn(self, run: Callable[..., None], *sockets: socket.socket) -> None:
        thread = threading.Thread(target=run, args=sockets, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._gone.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._pump, client)

    def _pump(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._behind)
            other: Mapping[socket.socket, socket.socket] = {client: server, server: client}
            with contextlib.suppress(OSError):
                while not self._gone.is_set():
                    for source in select.select([client, server], [], [], 0.05)[0]:
                        self._open.wait()
                        piece = source.recv(65536)
                        if not piece or self._gone.is_set():
                            return
                        other[source].sendall(piece)
