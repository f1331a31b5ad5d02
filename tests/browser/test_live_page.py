"""The page's live channel in a real Chromium: through a proxy that lets no websocket pass, and without a server."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect
from sqlalchemy import Engine, text

from bootstrap.system import System
from core.access import create_person, make_link
from notify.seats import MOST_EACH
from tests.conftest import KEY
from tests.factories import make_instance
from tests.live import NOWHERE, hear, line, parts_of, record, subscribed
from tests.product import ROOT
from tests.relay import Relay
from tests.waiting import until
from tests.web_process import WebProcess

LIVE, POLLING, OFFLINE = "Ao vivo", "Atualizando a cada poucos segundos, sem conexão ao vivo", "Sem conexão ao vivo"
WAIT_MS = 60_000
NOTE = """() => {
  window.said = [];
  const how = document.getElementById("live");
  const note = () => said.push(how.textContent);
  new MutationObserver(note).observe(how, { childList: true, characterData: true, subtree: true });
}"""
SAMPLE = (ROOT / "docs" / "live.md").read_text().split("```js\n")[1].split("```")[0]


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
def bare(browser: Any) -> Iterator[Page]:
    """A page for scripts of ours."""
    context = browser.new_context(bypass_csp=True)
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


def with_sample(page: Page, process: WebProcess) -> None:
    page.goto(f"{process.url}/livez")
    page.add_script_tag(content=f"{SAMPLE}\nwindow.listen = listen", type="module")
    page.wait_for_function("Boolean(window.listen)", timeout=WAIT_MS)


def write(system: System, person: UUID, words: str) -> None:
    """A message, as the feed tells it."""
    data = {"messageId": words, "from": "5511999990001", "fromMe": False, "contactName": "Ana", "text": words}
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
    page.evaluate(NOTE)
    process.kill_worker()
    until(lambda: page.evaluate("said.join()"), lambda said: OFFLINE in said)
    write(system, person, "meanwhile")
    expect(how).to_have_text(LIVE, timeout=WAIT_MS)
    expect(page.get_by_text("meanwhile", exact=True)).to_be_visible(timeout=WAIT_MS)
    assert texts(page) == ["meanwhile"]


def test_the_client_of_the_docs_works_and_comes_back(bare, process, system, bearer, user):
    """As it stands there, in a page of the server's origin; each of its sockets is opened by a ticket."""
    with_sample(bare, process)
    bare.evaluate(
        """(headers) => {
          window.frames_ = [];
          const ticket = async () =>
            (await (await fetch("/api/ws/ticket", { method: "POST", headers })).json()).ticket;
          const note = (frame) => ["offline", "pong"].includes(frame.type) || frames_.push(frame);
          listen(location.origin, ticket, note);
        }""",
        bearer(user),
    )
    bare.wait_for_function("frames_.length === 1", timeout=WAIT_MS)
    write(system, user, "um")
    bare.wait_for_function("frames_.length === 2", timeout=WAIT_MS)
    process.kill_worker()
    write(system, user, "dois")
    bare.wait_for_function("frames_.length === 3", timeout=WAIT_MS)
    write(system, user, "tres")
    bare.wait_for_function("frames_.length === 4", timeout=WAIT_MS)
    assert bare.evaluate("frames_.map(({ type }) => type)") == ["snapshot", "message", "message", "message"]
    assert bare.evaluate("frames_.map(({ id }) => id)") == [0, 1, 2, 3]


class Mute:
    """Instead of the server's sockets: each answers its first frame with a snapshot, and then nothing ever again."""

    def __init__(self, page: Page) -> None:
        self.opened = 0
        page.clock.install()
        page.route_web_socket(re.compile("/ws"), self._accept)

    def _accept(self, client: WebSocketRoute) -> None:
        self.opened += 1
        data = {"status": "connected" if self.opened > 1 else "disconnected", "phoneNumber": None}
        snapshot = json.dumps({"type": "snapshot", "data": data, "id": 0})
        client.on_message(lambda frame: client.send(snapshot) if "subscribe" in str(frame) else None)


def test_a_path_that_died_without_a_word_is_noticed_and_left(page, process, system):
    sockets = Mute(page)
    log_in(page, system, process.url)
    expect(page.locator("#live")).to_have_text(LIVE, timeout=WAIT_MS)
    page.clock.run_for(15_000)
    assert sockets.opened == 1
    page.clock.run_for(30_000)
    expect(page.locator("#status")).to_have_attribute("data-status", "connected", timeout=WAIT_MS)


def test_the_client_of_the_docs_leaves_a_dead_path_too(bare, process):
    Mute(bare)
    with_sample(bare, process)
    bare.evaluate("window.types = []; void listen(location.origin, async () => 'x', ({ type }) => types.push(type))")
    bare.wait_for_function("types.length === 1", timeout=WAIT_MS)
    bare.clock.run_for(45_000)
    bare.wait_for_function("types.join() === 'snapshot,offline,snapshot'", timeout=WAIT_MS)


def test_the_client_of_the_docs_tells_that_it_gets_no_ticket_and_can_be_stopped(bare, process):
    sockets = Mute(bare)
    with_sample(bare, process)
    bare.evaluate(
        """() => {
          window.types = [], window.asked = 0;
          const ticket = async () => {
            if (++asked < 3) throw new Error("no ticket");
            return "x";
          };
          window.stop_ = listen(location.origin, ticket, ({ type }) => types.push(type));
        }"""
    )
    bare.clock.run_for(5_000)
    bare.wait_for_function("types.join() === 'offline,offline,snapshot'", timeout=WAIT_MS)
    bare.evaluate("stop_()")
    bare.clock.run_for(120_000)
    assert (sockets.opened, bare.evaluate("[asked, types.length]")) == (1, [3, 3])


def test_the_client_of_the_docs_is_stopped_between_two_tries(bare, process):
    Mute(bare)
    with_sample(bare, process)
    bare.evaluate(
        """() => {
          window.asked = 0;
          const stop = listen(location.origin, async () => void (asked += 1), () => stop());
        }"""
    )
    bare.wait_for_function("asked === 1", timeout=WAIT_MS)
    bare.clock.run_for(120_000)
    assert bare.evaluate("asked") == 1


def test_a_page_whose_socket_is_one_too_many_polls(page, process, system, bearer):
    person = log_in(page, system, process.url)
    page.goto("about:blank")
    with contextlib.ExitStack() as others:
        for _ in range(MOST_EACH):
            hear(subscribed(others.enter_context(line(process.url, bearer(person)))))
        with page.expect_request("**/api/events*"):
            page.goto(process.url)


def test_without_a_network_the_page_says_so_at_once(page, process, system):
    log_in(page, system, process.url)
    how = page.locator("#live")
    expect(how).to_have_text(LIVE, timeout=WAIT_MS)
    page.evaluate(NOTE)
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)  # no beat, and no new try
    page.context.set_offline(True)
    until(lambda: page.evaluate("said.join()"), lambda said: OFFLINE in said)
    page.context.set_offline(False)
    page.clock.resume()
    expect(how).to_have_text(LIVE, timeout=WAIT_MS)


def test_how_it_is_connected_stands_apart_from_the_title(page, process, system, proxy):
    """At the width where the words are as long as the card."""
    page.set_viewport_size({"width": 1000, "height": 800})
    log_in(page, system, proxy.url)
    expect(page.locator("#live")).to_have_text(POLLING, timeout=WAIT_MS)
    title, words = (page.locator(place).bounding_box() for place in ("#whatsapp-title", "#live"))
    assert words["x"] >= title["x"] + title["width"] + 12


def test_what_is_gone_goes_from_the_page_too(page, process, system):
    person = log_in(page, system, process.url)
    write(system, person, "um")
    expect(page.get_by_text("um", exact=True)).to_be_visible(timeout=WAIT_MS)
    page.context.set_offline(True)
    process.kill_worker()
    for number in ("dois", "tres"):
        write(system, person, number)
    with system.transaction() as connection:
        connection.execute(text("DELETE FROM feed WHERE user_id = :u"), {"u": person})
    page.context.set_offline(False)
    expect(page.get_by_text("um", exact=True)).to_have_count(0, timeout=WAIT_MS)


def test_messages_that_could_not_be_loaded_are_asked_for_again(page, process, system):
    failures = iter(range(2))
    page.route("**/api/messages*", lambda route: route.continue_() if next(failures, None) is None else route.abort())
    log_in(page, system, process.url)
    expect(page.locator("#no-messages")).to_be_visible(timeout=WAIT_MS)
