"""Personal API tokens: made once, shown once, as mighty as their owner is now, over when they are revoked."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import text
from websockets.exceptions import InvalidStatus

from bootstrap.system import build
from bootstrap.web import build_app
from core import api_tokens
from core.access import Principal, create_person, make_link
from core.api_tokens import MOST_EACH, ApiTokens
from core.errors import StorageUnavailable
from tests.clock import FrozenClock
from tests.conftest import KEY
from tests.factories import make_instance, token_for
from tests.live import close_code, hear, line, subscribed

TOKENS, STATUS, ADMIN, TICKET = "/api/tokens", "/api/whatsapp/status", "/api/admin/queue-stats", "/api/ws/ticket"


@pytest.fixture
def clock():
    return FrozenClock(datetime.now(UTC))


@pytest.fixture
def system(engine, database_url, settings_of, clock, free_port):
    near = {"EVOLUTION_API_URL": "http://127.0.0.1:9", "EVOLUTION_API_KEY": KEY, "PORT": str(free_port)}
    built = build(settings_of(**near, RATE_LIMIT_TOKENS="0"), database_url, clock=clock)
    yield built
    built.stop()


@pytest.fixture
def browser(system):
    with build_app(system).test_client() as client:
        yield client


@pytest.fixture
def user(system):
    with system.transaction() as connection:
        return make_instance(connection)[0]


@pytest.fixture
def made(browser, bearer, user):
    """A fresh token of the user's: `made()["token"]`."""

    def make(owner=user, **asked):
        answer = browser.post(TOKENS, json={"name": "CRM", **asked}, headers=bearer(owner))
        assert answer.status_code == 201, answer.text
        return answer.json

    return make


@pytest.fixture
def change(system):
    def run(query, **values):
        with system.transaction() as connection:
            connection.execute(text(query), values)

    return run


def by(token):
    return {"Authorization": f"Bearer {token}"}


def test_a_token_is_shown_once_and_its_secret_is_not_kept(browser, bearer, user, made, rows):
    one = made(name=" CRM da loja ", expiresInDays=30)
    assert one.keys() == {"success", "token", "id", "name", "createdAt", "lastUsedAt", "expiresAt"}
    assert (one["success"], one["name"], one["lastUsedAt"]) == (True, "CRM da loja", None)
    assert one["token"].startswith("zt_")
    assert len(one["token"]) == 3 + 43  # 256 bits
    life = datetime.fromisoformat(one["expiresAt"]) - datetime.fromisoformat(one["createdAt"])
    assert life == timedelta(days=30)
    listed = browser.get(TOKENS, headers=bearer(user))
    assert [item.keys() for item in listed.json["items"]] == [one.keys() - {"success", "token"}]
    kept = str(rows("SELECT * FROM api_tokens")) + str(rows("SELECT * FROM audit")) + listed.text
    assert one["token"][3:] not in kept


def test_it_is_taken_wherever_a_jwt_is(browser, user, made):
    headers = by(made()["token"])
    answer = browser.get(STATUS, headers=headers)
    assert (answer.status_code, answer.json["instanceName"]) == (200, f"user_{user}")
    asked = ("/api/messages", "/api/contacts", "/api/conversations", "/api/whatsapp/health", "/api/events", TOKENS)
    assert {path: browser.get(path, headers=headers).status_code for path in asked} == dict.fromkeys(asked, 200)
    assert browser.post(TICKET, headers=headers).status_code == 200
    assert browser.get(STATUS, headers={"Authorization": f"bearer  {made()['token']}"}).status_code == 200


@pytest.mark.parametrize(
    "token", ["zt_", "zt_x", "zt_" + "A" * 43, "zt_" + "é" * 43, "zt_" + "a" * 5000, "ZT_", "zt_\0"]
)
def test_any_other_token_is_401(browser, made, token):
    made()
    answer = browser.get(STATUS, headers=by(token))
    assert (answer.status_code, answer.json["code"]) == (401, "UNAUTHENTICATED")


# ---- whose rights ----------------------------------------------------------------------------------------------


def test_it_has_the_rights_that_its_owner_has_now(browser, user, made, change, clock):
    headers = by(made()["token"])
    assert browser.get(ADMIN, headers=headers).status_code == 403
    for role, status in (("admin", 200), ("user", 403)):
        change("UPDATE profiles SET role = :role WHERE id = :id", role=role, id=user)
        clock.advance(seconds=5)
        assert browser.get(ADMIN, headers=headers).status_code == status


def test_who_is_an_admin_by_their_jwt_alone_makes_tokens_of_a_user(browser, bearer):
    admin = bearer(uuid4(), role="admin")
    assert browser.get(ADMIN, headers=admin).status_code == 200
    token = browser.post(TOKENS, json={"name": "x"}, headers=admin).json["token"]
    assert browser.get(ADMIN, headers=by(token)).status_code == 403


def test_a_token_makes_no_tokens_but_may_end_some(browser, made, rows):
    one, other = made(), made()
    answer = browser.post(TOKENS, json={"name": "more"}, headers=by(one["token"]))
    assert (answer.status_code, answer.json["code"]) == (403, "TOKEN_NOT_ENOUGH")
    assert browser.delete(f"{TOKENS}/{other['id']}", headers=by(one["token"])).status_code == 200
    assert browser.delete(f"{TOKENS}/{one['id']}", headers=by(one["token"])).status_code == 200
    assert browser.get(STATUS, headers=by(one["token"])).status_code == 401


def test_a_session_makes_tokens_with_the_csrf_token_only(system, browser):
    with system.transaction() as connection:
        person = create_person(connection, email="ana@example.org", password="a long password")
        link = make_link(connection, person, valid_for=timedelta(hours=1))
    page = browser.get(f"/login/{link}", follow_redirects=True).text
    assert browser.post(TOKENS, json={"name": "x"}).status_code == 403
    csrf = page.partition('name="csrf-token" content="')[2].partition('"')[0]
    answer = browser.post(TOKENS, json={"name": "x"}, headers={"X-CSRFToken": csrf})
    assert answer.status_code == 201, answer.text
    browser.delete_cookie("session")
    assert browser.get(STATUS, headers=by(answer.json["token"])).json["instanceName"] == f"user_{person}"


def test_nobody_sees_or_ends_the_tokens_of_others(browser, bearer, made):
    one = made()
    for stranger in (bearer(uuid4()), bearer(uuid4(), role="admin")):
        assert browser.get(TOKENS, headers=stranger).json["items"] == []
        answer = browser.delete(f"{TOKENS}/{one['id']}", headers=stranger)
        assert (answer.status_code, answer.json["code"]) == (404, "TOKEN_NOT_FOUND")
    assert browser.get(STATUS, headers=by(one["token"])).status_code == 200
    admin = bearer(uuid4(), role="admin")
    assert one["token"][3:] not in browser.get("/api/admin/audit", headers=admin).text


# ---- the end of one --------------------------------------------------------------------------------------------


def test_revoked_it_is_refused_here_at_once_and_elsewhere_within_five_seconds(
    system, browser, bearer, user, made, clock
):
    one, other = made(), made()
    elsewhere = ApiTokens(system.transaction, clock)
    assert browser.get(STATUS, headers=by(one["token"])).status_code == 200
    assert elsewhere.owner_of(one["token"]).user_id == user
    assert browser.delete(f"{TOKENS}/{one['id']}", headers=bearer(user)).status_code == 200
    assert browser.get(STATUS, headers=by(one["token"])).status_code == 401
    clock.advance(seconds=5)
    with build_app(system).test_client() as fresh:
        assert fresh.get(STATUS, headers=by(one["token"])).status_code == 401
    with pytest.raises(Exception, match="not valid"):
        elsewhere.owner_of(one["token"])
    assert browser.get(STATUS, headers=by(other["token"])).status_code == 200
    assert [item["id"] for item in browser.get(TOKENS, headers=bearer(user)).json["items"]] == [other["id"]]
    again = browser.delete(f"{TOKENS}/{one['id']}", headers=bearer(user))
    assert (again.status_code, again.json["code"]) == (404, "TOKEN_NOT_FOUND")


def test_it_ends_when_it_was_meant_to(browser, bearer, user, made, change, clock):
    one, endless = made(expiresInDays=1), made()
    assert browser.get(STATUS, headers=by(one["token"])).status_code == 200
    clock.advance(days=1)  # what is remembered of it counts no more …
    change("UPDATE api_tokens SET expires_at = now() WHERE id = :id", id=one["id"])  # … and the table says so
    assert browser.get(STATUS, headers=by(one["token"])).status_code == 401
    assert browser.get(STATUS, headers=by(endless["token"])).status_code == 200
    listed = browser.get(TOKENS, headers=bearer(user)).json["items"]
    assert {item["id"] for item in listed} == {one["id"], endless["id"]}  # its owner sees why it stopped


def test_with_its_owner_it_is_gone(browser, user, made, change, clock):
    headers = by(made()["token"])
    assert browser.get(STATUS, headers=headers).status_code == 200
    change("DELETE FROM profiles WHERE id = :id", id=user)
    clock.advance(seconds=5)
    assert browser.get(STATUS, headers=headers).status_code == 401


def test_its_sockets_are_closed_and_no_others(web, system, user, bearer):
    """By itself, at the next look at who is connected: every 2 s."""
    made = requests.post(f"{web}{TOKENS}", json={"name": "live"}, headers=bearer(user), timeout=10).json()
    headers = by(made["token"])
    ticket = requests.post(f"{web}{TICKET}", headers=headers, timeout=10).json()["ticket"]
    unused = requests.post(f"{web}{TICKET}", headers=headers, timeout=10).json()["ticket"]
    with line(web, headers) as one, line(web, path=f"/ws?ticket={ticket}") as two, line(web, bearer(user)) as mine:
        for client in (one, two, mine):
            assert hear(subscribed(client))["type"] == "snapshot"
        requests.delete(f"{web}{TOKENS}/{made['id']}", headers=bearer(user), timeout=10).raise_for_status()
        assert [close_code(client) for client in (one, two)] == [4401, 4401]
        mine.send('{"type":"ping"}')
        assert hear(mine) == {"type": "pong"}
    with pytest.raises(InvalidStatus) as refused, line(web, path=f"/ws?ticket={unused}"):
        pass
    assert refused.value.response.status_code == 401


def test_a_socket_of_a_token_hears_what_its_owner_may_and_no_more(web, system, user, bearer, change):
    """A role that is taken away is taken from its sockets."""
    change("UPDATE profiles SET role = 'admin' WHERE id = :id", id=user)
    with system.transaction() as connection:
        other, _ = make_instance(connection)
    headers = by(requests.post(f"{web}{TOKENS}", json={"name": "x"}, headers=bearer(user), timeout=10).json()["token"])
    with line(web, headers, path=f"/ws/instances/user_{other}") as client:
        client.send('{"type":"ping"}')
        assert hear(client) == {"type": "pong"}
        change("UPDATE profiles SET role = 'user' WHERE id = :id", id=user)
        system.seats.check()
        assert close_code(client) == 4403


def test_while_the_database_is_away_nobody_knows(system, clock, made):
    def away():
        raise StorageUnavailable("gone")

    with pytest.raises(StorageUnavailable):
        ApiTokens(away, clock).owner_of(made()["token"])


# ---- what is kept of it ----------------------------------------------------------------------------------------


def test_when_it_was_used_is_known_to_five_minutes(browser, made, change, clock, rows):
    one = made()
    used = "SELECT last_used_at FROM api_tokens"
    assert rows(used) == [{"last_used_at": None}]
    browser.get(STATUS, headers=by(one["token"]))
    [first] = rows(used)
    assert first["last_used_at"] is not None
    clock.advance(seconds=5)
    browser.get(STATUS, headers=by(one["token"]))
    assert rows(used) == [first]
    change("UPDATE api_tokens SET last_used_at = now() - interval '6 minutes'")
    clock.advance(seconds=5)
    browser.get(STATUS, headers=by(one["token"]))
    [last] = rows(used)
    assert last["last_used_at"] > first["last_used_at"]


def test_the_audit_says_who_made_and_revoked_it(browser, bearer, user, made, rows):
    one = made()
    browser.delete(f"{TOKENS}/{one['id']}", headers=bearer(user))
    found = rows("SELECT actor, action, subject, scope FROM audit ORDER BY id")
    mine = {"actor": str(user), "subject": one["id"], "scope": str(user)}
    assert found == [{**mine, "action": "token.made"}, {**mine, "action": "token.revoked"}]


def test_nobody_has_more_than_fifty(system, browser, bearer, user, made, change):
    change(
        "INSERT INTO api_tokens (user_id, token_hash, name) SELECT :id, sha256(CAST(n::text AS bytea)), 'x'"
        " FROM generate_series(2, :most) AS n",
        id=user,
        most=MOST_EACH,
    )
    last = made()
    answer = browser.post(TOKENS, json={"name": "x"}, headers=bearer(user))
    assert (answer.status_code, answer.json["code"]) == (409, "TOO_MANY_TOKENS")
    browser.delete(f"{TOKENS}/{last['id']}", headers=bearer(user))
    assert made()["success"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"name": ""},
        {"name": "  "},
        {"name": 5},
        {"name": "x" * 81},
        {"name": "a\nb"},
        {"name": "a\0b"},
        {"name": "x", "expiresInDays": 0},
        {"name": "x", "expiresInDays": 1.5},
        {"name": "x", "expiresInDays": True},
        {"name": "x", "expiresInDays": 10**9},
        {"name": "x", "user_id": str(uuid4())},
        {"name": "x", "role": "admin"},
    ],
)
def test_a_wish_that_is_none_is_400(browser, bearer, user, asked, rows):
    answer = browser.post(TOKENS, json=asked, headers=bearer(user))
    assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")
    assert rows("SELECT FROM api_tokens") == []


def test_what_is_over_is_forgotten_after_a_month(system, made, change, rows):
    ids = [made()["id"] for _ in range(4)]
    change("UPDATE api_tokens SET revoked_at = now() - interval '31 days' WHERE id = :id", id=ids[0])
    change("UPDATE api_tokens SET expires_at = now() - interval '31 days' WHERE id = :id", id=ids[1])
    change("UPDATE api_tokens SET revoked_at = now() - interval '29 days' WHERE id = :id", id=ids[2])
    with system.transaction() as connection:
        assert api_tokens.prune(connection, api_tokens.KEPT) == 2
    assert {row["id"] for row in rows("SELECT id FROM api_tokens")} == {UUID(one) for one in ids[2:]}


def test_a_jwt_that_only_looks_like_one_is_none(system, browser):
    """Nobody can make a JWT that begins so, and nobody's JWT is taken for a personal token."""
    token = token_for(system, Principal(user_id=uuid4()))
    assert browser.get(STATUS, headers=by(token)).status_code == 200
    assert browser.get(STATUS, headers=by(f"zt_{token}")).status_code == 401
