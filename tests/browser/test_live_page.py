"""The page's live channel in a real Chromium: through a proxy that lets no websocket pass, and without a server."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine

from bootstrap.system import System
from core.access import create_person, make_link
from tests.conftest import KEY
from tests.factories import make_instance
from tests.live import NOWHERE, parts_of, record
from tests.product import ROOT
from tests.relay import Relay
from tests.web_process import WebProcess

LIVE, POLLING, OFFLINE = "Ao vivo", "Atualizando a cada poucos segundos, sem conexão ao vivo", "Sem conexão ao vivo"
WAIT_MS = 20_000


class Proxy(Relay):
    """While `strict`, it takes the wish for an upgrade out of every request, as some proxies do."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", lambda: socket.create_connection(("127.0.0.1", port)), self._censor)
        self.url = f"http://127.0.0.1:{self.port}"
        self.strict = True

    def _censor(self, piece: bytes) -> bytes:
        return piece.replace(b"Upgrade: websocket\r\n", b"") if self.strict else piece


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


@pytest.fixture
def user(system: System) -> UUID:
    with system.transaction() as connection:
        return make_instance(connection)[0]


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


def test_the_client_of_the_docs_works_and_comes_back(browser, process, system, bearer, user):
    """As it stands there, in a page of the server's origin; each of its sockets is opened by a ticket."""
    code = (ROOT / "docs" / "live.md").read_text().split("```js\n")[1].split("```")[0]
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(f"{process.url}/livez")
    page.add_script_tag(content=f"{code}\nwindow.listen = listen", type="module")
    page.wait_for_function("Boolean(window.listen)", timeout=WAIT_MS)
    page.evaluate(
        """(headers) => {
          window.frames_ = [];
          const ticket = async () =>
            (await (await fetch("/api/ws/ticket", { method: "POST", headers })).json()).ticket;
          listen(location.origin, ticket, (frame) => frames_.push(frame));
        }""",
        bearer(user),
    )
    page.wait_for_function("frames_.length === 1", timeout=WAIT_MS)
    write(system, user, "um")
    page.wait_for_function("frames_.length === 2", timeout=WAIT_MS)
    process.kill_worker()
    write(system, user, "dois")
    page.wait_for_function("frames_.length === 3", timeout=WAIT_MS)
    write(system, user, "tres")
    page.wait_for_function("frames_.length === 4", timeout=WAIT_MS)
    assert page.evaluate("frames_.map(({ type }) => type)") == ["snapshot", "message", "message", "message"]
    assert page.evaluate("frames_.map(({ id }) => id)") == [0, 1, 2, 3]
    page.context.close()
