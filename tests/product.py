"""The whole product as people start it, `scripts/ops.py serve`, with a data folder of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import requests

from tests.ports import free_ports
from tests.waiting import until

ROOT = Path(__file__).parent.parent
START_S, STOP_S = 60, 25


class Product:
    """Kills only what it has started: its processes are known by their data folder."""

    def __init__(self, **environ: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="zelador-serve-"))
        self.home.chmod(0o711)  # root's database runs as a user of its own, who passes through here
        self.data = self.home / "data"
        self.port, self.sandbox_port = free_ports(2)
        self.base, self.sandbox = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.sandbox_port}"
        ports = {"PORT": str(self.port), "SANDBOX_PORT": str(self.sandbox_port)}
        patient = {"RATE_LIMIT_READS": "0"}  # tests look again fifty times a second
        self.environ = {"PATH": os.environ["PATH"], "ZELADOR_DATA_DIR": str(self.data), **ports, **patient, **environ}
        self.process: subprocess.Popen[bytes] | None = None
        self._log = self.home / "serve.log"

    def __enter__(self) -> "Product":
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.stop()
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self) -> "Product":
        """Returns once it has said `ready`."""
        command = [sys.executable, str(ROOT / "scripts" / "ops.py"), "serve"]
        with open(self._log, "wb") as log, open(self.home / "errors.log", "ab") as errors:
            self.process = subprocess.Popen(
                command, env=self.environ, stdout=log, stderr=errors, cwd=self.home, start_new_session=True
            )
        until(self._settled, guard_s=START_S)
        assert self.process.poll() is None, self.errors()
        return self

    def _settled(self) -> bool:
        assert self.process is not None
        return "\nready " in self.said() or self.process.poll() is not None

    def said(self) -> str:
        return self._log.read_text()

    def errors(self) -> str:
        return (self.home / "errors.log").read_text()

    def link(self, who: str) -> str:
        """The one-click login link of `demo` or `admin`."""
        return next(line.split()[1] for line in self.said().splitlines() if line.endswith(f"({who})"))

    def stop(self) -> int:
        """SIGTERM; the exit code, within the 25 s that are promised."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """kill -9 of everything at once: the group, and the database, which is no part of it."""
        for pid in (self.postmaster(), *self.group(), *self.database_processes()):
            if pid:
                _kill(pid)
        if self.process:
            self.process.wait(60)
        until(lambda: self.group() + self.database_processes(), lambda left: not left)

    def group(self) -> list[int]:
        """The supervisor and its roles."""
        ours = f"ZELADOR_DATA_DIR={self.data}\0".encode()
        return [pid for pid in _pids() if ours in _read(f"/proc/{pid}/environ")]

    def role(self, name: str) -> int | None:
        """The process of a role: the supervisor's child with this word in its command."""
        assert self.process is not None
        words = {"web": b"gunicorn", "sandbox": b"sandbox"}
        for pid in self.group():
            command = _read(f"/proc/{pid}/cmdline").split(b"\0")
            if words.get(name, name.encode()) in command and _parent(pid) == self.process.pid:
                return pid
        return None

    def orphans(self) -> list[int]:
        """What a role that was killed has left behind for a moment."""
        group = self.group()
        return [pid for pid in group if _parent(pid) not in (*group, os.getpid())]

    def postmaster(self) -> int | None:
        note = _read(str(self.data / "postgres" / "postmaster.pid")).split(b"\n")[0]
        pid = int(note) if note.isdigit() else 0
        return pid if f"{self.data}/postgres".encode() in _read(f"/proc/{pid}/cmdline") else None

    def database_processes(self) -> list[int]:
        """The server's processes work in its folder."""
        folder = str(self.data / "postgres")
        return [pid for pid in _pids() if _link(f"/proc/{pid}/cwd") == folder]

    def ops(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / "ops.py"), *arguments]
        how = {"env": self.environ | environ, "cwd": self.home, "timeout": START_S}
        return subprocess.run(command, capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload, no-any-return]  # mypy cannot read **how

    def bearer(self, user: str, role: str = "user") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.ops('token', '--sub', user, '--role', role).stdout.strip()}"}

    def get(self, path: str, headers: dict[str, str]) -> dict[str, object]:
        answer = requests.get(self.base + path, headers=headers, timeout=10)
        answer.raise_for_status()
        found: dict[str, object] = answer.json()
        return found

    def play(self, path: str, **body: object) -> None:
        """A click on the sandbox's page."""
        requests.post(f"{self.sandbox}/sandbox/{path}", json=body, timeout=10).raise_for_status()

    def connect(self, user: str, headers: dict[str, str]) -> None:
        """From the click to the connected phone."""
        requests.post(f"{self.base}/api/whatsapp/connect", headers=headers, timeout=30).raise_for_status()
        self.play("phones/scan", instance=f"user_{user}")
        until(lambda: self.get("/api/whatsapp/status", headers)["connected"])


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _parent(pid: int) -> int:
    stat = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(stat[1]) if stat else 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
