"""The interface's description: made of the code, complete, and true of real answers; its page needs nobody else."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import jsonschema_rs
import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from sqlalchemy import text

from api.openapi import webhooks as described
from api.openapi.document import ARGUMENT, document, routes
from api.schemas.health import Severity
from api.schemas.whatsapp import HealthWord
from core import events
from core.access import make_link
from core.events import DomainEvent
from core.web import CSP
from monitor.alerting.alerts import GRADES
from monitor.policy.health import HealthState
from tests.browser import conftest as chromium
from tests.factories import make_instance
from tests.flow import test_tenants
from tests.flow.test_tenants import WEBHOOKS, Admin, Open, Own, Tenant, call, entries
from webhooks import routes as entrance
from webhooks.inbox import Delivery

ROOT = Path(__file__).parents[2]
PYPROJECT = ROOT / "pyproject.toml"
JSON = "application/json"
VIOLATION = "document.addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective))"
MORE = (  # so that no list of an answer is empty
    "INSERT INTO incident_steps (incident_id, at, kind, code, facts)"
    " SELECT id, now(), 'verdict', 'down', '{}' FROM incidents",
    "INSERT INTO alerts (incident_id, dedupe, kind, severity, at)"
    " SELECT id, id::text, 'down', 'critical', now() FROM incidents",
    "INSERT INTO alert_deliveries (alert_id, target_id, state, next_at, sent_at)"
    " SELECT alerts.id, alert_targets.id, 'sent', now(), now() FROM alerts, alert_targets",
    "INSERT INTO health_intervals (instance_id, since, until, verdict)"
    " SELECT id, now() - interval '2 days', NULL, 'up' FROM whatsapp_instances",
    "INSERT INTO connection_events (instance_id, at, action, number, outcome, ended_at)"
    " SELECT id, now(), 'restart', 1, 'ok', now() FROM whatsapp_instances",
    "UPDATE instance_health SET checked_at = now(), state = 'healthy', incident_id ="
    " (SELECT id FROM incidents WHERE incidents.instance_id = instance_health.instance_id)",
    "INSERT INTO reactions (message_id, author, emoji, at) SELECT id, 'ana', '👍', now() FROM messages",
)
EVENTS = ("GET", "/api/events")
OF_TEXTS = ("issues", "warnings", "lines")
variables, tenants, admin = test_tenants.variables, test_tenants.tenants, test_tenants.admin
client, browser = test_tenants.client, chromium.browser


@pytest.fixture
def contract(client: FlaskClient) -> dict[str, Any]:
    """The document as it is served."""
    found: dict[str, Any] = client.get("/openapi/openapi.json").get_json()
    return found


@pytest.fixture
def furnished(system: Any, tenants: list[Tenant]) -> list[Tenant]:
    """The tenants, with something in every list."""
    with system.transaction() as connection:
        for query in MORE:
            connection.execute(text(query))
        found = [DomainEvent(user_id=one.user_id, type="status", data={"status": "connected"}) for one in tenants]
        events.record(connection, found)
    for one in tenants:
        system.inbox.record(Delivery(instance=one.places["name"], event="x", body=b"{}", problem="no_event"))
    return tenants


def operations(contract: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in contract["paths"].items():
        for verb, operation in verbs.items():
            yield verb.upper(), path, operation


def operation_of(contract: dict[str, Any], route: tuple[str, str]) -> dict[str, Any]:
    method, rule = route
    found: dict[str, Any] = contract["paths"][ARGUMENT.sub(r"{\2}", rule)][method.lower()]
    return found


def complaints(contract: dict[str, Any], operation: dict[str, Any], answer: Any) -> list[str]:
    """What of an answer is not as it is declared."""
    declared = operation["responses"].get(str(answer.status_code))
    if declared is None:
        return [f"{answer.status_code} is not declared"]
    if answer.content_type != JSON:
        return [f"{answer.content_type} is not declared"]
    code = answer.get_json().get("code")
    if code and f"`{code}`" not in declared["description"]:
        return [f"{code} is not declared"]
    schema = {**declared["content"][JSON]["schema"], "components": contract["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    missing = [name for name in declared.get("headers", {}) if name not in answer.headers]
    return [f"{list(one.instance_path)}: {one.message}" for one in validator.iter_errors(answer.get_json())] + missing


def of_api(kind: type[Open] | type[Own] | type[Admin]) -> list[tuple[str, str]]:
    return [route for route in entries(kind) if route[1].startswith("/api/")]


def test_every_route_declares_what_it_answers(client):
    assert [f"{route.verb} {route.rule}" for route in routes(client.application) if route.declaration is None] == []


def test_every_operation_has_words_a_name_and_a_good_answer(contract):
    for verb, path, operation in operations(contract):
        assert operation["summary"], (verb, path)
        good = [one for status, one in operation["responses"].items() if status.startswith("2")]
        assert [list(one["content"][JSON]["schema"]) for one in good] in ([["$ref"]], [["anyOf"]]), (verb, path)
    names = [operation["operationId"] for _, _, operation in operations(contract)]
    assert len(names) == len(set(names))


def test_nothing_is_described_that_is_not_there(client, contract):
    there = {(route.verb, route.path) for route in routes(client.application)}
    gates = {("POST", way + end) for way in described.WAYS for end in ("", described.BY_EVENTS)}
    assert {(verb, path) for verb, path, _ in operations(contract)} == there | gates


def test_the_entrance_is_described_as_it_is(contract):
    ways = {f"/api/webhook/{way}".replace("{user}", "{user_id}") for way in WEBHOOKS}
    assert set(described.WAYS) == ways
    assert set(described.REFUSALS) | {200} == set(entrance.STATUS) - {405}
    for way in described.WAYS:
        for path in (way, way + described.BY_EVENTS):
            assert entrance.ROUTE.fullmatch(re.sub(r"\{\w+\}", "x", path))


def test_who_may_call_is_described_as_it_is(client):
    said = {(route.verb, route.rule): route.declaration for route in routes(client.application)}
    admins = {route for route, declaration in said.items() if declaration and declaration.admin}
    assert admins == set(of_api(Admin))
    assert of_api(Open) == []


def test_the_names_of_things_are_the_codes_own():
    assert set(get_args(HealthWord)) == set(HealthState)
    assert get_args(Severity) == GRADES


def test_the_document_is_valid_and_answers_are_closed(contract):
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(contract)] == []
    for name, schema in contract["components"]["schemas"].items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        refers = "properties" not in schema
        assert refers or name in requested(contract) or schema["additionalProperties"] is False, name


def requested(contract: dict[str, Any]) -> set[str]:
    """Schemas of what is sent to us."""
    answered = json.dumps([one["responses"] for _, _, one in operations(contract)])
    return {name for name in contract["components"]["schemas"] if f'schemas/{name}"' not in answered}


def test_what_owners_and_administrators_get_is_as_declared(client, contract, furnished, admin, web):
    """`web`: the gateway wants to get rid of its events before an instance is gone."""
    wrong = {}
    for kind in (Own, Admin):
        for route in of_api(kind):
            for one in furnished[:1] if route[0] == "DELETE" else furnished:
                answer = call(client, route, one, admin if kind is Admin else one.headers)
                if found := complaints(contract, operation_of(contract, route), answer):
                    wrong[route] = found
    assert wrong == {}


def test_no_list_was_empty_there(client, contract, furnished, admin):
    """Else the shapes of what they hold were not looked at."""
    empty = []
    for kind in (Own, Admin):
        for route in [route for route in of_api(kind) if route[0] == "GET" and route != EVENTS]:
            answer = call(client, route, furnished[0], admin if kind is Admin else furnished[0].headers)
            empty += [(route[1], name) for name in empty_lists(answer.get_json()) if name not in OF_TEXTS]
    assert empty == []
    answer = client.get(f"{EVENTS[1]}?since=0", headers=furnished[0].headers)
    assert (answer.json["events"] != [], complaints(contract, operation_of(contract, EVENTS), answer)) == (True, [])


def empty_lists(value: Any, place: str = "") -> Iterator[str]:
    """Their names."""
    if value == []:
        yield place
    inside: Iterable[tuple[str, Any]] = value.items() if isinstance(value, dict) else ()
    inside = [("", one) for one in value] if isinstance(value, list) else inside
    for name, inner in inside:
        yield from empty_lists(inner, name or place)


def test_refusals_are_as_declared(client, contract, tenants, admin):
    one, other = tenants
    for kind in (Own, Admin):
        for route in of_api(kind):
            operation = operation_of(contract, route)
            for whose in (None, {"Authorization": "Bearer x"}, one.headers):
                answer = call(client, route, other, whose)
                assert complaints(contract, operation, answer) == [], (route, answer.status_code)
            if "requestBody" in operation:
                how: dict[str, Any] = {"method": route[0], "headers": admin if kind is Admin else one.headers}
                place = test_tenants.path_of(client, route[1], one)
                for body, media in ((b"[1]", JSON), (b"{", JSON), (b"x", "text/plain"), (b"9" * (1 << 21), JSON)):
                    answer = client.open(place, data=body, content_type=media, **how)
                    assert answer.status_code in (400, 413, 415)
                    assert complaints(contract, operation, answer) == [], (route, answer.status_code)


def test_no_text_that_somebody_may_send_is_a_500(client, contract, tenants, admin):
    crashed = []
    for route in [one for one in (*of_api(Own), *of_api(Admin)) if one[0] != "DELETE"]:
        operation, place = operation_of(contract, route), test_tenants.path_of(client, route[1], tenants[0])
        asked = [one["name"] for one in operation["parameters"] if one["in"] == "query" and one["name"] != "wait"]
        for odd in ("\0", "a\0b", "\ud800", "x" * 5000):
            sent: list[dict[str, Any]] = [
                {"query_string": f"wait=0&{name}={quote(odd, errors='replace')}"} for name in asked
            ]
            sent += [{"data": json.dumps(one), "content_type": JSON} for one in bodies(contract, operation, odd)]
            for how in sent:
                for headers in (tenants[0].headers, admin):
                    if client.open(place, method=route[0], headers=headers, **how).status_code == 500:
                        crashed.append((route, how))
    assert crashed == []


GOOD = {"phone_number": "5511999990009", "to": "5511999990009", "message": "oi", "instance_name": "x", "name": "x"}


def bodies(contract: dict[str, Any], operation: dict[str, Any], odd: str) -> Iterator[dict[str, str]]:
    """Good ones, but for one field after the other."""
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"][JSON]["schema"]
        named = contract["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
        fields = named.get("properties", ["x"])
        for field in fields:
            yield {**{name: GOOD[name] for name in fields if name in GOOD}, field: odd}


def test_every_code_that_is_declared_is_one_of_ours(contract):
    named = {"core": "", "manager": "", "conversations": "", "monitor": "", "webhooks": "", "api": "code="}
    found = [(one, how) for package, how in named.items() for one in (ROOT / package).rglob("*.py")]
    ours = {code for one, how in found for code in re.findall(how + '"([A-Z_]+)"', one.read_text())}
    ours |= {"REQUEST_ENTITY_TOO_LARGE"}  # Werkzeug's
    declared = set(re.findall("`([A-Z_]+)`", json.dumps([one["responses"] for _, _, one in operations(contract)])))
    assert declared - ours == set()


def test_the_document_is_the_packages_own(client, contract):
    assert contract["info"]["version"] == tomllib.loads(PYPROJECT.read_text())["project"]["version"]
    assert contract == json.loads(json.dumps(document(client.application)))
    schemes = {"bearer", "session", "csrf", "hook", "evolution", "signature"}
    assert contract["components"]["securitySchemes"].keys() == schemes
    assert not re.search(r"(?<!//)localhost|127\.0\.0\.1|/home/|/root/", json.dumps(contract))


@pytest.fixture
def page(browser: Browser, web: str) -> Iterator[Page]:
    """A page that complains about what it may not do, and asks only us."""
    complaints, asked = [], []
    page = browser.new_page(base_url=web)
    page.on("console", lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(VIOLATION)
    yield page
    page.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith((web, "data:"))] == []


def test_the_page_is_whole_under_our_own_policy(page):
    answer = page.goto("/openapi/")
    assert answer.headers["content-security-policy"] == CSP
    page.get_by_text("/api/whatsapp/connect", exact=True).wait_for()


def test_people_who_are_logged_in_try_things_out_there(page, system):
    with system.transaction() as connection:
        user_id, _ = make_instance(connection)
        link = make_link(connection, user_id, valid_for=timedelta(minutes=5), once=True)
    page.goto(f"/login/{link}")
    page.goto("/openapi/")
    operation = page.locator("#operations-live-live_ticket")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/api/ws/ticket") as answered:
        operation.get_by_role("button", name="Execute").click()
    assert (answered.value.status, answered.value.json()["success"]) == (200, True)
