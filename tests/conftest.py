"""Real parts for all tests: PostgreSQL, the sandbox, a served application. Rows are deleted after each test."""

import gc
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from sqlalchemy import Engine, text
from werkzeug.serving import make_server

import conversations.tables  # noqa: F401 — all tables, so that the cleaning knows them
import core.audit  # noqa: F401
import manager.tables  # noqa: F401
import monitor.tables  # noqa: F401
import notify.tickets  # noqa: F401
import webhooks.tables  # noqa: F401
from bootstrap.system import System, build
from bootstrap.web import build_app
from core import migrate
from core.access import Principal, user_uuid
from core.db import Base, make_engine
from core.postgres import EmbeddedPostgres
from core.settings import Settings
from sandbox.server import Sandbox
from tests.clock import FrozenClock
from tests.factories import token_for
from tests.ports import free_ports

KEY = "test-gateway-key-0123456789abcdef0123"
# laws are about values, not about how fast a shared machine draws them
hypothesis.settings.register_profile("house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("house")
# where rich is installed it would draw every traceback, for a second and more
plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("ZELADOR_NO_SKIPS") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("skipped tests are not allowed here", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("ZELADOR_NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that the database's system user can pass through; pytest's own are closed to it when run by root."""
    folder = Path(tempfile.mkdtemp(prefix="zelador-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def database_url(place: Path) -> Iterator[str]:
    """A migrated database on an embedded server that does not sync: crash tests start a product of their own."""
    server = EmbeddedPostgres(place / "suite", options={"fsync": "off", "synchronous_commit": "off"})
    url = server.attach()
    engine = make_engine(url, statement_timeout_ms=30_000)
    migrate.upgrade(engine)
    engine.dispose()
    yield url
    server.detach(stop=True)


@pytest.fixture(scope="session")
def session_engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, statement_timeout_ms=30_000)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(session_engine: Engine) -> Iterator[Engine]:
    """The database, empty again afterwards."""
    yield session_engine
    with session_engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
def calm() -> Iterator[None]:
    """No garbage is collected meanwhile: what has to be closed could not be, a thousand calls deep in a parser."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def monitor_clock() -> FrozenClock:
    """The health monitor's time; it starts where the database's is."""
    return FrozenClock(datetime.now(UTC))


@pytest.fixture(scope="session")
def gateway() -> Iterator[Sandbox]:
    """Its codes stay for a minute: a slow machine must not meet the next one."""
    with Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000) as box:
        yield box


@pytest.fixture
def sandbox(gateway: Sandbox) -> Iterator[Sandbox]:
    """The gateway's sandbox, empty."""
    gateway.reset()
    yield gateway
    gateway.reset()


@pytest.fixture
def settings_of(place: Path) -> Callable[..., Settings]:
    """Settings from these variables and nothing else."""

    def make(**variables: str) -> Settings:
        return Settings.from_env({"ZELADOR_DATA_DIR": str(place / "settings"), **variables})

    return make


@pytest.fixture
def variables() -> dict[str, str]:
    """More settings of the system, for tests to override."""
    return {}


@pytest.fixture
def system(
    engine: Engine,
    database_url: str,
    settings_of: Callable[..., Settings],
    free_port: int,
    sandbox: Sandbox,
    monitor_clock: FrozenClock,
    variables: dict[str, str],
) -> Iterator[System]:
    """The product's parts on the test's database and the sandbox; nothing runs until a test starts it."""
    looking = {"RATE_LIMIT_READS": "0", **variables}  # tests look again fifty times a second
    settings = settings_of(EVOLUTION_API_URL=sandbox.url, EVOLUTION_API_KEY=KEY, PORT=str(free_port), **looking)
    built = build(settings, database_url, monitor_clock=monitor_clock)
    yield built
    built.stop()


@pytest.fixture
def free_port() -> int:
    [port] = free_ports(1)
    return port


@pytest.fixture
def web(system: System) -> Iterator[str]:
    """The web role, served by threads on its real port; the base URL."""
    app = build_app(system)
    system.start("web")
    server = make_server("127.0.0.1", system.settings.port, app, threaded=True)
    server.daemon_threads = True  # type: ignore[attr-defined]  # a mixin's
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{system.settings.port}"
    system.hub.stop()
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture
def working(system: System) -> Iterator[System]:
    """The worker role, in a thread."""
    system.listeners["worker"].start()
    thread = threading.Thread(target=system.work_until_stopped, daemon=True)
    thread.start()
    yield system
    system.end()
    thread.join(timeout=5)


@pytest.fixture
def bearer(system: System) -> Callable[..., dict[str, str]]:
    """Headers of a user: `bearer(user_id, role="admin")`."""

    def make(user_id: object, **facts: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {token_for(system, Principal(user_id=user_uuid(user_id), **facts))}"}

    return make


@pytest.fixture
def rows(engine: Engine) -> Callable[..., list[dict[str, object]]]:
    """Rows of a query, as dictionaries."""

    def fetch(query: str, **values: object) -> list[dict[str, object]]:
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    return fetch
