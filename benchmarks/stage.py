"""What is measured, started here and ended here: a durable PostgreSQL, the web role, a worker on request."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from sqlalchemy import text

from benchmarks import processes
from benchmarks.gateway import name
from benchmarks.machine import ROOT
from benchmarks.traffic import Sender
from bootstrap.system import System, build
from core import migrate
from core.postgres import EmbeddedPostgres
from core.settings import Settings
from manager.keys import keys_of

# as they are while a phone is connected to each; their gateway's names are those of benchmarks.gateway
CONNECTED = text("""
WITH people AS (
    INSERT INTO profiles (email) SELECT n || '@bench' FROM generate_series(0, :count - 1) AS n RETURNING id, email
)
INSERT INTO whatsapp_instances (
    instance_name, user_id, gateway_name, state, status, is_connected, hooked_at, last_connected_at, updated_at
)
SELECT 'user_' || id, id, n.name, 'connected', 'connected', true, now(), now(), now()
FROM people JOIN unnest(CAST(:names AS text[])) WITH ORDINALITY AS n (name, n) ON email = (n.n - 1) || '@bench'
""")
READY_S, STOP_S = 30.0, 20.0
ON_DISK = Path("/var/tmp")  # /tmp is memory on many machines, and a sync there costs nothing
SEED = text("""
WITH people AS (INSERT INTO profiles (email) SELECT n || '@bench' FROM generate_series(1, :count) AS n RETURNING id)
INSERT INTO whatsapp_instances (instance_name, user_id) SELECT 'user_' || id, id FROM people
RETURNING id, instance_name, user_id
""")


class Stage:
    """A context: outside of it nothing is left, neither process nor file."""

    def __init__(self) -> None:
        self._ends = ExitStack()
        self._later = datetime.now(UTC)

    def __enter__(self) -> Self:
        with self._ends:
            self.place = self._make_place()
            server = EmbeddedPostgres(self.place / "data")
            self._ends.callback(server.detach, stop=True)
            url = self.url = server.attach()
            self.postgres = processes.postmaster(self.place / "data")
            self.port = _free_port()
            made = {"DATABASE_URL": url, "ZELADOR_DATA_DIR": str(self.place / "data"), "PORT": str(self.port)}
            self._environ = {**_plain_environment(), **made, "HOST": "127.0.0.1", "LOG_LEVEL": "WARNING"}
            self.system: System = build(Settings.from_env(self._environ), url)
            self._ends.callback(self.system.stop)
            migrate.upgrade(self.system.engine)
            self._ends = self._ends.pop_all()  # all went well: the parts live until __exit__
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @contextmanager
    def web(self) -> Iterator[int]:
        """The web role under gunicorn.conf.py, with the benchmark's route; the first process's number."""
        command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "benchmarks.app:app"]
        with self._running(command) as process:
            self._wait_until_ready(process)
            yield process.pid

    @contextmanager
    def worker(self) -> Iterator["subprocess.Popen[str]"]:
        """A process that drains the inbox when it is told to: see benchmarks.drain."""
        with self._running([sys.executable, "-m", "benchmarks.drain"]) as process:
            yield process

    @contextmanager
    def product_worker(self) -> Iterator[None]:
        """The worker role as operators run it."""
        with self._running([sys.executable, str(ROOT / "scripts" / "ops.py"), "worker"]):
            yield

    @contextmanager
    def watched(
        self, instances: int, *, one_by_one: bool = False
    ) -> Iterator[tuple["subprocess.Popen[str]", "subprocess.Popen[str]"]]:
        """A gateway that holds them, and a monitor that watches it: see benchmarks.gateway and benchmarks.watcher."""
        how = ["one-by-one"] if one_by_one else []
        with self._running([sys.executable, "-m", "benchmarks.gateway", str(instances), *how]) as gateway:
            assert gateway.stdout is not None
            url = f"http://127.0.0.1:{gateway.stdout.readline().strip()}"
            place = {"EVOLUTION_API_URL": url, "EVOLUTION_API_KEY": "a key that nobody here looks at"}
            with self._running([sys.executable, "-m", "benchmarks.watcher", *how], **place) as monitor:
                yield gateway, monitor

    def connected(self, count: int) -> None:
        """Nobody but so many instances, each with a phone connected."""
        self.forget()
        with self.system.transaction() as connection:
            connection.execute(CONNECTED, {"count": count, "names": [name(number) for number in range(count)]})

    def later(self, span: timedelta) -> datetime:
        """A time after all that was given out before, with so much room behind it."""
        began, self._later = self._later, self._later + span
        return began

    def senders(self, count: int, *, with_keys: bool = False) -> list[Sender]:
        """New users with an instance each."""
        with self.system.transaction() as connection:
            rows = connection.execute(SEED, {"count": count}).all()
            tokens = [keys_of(connection, self.system.vault, row.id).token if with_keys else "" for row in rows]
        return [
            Sender(instance=row.instance_name, user_id=str(row.user_id), token=token)
            for row, token in zip(rows, tokens, strict=True)
        ]

    def forget(self) -> None:
        """Empty all tables, so that each measurement begins alike."""
        with self.system.transaction() as connection:
            connection.execute(text("TRUNCATE profiles, webhook_events, inbox, lanes, set_aside, feed CASCADE"))

    def _make_place(self) -> Path:
        place = Path(tempfile.mkdtemp(prefix="zelador-bench-", dir=ON_DISK if ON_DISK.is_dir() else None))
        self._ends.callback(shutil.rmtree, place, ignore_errors=True)
        place.chmod(0o711)  # the database's system user passes through when root runs this
        (place / "metrics").mkdir()
        return place

    @contextmanager
    def _running(self, command: list[str], **environ: str) -> Iterator["subprocess.Popen[str]"]:
        """A child that ends when we do, however we end: it holds the other end of a pipe."""
        reading, writing = os.pipe()
        shared = {"ZELADOR_PARENT_FD": str(reading), "PROMETHEUS_MULTIPROC_DIR": str(self.place / "metrics")}
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**self._environ, **shared, **environ},
            pass_fds=(reading,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            os.close(writing)
            process.terminate()
            try:
                process.communicate(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            os.close(reading)

    def _wait_until_ready(self, process: "subprocess.Popen[str]") -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        until = time.monotonic() + READY_S
        while time.monotonic() < until and process.poll() is None:
            try:
                with opener.open(f"http://127.0.0.1:{self.port}/readyz", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError("the web role does not answer")


def _plain_environment() -> dict[str, str]:
    """Ours without what would configure the product: the numbers are of its defaults."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in ours}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
