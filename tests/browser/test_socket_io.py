"""A stock Socket.IO client in a real Chromium, against gunicorn: it joins its organization and hears what happens."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine, text

from bootstrap.system import System
from tests.conftest import KEY
from tests.factories import make_instance
from tests.live import NOWHERE, parts_of, record
from tests.web_process import WebProcess

CLIENT = Path(__file__).parent / "vendor" / "socket.io-client" / "socket.io.min.js"
ORGANIZATION = "org_123"
CONNECT = """
([auth, options]) => {
  window.heard = [];
  window.socket = io(location.origin, { auth, reconnection: false, ...options });
  for (const name of ["connect", "connect_error", "disconnect"]) socket.on(name, () => heard.push([name]));
  socket.on("connect", () => socket.emit("join-organization", "org_123", (answer) => heard.push(["joined", answer])));
  socket.onAny((name, data) => heard.push([name, data]));
}
"""
WAIT_MS = 60_000


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
def member(system: System) -> tuple[UUID, str]:
    """A user with an instance of the organization: user id, instance name."""
    with system.transaction() as connection:
        return make_instance(connection, organization_id=ORGANIZATION)


@pytest.fixture
def page(browser: Any, process: WebProcess) -> Iterator[Page]:
    """A page of the server's own origin, with the stock client."""
    context = browser.new_context(bypass_csp=True)
    opened = context.new_page()
    opened.goto(f"{process.url}/livez")
    opened.add_script_tag(path=CLIENT)
    yield opened
    context.close()


@pytest.fixture
def token(bearer: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """What a client hands over as `auth`."""

    def make(user_id: UUID, **facts: str) -> dict[str, str]:
        return {"token": bearer(user_id, **facts)["Authorization"].removeprefix("Bearer ")}

    return make


def heard(page: Page, name: str) -> Any:
    """The newest of what came under this name, once it has come."""
    found = f"heard.findLast(([name]) => name === '{name}')"
    page.wait_for_function(found, timeout=WAIT_MS)
    return page.evaluate(f"{found}[1] ?? null")


@pytest.mark.parametrize("options", [{}, {"transports": ["websocket"]}], ids=["polling first", "websocket at once"])
def test_it_joins_its_organization_and_gets_the_whatsapp_events(page, system, member, token, options):
    user, name = member
    page.evaluate(CONNECT, [token(uuid4(), organization_id=ORGANIZATION), options])
    assert heard(page, "joined") == {"success": True, "channel": f"org:{ORGANIZATION}"}
    page.wait_for_function("socket.io.engine.transport.name === 'websocket'", timeout=WAIT_MS)
    about = {"instanceName": name, "instanceId": "an-id"}
    record(system, user, "qrcode", {**about, "qr": "2@abc"})
    record(system, user, "connected", {**about, "phoneNumber": "5511999999999"})
    record(system, user, "message", {**about, "messageId": "M", "from": "5511", "fromMe": False, "text": "olá ✅"})
    message = heard(page, "whatsapp:message")
    assert message.pop("timestamp").endswith("Z")
    assert message == {"instanceId": "an-id", "messageId": "M", "from": "5511", "text": "olá ✅"}
    assert heard(page, "whatsapp:qr")["qr"] == "2@abc"
    assert heard(page, "whatsapp:connected")["phone_number"] == "5511999999999"
    order = page.evaluate("heard.map(([name]) => name).filter((name) => name.startsWith('whatsapp:'))")
    assert order == ["whatsapp:qr", "whatsapp:connected", "whatsapp:message"]


def test_without_a_valid_token_it_gets_connect_error(page):
    for auth in ({}, {"token": "nonsense"}, {"ticket": "nonsense"}, {"token": 7}):
        page.evaluate(CONNECT, [auth, {}])
        heard(page, "connect_error")


def test_a_ticket_connects_it_once(page, process, member, bearer):
    headers = bearer(member[0], organization_id=ORGANIZATION)
    answer = page.request.post(f"{process.url}/api/ws/ticket", headers=headers)
    expect(answer).to_be_ok()
    auth = {"ticket": answer.json()["ticket"]}
    page.evaluate(CONNECT, [auth, {}])
    assert heard(page, "joined")["success"]
    page.evaluate(CONNECT, [auth, {}])
    heard(page, "connect_error")


def test_another_organization_is_refused(page, system, member, token):
    user, _ = member
    page.evaluate(CONNECT, [token(uuid4(), organization_id="org_other"), {}])
    assert heard(page, "joined")["code"] == "FORBIDDEN"
    assert heard(page, "error")["code"] == "FORBIDDEN"
    record(system, user, "message", {"messageId": "M", "from": "5511", "fromMe": False, "text": "secret"})
    page.evaluate("socket.emit('join-organization', 7, (answer) => heard.push(['again', answer]))")
    assert heard(page, "again")["success"] is False
    assert "secret" not in str(page.evaluate("heard"))


def test_who_is_no_member_any_more_is_disconnected(page, system, token):
    somebody = uuid4()
    page.evaluate(CONNECT, [token(somebody, organization_id=ORGANIZATION), {}])
    heard(page, "joined")
    with system.transaction() as connection:
        connection.execute(text("UPDATE profiles SET organization_id = NULL WHERE id = :u"), {"u": somebody})
    heard(page, "disconnect")


def test_pages_of_other_sites_do_not_get_in(page, process, token, member):
    """The browser says where the page comes from."""
    for query in ("EIO=4&transport=polling", "EIO=4&transport=websocket"):
        answer = page.request.get(f"{process.url}/socket.io/?{query}", headers={"Origin": "https://evil.example"})
        assert answer.status == 403


def test_a_restart_ends_its_connection_in_time(page, process, token):
    page.evaluate(CONNECT, [token(uuid4(), organization_id=ORGANIZATION), {"reconnection": True}])
    heard(page, "joined")
    assert process.end() == 0
    heard(page, "disconnect")
    process.start().ready()
    page.wait_for_function("heard.filter(([name]) => name === 'joined').length === 2", timeout=WAIT_MS)


def test_with_a_ticket_a_time_it_comes_back_after_a_restart(page, process, member, bearer):
    """As docs/live.md has it: a ticket that was handed over once would not do."""
    page.evaluate(
        """(headers) => {
          window.heard = [];
          const ticket = async () => (await (await fetch("/api/ws/ticket", { method: "POST", headers })).json()).ticket;
          const auth = async (say) => say({ ticket: await ticket() });
          window.socket = io(location.origin, { transports: ["websocket"], auth });
          for (const name of ["connect", "disconnect"]) socket.on(name, () => heard.push([name]));
        }""",
        bearer(member[0]),
    )
    heard(page, "connect")
    assert process.end() == 0
    heard(page, "disconnect")
    process.start().ready()
    page.wait_for_function("heard.filter(([name]) => name === 'connect').length === 2", timeout=WAIT_MS)
