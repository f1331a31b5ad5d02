"""The live channel on gunicorn with gevent, one process and two: restarts, kills, lost wake-ups, many browsers."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import requests
from sqlalchemy import Engine
from websockets.exceptions import InvalidStatus

from bootstrap.system import FEED_GREW, System
from core import events
from core.dburl import libpq_url
from core.events import DomainEvent
from tests.bursts import burst
from tests.conftest import KEY
from tests.factories import make_instance
from tests.hosts import OtherHost, database_behind, url_through
from tests.ledger import Crowd
from tests.live import NOWHERE, close_code, hear, line, parts_of, raw_socket, say, subscribed, tell
from tests.relay import Relay
from tests.waiting import until
from tests.web_process import WebProcess

USERS, EACH = 50, 10
GUARD_S = 90
Processes = list[WebProcess]


@pytest.fixture(scope="module")
def system(place: Path, database_url: str) -> Iterator[System]:
    """What writes; the processes have parts of their own."""
    built = parts_of(place, database_url)
    built.bell.start()
    yield built
    built.stop()


@pytest.fixture(scope="module")
def processes(place: Path, database_url: str) -> Iterator[Processes]:
    """Two web processes on one database."""
    environ = {"DATABASE_URL": database_url, "ZELADOR_DATA_DIR": str(place / "settings"), "LOG_LEVEL": "WARNING"}
    environ |= {"EVOLUTION_API_URL": NOWHERE, "EVOLUTION_API_KEY": KEY}
    with WebProcess(**environ) as one, WebProcess(**environ) as two:
        yield [one, two]


@pytest.fixture(autouse=True)
def _emptied(engine: Engine) -> None:
    """The database is left empty."""


@pytest.fixture
def web(processes: Processes) -> str:
    return processes[0].url


@pytest.fixture
def user(system):
    with system.transaction() as connection:
        return make_instance(connection)[0]


def test_snapshot_stream_and_misbehaviour(web, system, user, bearer):
    with line(web, bearer(user)) as client:
        assert hear(subscribed(client))["id"] == 0
        tell(system, user, *range(1, 301))
        assert [hear(client)["id"] for _ in range(300)] == list(range(1, 301))
        client.send("{")
        assert hear(client)["code"] == "BAD_FRAME"
        client.send("x" * (16 * 1024 + 1))
        assert close_code(client) == 1009
    with line(web, bearer(user)) as client:
        subscribed(client)
        for _ in range(80):
            say(client, type="ping")
        assert close_code(client) == 4429
    with pytest.raises(InvalidStatus) as refused, line(web, bearer(user), origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    broken = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "8"} | bearer(user)
    assert requests.get(f"{web}/ws", headers=broken, timeout=10).status_code == 400


def test_a_slow_reader_holds_nobody_up_and_gets_all_of_it_intact(web, system, user, bearer):
    """The client stops reading after some frames of 40 KB; what it missed meanwhile comes from the feed."""
    with line(web, bearer(user)) as slow, line(web, bearer(user)) as other:
        hear(subscribed(slow))
        hear(subscribed(other))
        burst(system, user, *range(1, 401), filler="x" * 40_000)
        assert [hear(other)["id"] for _ in range(400)] == list(range(1, 401))
        assert [hear(slow)["id"] for _ in range(400)] == list(range(1, 401))


def test_the_checks_of_the_docs_tell_whether_it_gets_through(web, user, bearer):
    """Whether an upgrade passes, and whether Socket.IO answers."""
    with raw_socket(web, bearer(user)):
        pass  # it has answered 101
    without = requests.get(f"{web}/ws", headers=bearer(user), timeout=10)
    assert without.status_code == 400
    socket_io = requests.get(f"{web}/socket.io/?EIO=4&transport=polling", timeout=10)
    assert socket_io.text.startswith('0{"sid":')


@pytest.mark.parametrize("ring", [True, False], ids=["with a wake-up", "by polling alone"])
def test_both_processes_hear_what_a_third_wrote(processes, system, user, bearer, ring):
    with line(processes[0].url, bearer(user)) as one, line(processes[1].url, bearer(user)) as two:
        for client in (one, two):
            hear(subscribed(client))
        for number in (1, 2):
            tell(system, user, number, ring=ring)
            assert [hear(client)["id"] for client in (one, two)] == [number, number]


def test_two_hosts_hear_each_others_events(processes, system, user, bearer, database_url, place):
    """The other one has its own network, and the database over it; wake-ups get through, and so does polling."""
    with OtherHost() as host, Relay(host.here, database_behind(database_url)) as way:
        environ = {"DATABASE_URL": url_through(database_url, host.here, way.port), "HOST": host.address}
        environ |= {"ZELADOR_DATA_DIR": str(place / "settings"), "LOG_LEVEL": "WARNING"}
        environ |= {"EVOLUTION_API_URL": NOWHERE, "EVOLUTION_API_KEY": KEY, "WEBHOOK_URL": "http://127.0.0.1:8000"}
        far = WebProcess(**environ)
        far.within = host.within
        with (
            far,
            line(far.url, bearer(user)) as there,
            line(processes[0].url, bearer(user)) as here,
        ):
            for client in (there, here):
                hear(subscribed(client))
            for number, ring in ((1, True), (2, False)):
                tell(system, user, number, ring=ring)
                assert [hear(client)["id"] for client in (there, here)] == [number, number]


def test_listening_connections_that_are_cut_lose_nothing(processes, system, user, bearer, database_url):
    """Again and again, while events come; each cut is one more second without wake-ups at most."""
    listening = "FROM pg_stat_activity WHERE query LIKE 'LISTEN %'"
    with (
        line(processes[0].url, bearer(user)) as client,
        psycopg.connect(libpq_url(database_url), autocommit=True) as connection,
    ):
        hear(subscribed(client))
        for number in range(1, 4):
            until(lambda: connection.execute(f"SELECT pid {listening}").fetchall(), lambda found: len(found) >= 2)
            connection.execute(f"SELECT pg_terminate_backend(pid) {listening}")
            tell(system, user, number)
            assert hear(client)["id"] == number


def test_who_comes_back_after_a_restart_misses_nothing(processes, system, user, bearer):
    """SIGTERM closes every socket with 1012 within seconds, and says when to come back."""
    tell(system, user, 1, 2)
    with line(processes[0].url, bearer(user)) as client, line(processes[0].url, bearer(user)) as silent:
        assert hear(subscribed(client))["id"] == 2
        assert processes[0].end() == 0
        assert close_code(client) == 1012
        assert client.close_reason.startswith("restart, retry_after_ms=")
        assert close_code(silent) == 1012
    tell(system, user, 3, 4, 5)
    with line(processes[0].start().ready().url, bearer(user)) as client:
        subscribed(client, since=2)
        assert [hear(client)["id"] for _ in range(3)] == [3, 4, 5]


@pytest.mark.timeout(600)
def test_500_browsers_lose_nothing_and_get_nothing_twice(processes, system, bearer):
    """Each keeps a ledger, while both processes are restarted in turn and one's worker is killed, under load."""
    with system.transaction() as connection:
        users = [make_instance(connection)[0] for _ in range(USERS)]
    headers = [bearer(user) for user in users for _ in range(EACH)]
    with Crowd([process.url for process in processes], headers) as crowd:
        with writing(system, users) as written:
            until(lambda: all(browser.live for browser in crowd.browsers), guard_s=GUARD_S)
            assert processes[0].end() == 0
            processes[0].start().ready()
            processes[1].kill_worker()
            until(lambda: all(browser.codes and browser.live for browser in crowd.browsers), guard_s=GUARD_S)
        last = written()
        until(
            lambda: sum(browser.last < last for browser in crowd.browsers), lambda behind: behind == 0, guard_s=GUARD_S
        )
    for browser in crowd.browsers:
        assert browser.ids == list(range(1, last + 1))
        assert browser.resets == 0
    codes = {code for browser in crowd.browsers for code in browser.codes}
    assert 1012 in codes


class writing:  # noqa: N801 — a context, read as one
    """Writes an event for each of these users, again and again; what it returns tells how many each has got."""

    def __init__(self, system: System, users: list[UUID]) -> None:
        self._system, self._users, self._written = system, users, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Callable[[], int]:
        self._thread.start()
        return lambda: self._written

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _write(self) -> None:
        while not self._over.wait(0.25):
            with self._system.transaction() as connection:
                happened = [DomainEvent(user_id=one, type="notice", data={"n": self._written}) for one in self._users]
                events.record(connection, happened)
            self._written += 1
            self._system.bell.ring(FEED_GREW, [str(one) for one in self._users])
