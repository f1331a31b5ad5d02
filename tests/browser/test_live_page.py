"""The page's live channel in a real Chromium: through a proxy that lets no websocket pass, and without a server."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine

from bootstrap.system import System
from core.access import create_person, make_link
from tests.conftest import KEY
from tests.live import NOWHERE, parts_of, record
from tests.web_process import WebProcess

LIVE, POLLING, OFFLINE = "Ao vivo", "Atualizando a cada poucos segundos, sem conexão ao vivo", "Sem conexão ao vivo"
WAIT_MS = 20_000


class Proxy:
    """Hands bytes on; while `strict`, it takes the wish for an upgrade out of every request, as some proxies do."""

    def __init__(self, port: int) -> None:
        self._behind = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.strict = True
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, run: Any, *what: socket.socket) -> None:
        thread = threading.Thread(target=run, args=what, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                self._spawn(self._pump, self._listener.accept()[0])
            except OSError:
                return

    def _pump(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._behind) as server:
            other = {client: server, server: client}
            while not self._over.is_set():
                for source in select.select([client, server], [], [], 0.1)[0]:
                    if not (piece := source.recv(65536)):
                        return
                    if source is client and self.strict:
                        piece = piece.replace(b"Upgrade: websocket\r\n", b"")
                    other[source].sendall(piece)


@pytest.fixture(scope="module")
def system(place: Path, database_url: str) -> Iterator[System]:
    built = parts_of(place, database_url)
    built.bell.start()
    yield built
    built.stop()


@pytest.fixture(scope="module")
def process(place: Path, database_url: str) -> Iterator[WebProcess]:
    environ = {"DATABASE_URL": database_url, "ZELADOR_DATA_DIR": str(place / "settings"), "LOG_LEVEL": "WARNING"}
    with WebProcess(**environ, EVOLUTION_API_URL=NOWHERE, EVOLUTION_API_KEY=KEY) as running:
        yield running


@pytest.fixture(autouse=True)
def _emptied(engine: Engine) -> None:
    """The database is left empty."""


@pytest.fixture
def proxy(process: WebProcess) -> Iterator[Proxy]:
    with Proxy(process.port) as running:
        yield running


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    context = browser.new_context(locale="pt-BR")
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


def log_in(page: Page, system: System, base: str) -> UUID:
    """Somebody new, on their page."""
    with system.transaction() as connection:
        person = create_person(connection, email="ana@example.org", password="a long password")
        link = make_link(connection, person, valid_for=timedelta(hours=1))
    page.goto(f"{base}/login/{link}")
    expect(page.locator("#status")).to_have_text("Desconectado", timeout=WAIT_MS)
    return person


def write(system: System, person: UUID, text: str) -> None:
    """A message, as the feed tells it."""
    data = {"messageId": text, "from": "5511999990001", "fromMe": False, "contactName": "Ana", "text": text}
    record(system, person, "message", {**data, "at": "2026-11-22T03:17:05.000Z", "kind": "text"})


def texts(page: Page) -> list[str]:
    return page.locator("#messages p").all_inner_texts()


def test_where_no_websocket_passes_the_page_polls_and_says_so(page, process, system, proxy):
    person = log_in(page, system, proxy.url)
    how = page.locator("#live")
    expect(how).to_have_text(POLLING, timeout=WAIT_MS)
    write(system, person, "um")
    expect(page.get_by_text("um", exact=True)).to_be_visible(timeout=WAIT_MS)
    proxy.strict = False
    expect(how).to_have_text(LIVE, timeout=WAIT_MS)
    write(system, person, "dois")
    expect(page.get_by_text("dois", exact=True)).to_be_visible(timeout=WAIT_MS)
    assert sorted(texts(page)) == ["dois", "um"]


def test_what_came_while_the_server_was_away_is_on_the_page_afterwards(page, process, system):
    person = log_in(page, system, process.url)
    how = page.locator("#live")
    expect(how).to_have_text(LIVE, timeout=WAIT_MS)
    process.kill_worker()
    expect(how).to_contain_text(OFFLINE, timeout=WAIT_MS)
    write(system, person, "meanwhile")
    expect(how).to_have_text(LIVE, timeout=WAIT_MS)
    expect(page.get_by_text("meanwhile", exact=True)).to_be_visible(timeout=WAIT_MS)
    assert texts(page) == ["meanwhile"]
