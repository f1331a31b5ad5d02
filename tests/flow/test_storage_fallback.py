"""The database stops, or freezes, and comes back: lists stay, writes say so, and nobody has to start anything anew."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from bootstrap.system import System, build
from bootstrap.web import _instances, build_app
from core import migrate
from core.access import Principal
from core.db import Base, make_engine
from core.errors import StorageUnavailable
from core.postgres import EmbeddedPostgres
from core.settings import Settings
from manager.listing import MOST_KEPT, Question
from sandbox.server import Sandbox
from tests.conftest import KEY
from tests.factories import make_instance, token_for
from tests.waiting import until
from tests.web_process import WebProcess

PATH = "/api/integrations/whatsapp/instances"
POSTPONED = "Refresh automático adiado devido à indisponibilidade do storage."


class Server:
    """A PostgreSQL of our own, to be stopped and frozen."""

    def __init__(self, folder: Path) -> None:
        self._postgres = EmbeddedPostgres(folder, options={"fsync": "off"})
        self._note = folder / "postgres" / "postmaster.pid"
        self._frozen: list[int] = []
        self.url = self._postgres.attach()

    def stop(self) -> None:
        self._postgres.detach(stop=True)

    def start(self) -> None:
        assert self._postgres.attach() == self.url

    def freeze(self) -> None:
        """The postmaster first, so that none of its children is born unseen."""
        postmaster = int(self._note.read_text().split()[0])
        os.kill(postmaster, signal.SIGSTOP)
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
        self._frozen = [postmaster, *map(int, children)]

    def thaw(self) -> None:
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    server = Server(place / "outages")
    engine = make_engine(server.url, statement_timeout_ms=30_000)
    migrate.upgrade(engine)
    engine.dispose()
    yield server
    server.thaw()
    server.stop()


@pytest.fixture
def well(server: Server) -> Iterator[Server]:
    """It runs, and does so afterwards too."""
    yield server
    server.thaw()
    server.start()


@pytest.fixture
def parts(
    well: Server, settings_of: Callable[..., Settings], sandbox: Sandbox, free_port: int, variables: dict[str, str]
) -> Iterator[System]:
    address = {"EVOLUTION_API_URL": sandbox.url, "EVOLUTION_API_KEY": KEY, "PORT": str(free_port)}
    built = build(settings_of(**address, RATE_LIMIT_READS="0", RATE_LIMIT_WRITES="0", **variables), well.url)
    yield built
    well.thaw()
    well.start()
    _empty(built.engine)
    built.stop()


@pytest.fixture(scope="module")
def web(server: Server, gateway: Sandbox, place: Path) -> Iterator[WebProcess]:
    address = {"DATABASE_URL": server.url, "EVOLUTION_API_URL": gateway.url, "EVOLUTION_API_KEY": KEY}
    with WebProcess(ZELADOR_DATA_DIR=str(place / "settings"), **address) as process:
        yield process
        assert "Traceback" not in process.log()


@pytest.fixture
def app(parts: System) -> Flask:
    return build_app(parts)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


def bearer_of(parts: System, user_id: UUID, **facts: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_for(parts, Principal(user_id=user_id, **facts))}"}


def somebody(parts: System) -> tuple[dict[str, str], str]:
    """Headers of a user whose instance is connected by what we know, and its name; the gateway has none."""
    with parts.transaction() as connection:
        user_id, name = make_instance(connection)
        connection.execute(text("UPDATE whatsapp_instances SET state = 'connected', status = 'connected'"))
    return bearer_of(parts, user_id), name


def listed(client: FlaskClient, headers: dict[str, str], query: str = "") -> tuple[list[tuple[str, str]], Any]:
    """Names and statuses, and what there is to say about them."""
    answer = client.get(PATH + query, headers=headers)
    assert (answer.status_code, answer.json and answer.json["success"]) == (200, True), answer.text
    body = answer.json or {}
    return [(item["instanceName"], item["status"]) for item in body["instances"]], body["meta"]


@pytest.fixture
def variables() -> dict[str, str]:
    return {}


@pytest.mark.parametrize("trouble", ["stop", "freeze"])
def test_the_list_stays_while_storage_is_away_and_is_fresh_again_after_it(parts, web, well, trouble):
    """As operators run it: gunicorn with gevent, whose waits are other ones."""
    headers, name = somebody(parts)

    def ask(method: str, path: str, headers: dict[str, str] = headers, **body: object) -> requests.Response:
        return requests.request(method, web.url + path, headers=headers, json=body or None, timeout=30)

    known = ask("GET", PATH).json()
    assert [(one["instanceName"], one["status"]) for one in known["instances"]] == [(name, "connected")]
    assert (known["meta"]["storageFallback"], known["meta"]["warnings"]) == (False, [])
    getattr(well, trouble)()
    during = ask("GET", PATH)
    meta = during.json()["meta"]
    assert (during.status_code, during.json()["instances"]) == (200, known["instances"])
    assert (meta["storageFallback"], meta["source"], meta["readAt"]) == (True, "memory", known["meta"]["readAt"])
    assert meta["warnings"][0] == POSTPONED
    for refused in (ask("POST", PATH, name="x"), ask("GET", "/api/whatsapp/status"), ask("GET", "/api/messages")):
        assert (refused.status_code, refused.json()["code"]) == (503, "WHATSAPP_STORAGE_UNAVAILABLE")
        assert "dbCode" in refused.json()["error"]["details"]
        assert refused.headers["Retry-After"]
    health = ask("GET", "/health").json()
    assert (health["status"], health["checks"]["database"]) == ("ok", {"status": "unavailable"})
    well.start() if trouble == "stop" else well.thaw()
    after = until(lambda: ask("GET", PATH).json()["meta"], lambda meta: meta["source"] == "storage")
    assert (after["storageFallback"], after["warnings"]) == (False, [])
    assert ask("GET", "/api/whatsapp/status").status_code == 200
    assert ask("GET", f"{PATH}?refresh=1").json()["meta"]["refresh"] == {"requested": True, "live": 1}
    assert ask("POST", PATH, bearer_of(parts, uuid4()), name="x").status_code == 201


def test_a_statement_under_way_when_the_server_freezes_has_an_end_and_leaves_nothing_half_done(parts, well):
    with parts.transaction() as connection:
        before = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()

    def work() -> None:
        with parts.transaction() as connection:
            make_instance(connection)
            connection.connection.driver_connection.patience_s = 0.5  # instead of the usual 20 s
            well.freeze()
            connection.execute(text("SELECT 1"))

    with pytest.raises(StorageUnavailable):
        work()
    assert parts.engine.pool.checkedout() == 0
    well.thaw()
    with parts.transaction() as connection:
        after, left = connection.execute(text("SELECT pg_backend_pid(), (SELECT count(*) FROM profiles)")).one()
    assert after != before  # a late answer would be taken for another statement's
    assert left == 0


def test_no_read_is_500_while_storage_is_away(parts, client, app, well):
    user, admin = bearer_of(parts, uuid4()), bearer_of(parts, uuid4(), role="admin")
    for headers in (user, admin):
        client.get("/api/whatsapp/status", headers=headers)
    well.stop()
    reads = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    plain = [rule for rule in reads if rule.startswith("/api/") and "<" not in rule and rule != "/api/events"]
    found = {(rule, client.get(rule, headers=headers).status_code) for rule in plain for headers in (user, admin)}
    assert {status for _, status in found} <= {200, 403, 503}, found
    assert {status for rule, status in found if rule == PATH} == {200}


def test_nobodys_questions_push_out_what_is_kept_for_others(parts, well):
    instances = _instances(parts)
    with parts.transaction() as connection:
        users = [make_instance(connection)[0] for _ in range(2)]
    first, *_ = found = [instances.find(Question(owner=user)) for user in users]
    for number in range(MOST_KEPT):
        instances.find(Question(owner=users[1], organization_id=f"org_{number}"))
    well.stop()
    assert [instances.find(Question(owner=user)).items for user in users] == [one.items for one in found]
    assert instances.find(Question(owner=users[0], organization_id="org_1")).items == []
    assert len(first.items) == 1


class TestWhatNobodyHasReadYet:
    def test_is_what_the_gateway_shows_to_its_owner(self, parts, client, well, sandbox):
        user = uuid4()
        headers = bearer_of(parts, user)
        assert client.post("/api/whatsapp/connect", headers=headers).status_code == 200
        client.post("/api/whatsapp/connect", headers=bearer_of(parts, uuid4()))
        well.stop()
        shown, meta = listed(client, headers)
        assert shown == [(f"user_{user}", "connecting")]
        assert (meta["storageFallback"], meta["source"], meta["warnings"][0]) == (True, "gateway", POSTPONED)
        assert listed(client, bearer_of(parts, uuid4()))[0] == []

    def test_is_all_that_is_named_after_a_user_for_an_administrator(self, parts, client, well, sandbox):
        users = sorted(str(uuid4()) for _ in range(2))
        for user in users:
            assert client.post("/api/whatsapp/connect", headers=bearer_of(parts, UUID(user))).status_code == 200
        requests.post(
            f"{sandbox.url}/instance/create",
            json={"instanceName": "of-others", "integration": "WHATSAPP-BAILEYS"},
            headers={"apikey": KEY},
            timeout=30,
        ).raise_for_status()
        well.stop()
        admin = bearer_of(parts, uuid4(), role="admin")
        assert [name for name, _ in listed(client, admin)[0]] == [f"user_{user}" for user in users]
        narrowed = client.get(f"{PATH}?agreementId=org_1", headers=admin)  # of which the gateway knows nothing
        assert (narrowed.status_code, narrowed.json["code"]) == (503, "WHATSAPP_STORAGE_UNAVAILABLE")

    def test_is_503_where_the_gateway_is_away_too(self, parts, client, well, sandbox):
        requests.post(f"{sandbox.url}/sandbox/faults", json={"error_rate": 1, "status": 503}, timeout=30)
        well.stop()
        answer = client.get(PATH, headers=bearer_of(parts, uuid4()))
        assert (answer.status_code, answer.json["code"]) == (503, "WHATSAPP_STORAGE_UNAVAILABLE")


class TestARefreshWhileStorageIsAway:
    def test_asks_the_gateway(self, parts, client, well):
        headers, name = somebody(parts)
        listed(client, headers)
        well.stop()
        shown, meta = listed(client, headers, "?refresh=1")
        assert (shown, meta["refresh"]) == ([(name, "disconnected")], {"requested": True, "live": 1})
        assert (meta["storageFallback"], meta["warnings"][0]) == (True, POSTPONED)

    @pytest.mark.parametrize("variables", [{"WHATSAPP_DISABLE_REFRESH_ON_STORAGE_DEGRADED": "1"}])
    def test_asks_nobody_where_the_operator_says_so(self, parts, client, well, sandbox):
        headers, name = somebody(parts)
        listed(client, headers)
        well.stop()
        before = len(sandbox.log.items())
        shown, meta = listed(client, headers, "?refresh=1")
        assert (shown, meta["refresh"]) == ([(name, "connected")], {"requested": True, "live": 0})
        assert meta["warnings"][0] == POSTPONED
        assert sandbox.log.items()[before:] == []
