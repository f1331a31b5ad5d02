"""Is this the gateway? Three credentials, one suffices; everything else is a 401, and our own trouble is not."""

import base64
import hashlib
import hmac
import json
import threading
from collections import Counter

import pytest

from core.crypto import fingerprint
from core.errors import StorageUnavailable, Unauthenticated
from tests.clock import FrozenClock
from webhooks.gate import Gate, KeyOwner, Sender

USER = "3f2b8c1e-5a47-4d0f-9c26-0b7a1d9e4c55"
NAME = f"user_{USER}"
TOKEN = "whk_0123456789abcdef0123456789abcdef"
KEY = "jwt-key-of-the-instance-0123456789abcdef"
OLD_KEY = "jwt-key-before-rotation-0123456789abcdef"
SHARED = "shared-secret-0123456789abcdef0123456789"
MINE = KeyOwner(instance=NAME, user_id=USER)
HOURS = 3600.0
Headers = dict[str, str | None]


class Ring:
    """What the manager knows, and how often it was asked."""

    def __init__(self) -> None:
        self.tokens = {fingerprint(TOKEN): MINE}
        self.keys = {NAME: [OLD_KEY, KEY], "user_42": [KEY]}
        self.users = {USER: MINE, "adopted": KeyOwner(instance="shop1", user_id="adopted")}
        self.calls: Counter[str] = Counter()
        self.broken = False
        self.silent: threading.Event | None = None

    def by_token(self, token_hash: bytes) -> KeyOwner | None:
        self._asked("by_token")
        return self.tokens.get(token_hash)

    def by_instance(self, instance: str) -> list[str]:
        self._asked("by_instance")
        return self.keys.get(instance, [])

    def gateway_of(self, instance: str) -> str | None:
        self._asked("gateway_of")
        return {NAME: "broker", "shop1": "evolution"}.get(instance)

    def by_user(self, user_id: str) -> KeyOwner | None:
        self._asked("by_user")
        return self.users.get(user_id)

    def _asked(self, what: str) -> None:
        self.calls[what] += 1
        if self.silent:
            self.silent.wait(timeout=30)
        if self.broken:
            raise StorageUnavailable("gone")


@pytest.fixture
def ring():
    return Ring()


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def gate(ring, clock):
    return Gate(ring, [SHARED], clock)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(
    clock: FrozenClock, key: str = KEY, *, iat: float = 0.0, alg: str = "HS256", header: object = None, **claims: object
) -> str:
    """A bearer as Evolution makes it; `iat` in seconds from now."""
    made = clock.now().timestamp() + iat
    payload = {"iat": int(made), "exp": int(made) + 600, "app": "evolution", "action": "webhook", **claims}
    text = f"{part(header if header is not None else {'alg': alg, 'typ': 'JWT'})}.{part(payload)}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg)
    signature = hmac.new(key.encode(), text.encode(), digest).digest() if digest else b""
    return f"{text}.{part(signature)}"


def bearing(bearer: str, scheme: str = "Bearer") -> Headers:
    return {"token": None, "authorization": f"{scheme} {bearer}"}


def with_token(token: str) -> Headers:
    return {"token": token, "authorization": None}


def proven(gate: Gate, headers: Headers, path_user: str | None = None, instance: str | None = NAME):
    """Both halves: the headers, then the instance that the body names."""
    return gate.prove(gate.admit(headers, path_user), instance)


# ---- tokens ----------------------------------------------------------------------------------------------------


def test_the_token_of_an_instance_speaks_for_it_and_nobody_else(gate):
    sender = gate.admit(with_token(TOKEN), None)
    assert sender == Sender(owner=MINE)
    assert gate.speaks_for(sender.owner, NAME, None)
    assert gate.speaks_for(sender.owner, NAME, USER)
    assert not gate.speaks_for(sender.owner, "user_42", None)
    assert not gate.speaks_for(sender.owner, NAME, "42")
    assert not gate.speaks_for(sender.owner, "user_42", "42")


def test_a_shared_secret_speaks_for_any_instance_but_not_for_another_than_the_path_names(gate):
    owner = gate.admit(with_token(SHARED), None).owner
    assert owner == KeyOwner()
    assert gate.speaks_for(owner, "anything", None)
    assert gate.speaks_for(owner, "user_42", "42")
    assert gate.speaks_for(owner, "shop1", "adopted")
    assert not gate.speaks_for(owner, "user_43", "42")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "wrong",
        TOKEN + " ",
        TOKEN[:-1],
        TOKEN.upper(),
        "ação",
        "\xff\xfe\x80",
        "\udc80",
        "w" * 100_000,
        "\n",
        "a\0b",
    ],
)
def test_any_other_token_is_a_401(gate, token):
    with pytest.raises(Unauthenticated):
        gate.admit(with_token(token), None)


def test_a_token_in_the_path_counts_like_one_in_the_header(gate):
    for token, owner in ((TOKEN, MINE), (SHARED, KeyOwner())):
        assert gate.admit({"path_token": token}, None).owner == owner
        assert gate.admit({"path_token": token, "token": "wrong"}, None).owner == owner
    with pytest.raises(Unauthenticated):
        gate.admit({"path_token": "wrong"}, None)


def test_no_credential_at_all_is_a_401_and_asks_nobody(gate, ring):
    for headers in ({}, {"token": None, "authorization": None}, {"token": "", "authorization": ""}):
        with pytest.raises(Unauthenticated):
            gate.admit(headers, None)
    assert not ring.calls


def test_an_empty_shared_secret_list_admits_nobody(ring, clock):
    with pytest.raises(Unauthenticated):
        Gate(ring, [], clock).admit(with_token(""), None)


def test_one_valid_credential_suffices(gate, clock):
    wrong_bearer: Headers = {"token": TOKEN, "authorization": f"Bearer {signed(clock, 'x' * 40)}"}
    assert gate.admit(wrong_bearer, None).owner == MINE
    wrong_token: Headers = {"token": "wrong", "authorization": f"Bearer {signed(clock)}"}
    assert proven(gate, wrong_token).owner.instance == NAME


# ---- bearers ---------------------------------------------------------------------------------------------------

GOOD = {
    "fresh": {},
    "made 23 hours ago": {"iat": -23 * HOURS},
    "4 minutes ahead of us": {"iat": 4 * 60.0},
    "long expired": {"exp": 1},
    "without exp": {"exp": None},
    "with the key of before the rotation": {"key": OLD_KEY},
    "with what others may add": {"nbf": 2**40, "aud": "x", "iss": "y", "sub": "z"},
}
BAD = {
    "made 25 hours ago": {"iat": -25 * HOURS},
    "6 minutes ahead of us": {"iat": 6 * 60.0},
    "an hour ahead of us": {"iat": HOURS},
    "of another app": {"app": "other"},
    "of no app": {"app": None},
    "of a list of apps": {"app": ["evolution"]},
    "with another key": {"key": "another-key-0123456789abcdef0123456789"},
    "HS512 with the right key": {"alg": "HS512"},
    "HS384 with the right key": {"alg": "HS384"},
    "alg none": {"alg": "none"},
    "alg None": {"alg": "None"},
    "alg in the header lies": {"header": {"alg": "none"}},
    "alg is a list": {"header": {"alg": ["HS256"]}},
    "no alg": {"header": {"typ": "JWT"}},
    "header is a list": {"header": ["HS256"]},
    "header is no JSON": {"header": b"\xff{"},
}


@pytest.mark.parametrize("path_user", [None, USER])
@pytest.mark.parametrize("facts", GOOD.values(), ids=GOOD)
def test_a_bearer_of_the_instance_is_accepted(gate, clock, path_user, facts):
    sender = proven(gate, bearing(signed(clock, **facts)), path_user)
    assert sender.owner.instance == NAME
    assert gate.speaks_for(sender.owner, NAME, path_user)


@pytest.mark.parametrize("path_user", [None, USER])
@pytest.mark.parametrize("facts", BAD.values(), ids=BAD)
def test_any_other_bearer_is_a_401(gate, clock, path_user, facts):
    with pytest.raises(Unauthenticated):
        proven(gate, bearing(signed(clock, **facts)), path_user)


@pytest.mark.parametrize(
    "iat", [None, "now", "1", [], {}, True, float("nan"), float("inf"), -1e30, 1e30, 10**400, "x" * 1000]
)
def test_a_bearer_without_a_sensible_time_is_a_401(gate, clock, iat):
    header, _, signature = signed(clock).split(".")
    with pytest.raises(Unauthenticated):
        proven(gate, bearing(f"{header}.{part({'iat': iat, 'app': 'evolution'})}.{signature}"))


@pytest.mark.parametrize(
    "bearer",
    [
        "", "abc", "a.b.c", "..", "....", "ação.ação.ação", "\xff.\xff.\xff", "e30.e30.", "x" * 100_000,
        f"{part({'alg': 'HS256'})}.{part(b'[' * 6_000)}.eHh4",
        f"{part(b'{' * 10)}.{part({})}.eHh4",
        f"{part({'alg': 'HS256'})}.{part(b'7')}.eHh4",
        f"{part({'alg': 'HS256'})}.{part(b'null')}.eHh4",
        f"{part({'alg': 'HS256'})}.{part(b'9' * 5_000)}.eHh4",
    ],
)  # fmt: skip
def test_rubbish_for_a_bearer_is_a_401(gate, bearer):
    for path_user in (None, USER):
        with pytest.raises(Unauthenticated):
            proven(gate, bearing(bearer), path_user)


def test_the_scheme_is_bearer_in_any_case_and_nothing_else(gate, clock):
    bearer = signed(clock)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert proven(gate, bearing(bearer, scheme))
    for scheme in ("Basic", "", "JWT"):
        with pytest.raises(Unauthenticated):
            gate.admit(bearing(bearer, scheme), None)


def test_a_bearer_is_worth_nothing_until_the_body_has_named_its_instance(gate, clock):
    unproven = gate.admit(bearing(signed(clock)), None)
    for instance in (None, "", "nobody", "shop1"):
        with pytest.raises(Unauthenticated):
            gate.prove(unproven, instance)


def test_the_bearer_of_one_instance_is_a_401_for_another(gate, ring, clock):
    ring.keys["shop1"] = ["the-key-of-shop1-0123456789abcdef0123456"]
    for path_user in (None, "adopted"):
        with pytest.raises(Unauthenticated):
            proven(gate, bearing(signed(clock)), path_user, "shop1")


def test_the_path_proves_a_bearer_whatever_the_body_says(gate, clock):
    for path_user, instance in ((USER, NAME), ("42", "user_42")):
        sender = gate.admit(bearing(signed(clock)), path_user)
        assert sender.owner.instance == instance
        assert gate.speaks_for(sender.owner, instance, path_user)
        assert not gate.speaks_for(gate.prove(sender, "user_43").owner, "user_43", path_user)


def test_a_bearer_signed_with_a_shared_secret_speaks_for_any(gate, clock):
    sender = gate.admit(bearing(signed(clock, SHARED)), None)
    assert sender == Sender(owner=KeyOwner())
    assert gate.prove(sender, None) == sender
    with pytest.raises(Unauthenticated):
        gate.admit(bearing(signed(clock, SHARED, iat=-25 * HOURS)), None)


# ---- what is remembered ----------------------------------------------------------------------------------------


def test_an_answer_is_kept_for_5_seconds(gate, ring, clock):
    for _ in range(10):
        gate.admit(with_token(TOKEN), None)
    assert ring.calls["by_token"] == 1
    clock.advance(seconds=4.9)
    gate.admit(with_token(TOKEN), None)
    assert ring.calls["by_token"] == 1
    clock.advance(seconds=0.1)
    gate.admit(with_token(TOKEN), None)
    assert ring.calls["by_token"] == 2


def test_a_revoked_token_is_refused_after_5_seconds(gate, ring, clock):
    gate.admit(with_token(TOKEN), None)
    ring.tokens.clear()
    clock.advance(seconds=5)
    with pytest.raises(Unauthenticated):
        gate.admit(with_token(TOKEN), None)


def test_a_wrong_token_is_not_asked_about_again_and_again(gate, ring):
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            gate.admit(with_token("wrong"), None)
    assert ring.calls["by_token"] == 1


def test_the_keys_of_a_bearer_are_kept_for_5_seconds_too(gate, ring, clock):
    for path_user in (None, USER):
        ring.calls.clear()
        for _ in range(10):
            proven(gate, bearing(signed(clock)), path_user)
        assert set(ring.calls.values()) <= {1}
    ring.keys.clear()
    clock.advance(seconds=5)
    with pytest.raises(Unauthenticated):
        proven(gate, bearing(signed(clock)))


def test_an_instance_or_key_that_has_just_been_made_is_known_at_once(gate, ring, clock):
    with pytest.raises(Unauthenticated):
        proven(gate, bearing(signed(clock)), None, "user_new")
    ring.keys["user_new"] = [OLD_KEY]
    ring.users["new"] = KeyOwner(instance="user_new", user_id="new")
    assert proven(gate, bearing(signed(clock, OLD_KEY)), None, "user_new")
    assert proven(gate, bearing(signed(clock, OLD_KEY)), "new", "user_new")
    ring.keys["user_new"] = [OLD_KEY, KEY]
    assert proven(gate, bearing(signed(clock, KEY)), None, "user_new")


# ---- our own trouble -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path_user", [None, USER])
def test_trouble_with_the_storage_is_not_a_401(gate, ring, clock, path_user):
    ring.broken = True
    for headers in (with_token(TOKEN), bearing(signed(clock))):
        with pytest.raises(StorageUnavailable):
            proven(gate, headers, path_user)
    ring.broken = False
    assert proven(gate, with_token(TOKEN), path_user)


def test_trouble_with_the_storage_does_not_touch_shared_secrets(gate, ring, clock):
    ring.broken = True
    assert gate.admit(with_token(SHARED), None)
    assert gate.admit(bearing(signed(clock, SHARED)), USER)


def test_a_storage_that_says_nothing_is_trouble_too(ring, clock):
    gate = Gate(ring, [SHARED], clock, wait_s=0.05)
    ring.silent = threading.Event()
    try:
        for headers in (with_token(TOKEN), bearing(signed(clock))):
            with pytest.raises(StorageUnavailable):
                proven(gate, headers)
    finally:
        ring.silent.set()


def test_who_signs_for_a_whole_gateway_speaks_for_nobody_on_another(gate, ring):
    broker = KeyOwner(gateway="broker")
    assert gate.speaks_for(broker, NAME, None)
    assert not gate.speaks_for(broker, "shop1", None)
    assert gate.speaks_for(broker, "user_nobody", None)  # the worker says that there is none
    gate.speaks_for(broker, NAME, None)
    assert ring.calls["gateway_of"] == 3
