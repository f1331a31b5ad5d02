"""The private PostgreSQL server that serves when no DATABASE_URL is set.

Whoever needs the database attaches and gets a URL. The server lives in the data folder, listens on a Unix
socket only, outlives the kill of any program and is found again. Calls core.postgres_folder and _programs.
"""

import fcntl
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import quote

import psycopg

from core.postgres_folder import DataFolder
from core.postgres_programs import NAME, PostgresUnusable, find_programs, reason, version

__all__ = ["EmbeddedPostgres", "PostgresUnusable"]

_START_S = 60
_STOP_S, _STOP_NOW_S = 8, 3  # first with a checkpoint, then without: nothing is lost, the next start recovers
_PG_CTL = ("-w", "-s", "-D", "postgres")  # relative: a shell reads it, and these quotes are not enough for it
_PRIVATE = "listen_addresses= port=5432 unix_socket_permissions=0700 timezone=UTC log_timezone=UTC"
# What was acknowledged survives a power cut; said at every start, so that no edited file says otherwise.
_DURABLE = "fsync=on synchronous_commit=on full_page_writes=on"
# The whole product shares one modest machine. (io_method: the default keeps three worker processes.)
_SMALL = """shared_buffers=32MB max_connections=60 work_mem=4MB maintenance_work_mem=32MB wal_buffers=4MB
    min_wal_size=64MB max_wal_size=512MB checkpoint_timeout=15min effective_cache_size=256MB random_page_cost=1.1
    huge_pages=off jit=off io_method=sync max_logical_replication_workers=0 max_worker_processes=0
    max_parallel_workers=0 max_parallel_workers_per_gather=0 max_parallel_maintenance_workers=0"""
# A queue table turns over many times its size each minute: look often, and keep pace.
_VACUUM = """autovacuum_naptime=15s autovacuum_max_workers=2 autovacuum_worker_slots=2 autovacuum_work_mem=16MB
    autovacuum_vacuum_cost_limit=1000 autovacuum_vacuum_scale_factor=0.05 autovacuum_analyze_scale_factor=0.05"""
# Statements and details quote phone numbers and messages, which no log may hold.
_QUIET = "log_checkpoints=off log_min_error_statement=panic log_error_verbosity=terse"
_INITDB = f"""--username={NAME} --encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8
    --auth-local=trust --auth-host=reject --no-instructions""".split()
_SETTINGS = dict(pair.split("=") for pair in f"{_PRIVATE} {_DURABLE} {_SMALL} {_VACUUM} {_QUIET}".split())


class EmbeddedPostgres:
    """One program's hold on the server of a data folder. Not for use across a fork, nor by two threads."""

    def __init__(self, data_dir: Path, *, options: Mapping[str, str] | None = None):
        """`options`: further server settings, which count when this object is the one that starts it."""
        self._folder = DataFolder(data_dir)
        self._settings = {**_SETTINGS, **(options or {})}
        self._hold: int | None = None

    def attach(self, *, within_s: int = _START_S) -> str:
        """Make sure the server runs (start, initdb when new) and return its libpq URL.

        Holds a shared lock until `detach`, or until the process dies. Twice is safe. Raises PostgresUnusable,
        also where a server that recovers does not answer `within_s`: it goes on by itself.
        """
        with _plainly():
            self._folder.prepare()
            with self._folder.alone():
                new = self._hold is None
                try:
                    self._take_hold()
                    return self._running(within_s)
                except BaseException as error:
                    # Ctrl-C leaves no server behind; one that is slow to recover may get on with it.
                    if new and self._let_go() and not isinstance(error, Exception):
                        self._stop()
                    raise

    def detach(self, *, stop: bool = False) -> None:
        """Let go; the last one to leave stops the server (`stop`: always). Twice is safe."""
        if (self._hold is not None or stop) and self._folder.path.is_dir():
            with _plainly(), self._folder.alone():
                if self._let_go() or stop:
                    self._stop()

    def _take_hold(self) -> int:
        if self._hold is None:
            self._hold = self._folder.open_lock("postgres.users")
            fcntl.flock(self._hold, fcntl.LOCK_SH)
        return self._hold

    def _let_go(self) -> bool:
        """Give up the hold; True when nobody else has one."""
        hold, self._hold = self._take_hold(), None
        try:
            with suppress(BlockingIOError):
                fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False
        finally:
            fcntl.flock(hold, fcntl.LOCK_UN)  # closing is not enough where a fork has kept a copy
            os.close(hold)

    def _running(self, within_s: int) -> str:
        self._refuse_other_version()
        deadline = time.monotonic() + within_s
        while complaint := self._complaint():
            if time.monotonic() > deadline:
                raise PostgresUnusable(f"PostgreSQL does not answer: {complaint}")
            if self._folder.alive():  # still starting or recovering, or on its way out after a kill
                time.sleep(0.02)
            else:
                self._start(within_s)
        return self._url()

    def _refuse_other_version(self) -> None:
        if (database := self._folder.database).exists():
            found, ours = (database / "PG_VERSION").read_text().strip(), version().split(".")[0]
            if found != ours:
                how = "dump it with the old version and restore it into a new data folder"
                raise PostgresUnusable(f"{database} was made by PostgreSQL {found}, this is {ours}: {how}")

    def _url(self) -> str:
        url = f"postgresql://{NAME}@/{NAME}?host={quote(str(self._folder.socket_folder()))}"
        return url + "&port=5432" if "PGPORT" in os.environ else url  # libpq would follow the variable

    def _complaint(self) -> str:
        """Why the database cannot be used just now; empty when it can."""
        try:
            psycopg.connect(self._url(), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            return reason(str(error))
        return ""

    def _start(self, within_s: int) -> None:
        if not self._folder.database.exists():
            self._initialise()
        self._folder.forget_the_dead()
        log = self._folder.path / "postgres.log"
        log.touch(mode=0o600)
        self._folder.account.give(log)
        known = log.stat().st_size
        # pg_ctl hands these to a shell. The folder is among them, quoted and whole: `alive` looks for it.
        flags = self._flags(unix_socket_directories=str(self._folder.socket_folder()))
        options = shlex.join(["-D", str(self._folder.database), *flags])
        done = self._run("pg_ctl", "start", *_PG_CTL, "-t", str(within_s), "-l", log.name, "-o", options)
        if done.returncode == 0 or self._folder.alive():  # alive: started for a program that was killed meanwhile
            return
        trouble = reason(log.read_bytes()[known:].decode(errors="replace") or done.stderr)
        # "Still in use": sessions of a server that was killed. They leave by themselves, so try again.
        if "still in use" not in trouble:
            raise PostgresUnusable(f"PostgreSQL does not start: {trouble}")

    def _stop(self) -> None:
        if not self._folder.alive():
            return
        if self._run("pg_ctl", "stop", *_PG_CTL, "-m", "fast", "-t", str(_STOP_S)).returncode:
            self._run("pg_ctl", "stop", *_PG_CTL, "-m", "immediate", "-t", str(_STOP_NOW_S))
        with suppress(OSError):
            self._folder.socket_folder().rmdir()

    def _initialise(self) -> None:
        """Make all of it elsewhere and rename it: what a kill leaves half done never looks fine."""
        for left in self._folder.path.glob("postgres.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        # A new place each time: an initdb whose program was killed may still be writing.
        new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._folder.path))
        self._folder.account.give(new)
        self._make("initdb", "-D", new, *_INITDB)
        flags = self._flags(exit_on_error="on")
        self._make("postgres", "--single", "-D", new, *flags, "postgres", told=f"CREATE DATABASE {NAME}")
        new.rename(self._folder.database)
        # Without this a power cut could bring the old name back, and the next start would throw all away.
        descriptor = os.open(self._folder.path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def _make(self, program: str, *arguments: str | Path, told: str = "") -> None:
        done = self._run(program, *arguments, told=told)
        if done.returncode:
            raise PostgresUnusable(f"the database cannot be made: {reason(done.stderr or done.stdout)}")

    def _run(self, program: str, *arguments: str | Path, told: str = "") -> CompletedProcess[str]:
        programs = find_programs(self._folder.account, self._folder.path)
        return self._folder.account.run(programs / program, *arguments, told=told, cwd=self._folder.path)

    def _flags(self, **more: str) -> list[str]:
        return [part for name, value in (self._settings | more).items() for part in ("-c", f"{name}={value}")]


@contextmanager
def _plainly() -> Iterator[None]:
    """Trouble with files and disks, in one line."""
    try:
        yield
    except OSError as error:
        raise PostgresUnusable(f"the private PostgreSQL is of no use: {error}") from error
