"""Is this the gateway? The credential is looked at before a byte of the body is read.

Three credentials count, one suffices: `X-Webhook-Token` of an instance, a shared WEBHOOK_SECRET in the same
header, or the HS256 bearer that Evolution makes of `headers.jwt_key`. What the manager knows of them comes in
as a `KeyRing`; answers are kept for 5 seconds.
"""

import hmac
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import jwt

from core.clock import Clock
from core.crypto import fingerprint
from core.errors import Unauthenticated

KEPT = timedelta(seconds=5)
MOST_KEPT = 20_000
OLDEST = timedelta(hours=24)  # retries carry the first attempt's token for 25 minutes, and clocks are off
NEWEST = timedelta(minutes=5)
REFUSED = "Unknown webhook credential"


@dataclass(frozen=True, kw_only=True)
class KeyOwner:
    """The instance a key belongs to. Both None: the key is a shared secret and may speak for any."""

    instance: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who is posting. `bearer` is still to be verified, once the body has named its instance."""

    owner: KeyOwner
    bearer: str | None = None


class KeyRing(Protocol):
    """The manager's knowledge. All raise StorageUnavailable when it cannot be read."""

    def by_token(self, token_hash: bytes) -> KeyOwner | None:
        """Whose header token this is the SHA-256 of."""

    def by_instance(self, instance: str) -> Sequence[str]:
        """The live `jwt_key`s of an instance."""

    def by_user(self, user_id: str) -> KeyOwner | None:
        """The instance of a user."""


class Gate:
    def __init__(self, keys: KeyRing, shared: Sequence[str], clock: Clock) -> None:
        self._keys, self._clock = keys, clock
        self._shared = {fingerprint(secret): secret for secret in shared}
        self._kept: dict[bytes, tuple[datetime, KeyOwner | None]] = {}
        self._lock = threading.Lock()

    def admit(self, headers: Mapping[str, str | None], path_user: str | None) -> Sender:
        """Who sends this. `headers`: `token` and `authorization`. Raises Unauthenticated, StorageUnavailable."""
        token = headers.get("token")
        if token and (owner := self._owner_of(token)):
            return Sender(owner=owner)
        scheme, _, bearer = (headers.get("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not self._looks_right(bearer):
            raise Unauthenticated(REFUSED)
        if any(_signed_with(secret, bearer) for secret in self._shared.values()):
            return Sender(owner=KeyOwner())
        named = self._keys.by_user(path_user) if path_user else None
        unproven = Sender(owner=named or KeyOwner(), bearer=bearer)
        return self.prove(unproven, named.instance) if named and named.instance else unproven

    def prove(self, sender: Sender, instance: str | None) -> Sender:
        """Check a bearer against the instance that the body names. Raises Unauthenticated, StorageUnavailable."""
        if sender.bearer is None:
            return sender
        keys = self._keys.by_instance(instance) if instance else ()
        if not any(_signed_with(key, sender.bearer) for key in keys):
            raise Unauthenticated(REFUSED)
        return Sender(owner=replace(sender.owner, instance=instance))

    def speaks_for(self, owner: KeyOwner, instance: str, path_user: str | None) -> bool:
        """May this sender report on this instance, on this path?"""
        if owner.instance is not None:
            return owner.instance == instance and path_user in (
                None,
                owner.user_id,
                instance.removeprefix("user_"),
            )
        if path_user is None or instance == f"user_{path_user}":
            return True
        named = self._keys.by_user(path_user)
        return named is not None and named.instance == instance

    def _owner_of(self, token: str) -> KeyOwner | None:
        hashed = fingerprint(token)
        if any(hmac.compare_digest(hashed, shared) for shared in self._shared):
            return KeyOwner()
        now = self._clock.now()
        at, owner = self._kept.get(hashed, (None, None))
        if at is None or now - at >= KEPT:
            owner = self._keys.by_token(hashed)
            self._keep(hashed, now, owner)
        return owner

    def _keep(self, hashed: bytes, now: datetime, owner: KeyOwner | None) -> None:
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[hashed] = (now, owner)

    def _looks_right(self, bearer: str) -> bool:
        """Everything about a bearer but its signature: HS256, made by Evolution, for webhooks, in our time."""
        try:
            claims: dict[str, Any] = jwt.decode(bearer, options={"verify_signature": False})
            if jwt.get_unverified_header(bearer)["alg"] != "HS256":
                return False
            age = self._clock.now() - datetime.fromtimestamp(claims["iat"], UTC)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError, OSError):
            return False
        return claims.get("app") == "evolution" and -NEWEST < age < OLDEST


def _signed_with(key: str, bearer: str) -> bool:
    """The signature alone: `exp` is ten minutes, and Evolution retries for longer with the same token."""
    unchecked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
    try:
        jwt.decode(bearer, key, algorithms=["HS256"], options=unchecked)  # type: ignore[arg-type]  # a plain dict
    except jwt.InvalidTokenError:
        return False
    return True
