"""`ops.py serve`: one process a role, restarted when it dies, ended together.

The supervisor knows nothing of WhatsApp; it stays small. Each child holds the reading end of a pipe: when the
supervisor is gone, however it went, the pipe ends and the children end by themselves.
"""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.postgres import EmbeddedPostgres, PostgresUnusable
from core.postgres_folder import DataFolder
from core.settings import Settings, address

ROOT = Path(__file__).resolve().parent.parent
READY_S = 30.0
STOP_S = 12.0  # of the 25 promised; PostgreSQL may take 8 + 3 more
LOOK_EVERY_S = 0.2
PORTS_S = 4.0  # the children of a supervisor that was killed need a moment to let go of theirs
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
STABLE_S = 30.0
POSTGRES_S, POSTGRES_AGAIN_S = 4, 3.0  # how long we wait for it, and until the next try; children wait meanwhile
UNAVAILABLE, TRY_LATER = 69, 75


class CannotStart(Exception):
    def __init__(self, line: str, code: int = UNAVAILABLE) -> None:
        super().__init__(line)
        self.code = code


@dataclass
class Child:
    """A role's process, and how long to wait before it is started again."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    wait_s: float = SHORTEST_WAIT_S
    started_at: float = field(default=0.0)
    start_at: float = field(default=0.0)


class Supervisor:
    def __init__(self, settings: Settings, roles: tuple[str, ...]) -> None:
        self._settings, self._roles = settings, roles
        self._data_dir = settings.zelador_data_dir.resolve()
        self._environ = {**os.environ, "PYTHONUNBUFFERED": "1", "ZELADOR_DATA_DIR": str(self._data_dir)}
        self._environ |= {"HOST": settings.host, "PORT": str(settings.port)}
        self._environ.setdefault("MALLOC_ARENA_MAX", "2")  # many threads that wait need no heap each
        self._stopping = threading.Event()
        self._children: list[Child] = []
        self._links: dict[str, str] = {}
        self._after_a_kill: bool | None = None  # None: another one runs here
        self._postgres: EmbeddedPostgres | None = None
        self._postgres_folder = DataFolder(self._data_dir)
        self._postgres_at = 0.0

    def run(self) -> int:
        """Until told to stop; the exit code."""
        on_end(self._stopping.set)
        steps = (self._lock, self._check_ports, self._start_postgres, self._prepare, self._launch_all, self._announce)
        try:
            for step in steps:
                if not self._stopping.is_set():
                    step()
            while not self._stopping.wait(LOOK_EVERY_S):
                self._look_after_postgres()
                for child in self._children:
                    self._look_after(child)
            return 0
        except CannotStart as error:
            if self._stopping.is_set():  # Ctrl-C has ended what we were waiting for
                return 0
            print(error, file=sys.stderr)
            return error.code
        finally:
            self._stop()

    def _start_postgres(self) -> None:
        if self._settings.database_url is None:
            self._postgres = EmbeddedPostgres(self._data_dir)
            self._postgres.attach()
            _say("postgres", self._postgres_folder.database)

    def _launch_all(self) -> None:
        self._share_metrics()
        self._inherit_pipe()
        self._children = self._planned()
        for child in self._children:
            self._launch(child)
            _say(child.name, f"pid {child.process.pid if child.process else '-'}")

    def _announce(self) -> None:
        """Say where everything is, once it answers; `ready …` is the last line."""
        base = self._settings.own_url
        gateway = self._settings.gateway
        if gateway and gateway.is_sandbox:
            self._wait_for(f"{gateway.url}/")
            _say("sandbox", f"{gateway.url}/sandbox/")
        if "web" in self._roles:
            self._wait_for(f"{base}/readyz")
            for name, link in self._links.items():
                _say("login", f"{base}/login/{link}  ({name})")
        if not self._stopping.is_set():
            print(f"ready {base}", flush=True)

    def _lock(self) -> None:
        """One product a data folder. The lock goes with this process, however it ends."""
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock_file = open(self._data_dir / "serve.lock", "a+")  # noqa: SIM115 — held while we live
        except OSError as error:
            raise CannotStart(f"The data folder {self._data_dir} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(f"Zelador runs already on {self._data_dir}", TRY_LATER) from None
        self._after_a_kill = self._lock_file.tell() > 0
        self._note(f"{os.getpid()}\n")

    def _note(self, text: str) -> None:
        """Keep our process number in the lock file while we live: one that is left there says that we were killed."""
        self._lock_file.truncate(0)
        self._lock_file.write(text)
        self._lock_file.flush()

    def _check_ports(self) -> None:
        wanted = [("PORT", self._settings.host, self._settings.port)] if "web" in self._roles else []
        gateway = self._settings.gateway
        if gateway and gateway.is_sandbox:
            wanted.append(("SANDBOX_PORT", "127.0.0.1", self._settings.sandbox_port))
        until = time.monotonic() + (PORTS_S if self._after_a_kill else 0)
        for name, host, port in wanted:
            while trouble := _port_trouble(host, port):
                if time.monotonic() > until or self._stopping.wait(LOOK_EVERY_S):
                    raise CannotStart(f"{name}: {address(host, port)} cannot be used: {trouble}")

    def _prepare(self) -> None:
        """Migrations and demo people, in a process of their own: the supervisor need not carry their libraries."""
        done = subprocess.run(_ops("prepare"), env=self._environ, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["The database could not be prepared"]
            raise CannotStart(lines[-1], done.returncode)
        self._links = json.loads(done.stdout.splitlines()[-1])

    def _share_metrics(self) -> None:
        folder = self._data_dir / "metrics"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)

    def _inherit_pipe(self) -> None:
        self._pipe, self._held = os.pipe()
        os.set_inheritable(self._pipe, True)
        self._environ["ZELADOR_PARENT_FD"] = self._environ["SANDBOX_PARENT_FD"] = str(self._pipe)

    def _planned(self) -> list[Child]:
        commands = {
            "web": [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app"],
            "worker": _ops("worker"),
            "monitor": _ops("monitor"),
        }
        planned = [Child(role, commands[role]) for role in self._roles]
        gateway = self._settings.gateway
        if gateway and gateway.is_sandbox:
            self._environ |= {"SANDBOX_KEY": gateway.key, "SANDBOX_PORT": str(self._settings.sandbox_port)}
            self._environ["SANDBOX_DATA_DIR"] = str(self._data_dir / "sandbox")
            planned.insert(0, Child("sandbox", [sys.executable, "-m", "sandbox"]))
        return planned

    def _launch(self, child: Child) -> None:
        quiet = subprocess.DEVNULL if child.name == "sandbox" else None
        child.process = subprocess.Popen(
            child.command, cwd=ROOT, env=self._environ, pass_fds=(self._pipe,), stdin=subprocess.DEVNULL, stdout=quiet
        )
        child.started_at = time.monotonic()

    def _look_after_postgres(self) -> None:
        """It is no child of ours, and may be killed too. Tried until it starts; one that recovers is left to it."""
        if not self._postgres or time.monotonic() < self._postgres_at or self._postgres_folder.alive():
            return
        print("postgres ended, again now", file=sys.stderr)
        try:
            self._postgres.attach(within_s=POSTGRES_S)
        except PostgresUnusable as error:
            print(f"postgres: {error}; looked at again in {POSTGRES_AGAIN_S:g} s", file=sys.stderr)
            self._postgres_at = time.monotonic() + POSTGRES_AGAIN_S

    def _look_after(self, child: Child) -> None:
        """Start it again when it has died: soon at first, later and later when it keeps dying."""
        now = time.monotonic()
        if child.process is not None:
            if child.process.poll() is None:
                return
            code, child.process = child.process.returncode, None
            child.wait_s = SHORTEST_WAIT_S if now - child.started_at > STABLE_S else child.wait_s
            print(f"{child.name} ended with {code}, again in {child.wait_s:g} s", file=sys.stderr)
            child.start_at = now + child.wait_s
            child.wait_s = min(child.wait_s * 2, LONGEST_WAIT_S)
        elif now >= child.start_at:
            self._launch(child)

    def _wait_for(self, url: str) -> None:
        until = time.monotonic() + READY_S
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < until and not self._stopping.is_set():
            try:
                with opener.open(url, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                self._stopping.wait(LOOK_EVERY_S)
            for child in self._children:
                self._look_after(child)
        if not self._stopping.is_set():
            raise CannotStart(f"{url} does not answer")

    def _stop(self) -> None:
        """End the children, the stubborn by force, then the database."""
        alive = [child.process for child in self._children if child.process and child.process.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_S
        for process in alive:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._postgres:
            self._postgres.detach(stop=True)
        if self._after_a_kill is not None:
            self._note("")


def on_end(end: Callable[[], object]) -> None:
    """Call `end`, in a thread, at SIGTERM, Ctrl-C, hang-up, and in a child when the supervisor is gone.

    Not in a handler: what `end` locks may be locked by the very code it interrupts, and a main thread that waits
    may sleep on when the kernel gives the signal to another thread. The wake-up descriptor knows neither trouble.
    """
    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    waited_for = [heard] + ([int(fd)] if (fd := os.environ.get("ZELADOR_PARENT_FD")) else [])
    threading.Thread(target=lambda: (select.select(waited_for, [], []), end()), name="on-end", daemon=True).start()


def _port_trouble(host: str, port: int) -> str | None:
    """Why nobody could listen there; None when one can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror
    return None


def _say(part: str, what: object) -> None:
    print(f"{part:<9} {what}", flush=True)


def _ops(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / "ops.py"), *arguments]
