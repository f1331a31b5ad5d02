"""What the supervisor does when the database does not come back, and how long it may take to end."""

import runpy
import time

import pytest

from core import postgres
from core.postgres import PostgresUnusable
from scripts import supervisor
from scripts.supervisor import ROOT, Supervisor
from tests.product import STOP_S


class Broken:
    """An embedded server that does not start."""

    def __init__(self) -> None:
        self.tried = 0

    def attach(self, *, within_s):
        self.tried += 1
        raise PostgresUnusable("no space left on device")

    def alive(self):
        return False


@pytest.fixture
def broken(settings_of, monkeypatch):
    server = Broken()
    watched = Supervisor(settings_of(), ("web",))
    monkeypatch.setattr(watched, "_postgres", server)
    monkeypatch.setattr(watched, "_postgres_folder", server)
    return watched, server


def test_a_database_that_does_not_start_is_tried_again_later(broken, monkeypatch, capsys):
    watched, server = broken
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(3):
        watched._look_after_postgres()
    assert server.tried == 1
    assert "no space left on device" in capsys.readouterr().err.splitlines()[-1]
    now += supervisor.POSTGRES_AGAIN_S
    watched._look_after_postgres()
    assert server.tried == 2


def test_the_end_comes_within_the_time_that_is_promised():
    assert supervisor.STOP_S + postgres._STOP_S + postgres._STOP_NOW_S < STOP_S
    assert runpy.run_path(str(ROOT / "gunicorn.conf.py"))["graceful_timeout"] < supervisor.STOP_S
