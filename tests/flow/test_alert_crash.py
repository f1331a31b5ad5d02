"""kill -9 of the process that decides alerts and sends them, a hundred times, at any of its steps."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from core.crypto import Vault
from core.db import transactions
from monitor.alerting.outbox import Outbox
from tests.alerting import Listener, target
from tests.flow.alert_crasher import AT_ONCE, sender

KILLS, STEPS = 100, 20
ROOT = Path(__file__).resolve().parents[2]
PATHS = ("/in", "/too")


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


class Crasher:
    """The processes that die. `begun`: how often a message to a target has begun to be sent."""

    def __init__(self, url: str, key: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.flow.alert_crasher", url, key]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.begun: Counter[tuple[str, str]] = Counter()
        self.died_at: Counter[str] = Counter()

    def __enter__(self) -> "Crasher":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def kill_one(self, after_steps: int) -> None:
        """Let one live for so many steps, then kill it, wherever it is by then."""
        assert self._process.stdin
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        pid, seen, last = 0, 0, ""
        while (words := self._line())[0] != "dead":
            if words[0] == "pid":
                pid = int(words[1])
            else:
                seen, last = seen + 1, words[0]
                self._note(words)
            if pid and seen >= after_steps:
                os.kill(pid, signal.SIGKILL)
                after_steps = sys.maxsize
        self.died_at[last] += 1

    def _line(self) -> list[str]:
        assert self._process.stdout
        line = self._process.stdout.readline().decode().split()
        assert line, "the processes ended by themselves"
        return line

    def _note(self, words: list[str]) -> None:
        if words[0] == "sending":
            self.begun[(path_of(words[1]), words[2])] += 1


def path_of(url: str) -> str:
    return "/" + url.rpartition("/")[2]


def test_nothing_that_was_decided_is_lost(engine, database_url, rows, listener):
    key = Fernet.generate_key().decode()
    transaction, vault = transactions(engine), Vault(key)
    for path in PATHS:
        target(transaction, vault, listener.url(path), name=path)
    with Crasher(database_url, key) as crasher:
        for _ in range(KILLS):
            crasher.kill_one(random.randint(1, STEPS))
            with transaction() as connection:  # what the dead one was sending is free again, a minute later
                connection.exec_driver_sql("UPDATE alert_deliveries SET claimed_until = now() - interval '1 second'")
    outbox = Outbox(transaction, vault, sender(lambda *words: crasher._note(list(words))), patience_s=30)
    outbox.deliver(datetime.now(UTC))
    outbox.stop()

    decided = {
        row["instance_name"]
        for row in rows("SELECT instance_name FROM incidents JOIN alerts ON incident_id = incidents.id")
    }
    arrived = Counter((path, name) for path in PATHS for name in names_at(listener, path))
    assert len(decided) >= KILLS // 4 * AT_ONCE
    assert set(arrived) == {(path, name) for path in PATHS for name in decided}
    assert rows("SELECT DISTINCT state FROM alert_deliveries") == [{"state": "sent"}]
    assert {what: count for what, count in arrived.items() if count > crasher.begun[what]} == {}
    assert {what: count for what, count in arrived.items() if crasher.begun[what] == 1 and count != 1} == {}
    assert sum(arrived.values()) - len(arrived) <= KILLS * len(PATHS)
    assert len(crasher.died_at) >= 3, crasher.died_at  # the kills did come at many different steps


def names_at(listener: Listener, path: str) -> list[str]:
    said = [body["message"].split() for body in listener.bodies(path)]
    return [word.rstrip(".") for words in said for word in words if word.startswith("user_")]
