"""Who is calling: bearer tokens, sessions and what every answer has in common."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest
from sqlalchemy import text

from bootstrap.system import build
from bootstrap.web import build_app
from core.access import Principal, create_person, make_link, nobodys_hash
from tests.conftest import KEY
from tests.factories import make_instance, token_for

STATUS, ADMIN, CONNECT = "/api/whatsapp/status", "/api/admin/queue-stats", "/api/whatsapp/connect"
PASSWORD = "correct horse battery staple"
ORIGIN = "https://app.example"


@pytest.fixture
def browser(system):
    with build_app(system).test_client() as client:
        yield client


def signed(system, *, secret=None, algorithm="HS256", **claims):
    facts = {"sub": str(uuid4()), "exp": datetime.now(UTC) + timedelta(hours=1), **claims}
    kept = {name: value for name, value in facts.items() if value is not None}
    return jwt.encode(kept, secret or system.settings.auth_jwt_secret.get_secret_value(), algorithm)


def as_bearer(token):
    return {"Authorization": f"Bearer {token}"}


def expect_error(answer, status, code):
    """The one shape of every error (X14)."""
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    body = answer.json
    assert body.keys() == {"success", "message", "status_code", "code", "error"}
    assert (body["success"], body["status_code"], body["code"]) == (False, status, code)
    assert body["error"] == {"code": code, "message": body["message"], "details": body["error"]["details"]}
    assert body["message"]


def test_a_supabase_token_passes_whatever_its_audience_and_makes_a_profile(system, browser, rows):
    user = str(uuid4())
    token = signed(system, sub=user, email="Ana@x.org", role="authenticated", aud="authenticated", iat=2**33)
    answer = browser.get(STATUS, headers=as_bearer(token))
    assert (answer.status_code, answer.json["instanceName"]) == (200, f"user_{user}")
    assert [(str(row["id"]), row["email"], row["role"]) for row in rows("SELECT * FROM profiles")] == [
        (user, "Ana@x.org", "user")
    ]


def bad_tokens(system):
    good = signed(system)
    head, claims, signature = good.split(".")
    unsigned = jwt.encode({"sub": str(uuid4()), "exp": 2**33}, "", "none")
    return {
        "alg none": unsigned,
        "alg none with the signature of another": unsigned + signature,
        "another secret": signed(system, secret="x" * 40),
        "another algorithm": signed(system, algorithm="HS512"),
        "expired": signed(system, exp=datetime.now(UTC) - timedelta(seconds=1)),
        "no expiry": signed(system, exp=None),
        "an odd expiry": signed(system, exp="never"),
        "no sub": signed(system, sub=None),
        "sub no uuid": signed(system, sub="42"),
        "sub with SQL": signed(system, sub="' OR 1=1 --"),
        "not yet valid": signed(system, nbf=datetime.now(UTC) + timedelta(hours=1)),
        "cut": f"{head}.{claims}",
        "changed": f"{head}.{claims[:-2]}xx.{signature}",
        "garbage": "garbage",
        "dots": "...",
        "nothing": "",
        "not ascii": "é.é.é",
        "long": "a" * 5000,
    }


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_bad_token_is_401(system, browser):
    for kind, token in bad_tokens(system).items():
        answer = browser.get(STATUS, headers=as_bearer(token))
        assert answer.status_code == 401, kind
        expect_error(answer, 401, "UNAUTHENTICATED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic dTpw"}, {"Authorization": "Bearer"}])
def test_without_a_credential_it_is_401(browser, headers):
    expect_error(browser.get(STATUS, headers=headers), 401, "UNAUTHENTICATED")


def test_a_bad_token_is_not_saved_by_a_good_session(system, browser):
    log_in(system, browser)
    assert browser.get(STATUS).status_code == 200
    expect_error(browser.get(STATUS, headers=as_bearer("garbage")), 401, "UNAUTHENTICATED")


def test_the_audience_is_checked_where_one_is_set(engine, database_url, settings_of):
    variables = {"EVOLUTION_API_URL": "http://127.0.0.1:9", "EVOLUTION_API_KEY": KEY, "AUTH_JWT_AUDIENCE": "zelador"}
    strict = build(settings_of(**variables), database_url)
    try:
        client = build_app(strict).test_client()
        for audience, status in (("zelador", 200), ("other", 401), (None, 401)):
            token = signed(strict, aud=audience)
            assert client.get(STATUS, headers=as_bearer(token)).status_code == status
        ours = token_for(strict, Principal(user_id=uuid4()))
        assert client.get(STATUS, headers=as_bearer(ours)).status_code == 200
    finally:
        strict.stop()


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"role": "admin"}, 200),
        ({"app_metadata": {"role": "admin"}, "role": "authenticated"}, 200),
        ({}, 403),
        ({"role": "authenticated"}, 403),
        ({"role": "Admin"}, 403),
        ({"role": ["admin"]}, 403),
        ({"user_metadata": {"role": "admin"}}, 403),
        ({"app_metadata": "admin"}, 403),
    ],
)
def test_who_is_an_admin_by_token(system, browser, claims, status):
    assert browser.get(ADMIN, headers=as_bearer(signed(system, **claims))).status_code == status


def test_a_user_hears_why_it_is_forbidden(system, browser):
    expect_error(browser.get(ADMIN, headers=as_bearer(signed(system))), 403, "FORBIDDEN")


def test_a_profile_marked_admin_is_one(system, browser):
    user = uuid4()
    with system.transaction() as connection:
        connection.execute(text("INSERT INTO profiles (id, role) VALUES (:id, 'admin')"), {"id": user})
    assert browser.get(ADMIN, headers=as_bearer(signed(system, sub=str(user)))).status_code == 200


def test_an_admin_token_does_not_make_its_owner_admin_for_ever(system, browser, rows):
    user = str(uuid4())
    assert browser.get(ADMIN, headers=as_bearer(signed(system, sub=user, role="admin"))).status_code == 200
    assert browser.get(ADMIN, headers=as_bearer(signed(system, sub=user))).status_code == 403
    assert rows("SELECT role FROM profiles") == [{"role": "user"}]


@pytest.mark.parametrize("odd", ["a\0b", "\ud800", "x" * 3000, 5, {"a": 1}, [""]])
def test_odd_claims_break_nothing(system, browser, odd):
    token = signed(system, email=odd, organization_id=odd)
    assert browser.get(STATUS, headers=as_bearer(token)).status_code == 200


def person(system, email="ana@x.org", role="user"):
    with system.transaction() as connection:
        return create_person(connection, email=email, password=PASSWORD, role=role)


def link_to(system, user_id, *, valid_for=timedelta(hours=1), once=True):
    with system.transaction() as connection:
        return make_link(connection, user_id, valid_for=valid_for, once=once)


def log_in(system, browser, **facts):
    user_id = person(system, **facts)
    assert browser.get(f"/login/{link_to(system, user_id)}").status_code == 302
    return user_id


def csrf_of(browser, path="/login"):
    page = browser.get(path).text
    found = re.search(r'(?:name="csrf_token"[^>]*value|name="csrf-token"[^>]*content)="([^"]+)"', page)
    assert found, "the page has no CSRF token"
    return found[1]


def typed(browser, email, password):
    form = {"email": email, "password": password, "csrf_token": csrf_of(browser)}
    return browser.post("/login", data=form)


def test_a_password_logs_in_whatever_the_case_of_the_address(system, browser):
    user_id = person(system)
    assert typed(browser, "ANA@x.org", PASSWORD).status_code == 302
    assert browser.get(STATUS).json["instanceName"] == f"user_{user_id}"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ana@x.org", "wrong"),
        ("ana@x.org", ""),
        ("nobody@x.org", PASSWORD),
        ("", ""),
        ("a\0na@x.org", "x"),
        ("' OR ''='", "x"),
    ],
)
def test_a_wrong_password_does_not(system, browser, email, password):
    person(system)
    assert typed(browser, email, password).status_code == 401
    assert browser.get(STATUS).status_code == 401


def test_an_unknown_address_costs_as_much_as_a_known_one(system, rows):
    person(system)
    [known] = rows("SELECT password_hash FROM profiles")
    assert nobodys_hash().split("$")[0] == str(known["password_hash"]).split("$")[0]


def test_a_login_without_the_forms_token_is_refused(system, browser):
    person(system)
    answer = browser.post("/login", data={"email": "ana@x.org", "password": PASSWORD})
    expect_error(answer, 403, "CSRF")


def test_a_link_logs_in_once(system, browser):
    link = link_to(system, person(system))
    assert browser.get(f"/login/{link}").status_code == 302
    with build_app(system).test_client() as another:
        assert another.get(f"/login/{link}").status_code == 401
        assert another.get(STATUS).status_code == 401
    assert browser.get(STATUS).status_code == 200


def test_a_link_for_many_uses_logs_in_again(system, browser):
    link = link_to(system, person(system), once=False)
    assert [browser.get(f"/login/{link}").status_code for _ in range(2)] == [302, 302]


@pytest.mark.parametrize("token", ["x", "x" * 500, "%00", "é"])
def test_an_unknown_link_is_401(browser, token):
    assert browser.get(f"/login/{token}").status_code == 401


def test_an_old_link_is_401(system, browser):
    link = link_to(system, person(system), valid_for=timedelta(seconds=-1))
    assert browser.get(f"/login/{link}").status_code == 401


def test_a_links_secret_is_not_in_the_database(system, rows):
    link = link_to(system, person(system))
    assert link.encode() not in bytes(rows("SELECT token_hash FROM login_links")[0]["token_hash"])


def test_a_session_of_somebody_deleted_is_over(system, browser):
    user_id = log_in(system, browser)
    with system.transaction() as connection:
        connection.execute(text("DELETE FROM profiles WHERE id = :id"), {"id": user_id})
    expect_error(browser.get(STATUS), 401, "UNAUTHENTICATED")


def test_a_forged_cookie_is_nobody(browser):
    browser.set_cookie("session", "eyJ1aWQiOiIxIn0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb")
    assert browser.get(STATUS).status_code == 401


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(system, browser):
    answer = browser.get(f"/login/{link_to(system, person(system))}")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_a_post_with_a_cookie_needs_the_csrf_token(system, browser):
    log_in(system, browser)
    expect_error(browser.post(CONNECT), 403, "CSRF")
    expect_error(browser.post(CONNECT, headers={"X-CSRFToken": "wrong"}), 403, "CSRF")
    good = browser.post(CONNECT, headers={"X-CSRFToken": csrf_of(browser)})
    assert (good.status_code, good.json["status"]) == (200, "qr_pending")


@pytest.mark.parametrize(
    ("referrer", "status"), [("https://z.example/login", 200), ("https://evil.example/", 403), (None, 403)]
)
def test_on_https_it_also_comes_from_our_own_pages(system, browser, referrer, status):
    """Browsers say so under our `Referrer-Policy: same-origin`."""
    user_id = person(system)
    base = {"base_url": "https://z.example"}
    page = browser.get(f"/login/{link_to(system, user_id)}", follow_redirects=True, **base)
    found = re.search(r'csrf[_-]token"[^>]*(?:content|value)="([^"]+)"', page.text)
    assert found
    headers = {"X-CSRFToken": found[1]} | ({"Referer": referrer} if referrer else {})
    assert browser.post(CONNECT, headers=headers, **base).status_code == status


def test_a_post_with_a_bearer_needs_none(system, browser):
    assert browser.post(CONNECT, headers=as_bearer(signed(system))).status_code == 200


def test_logging_out_ends_the_session(system, browser):
    log_in(system, browser)
    assert browser.post("/logout", data={"csrf_token": csrf_of(browser)}).status_code == 302
    assert browser.get(STATUS).status_code == 401


def test_what_belongs_to_others_is_not_seen(system, browser):
    with system.transaction() as connection:
        _, name = make_instance(connection)
    stranger = as_bearer(signed(system))
    assert browser.get(STATUS, headers=stranger).json["instanceName"] != name
    assert browser.get("/api/messages", headers=stranger).json["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "NOT_FOUND"),
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", CONNECT, 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", STATUS, 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_what_is_not_there_is_said_in_json(browser, method, path, status, code):
    answer = browser.open(path, method=method)
    expect_error(answer, status, code)
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"5", b"\xff", b"[" * 100_000, b"null"])
@pytest.mark.usefixtures("calm")
def test_a_body_that_is_no_json_object_is_400(system, browser, body):
    headers = as_bearer(signed(system))
    answer = browser.post(CONNECT, data=body, headers=headers, content_type="application/json")
    expect_error(answer, 400, "VALIDATION_ERROR")


def test_a_body_that_is_too_large_is_413(system, browser):
    answer = browser.post(CONNECT, data=b" " * (1024 * 1024 + 1), headers=as_bearer(signed(system)))
    expect_error(answer, 413, "REQUEST_ENTITY_TOO_LARGE")


def test_a_crash_says_nothing_of_itself(system, browser):
    @browser.application.get("/crash")
    def crash():
        raise RuntimeError("secret inside")

    answer = browser.get("/crash")
    expect_error(answer, 500, "INTERNAL_ERROR")
    assert b"secret" not in answer.data


@pytest.mark.parametrize("path", [STATUS, "/login", "/nothing", "/livez", "/static/app.css"])
def test_every_answer_has_the_security_headers(browser, path):
    headers = browser.get(path).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Cache-Control" in headers


class TestWithAnAppElsewhere:
    @pytest.fixture
    def browser(self, engine, database_url, settings_of):
        variables = {"EVOLUTION_API_URL": "http://127.0.0.1:9", "EVOLUTION_API_KEY": KEY}
        elsewhere = build(settings_of(**variables, CORS_ALLOWED_ORIGINS=ORIGIN), database_url)
        with build_app(elsewhere).test_client() as client:
            yield client
        elsewhere.stop()

    def test_its_origin_may_ask(self, browser):
        preflight = browser.options(CONNECT, headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in preflight.headers
        assert "Origin" in preflight.headers["Vary"]
        assert browser.get(STATUS, headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN

    @pytest.mark.parametrize("origin", ["null", "https://evil.example", f"{ORIGIN}.evil.example", "http://app.example"])
    def test_another_may_not(self, browser, origin):
        assert "Access-Control-Allow-Origin" not in browser.get(STATUS, headers={"Origin": origin}).headers

    def test_pages_are_not_for_others(self, browser):
        assert "Access-Control-Allow-Origin" not in browser.get("/login", headers={"Origin": ORIGIN}).headers


class TestWhileTheDatabaseIsDown:
    @pytest.fixture
    def down(self, settings_of, free_port):
        variables = {"EVOLUTION_API_URL": "http://127.0.0.1:9", "EVOLUTION_API_KEY": KEY}
        system = build(settings_of(**variables), f"postgresql://nobody@127.0.0.1:{free_port}/none")
        yield system
        system.stop()

    def test_a_valid_token_passes_and_storage_is_what_is_missing(self, down):
        token = signed(down, role="admin")
        assert down.access.by_bearer(token).is_admin
        answer = build_app(down).test_client().get(STATUS, headers=as_bearer(token))
        expect_error(answer, 503, "WHATSAPP_STORAGE_UNAVAILABLE")
        assert answer.headers["Retry-After"]

    def test_a_bad_token_is_still_401(self, down):
        expect_error(build_app(down).test_client().get(STATUS, headers=as_bearer("x")), 401, "UNAUTHENTICATED")

    def test_the_process_lives_and_is_not_ready(self, down):
        client = build_app(down).test_client()
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        health = client.get("/health")
        assert (health.status_code, health.get_json()["checks"]["database"]) == (200, {"status": "unavailable"})
        assert client.get("/metrics").status_code == 200
