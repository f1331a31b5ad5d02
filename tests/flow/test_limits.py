"""How often one caller may ask (L002): 429 with Retry-After, for callers one by one, and never for gateways."""

from datetime import timedelta
from uuid import uuid4

import pytest

from bootstrap.web import build_app
from core.access import create_person, make_link
from tests.factories import body_of, hook_keys, make_instance, text_message
from tests.live import HANDSHAKE

STATUS, CONNECT, SEND, TOKENS = "/api/whatsapp/status", "/api/whatsapp/connect", "/api/whatsapp/send", "/api/tokens"
LIMITS = {"READS": 3, "WRITES": 2, "LOGINS": 2, "CONNECTS": 1, "SENDS": 1, "TOKENS": 1}
PROXY = {"environ_base": {"REMOTE_ADDR": "10.1.2.3"}}


@pytest.fixture
def variables():
    few = {f"RATE_LIMIT_{name}": str(most) for name, most in LIMITS.items()}
    return {**few, "TRUSTED_PROXIES": "10.0.0.0/8", "WEBHOOK_SECRET": "s" * 40}


@pytest.fixture
def browser(system):
    with build_app(system).test_client() as client:
        yield client


def statuses(ask, times):
    found = []
    for _ in range(times):
        with ask() as answer:
            found.append(answer.status_code)
    return found


def expect_limited(answer):
    assert (answer.status_code, answer.content_type) == (429, "application/json")
    body = answer.json
    assert body.keys() == {"success", "message", "status_code", "code", "error"}
    assert (body["success"], body["status_code"], body["code"]) == (False, 429, "RATE_LIMITED")
    assert 1 <= int(answer.headers["Retry-After"]) <= 61


def test_who_asks_too_often_is_told_when_to_come_back_and_nobody_else(browser, bearer):
    one, other = bearer(uuid4()), bearer(uuid4())
    assert statuses(lambda: browser.get(STATUS, headers=one), 3) == [200] * 3
    expect_limited(browser.get(STATUS, headers=one))
    expect_limited(browser.get("/api/messages", headers=one))  # reads are counted together
    assert browser.get(STATUS, headers=other).status_code == 200
    assert browser.post("/api/ws/ticket", headers=one).status_code == 200  # and writes apart


def test_a_user_is_one_caller_however_they_come(system, browser):
    with system.transaction() as connection:
        person = create_person(connection, email="ana@example.org", password="a long password")
        link = make_link(connection, person, valid_for=timedelta(hours=1))
    page = browser.get(f"/login/{link}", follow_redirects=True).text
    csrf = page.partition('name="csrf-token" content="')[2].partition('"')[0]
    token = browser.post(TOKENS, json={"name": "x"}, headers={"X-CSRFToken": csrf}).json["token"]
    by_token = {"Authorization": f"Bearer {token}"}
    assert statuses(lambda: browser.get(STATUS), 2) == [200, 200]
    assert browser.get(STATUS, headers=by_token).status_code == 200
    expect_limited(browser.get(STATUS, headers=by_token))
    expect_limited(browser.get(STATUS))


def test_connecting_sending_and_making_tokens_have_limits_of_their_own(browser, bearer):
    user = bearer(uuid4())
    tries = {
        CONNECT: lambda: browser.post(CONNECT, headers=user),
        SEND: lambda: browser.post(SEND, json={"to": "5511999990001", "message": "x"}, headers=user),
        TOKENS: lambda: browser.post(TOKENS, json={"name": "x"}, headers=user),
    }
    for path, ask in tries.items():
        assert ask().status_code != 429, path
        expect_limited(ask())
    assert statuses(lambda: browser.post("/api/ws/ticket", headers=user), 3) == [200, 200, 429]


def test_whose_credential_is_no_good_is_counted_by_address(browser):
    bad = [{"Authorization": f"Bearer {token}"} for token in ("x", "zt_" + "A" * 43, "y", "z")]
    assert [browser.get(STATUS, headers=headers).status_code for headers in bad] == [401, 401, 401, 429]
    browser.set_cookie("session", "eyJ1aWQiOiIxIn0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb")
    expect_limited(browser.get(STATUS))


def test_logins_are_counted_by_address(browser):
    assert statuses(lambda: browser.get("/login/wrong"), 2) == [401, 401]
    expect_limited(browser.get("/login/another"))
    expect_limited(browser.post("/login", data={"email": "a@b.c", "password": "x"}))
    assert browser.get("/login").status_code == 200
    elsewhere = {"environ_base": {"REMOTE_ADDR": "203.0.113.5"}}
    assert browser.get("/login/wrong", **elsewhere).status_code == 401


def test_behind_a_proxy_of_ours_everybody_is_counted_apart(browser):
    def login(forwarded, **peer):
        return browser.get("/login/wrong", headers={"X-Forwarded-For": forwarded}, **peer).status_code

    assert [login("203.0.113.5", **PROXY) for _ in range(3)] == [401, 401, 429]
    assert login("1.2.3.4, 203.0.113.5", **PROXY) == 429  # what the client wrote itself
    assert login("203.0.113.6", **PROXY) == 401
    stranger = {"environ_base": {"REMOTE_ADDR": "198.51.100.7"}}
    assert [login(f"203.0.113.{number}", **stranger) for number in range(10, 13)] == [401, 401, 429]


def test_gateways_probes_and_handshakes_are_never_refused(system, browser, bearer):
    with system.transaction() as connection:
        _, name = make_instance(connection)
    keys = hook_keys(system, name)
    ways = [("/api/webhook/evolution", {"X-Webhook-Token": keys.token}), (f"/api/webhook/t/{keys.token}/x", {})]
    for path, headers in ways:
        for number in range(10):
            body = body_of(text_message(name, f"{path} {number}"))
            answer = browser.post(path, data=body, headers=headers, content_type="application/json")
            assert (answer.status_code, answer.json["status"]) == (200, "stored")
    assert statuses(lambda: browser.post("/api/webhook/evolution", json={}), 10) == [401] * 10
    admin = bearer(uuid4(), role="admin")
    assert statuses(lambda: browser.post("/api/webhook/test", json={}, headers=admin), 10) == [200] * 10
    for path in ("/livez", "/readyz", "/health", "/metrics", "/static/zelador.css"):
        assert statuses(lambda path=path: browser.get(path), 10) == [200] * 10, path
    assert statuses(lambda: browser.get("/ws", headers=HANDSHAKE), 10) == [401] * 10
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert statuses(lambda: browser.options(CONNECT, headers=preflight), 10) == [200] * 10


class TestWithoutLimits:
    @pytest.fixture
    def variables(self):
        return {f"RATE_LIMIT_{name}": "0" for name in LIMITS}

    def test_zero_is_none(self, browser, bearer):
        user = bearer(uuid4())
        assert statuses(lambda: browser.get(STATUS, headers=user), 20) == [200] * 20
        assert statuses(lambda: browser.get("/login/wrong"), 40) == [401] * 40
