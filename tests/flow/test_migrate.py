"""scripts/migrate_whatsapp.py as operators run it: real processes, killed, interrupted, two at once (J001–J003)."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.conftest import KEY
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "scripts" / "migrate_whatsapp.py")
MANY = 5000
FIELDS = {
    "command", "dry_run", "rows", "gateway", "gateway_instances", "processed", "migrated", "skipped", "errors",
    "mendable", "notes", "interrupted", "counts", "findings", "exit_code",
}  # fmt: skip
FINDING = {"code", "kind", "instance", "user_id", "becomes", "gateway_name", "text"}


class Tool:
    """Runs the script on the test's database and gateway."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ

    def __call__(self, *arguments: str | bytes, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, SCRIPT, *arguments]
        return subprocess.run(
            command,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, SCRIPT, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.environ, stdout=pipe, stderr=pipe, text=True, stdin=subprocess.DEVNULL
        )


@pytest.fixture
def tool(engine, database_url, sandbox, place):
    return Tool(
        {
            "PATH": os.environ["PATH"],
            "ZELADOR_DATA_DIR": str(place / "migrate"),
            "DATABASE_URL": database_url,
            "EVOLUTION_API_URL": sandbox.url,
            "EVOLUTION_API_KEY": KEY,
        }
    )


@pytest.fixture
def old_rows(engine):
    """So many users with a row `auzap_<id>` each."""

    def make(count: int) -> None:
        with engine.begin() as connection:
            connection.execute(
                text("INSERT INTO profiles (id) SELECT gen_random_uuid() FROM generate_series(1, :n)"), {"n": count}
            )
            connection.execute(
                text("INSERT INTO whatsapp_instances (instance_name) SELECT 'auzap_' || id FROM profiles")
            )

    return make


@pytest.fixture
def settled(rows):
    """How many rows are as they should be, how many are half done, and how many audit entries there are."""

    def count() -> tuple[int, int, int]:
        (found,) = rows(
            """SELECT count(*) FILTER (WHERE instance_name = 'user_' || user_id
                                       AND gateway_name = 'auzap_' || user_id) AS good,
                      count(*) FILTER (WHERE (user_id IS NULL) <> (instance_name LIKE 'auzap_%')) AS half,
                      (SELECT count(*) FROM audit WHERE action = 'migrated') AS noted
               FROM whatsapp_instances"""
        )
        return int(found["good"]), int(found["half"]), int(found["noted"])

    return count


@contextlib.contextmanager
def held_row(engine, number: int) -> Iterator[None]:
    """Somebody holds the row at this place of the ids: a run that comes there waits."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # else it is over after 20 s
        connection.execute(
            text(
                "SELECT FROM whatsapp_instances "
                "WHERE id = (SELECT id FROM whatsapp_instances ORDER BY id OFFSET :n LIMIT 1) FOR UPDATE"
            ),
            {"n": number},
        )
        yield


def waiting_runs(rows) -> int:
    """How many runs wait for a lock."""
    query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return len(rows(query))


def report_of(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    out, _ = process.communicate(timeout=60)
    return process.returncode, json.loads(out)


def test_check_update_check(tool, old_rows, settled):
    old_rows(30)
    first = tool("check")
    assert (first.returncode, first.stderr) == (1, "reading: 30 of 30\nusers: 30 of 30\ncomparing: 30 of 30\n")
    assert first.stdout.startswith(
        "30 rows in whatsapp_instances · gateway: reached, 0 instances\nto mend: old_prefix 30"
    )
    assert first.stdout.endswith("processed 30, migrated 0, skipped 0, errors 0 (to mend: 30)\n")
    done = tool("update", "--yes")
    assert (done.returncode, settled()) == (0, (30, 0, 30))
    assert done.stdout.endswith("processed 30, migrated 30, skipped 0, errors 0\n")
    again = tool("update", "--yes", "--json")
    assert (again.returncode, json.loads(again.stdout)["processed"], settled()) == (0, 0, (30, 0, 30))
    assert tool("check").returncode == 0


def test_json_is_one_object_with_fields_to_rely_on(tool, old_rows, settled):
    old_rows(3)
    done = tool("update", "--dry-run", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, settled()) == (0, (0, 0, 0))
    assert found.keys() == FIELDS
    assert all(finding.keys() == FINDING for finding in found["findings"])
    assert (found["command"], found["dry_run"], found["exit_code"]) == ("update", True, 0)
    assert (found["rows"], found["processed"], found["mendable"], found["migrated"]) == (3, 3, 3, 0)
    assert found["counts"] == {"old_prefix": 3, "not_on_gateway": 3}


def test_without_a_terminal_update_wants_a_yes(tool, old_rows, settled):
    old_rows(1)
    done = tool("update")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert settled() == (0, 0, 0)


@pytest.mark.parametrize(("answer", "code", "good"), [("n\n", 1, 0), ("y\n", 0, 2), ("\x03", 130, 0)])
def test_on_a_terminal_it_shows_what_it_would_do_and_asks(tool, old_rows, settled, answer, code, good):
    old_rows(2)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, SCRIPT, "update"], tool.environ)
    shown = b""
    with open(terminal, "r+b", buffering=0) as screen:
        while b"[y/N]" not in shown:
            shown += screen.read(1000)
        screen.write(answer.encode())
        with contextlib.suppress(OSError):  # the end of a terminal
            while True:
                # a Ctrl-C that comes while Python is on its way into reading is noticed with the next one only
                while answer == "\x03" and not select.select([screen], [], [], 3)[0]:
                    screen.write(answer.encode())
                if not (piece := screen.read(1000)):
                    break
                shown += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    assert b"Change these 2?" in shown
    assert b"[####" in shown, "a bar"
    assert settled()[0] == good


def test_one_instance_by_name(tool, old_rows, rows, settled):
    old_rows(2)
    name = str(rows("SELECT instance_name FROM whatsapp_instances")[0]["instance_name"])
    assert tool("migrate", name, "--dry-run").returncode == 0
    assert settled() == (0, 0, 0)
    assert (tool("migrate", name).returncode, settled()) == (0, (1, 0, 1))
    assert (tool("migrate", name).returncode, settled()) == (0, (1, 0, 1))


def test_an_unknown_instance_is_not_found(tool):
    done = tool("migrate", "user_does_not_exist")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not found" in done.stderr
    found = json.loads(tool("migrate", "user_does_not_exist", "--json").stdout)
    assert (found["exit_code"], found["error"]) == (1, "user_does_not_exist: not found")


@pytest.mark.parametrize(
    "arguments", [["migrate", b"\xff\xfe"], ["migrate"], ["frobnicate"], ["update", "--batch", "0"], ["migrate", ""]]
)
def test_what_makes_no_sense_is_wrong_usage(tool, arguments):
    done = tool(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("old,user_id\nx", "--map: line 2: must be"),
        ("x,{user}\nx,{user}", "--map: line 2: x stands in line 1 already"),
        ("x,{nobody}", "--map: line 1: there is no user"),
        ("x,me", "--map: line 1: the user's id is no UUID"),
        (b"\xff\xfe,", "--map: is no UTF-8 text"),
    ],
)
def test_a_wrong_table_is_refused_before_anything_is_done(tool, old_rows, rows, settled, place, table, said):
    old_rows(1)
    path = place / f"{uuid4()}.csv"
    user = rows("SELECT id FROM profiles")[0]["id"]
    path.write_bytes(table if isinstance(table, bytes) else table.format(user=user, nobody=uuid4()).encode())
    done = tool("update", "--yes", "--map", str(path))
    assert (done.returncode, done.stdout, settled()) == (2, "", (0, 0, 0))
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_a_table_says_whose_a_free_name_is(tool, engine, rows, place):
    user = uuid4()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO profiles (id) VALUES (:id)"), {"id": user})
        connection.execute(text("INSERT INTO whatsapp_instances (instance_name) VALUES ('Loja, Centro')"))
    path = place / f"{uuid4()}.csv"
    path.write_text(f'Old name,User id\n"Loja, Centro",{user}\n')
    assert tool("update", "--yes", "--map", str(path)).returncode == 0
    (row,) = rows("SELECT instance_name, gateway_name, user_id FROM whatsapp_instances")
    assert tuple(row.values()) == (f"user_{user}", "Loja, Centro", user)


def test_a_gateway_that_is_away_is_only_a_note(tool, old_rows, settled, free_port):
    old_rows(2)
    done = tool("update", "--yes", EVOLUTION_API_URL=f"http://127.0.0.1:{free_port}", RETRY_MAX_ATTEMPTS="1")
    assert (done.returncode, settled()) == (0, (2, 0, 2))
    assert "gateway: away" in done.stdout
    assert "gateway_away 1 – the gateway part was left out" in done.stdout


def test_a_database_that_is_away_or_behind_has_a_code_of_its_own(tool, free_port, engine, rows):
    away = tool("check", DATABASE_URL=f"postgresql://127.0.0.1:{free_port}/x")
    assert (away.returncode, away.stderr.count("\n")) == (69, 1)
    wrong = tool("check", DATABASE_URL="mysql://x")
    assert (wrong.returncode, "DATABASE_URL" in wrong.stderr) == (78, True)
    at = rows("SELECT version_num FROM alembic_version")[0]["version_num"]
    stamp = text("UPDATE alembic_version SET version_num = :at")
    with engine.begin() as connection:
        connection.execute(stamp, {"at": "9999"})
    try:
        newer = tool("check")
    finally:
        with engine.begin() as connection:
            connection.execute(stamp, {"at": at})
    assert (newer.returncode, "schema" in newer.stderr) == (78, True)


def test_a_run_that_is_killed_is_simply_started_again(tool, old_rows, settled, engine, rows):
    old_rows(MANY)
    with held_row(engine, MANY // 2):
        killed = tool.start("update", "--yes", "--batch", "100")
        until(lambda: waiting_runs(rows))
        killed.kill()
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
        assert settled() == (MANY // 2, 0, MANY // 2), "whole batches and nothing else"
    code, found = report_of(tool.start("update", "--yes", "--json"))
    assert (code, found["migrated"], settled()) == (0, MANY // 2, (MANY, 0, MANY))


def test_ctrl_c_ends_after_the_step_and_says_what_was_done(tool, old_rows, settled, engine, rows):
    old_rows(MANY)
    with held_row(engine, MANY // 2):
        stopped = tool.start("update", "--yes", "--json", "--batch", "100")
        until(lambda: waiting_runs(rows))
        stopped.send_signal(signal.SIGINT)
        assert stopped.stderr is not None
        until(lambda: "ending" in stopped.stderr.readline())
    code, found = report_of(stopped)
    good, half, noted = settled()
    assert (code, found["interrupted"], found["exit_code"]) == (130, True, 130)
    assert found["migrated"] == good == noted == MANY // 2 + 100
    assert half == 0
    assert (tool("update", "--yes").returncode, settled()) == (0, (MANY, 0, MANY))


def test_a_second_ctrl_c_ends_at_once(tool, old_rows, settled, engine, rows):
    old_rows(200)
    with held_row(engine, 100):
        stopped = tool.start("update", "--yes", "--json", "--batch", "100")
        until(lambda: waiting_runs(rows))
        stopped.send_signal(signal.SIGINT)
        assert stopped.stderr is not None
        until(lambda: "ending" in stopped.stderr.readline())
        stopped.send_signal(signal.SIGINT)
        code, found = report_of(stopped)
    assert (code, found["migrated"], settled()) == (130, 100, (100, 0, 100))


def test_two_runs_at_once_share_the_work(tool, old_rows, settled, engine, rows):
    old_rows(MANY)
    with held_row(engine, 0):
        both = [tool.start("update", "--yes", "--json", "--batch", "100") for _ in range(2)]
        until(lambda: waiting_runs(rows), lambda count: count == 2)
    reports = [report_of(run) for run in both]
    assert [code for code, _ in reports] == [0, 0]
    assert sum(found["migrated"] for _, found in reports) == MANY
    assert settled() == (MANY, 0, MANY)
