"""The data folder around the embedded server: who may enter, who is here, where it listens, what it noted.

Called by core.postgres, which starts and stops the server: `prepare`, then the rest inside `alone`.
"""

import fcntl
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from core.postgres_programs import NAME, Account, PostgresUnusable, server_account

_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 103  # what every sockaddr_un holds: macOS 103, Linux 107
_NOBODY = 2**31 - 1  # a process number that no system gives


class DataFolder:
    def __init__(self, path: Path):
        self.path = path.resolve()
        self.database = self.path / "postgres"
        self._note = self.database / "postmaster.pid"

    @cached_property
    def account(self) -> Account:
        return server_account()

    def prepare(self) -> None:
        """Make a folder that the account can enter; nothing above it is touched. Raises PostgresUnusable."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.account.lent:
            if not self.account.can_enter(above := self.path.parent):
                why = f"PostgreSQL's system user {NAME} cannot enter {above}"
                raise PostgresUnusable(f"{why}: put the data folder (ZELADOR_DATA_DIR) elsewhere")
            if not self.account.can_enter(self.path):  # its group may pass through, and see nothing
                os.chown(self.path, -1, self.account.gid)
                self.path.chmod(stat.S_IMODE(self.path.stat().st_mode) & ~0o070 | 0o010)
        if self.database.exists() and (owner := self.database.stat().st_uid) != self.account.uid:
            raise PostgresUnusable(f"{self.database} belongs to user id {owner}: run as that user")

    def open_lock(self, name: str) -> int:
        """A descriptor to lock. The kernel drops the lock with its process, and no child inherits it."""
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else starts, stops, comes or goes meanwhile."""
        descriptor = self.open_lock("postgres.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def socket_folder(self) -> Path:
        """`run` in the data folder, or a short one named after it; made, and nobody else's."""
        folder = self.path / "run"
        socket = os.fsencode(folder / _SOCKET)
        if len(socket) > _SOCKET_PATH_BYTES or set(b',"') & set(socket):  # these two make a list for libpq
            folder = Path("/tmp", "zelador-" + hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16])  # noqa: S108
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid in (os.geteuid(), self.account.uid)
        if not ours or found.st_mode & 0o077:
            raise PostgresUnusable(f"{folder} is not a private folder of the server's: remove it")
        self.account.give(folder)
        return folder

    def _noted(self) -> list[str]:
        """The server's note: its process, …, its shared memory; empty when no server was left."""
        with suppress(FileNotFoundError):
            return self._note.read_text(errors="surrogateescape").splitlines()
        return []

    def alive(self) -> bool:
        """Is the noted process this folder's server? After a crash the number may be another program's."""
        pid = "".join(self._noted()[:1])
        return pid.isdigit() and f" -D {self.database} " in _command_line(pid)

    def forget_the_dead(self) -> None:
        """A noted process number that another program has by now would be taken for a running server."""
        (self.socket_folder() / f"{_SOCKET}.lock").unlink(missing_ok=True)
        if not (rest := self._noted()[1:]):
            self._note.unlink(missing_ok=True)
            return
        # Kept but for the number: it names the memory by which PostgreSQL detects surviving processes.
        descriptor = os.open(self._note, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
        with open(descriptor, "w", errors="surrogateescape") as file:
            file.write("\n".join([str(_NOBODY), *rest, ""]))


def _command_line(pid: str) -> str:
    """What a process was started as; empty when there is none, or only its remains."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return os.fsdecode(Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" "))
        return ""
    command = ["/bin/ps", "-ww", "-o", "command=", "-p", pid]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
