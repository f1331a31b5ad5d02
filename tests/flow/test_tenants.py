"""Who may call what: two tenants, nobody and an administrator, on every rule of the URL map with every verb.

A new route has to say here who may call it, and what a stranger is told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from bootstrap.system import System
from bootstrap.web import build_app
from core.sessions import Session
from tests.factories import body_of, hook_keys, make_instance, text_message
from tests.live import HANDSHAKE
from webhooks.inbox import Delivery

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
FAR_AWAY = {"REMOTE_ADDR": "203.0.113.5"}
Body = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """Somebody with one of everything. `marker` stands in all of it."""

    user_id: UUID
    headers: dict[str, str]
    marker: str
    places: dict[str, Any]  # what stands in the paths of their things, by the name of the rule's argument


@dataclass(frozen=True)
class Open:
    """Everybody may; `nobody` is what somebody without a credential is told."""

    nobody: int = 200


@dataclass(frozen=True)
class Own:
    """Of the caller alone: 401 without a credential. Where the rule names a thing, others' things are 404. `finds`: the
    owner's answer shows their marker. `all_for_admins`: administrators have everybody's."""

    body: Callable[[Tenant], Body] | None = None
    owner: int = 200
    finds: bool = False
    all_for_admins: bool = False


@dataclass(frozen=True)
class Admin:
    """401 without a credential, 403 for users. `admin`: what an administrator is told."""

    body: Callable[[Tenant], Body] | None = None
    admin: int = 200


@dataclass(frozen=True)
class Socket(Own):
    """The same, where the request wants to become a websocket."""

    headers: dict[str, str] = field(default_factory=lambda: HANDSHAKE)


TARGETS, SILENCES = "/api/admin/alert-targets", "/api/admin/silences"
LISTED = "/api/integrations/whatsapp/instances"
INSTANCES, INSTANCE = "/api/whatsapp/instances", "/api/whatsapp/instances/<path:instance_id>"
END = "2999-01-01T00:00:00Z"
ENTRIES: dict[tuple[str, str], Open | Own | Admin] = {
    ("GET", "/"): Open(302),
    ("GET", "/login"): Open(),
    ("POST", "/login"): Open(403),  # the form's token is missing
    ("GET", "/login/<token>"): Open(401),
    ("POST", "/logout"): Open(403),
    ("GET", "/language/<code>"): Open(302),
    ("GET", "/static/<path:filename>"): Open(),
    ("GET", "/openapi/"): Open(),
    ("GET", "/openapi/openapi.json"): Open(),
    ("GET", "/openapi/page.js"): Open(),
    ("GET", "/openapi/swagger/<path:asset>"): Open(),
    ("GET", "/livez"): Open(),
    ("GET", "/readyz"): Open(),
    ("GET", "/health"): Open(),
    ("GET", "/status/<token>.json"): Open(),  # for whom the owner gave the address
    ("GET", "/status/<token>.svg"): Open(),
    ("GET", "/metrics"): Admin(),  # and for this host
    ("GET", "/ws"): Socket(),
    ("GET", "/ws/instances/<instance_id>"): Socket(),
    ("GET", "/api/whatsapp/status"): Own(finds=True),
    ("POST", "/api/whatsapp/connect"): Own(finds=True),
    ("POST", "/api/whatsapp/disconnect"): Own(finds=True),
    ("POST", "/api/whatsapp/send"): Own(lambda _: {"to": "5511999990001", "message": "oi"}, owner=409),
    ("GET", "/api/whatsapp/health"): Own(finds=True),
    ("GET", "/api/whatsapp/incidents"): Own(finds=True),
    ("GET", "/api/whatsapp/incidents/<int:incident_id>"): Own(finds=True),
    ("POST", "/api/whatsapp/public-status"): Own(lambda _: {"enabled": True}),
    ("GET", LISTED): Own(finds=True, all_for_admins=True),
    ("POST", LISTED): Own(lambda _: {"name": "x"}, owner=409),  # they have one
    ("GET", INSTANCES): Own(finds=True, all_for_admins=True),
    ("POST", INSTANCES): Own(lambda _: {"organization_id": "org_1", "instance_name": "x"}, owner=409),
    ("GET", f"{INSTANCE}/status"): Own(finds=True, all_for_admins=True),
    ("POST", f"{INSTANCE}/connect"): Own(lambda _: {"method": "qr"}, finds=True, all_for_admins=True),
    ("POST", f"{INSTANCE}/send"): Own(
        lambda _: {"to": "5511999990001", "message": "oi"}, owner=409, all_for_admins=True
    ),
    ("PATCH", f"{INSTANCES}/<instance_id>"): Own(
        lambda _: {"phone_number": "5511999990009"}, finds=True, all_for_admins=True
    ),
    ("DELETE", f"{INSTANCES}/<instance_id>"): Own(all_for_admins=True),
    ("GET", "/api/messages"): Own(finds=True),
    ("GET", "/api/conversations"): Own(finds=True),
    ("GET", "/api/conversations/<conversation_id>/messages"): Own(finds=True),
    ("GET", "/api/contacts"): Own(finds=True),
    ("POST", "/api/contacts"): Own(lambda one: {"phone_number": "5511999990009", "name": one.marker}, finds=True),
    ("GET", "/api/events"): Own(finds=True),
    ("POST", "/api/ws/ticket"): Own(),
    ("GET", "/api/tokens"): Own(finds=True),
    ("POST", "/api/tokens"): Own(lambda one: {"name": one.marker}, owner=201, finds=True),
    ("DELETE", "/api/tokens/<uuid:token_id>"): Own(),
    ("GET", "/system/whatsapp/"): Open(302),
    ("GET", "/system/whatsapp/status/"): Own(),
    ("GET", "/system/whatsapp/qrcode/"): Own(finds=True),
    ("POST", "/system/whatsapp/start/"): Own(finds=True),
    ("POST", "/system/whatsapp/logout/"): Own(finds=True),
    ("POST", "/system/whatsapp/close/"): Own(finds=True),
    ("POST", "/system/whatsapp/send-test/"): Own(lambda _: {"phone": "5511999990001"}, owner=409),
    ("GET", "/system/whatsapp/config/"): Admin(),
    ("POST", "/system/whatsapp/config/"): Admin(lambda _: {"instanceName": "x"}),
    ("POST", "/system/whatsapp/toggle/"): Admin(lambda _: {"enabled": True}),
    ("POST", "/api/webhook/test"): Admin(),
    ("GET", "/api/admin/queue-stats"): Admin(),
    ("GET", "/api/admin/quarantine"): Admin(),
    ("POST", "/api/admin/replay"): Admin(lambda one: {"instance": one.places["name"], "state": "parked"}),
    ("GET", "/api/admin/audit"): Admin(),
    ("POST", "/api/admin/audit/<int:entry_id>/undo"): Admin(admin=409),  # no merge of contacts
    ("GET", "/api/admin/instances"): Admin(),
    ("GET", "/api/admin/instances/health"): Admin(),
    ("GET", "/api/admin/instances/<name>/health"): Admin(),
    ("POST", "/api/admin/instances/<name>/pause"): Admin(),
    ("POST", "/api/admin/instances/<name>/resume"): Admin(),
    ("GET", "/api/admin/incidents"): Admin(),
    ("GET", "/api/admin/incidents/<int:incident_id>"): Admin(),
    ("POST", "/api/admin/incidents/<int:incident_id>/acknowledge"): Admin(),
    ("GET", "/api/admin/alerts"): Admin(),
    ("GET", TARGETS): Admin(),
    ("POST", TARGETS): Admin(lambda _: {"url": "jsons://1.1.1.1/x"}, admin=201),
    ("PATCH", f"{TARGETS}/<uuid:target_id>"): Admin(lambda _: {"name": "x"}),
    ("POST", f"{TARGETS}/<uuid:target_id>/test"): Admin(admin=502),  # its host leads inside
    ("DELETE", f"{TARGETS}/<uuid:target_id>"): Admin(),
    ("GET", SILENCES): Admin(),
    ("POST", SILENCES): Admin(lambda _: {"kind": "mute", "endsAt": END}, admin=201),
    ("DELETE", f"{SILENCES}/<int:silence_id>"): Admin(),
}
# in front of the application, not in its map
WEBHOOKS = ("whatsapp", "evolution", "user/{user}", "t/{token}", "wppconnect/{token}", "broker")
THINGS = {  # one of each, `:marker` in all of it
    "contact_id": "INSERT INTO contacts (scope, user_id, phone_number, name)"
    " VALUES (:scope, :user, '5511999990001', :marker) RETURNING id",
    "conversation_id": "INSERT INTO conversations (instance_id, contact_id, title, last_message_at)"
    " SELECT :instance, id, :marker, now() FROM contacts WHERE user_id = :user RETURNING id",
    "message_id": "INSERT INTO messages (instance_id, conversation_id, contact_id, whatsapp_message_id, direction,"
    " kind, content, status, sent_at) SELECT :instance, id, contact_id, :marker, 'inbound', 'text', :marker, 'read',"
    " now() FROM conversations WHERE instance_id = :instance RETURNING id",
    "incident_id": "INSERT INTO incidents (gateway, instance_id, instance_name, user_id, kind, opened_at)"
    " VALUES ('evolution', :instance, :name, :user, 'down', now()) RETURNING id",
    "watched": "INSERT INTO instance_health (instance_id, public_token)"
    " VALUES (:instance, :marker) RETURNING instance_id",
    "token_id": "INSERT INTO api_tokens (user_id, token_hash, name)"
    " VALUES (:user, sha256(CAST(CAST(:marker AS text) AS bytea)), :marker) RETURNING id",
    "entry_id": "INSERT INTO audit (actor, action, subject, scope) VALUES (:scope, 'x', :marker, :scope) RETURNING id",
    "silence_id": "INSERT INTO alert_silences (kind, instance_id, starts_at, ends_at, created_by)"
    " VALUES ('mute', :instance, now(), now() + interval '1 day', 'x') RETURNING id",
    "target_id": "INSERT INTO alert_targets (name, scheme, sealed, created_by)"
    " VALUES (:marker, 'json', :sealed, 'x') RETURNING id",
}


@pytest.fixture
def variables() -> dict[str, str]:
    kinds = ("READS", "WRITES", "LOGINS", "CONNECTS", "SENDS", "TOKENS")
    return {f"RATE_LIMIT_{kind}": "0" for kind in kinds}


@pytest.fixture
def client(system: System) -> FlaskClient:
    client = build_app(system).test_client()
    client.environ_base.update(FAR_AWAY)
    return client


@pytest.fixture
def tenants(system: System, bearer: Callable[..., dict[str, str]]) -> list[Tenant]:
    with system.transaction() as connection:
        return [_settle(system, connection, bearer) for _ in range(2)]


@pytest.fixture
def admin(bearer: Callable[..., dict[str, str]]) -> dict[str, str]:
    return bearer(uuid4(), role="admin")


def _settle(system: System, connection: Connection, bearer: Callable[..., dict[str, str]]) -> Tenant:
    user_id, name = make_instance(connection)
    find = text(
        "UPDATE whatsapp_instances SET hooked_at = now(), last_connected_at = now() WHERE user_id = :user RETURNING id"
    )
    instance, marker = connection.execute(find, {"user": user_id}).scalar_one(), f"marker-{uuid4().hex}"
    facts = {"user": user_id, "scope": str(user_id), "name": name, "instance": instance, "marker": marker}
    facts["sealed"] = system.vault.seal({"url": "json://127.0.0.1:9/x"})
    ids = {what: connection.execute(text(query), facts).scalar_one() for what, query in THINGS.items()}
    more = {"name": name, "instance_id": name, "token": marker, "filename": "zelador.css", "code": "en"}
    more["asset"] = "css/swagger-ui.css"
    return Tenant(user_id=user_id, headers=bearer(user_id), marker=marker, places={**ids, **more})


def call(client: FlaskClient, route: tuple[str, str], whose: Tenant, headers: Mapping[str, str] | None) -> Any:
    """The answer to this caller, about a thing of `whose`."""
    method, rule = route
    entry = ENTRIES[route]
    more = entry.headers if isinstance(entry, Socket) else {}
    body = entry.body(whose) if isinstance(entry, Own | Admin) and entry.body else None
    sent: dict[str, Any] = {"json": body} if body is not None else {}
    place, sent["headers"] = path_of(client, rule, whose), {**(headers or {}), **more}
    with client.open(place, method=method, **sent) as answer:
        answer.get_data()
        return answer


def path_of(client: FlaskClient, rule: str, whose: Tenant) -> str:
    found = next(one for one in client.application.url_map.iter_rules() if one.rule == rule)
    return client.application.url_map.bind("localhost").build(
        found.endpoint, {name: whose.places[name] for name in found.arguments}, method=next(iter(found.methods or ()))
    )


def entries(kind: type[Open] | type[Own] | type[Admin]) -> list[tuple[str, str]]:
    """Reading first, taking away last."""
    found = [route for route, entry in ENTRIES.items() if isinstance(entry, kind)]
    return sorted(found, key=lambda route: (VERBS.index(route[0]), route[1]))


def test_every_route_says_here_who_may_call_it(client):
    rules = {
        (verb, rule.rule)
        for rule in client.application.url_map.iter_rules()
        for verb in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert rules - ENTRIES.keys() == set(), "a new route needs an entry"
    assert ENTRIES.keys() - rules == set(), "an entry without a route"


def test_every_other_verb_is_405_for_everybody(client, tenants, admin):
    wrong = {}
    for rule in {rule for _, rule in ENTRIES}:
        for verb in (verb for verb in VERBS if (verb, rule) not in ENTRIES):
            for headers in (None, tenants[0].headers, admin):
                status = client.open(path_of(client, rule, tenants[0]), method=verb, headers=headers).status_code
                if status != 405:
                    wrong[verb, rule] = status
    assert wrong == {}


def test_nobody_gets_401_but_where_it_is_open(client, tenants):
    expected = {route: entry.nobody if isinstance(entry, Open) else 401 for route, entry in ENTRIES.items()}
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer zt_" + "A" * 43}):
        found = {route: call(client, route, tenants[0], headers).status_code for route in ENTRIES}
        assert found == expected


def test_a_cookie_without_the_csrf_token_changes_nothing(client, tenants):
    for one in tenants:
        with client.session_transaction() as session:
            session.update(Session.begin(one.user_id, datetime.now(UTC)).as_cookie())
        changing = [route for route in [*entries(Own), *entries(Admin)] if route[0] != "GET"]
        found = {route: call(client, route, one, None) for route in changing}
        assert {route: answer.json["code"] for route, answer in found.items()} == dict.fromkeys(changing, "CSRF")


def test_what_is_for_administrators_is_403_for_users_their_own_things_too(client, tenants, rows):
    for caller in tenants:
        for whose in tenants:
            found = {route: call(client, route, whose, caller.headers).status_code for route in entries(Admin)}
            assert found == dict.fromkeys(found, 403)
    assert rows("SELECT count(*) AS kept FROM alert_targets") == [{"kept": 2}]
    assert rows("SELECT count(*) AS kept FROM alert_silences") == [{"kept": 2}]


@pytest.mark.usefixtures("web")  # as above
def test_what_belongs_to_another_is_404_and_nothing_of_it_is_shown(client, tenants, rows):
    for caller, whose in (tenants, tenants[::-1]):
        for route in entries(Own):
            if isinstance(ENTRIES[route], Socket) and "<" not in route[1]:
                continue
            answer = call(client, route, whose, caller.headers)
            if "<" in route[1]:
                assert (route, answer.status_code) == (route, 404)
                nothing = client.open(
                    path_of(client, route[1], _nothing(whose)), method=route[0], headers=caller.headers
                )
                assert isinstance(ENTRIES[route], Socket) or answer.data == nothing.data  # it may as well not be there
            if route != ("POST", "/api/contacts") and route != ("POST", "/api/tokens"):  # these echo what was sent
                assert whose.marker not in answer.text, route
            for secret in (str(whose.user_id), str(whose.places["conversation_id"])):
                assert secret not in answer.text, route
    assert rows("SELECT count(*) AS kept FROM api_tokens WHERE revoked_at IS NULL AND name LIKE 'marker%'") == [
        {"kept": 4}
    ]


def _nothing(like: Tenant) -> Tenant:
    """A path to what was never there."""
    absent = {
        name: uuid4() if isinstance(value, UUID) else 2**40 if isinstance(value, int) else f"user_{uuid4()}"
        for name, value in like.places.items()
    }
    return Tenant(user_id=uuid4(), headers={}, marker="", places={**absent, "conversation_id": uuid4()})


@pytest.mark.usefixtures("web")  # the gateway deletes once its last webhook was taken
def test_owners_get_their_own_and_nobody_elses(client, tenants):
    for one, other in (tenants, tenants[::-1]):
        for route in entries(Own):
            entry = ENTRIES[route]
            if not isinstance(entry, Own) or isinstance(entry, Socket):
                continue  # tests/flow/test_live_rooms.py opens them
            answer = call(client, route, one, one.headers)
            assert (route, answer.status_code) == (route, entry.owner), answer.text
            mine = (one.marker, str(one.user_id))
            assert not entry.finds or any(word in answer.text for word in mine), (route, answer.text)
            assert not any(word in answer.text for word in (other.marker, str(other.user_id))), route


def test_administrators_may_do_what_is_theirs(client, tenants, admin):
    found = {route: call(client, route, tenants[0], admin).status_code for route in entries(Admin)}
    assert found == {route: entry.admin for route, entry in ENTRIES.items() if isinstance(entry, Admin)}


@pytest.mark.usefixtures("web")  # the gateway deletes once its last webhook was taken
def test_administrators_see_through_their_own_routes_only(client, tenants, admin):
    """As a user an administrator has what is theirs; instances, and their sockets, are open to them."""
    for route in entries(Own):
        entry = ENTRIES[route]
        if isinstance(entry, Own) and not isinstance(entry, Socket):
            answer = call(client, route, tenants[0], admin)
            expected = entry.owner if entry.all_for_admins else 404
            assert "<" not in route[1] or answer.status_code == expected, route
            assert (str(tenants[0].user_id) in answer.text) == (entry.all_for_admins and entry.finds), route


def test_in_front_of_the_application_only_gateways_are_let_in(client, system, tenants, admin):
    one, other = tenants
    keys = hook_keys(system, one.places["name"])
    for way in WEBHOOKS:
        for end in ("", "/messages-upsert", "//born-tomorrow/"):
            path = "/api/webhook/" + way.format(user=one.user_id, token=one.marker) + end
            for who in (None, one.headers, admin):
                assert client.post(path, json={}, headers=who).status_code == 401
    proven: dict[str, dict[str, str]] = {
        f"/api/webhook/t/{keys.token}": {},
        "/api/webhook/evolution": {"X-Webhook-Token": keys.token},
    }
    for path, headers in proven.items():
        theirs = body_of(text_message(other.places["name"], path))
        answer = client.post(path, data=theirs, headers=headers, content_type="application/json")
        assert (answer.status_code, answer.json["status"]) == (200, "quarantined")


def test_what_gateways_sent_is_set_aside_for_administrators_eyes_alone(client, system, tenants, admin):
    system.inbox.record(Delivery(instance=tenants[0].places["name"], event="x", body=b"{}", problem="no_event"))
    assert client.get("/api/admin/quarantine", headers=admin).json["items"]
    for one in tenants:
        assert client.get("/api/admin/quarantine", headers=one.headers).status_code == 403
