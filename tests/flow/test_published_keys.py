"""JWTs of an identity provider, verified with the keys it publishes, over a real socket (AUTH_JWKS_URL)."""

import base64
import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bootstrap.callers import key_server
from bootstrap.system import build
from bootstrap.web import build_app
from core.access import Principal
from core.bearers import Tokens
from core.errors import AppError, BadResponse, NotConfigured, NotNow, TimedOut, Unauthenticated
from core.key_set import KeySet
from scripts.ops import cli
from tests.clock import FrozenClock
from tests.conftest import KEY
from tests.key_server import KeyServer, ec_key, published, rsa_key, signed
from tests.waiting import until

FERNET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
STATUS, ADMIN = "/api/whatsapp/status", "/api/admin/queue-stats"
RSA, EC = rsa_key("a"), ec_key("a")


@pytest.fixture
def server():
    with KeyServer(published("r1", RSA), published("e1", EC)) as one:
        yield one


@pytest.fixture
def clock():
    return FrozenClock(datetime.now(UTC))


@pytest.fixture
def keys(server, clock):
    return KeySet(key_server(server.url), clock)


@pytest.fixture
def tokens(keys, clock):
    """Without a secret of ours."""
    return Tokens(None, None, clock, keys)


@pytest.fixture
def system(engine, database_url, settings_of, server):
    near = {"EVOLUTION_API_URL": "http://127.0.0.1:9", "EVOLUTION_API_KEY": KEY}
    built = build(settings_of(**near, AUTH_JWKS_URL=server.url), database_url)
    yield built
    built.stop()


def ask(client, token, path=STATUS):
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


# ---- over HTTP -------------------------------------------------------------------------------------------------


def test_tokens_of_the_provider_pass_beside_ours(system, server, bearer):
    client, user = build_app(system).test_client(), str(uuid4())
    for token in (signed(RSA, "r1", sub=user), signed(EC, "e1", sub=user)):
        answer = ask(client, token)
        assert (answer.status_code, answer.json["instanceName"]) == (200, f"user_{user}")
    assert client.get(STATUS, headers=bearer(user)).status_code == 200
    assert ask(client, signed(EC, "e1"), ADMIN).status_code == 403
    assert ask(client, signed(EC, "e1", app_metadata={"role": "admin"}), ADMIN).status_code == 200
    assert server.asked == 1


def test_while_the_provider_is_away_known_keys_go_on_working(system, server):
    client = build_app(system).test_client()
    assert ask(client, signed(EC, "e1")).status_code == 200
    server.stop()
    assert ask(client, signed(EC, "e1")).status_code == 200
    assert ask(client, signed(ec_key("b"), "e2")).status_code == 401  # it was asked a moment ago, and had no such key


def test_where_nobody_can_know_it_is_503(system, server):
    server.stop()
    answer = ask(build_app(system).test_client(), signed(EC, "e1"))
    assert (answer.status_code, answer.json["code"]) == (503, "AUTH_KEYS_UNAVAILABLE")
    assert "Retry-After" in answer.headers


# ---- which key for which token ---------------------------------------------------------------------------------


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(secret, header):
    """An HMAC under whatever the header says."""
    text = f"{part(header)}.{part({'sub': str(uuid4()), 'exp': 2**33})}"
    return f"{text}.{part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def public_bytes(key):
    """All the ways to write a public key that somebody may take for a secret."""
    plain = published("r1", key)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return [pem, pem.strip(), der, json.dumps(plain).encode()]


@pytest.mark.parametrize("alg", ["HS256", "RS256", "ES256", "HS384", "none", None, ["RS256"], 5])
def test_a_public_key_is_no_secret(clock, keys, alg):
    """The tokens of others are verified with public keys, ours with a secret: neither serves for the other."""
    for secret in (None, "s" * 40):
        tokens = Tokens(secret, None, clock, keys)
        for key, kid in ((RSA, "r1"), (EC, "e1")):
            for known in public_bytes(key):
                with pytest.raises(Unauthenticated):
                    tokens.verify(forged(known, {"alg": alg, "typ": "JWT", "kid": kid}))


def test_the_secret_is_no_public_key(clock, keys):
    tokens = Tokens("s" * 40, None, clock, keys)
    for alg in ("RS256", "ES256", "HS512"):
        with pytest.raises(Unauthenticated):
            tokens.verify(forged(b"s" * 40, {"alg": alg, "kid": "r1"}))
    with pytest.raises(Unauthenticated):
        Tokens(None, None, clock, keys).verify(forged(b"", {"alg": "HS256"}))


def test_without_published_keys_no_such_token_passes(clock):
    with pytest.raises(Unauthenticated):
        Tokens("s" * 40, None, clock).verify(signed(RSA, "r1"))


@pytest.mark.parametrize(
    "token",
    [
        signed(rsa_key("b"), "r1"),
        signed(ec_key("b"), "e1"),
        signed(RSA, "e1"),
        signed(EC, "r1"),
        signed(RSA, "r1", algorithm="RS512"),
        signed(RSA, "r1", algorithm="PS256"),
        signed(EC, "e1", exp=datetime.now(UTC) - timedelta(seconds=1)),
        signed(EC, "e1", sub="42"),
        signed(EC, "unknown"),
    ],
    ids=[
        "another's rsa",
        "another's ec",
        "rsa with ec's id",
        "ec with rsa's id",
        "RS512",
        "PS256",
        "old",
        "sub",
        "kid",
    ],
)
def test_any_other_token_is_401(tokens, token):
    with pytest.raises(Unauthenticated):
        tokens.verify(token)


def test_keys_that_a_token_brings_along_are_not_looked_at(tokens, server):
    own = rsa_key("b")
    claims = {"sub": str(uuid4()), "exp": 2**33}
    for header in ({"jwk": published("r1", own)}, {"jku": server.url}, {"x5u": server.url}):
        with pytest.raises(Unauthenticated):
            tokens.verify(jwt.encode(claims, own, "RS256", headers={"kid": "r1", **header}))


def test_a_token_without_a_key_id_is_tried_with_all_of_its_kind(tokens, server):
    server.publish([published("r0", rsa_key("b")), published("r1", RSA), published(None, EC)])
    for key in (RSA, rsa_key("b"), EC):
        assert tokens.verify(signed(key, None)).user_id
    with pytest.raises(Unauthenticated):
        tokens.verify(signed(rsa_key("c"), None))


def test_where_there_is_no_secret_no_token_is_made(tokens):
    with pytest.raises(NotConfigured):
        tokens.issue(Principal(user_id=uuid4()), valid_for=timedelta(hours=1))


def test_the_shell_says_so_too(tmp_path):
    live = {
        "APP_ENV": "production",
        "SECRET_KEY": "s" * 40,
        "APP_ENCRYPTION_KEY": FERNET,
        "ZELADOR_DATA_DIR": str(tmp_path),
    }
    asked = ["token", "--sub", str(uuid4())]
    done = CliRunner(env=live | {"AUTH_JWKS_URL": "https://idp.example/jwks"}).invoke(cli, asked)
    assert isinstance(done.exception, NotConfigured)
    assert "AUTH_JWT_SECRET" in done.exception.message


# ---- when the set is asked for ---------------------------------------------------------------------------------


def test_a_new_key_is_found_and_unknown_ones_are_asked_for_every_ten_seconds_at_most(tokens, server, clock):
    assert tokens.verify(signed(EC, "e1"))
    for number in range(20):
        with pytest.raises(Unauthenticated):
            tokens.verify(signed(ec_key("b"), f"unknown{number}"))
    assert server.asked == 1
    server.publish([published("e2", ec_key("b"))])
    clock.advance(seconds=10)
    assert tokens.verify(signed(ec_key("b"), "e2"))
    assert server.asked == 2
    with pytest.raises(Unauthenticated):
        tokens.verify(signed(EC, "e1"))  # withdrawn


def test_a_withdrawn_key_ends_within_ten_minutes_and_nobody_waits_for_it(tokens, keys, server, clock):
    assert tokens.verify(signed(EC, "e1"))
    server.publish([published("r1", RSA)])
    clock.advance(minutes=10)
    server.answering.clear()
    assert tokens.verify(signed(EC, "e1"))  # the answer is not there yet
    until(lambda: server.asked == 2)
    server.answering.set()
    until(lambda: not keys.find("e1", "ES256"))
    with pytest.raises(Unauthenticated):
        tokens.verify(signed(EC, "e1"))


def test_a_clock_that_is_set_back_does_not_stop_the_asking(tokens, server, clock):
    assert tokens.verify(signed(EC, "e1"))
    server.publish([published("e2", ec_key("b"))])
    clock.advance(days=-1)
    assert tokens.verify(signed(ec_key("b"), "e2"))


def test_many_at_once_ask_once(keys, server):
    server.answering.clear()
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(keys.find, "e1", "ES256") for _ in range(8)]
        until(lambda: server.asked)
        server.answering.set()
        assert [len(one.result(10)) for one in found] == [1] * 8
    assert server.asked == 1


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, b"", {}),
        (404, b"", {}),
        (302, b"", {"Location": "/elsewhere"}),
        (200, b"<html>", {}),
        (200, b"[]", {}),
        (200, b'{"keys":{}}', {}),
        (200, b"[" * 100_000, {}),
        (200, b" " * 300_000, {}),
    ],
    ids=["500", "404", "redirect", "html", "list", "object", "deep", "large"],
)
@pytest.mark.usefixtures("calm")
def test_what_is_no_key_set_changes_nothing(keys, server, clock, status, body, headers):
    with pytest.raises(NotNow):
        KeySet(key_server(server.url.replace("jwks", "nothing")), clock).find("e1", "ES256")
    assert keys.find("e1", "ES256")
    server.status, server.body, server.headers = status, body, headers
    clock.advance(seconds=10)
    with pytest.raises(NotNow):
        keys.find("e2", "ES256")
    assert keys.find("e1", "ES256")


def test_a_redirect_is_not_followed(server):
    server.status, server.headers = 302, {"Location": server.url}
    with pytest.raises(BadResponse):
        key_server(server.url)()
    assert server.asked == 1


def test_asking_has_an_end(server):
    server.answering.clear()
    with pytest.raises(TimedOut):
        key_server(server.url, within_s=0.2)()


def test_nobody_there_is_an_error_of_ours(server):
    server.stop()
    with pytest.raises(AppError):
        key_server(server.url)()
