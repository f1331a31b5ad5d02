"""Worker processes as operators run them, `scripts/ops.py worker`, and a way to the database that holds one up."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.product import ROOT
from tests.web_process import Detour

COMMAND = (sys.executable, str(ROOT / "scripts" / "ops.py"), "worker")
END_S = 60


class WorkerProcess:
    """`with WorkerProcess(database_url, data_dir) as worker:` — it may be killed, frozen and thawed."""

    def __init__(self, database_url: str, data_dir: Path) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        ours = {"DATABASE_URL": database_url, "ZELADOR_DATA_DIR": str(data_dir), "LOG_LEVEL": "WARNING"}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 — closed by __exit__
        self._process = subprocess.Popen(
            COMMAND, cwd=ROOT, env=kept | ours, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        self._log.close()

    @property
    def pid(self) -> int:
        """Stands in the names of its leases: `host:pid:…`."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9; returns when it is gone."""
        self._process.kill()
        self._process.wait(END_S)

    def end(self) -> int:
        """SIGTERM; the exit code."""
        self._process.terminate()
        return self._process.wait(END_S)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """What it said; at most a warning."""
        return os.pread(self._log.fileno(), 1_000_000, 0).decode()

    def said(self) -> Counter[str]:
        """How often it said which action. Anything but a JSON line a log counts as itself."""
        return Counter(_action(line) for line in self.log().splitlines())


def _action(line: str) -> str:
    try:
        return str(json.loads(line)["action"])
    except (ValueError, KeyError, TypeError):
        return line


class Toll(Detour):
    """A way to the database on which the first statement with these words waits until it is let through."""

    def __init__(self, database_url: str, words: bytes) -> None:
        super().__init__(database_url)
        self._words = words
        self._lock = threading.Lock()
        self.reached, self.passed = threading.Event(), threading.Event()

    def cut(self) -> None:
        super().cut()
        self.passed.set()

    def _pump(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._behind)
            other: Mapping[socket.socket, socket.socket] = {client: server, server: client}
            try:
                while not self._gone.is_set():
                    for source in select.select([client, server], [], [], 0.05)[0]:
                        if not (piece := source.recv(65536)):
                            return
                        if source is client and self._is_first(piece):
                            self.passed.wait()
                        other[source].sendall(piece)
            except OSError:
                return

    def _is_first(self, piece: bytes) -> bool:
        """A statement comes in one piece, for it is sent in one."""
        with self._lock:
            if self._words not in piece or self.reached.is_set():
                return False
            self.reached.set()
            return True
