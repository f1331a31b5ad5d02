"""Every bad input of the REST API, against the real gunicorn process: the answer, and what must not happen.

The cases are data (payloads/bad-rest.json); where one of them and the design disagree, the design wins.
"""

import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from bootstrap.system import System, build
from bootstrap.web import build_app
from core.access import Principal, create_person, make_link
from core.settings import Settings
from manager.leases import Leases
from manager.lifecycle import Lifetimes, instance_name_for
from manager.providers.evolution.client import EvolutionClient
from manager.providers.http import Limits
from manager.providers.port import State
from manager.service import WhatsAppManager
from sandbox.server import Sandbox
from tests.conftest import KEY
from tests.factories import hook_keys, make_instance, token_for
from tests.waiting import until
from tests.web_process import Detour, WebProcess

Case = dict[str, Any]
CASES: list[Case] = json.loads((Path(__file__).parent.parent / "payloads" / "bad-rest.json").read_text())
NAMED: dict[str, Case] = {case["name"]: case for case in CASES}
FERNET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
SECRETS = {"SECRET_KEY": "s" * 40, "AUTH_JWT_SECRET": "j" * 40, "APP_ENCRYPTION_KEY": FERNET}
LABEL_RULE = "label inert; technical name still ^user_[A-Za-z0-9_-]{1,64}$"

# What the design says instead; parts of the request, and why.
INSTEAD: dict[str, tuple[dict[str, Any], str]] = {
    "health while degraded": ({"path": "/readyz"}, "design 3.4 names it so"),
    "metrics without token from outside": (
        {"headers": {"X-Forwarded-For": "203.0.113.5"}},
        "outside is behind a proxy",
    ),
}

# Parts of cases that nothing does yet; everything else in these cases is checked.
NOT_YET: dict[str, str] = {
    "send: upstream timeout after send": "outcome=unknown recorded: in the log alone, as PROVIDER_TIMEOUT",
    "other tenant's instance (IDOR read)": "the timing class is not measured here: it is one and the same query",
}

UNASKED = {"no upstream call": "/", "no upstream connect": "/instance/connect/"}

# With tests of their own below.
APART = {
    "connect while delete in progress",
    "send: upstream timeout after send",
    "missing broker config",
    "connect: double click (2 in parallel)",
}
WITHOUT_STORAGE = {"storage down on write", "health while degraded"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class People:
    """Who asks, and what `{{…}}` stands for."""

    user: UUID
    instance: UUID | None
    words: dict[str, str]


# ---- the product -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(place: Path, gateway: Sandbox) -> dict[str, str]:
    return {"ZELADOR_DATA_DIR": str(place / "settings"), "EVOLUTION_API_URL": gateway.url, "EVOLUTION_API_KEY": KEY}


@pytest.fixture(scope="module")
def detour(database_url: str) -> Iterator[Detour]:
    with Detour(database_url) as way:
        yield way


@pytest.fixture(scope="module")
def processes(variables: dict[str, str], database_url: str, detour: Detour) -> Iterator[tuple[WebProcess, WebProcess]]:
    """The web role on the database, and another one whose database is away; both start at the same time."""
    with contextlib.ExitStack() as stack:
        started = [WebProcess(DATABASE_URL=url, **variables) for url in (database_url, detour.url)]
        for process in started:
            stack.push(process.__exit__)
            process.start()
        straight, roundabout = (process.ready() for process in started)
        detour.cut()
        yield straight, roundabout
        assert "Traceback" not in straight.log()


@pytest.fixture(scope="module")
def parts(variables: dict[str, str], database_url: str, processes: tuple[WebProcess, WebProcess]) -> Iterator[System]:
    """What makes people and instances here; it shares the secrets of the web process."""
    built = build(Settings.from_env({**variables, "PORT": str(processes[0].port)}), database_url)
    yield built
    built.stop()


@pytest.fixture
def look(engine: Engine):
    def fetch(query: str, **values: object) -> list[dict[str, Any]]:
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    return fetch


@pytest.fixture
def box(engine: Engine, sandbox: Sandbox) -> Sandbox:
    """The gateway, empty, as the tables are."""
    return sandbox


def people_for(case: Case, parts: System, web: WebProcess) -> People:
    """Somebody of org_1 and an instance of somebody else; an instance of their own where the case speaks of one."""
    user, said = uuid4(), json.dumps(case["request"])
    with parts.transaction() as connection:
        connection.execute(text("INSERT INTO profiles (id) VALUES (:id)"), {"id": user})
        stranger, name = make_instance(connection)
        theirs = "SELECT id FROM whatsapp_instances WHERE user_id = :user"
        other = connection.execute(text(theirs), {"user": stranger}).scalar_one()
    mine = parts.manager.create_user_instance(user, "org_1").id if "{{ID}}" in said else None
    keys = hook_keys(parts, name) if "{{TOKEN}}" in said or "{{HOOK_JWT}}" in said else None
    words = {
        "{{USER_TOKEN}}": token_for(parts, Principal(user_id=user, organization_id="org_1")),
        "{{ADMIN_TOKEN}}": token_for(parts, Principal(user_id=uuid4(), role="admin")),
        "{{OTHER_ID}}": str(other),
        "{{ID}}": str(mine),
        "{{TOKEN}}": keys.token if keys else "",
        "{{HOOK_JWT}}": keys.jwt_key if keys else "",
        "{{SESSION}}": session_of(parts, web) if "{{SESSION}}" in said else "",
    }
    return People(user=user, instance=mine, words=words)


def session_of(parts: System, web: WebProcess) -> str:
    with parts.transaction() as connection:
        person = create_person(connection, email="ana@example.org", password="a long password")
        link = make_link(connection, person, valid_for=timedelta(hours=1))
    with requests.Session() as browser:
        browser.get(f"{web.url}/login/{link}", timeout=10)
        return str(browser.cookies["session"])


def opened(parts: System, box: Sandbox, user: UUID) -> None:
    """Connected on the gateway, and known here to be so."""
    name = parts.manager.connect_user_whatsapp(user).record.name
    requests.post(f"{box.url}/sandbox/phones/scan", json={"instance": name}, timeout=10).raise_for_status()
    gateway = EvolutionClient(box.url, KEY)
    until(lambda: gateway.state(name).state, lambda state: state is State.CONNECTED)
    with parts.transaction() as connection:
        connection.execute(
            text("UPDATE whatsapp_instances SET state = 'connected', status = 'connected' WHERE user_id = :user"),
            {"user": user},
        )


def asked(box: Sandbox, *parts_of: str) -> int:
    """How often the gateway was asked for a path with these parts."""
    seen = [f"{item['method']} {item['path']}" for item in box.log.items() if item["kind"] == "request"]
    return sum(all(part in one for part in parts_of) for one in seen)


# ---- requests --------------------------------------------------------------------------------------------------


def filled(value: str, words: dict[str, str]) -> str:
    for word, meant in words.items():
        value = value.replace(word, meant)
    return value


def request_of(case: Case) -> dict[str, Any]:
    return {**case["request"], **INSTEAD.get(case["name"], ({}, ""))[0]}


def body_of(case: Case) -> bytes | None:
    asked_for = case["request"]
    if "body" in asked_for:
        return json.dumps(asked_for["body"]).encode()
    if how := asked_for.get("body_gen"):
        return f"{how['prefix']}{how['unit'] * how['times']}{how['suffix']}".encode()
    return asked_for["body_raw"].encode() if "body_raw" in asked_for else None


def send(web: WebProcess, case: Case, words: dict[str, str]) -> Answer:
    request = request_of(case)
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=40)
    try:
        headers = {name: filled(value, words) for name, value in request["headers"].items()}
        line.request(request["method"], filled(request["path"], words), body_of(case), headers)
        found = line.getresponse()
        return Answer(found.status, {name.title(): value for name, value in found.getheaders()}, found.read())
    finally:
        line.close()


# ---- the table -------------------------------------------------------------------------------------------------


def test_the_lists_speak_of_cases_that_exist():
    assert {*INSTEAD, *NOT_YET, *APART, *WITHOUT_STORAGE} <= set(NAMED)


@pytest.mark.parametrize("name", [name for name in NAMED if name not in APART])
def test_the_answer_and_what_must_not_happen(name, processes, parts, box, look):
    case, web = NAMED[name], processes[name in WITHOUT_STORAGE]
    people = people_for(case, parts, processes[0])
    if case["request"].get("given") == "state open":
        opened(parts, box, people.user)
    before = {promise: asked(box, path) for promise, path in UNASKED.items()}
    answer = send(web, case, people.words)
    check_answer(answer, case["expect"])
    check_must(case["expect"], answer, look, people)
    for promise in UNASKED.keys() & case["expect"].get("must", ()):
        assert asked(box, UNASKED[promise]) == before[promise]
    if "identical body/timing class to a missing id" in case["expect"].get("must", ()):
        missing = send(web, case, {**people.words, "{{OTHER_ID}}": str(uuid4())})
        assert (missing.status, missing.body) == (answer.status, answer.body)


def check_answer(answer: Answer, expect: dict[str, Any]) -> None:
    assert answer.status in expect.get("status_in", [expect.get("status")]), answer
    assert answer.headers["Content-Type"].startswith(("application/json", "text/plain")), answer
    if expect.get("code"):
        said = answer.json()
        assert (said["success"], said["code"], said["status_code"]) == (False, expect["code"], answer.status)
    if expect.get("body_is") == "json error superset":
        assert said.keys() == {"success", "message", "status_code", "code", "error"}
        assert said["error"] == {"code": said["code"], "message": said["message"], "details": said["error"]["details"]}
    assert expect.get("body_has", {}).items() <= (answer.json().items() if "body_has" in expect else {}.items())


def check_must(expect: dict[str, Any], answer: Answer, look: Any, people: People) -> None:
    must, rows = expect.get("must", []), look("SELECT * FROM whatsapp_instances WHERE user_id = :id", id=people.user)
    if "WWW-Authenticate" in must:
        assert answer.headers["Www-Authenticate"] == "Bearer"
    if "Allow header" in must:
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    if "names the field" in must:
        assert "organization_id" in answer.json()["message"]
    if "Access-Control-Allow-Origin: null" in expect.get("must_not", ()):
        assert "Access-Control-Allow-Origin" not in answer.headers
    if LABEL_RULE in must:
        assert all(re.fullmatch(r"user_[A-Za-z0-9_-]{1,64}", row["instance_name"]) for row in rows)
        assert answer.headers["Content-Type"] == "application/json"
    if "protected fields unchanged" in must:
        [row] = rows
        assert (row["id"], row["status"], row["is_connected"]) == (people.instance, "disconnected", False)
        assert look("SELECT role FROM profiles WHERE id = :id", id=people.user) == [{"role": "user"}]
    if "no secrets, no stack, no versions" in must:
        assert answer.json() == {"status": "unavailable"}
        assert not re.search(r"\d", answer.headers.get("Server", ""))


# ---- cases that need a product of their own --------------------------------------------------------------------


def expect_of(case: Case, answer: Any) -> None:
    """The same of the application in this process."""
    check_answer(Answer(answer.status_code, dict(answer.headers), answer.data), case["expect"])


def ask_within(client: FlaskClient, case: Case, words: dict[str, str]) -> Any:
    request = case["request"]
    headers = {name: filled(value, words) for name, value in request["headers"].items()}
    path = filled(request["path"], words)
    return client.open(path, method=request["method"], data=body_of(case), headers=headers)


def test_two_clicks_at_once_are_one_connect_with_one_qr(processes, parts, box):
    case = NAMED["connect: double click (2 in parallel)"]
    people = people_for(case, parts, processes[0])
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: send(processes[0], case, people.words), range(2)))
    for answer in answers:
        check_answer(answer, case["expect"])
    assert asked(box, "/instance/connect/") == 1
    assert len({answer.json()["qr"] for answer in answers}) == 1
    assert answers[0].json()["qr"]


def test_connecting_while_it_is_being_deleted_is_refused(processes, parts, box):
    case = NAMED["connect while delete in progress"]
    people = people_for(case, parts, processes[0])
    hurried = WhatsAppManager(
        parts.transaction,
        parts.servers.gateways,
        Leases(parts.transaction, sleep=lambda _: None),
        parts.clock,
        lifetimes=Lifetimes(qr=timedelta(seconds=45)),
        rung=lambda _: None,
    )
    client = build_app(replace(parts, manager=hurried)).test_client()
    with parts.leases.hold(instance_name_for(people.user), "delete"):
        expect_of(case, ask_within(client, case, people.words))
    assert asked(box, "/instance/connect/") == 0


def test_a_message_whose_answer_never_came_is_not_sent_again(processes, parts, box, variables, database_url):
    case = NAMED["send: upstream timeout after send"]
    people = people_for(case, parts, processes[0])
    opened(parts, box, people.user)
    hasty = build(
        Settings.from_env(variables), database_url, provider=EvolutionClient(box.url, KEY, Limits(usual_s=0.3))
    )
    try:
        requests.post(f"{box.url}/sandbox/faults", json={"hang": True}, timeout=10).raise_for_status()
        expect_of(case, ask_within(build_app(hasty).test_client(), case, people.words))
    finally:
        requests.post(f"{box.url}/sandbox/faults", json={}, timeout=10).raise_for_status()
        hasty.stop()
    until(lambda: asked(box, "/message/sendText/"), lambda times: times == 1)


def test_without_a_gateway_nothing_is_asked(engine, settings_of, database_url):
    case = NAMED["missing broker config"]
    alone = build(settings_of(APP_ENV="production", **SECRETS), database_url)
    try:
        assert alone.gateway is None
        words = {"{{USER_TOKEN}}": token_for(alone, Principal(user_id=uuid4()))}
        expect_of(case, ask_within(build_app(alone).test_client(), case, words))
    finally:
        alone.stop()
