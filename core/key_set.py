"""The keys that an identity provider publishes (AUTH_JWKS_URL), as a JSON Web Key Set (RFC 7517).

An RSA key verifies RS256 and a P-256 key ES256, nothing else, whatever the set says of them; secret, private and weak
keys are left out. `core.bearers` asks; how the set is fetched is handed in by bootstrap.
"""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from core.clock import Clock
from core.errors import AppError, Malformed, NotNow

log = structlog.get_logger()
FRESH_FOR = timedelta(minutes=10)  # so long a key that was withdrawn goes on working
APART = timedelta(seconds=10)  # between two questions, whoever knocks with whatever key id
ALGORITHMS: dict[tuple[object, object], str] = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}
MOST_KEYS = 50
LEAST_RSA_BITS = 2048
PublicKey = RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True, kw_only=True)
class PublishedKey:
    kid: str | None
    algorithm: str
    key: PublicKey = field(repr=False)


class KeySet:
    """`fetch` gives the set's bytes and raises AppError; it must end by itself. Any thread may call.

    Keys that are known go on working for as long as the provider cannot be reached.
    """

    def __init__(self, fetch: Callable[[], bytes], clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: Sequence[PublishedKey] = ()
        self._asked_at: datetime | None = None
        self._read_at: datetime | None = None
        self._failed = False
        self._asking = threading.Lock()

    def find(self, kid: str | None, algorithm: str) -> Sequence[PublishedKey]:
        """The keys that may have signed this; all of the algorithm where the token names none.

        An unknown one is asked for, every 10 s at most; a set older than 10 minutes is read anew behind the caller's
        back. Raises NotNow where nothing fits and the provider did not answer: then nobody knows.
        """
        if found := self._known(kid, algorithm):
            if self._is_past(self._read_at, FRESH_FOR) and self._may_ask():
                threading.Thread(target=self._ask, name="key-set", daemon=True).start()
            return found
        self._ask()
        found = self._known(kid, algorithm)
        if not found and self._failed:
            raise NotNow("The identity provider's keys cannot be read at this moment", code="AUTH_KEYS_UNAVAILABLE")
        return found

    def _known(self, kid: str | None, algorithm: str) -> list[PublishedKey]:
        return [key for key in self._keys if key.algorithm == algorithm and kid in (None, key.kid)]

    def _may_ask(self) -> bool:
        return not self._asking.locked() and self._is_past(self._asked_at, APART)

    def _is_past(self, at: datetime | None, age: timedelta) -> bool:
        """A clock that was set back must not keep us waiting."""
        return at is None or not timedelta(0) <= self._clock.now() - at < age

    def _ask(self) -> None:
        """Once for all who wait meanwhile."""
        with self._asking:
            if not self._is_past(self._asked_at, APART):
                return
            self._asked_at = self._clock.now()
            try:
                self._keys = read_keys(self._fetch())
                self._read_at, self._failed = self._asked_at, False
            except AppError as error:
                self._failed = True
                log.warning("auth_keys_unavailable", error_code=error.code)


def read_keys(body: bytes) -> list[PublishedKey]:
    """`{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"…","y":"…"}]}`; raises Malformed where it is no such set."""
    try:
        listed = json.loads(body)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise Malformed("This is no key set", code="BAD_KEY_SET")
    return [key for item in listed[:MOST_KEYS] if (key := _read_key(item))]


def _read_key(item: Any) -> PublishedKey | None:
    """None for a key that is of no use here: others' keys in the set are no reason to refuse it."""
    if not isinstance(item, dict) or item.get("use", "sig") != "sig":
        return None
    try:
        algorithm = ALGORITHMS.get((item.get("kty"), item.get("crv")))
        if algorithm is None or item.get("alg", algorithm) != algorithm:
            return None
        key = PyJWK(item, algorithm).key
    except (PyJWTError, ValueError, TypeError, AttributeError):
        return None
    kid = item.get("kid") if isinstance(item.get("kid"), str) else None
    return PublishedKey(kid=kid, algorithm=algorithm, key=key) if _is_strong(key) else None


def _is_strong(key: object) -> bool:
    """And public: who publishes a private key has none any more."""
    if isinstance(key, RSAPublicKey):
        return key.key_size >= LEAST_RSA_BITS
    return isinstance(key, EllipticCurvePublicKey)
