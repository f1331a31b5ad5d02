"""Is this the gateway? The credential is looked at before the body is read; of a body whose bearer can only be proven
by the instance it names, no more than 64 KB is.

Three credentials count, one suffices: an instance's token, in `X-Webhook-Token` or in the path; a WEBHOOK_SECRET
in the same places; the HS256 bearer that Evolution makes of `headers.jwt_key`. What the manager knows of them
comes in as a `KeyRing`; answers are kept for 5 seconds (webhooks.memory).
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import jwt

from core.clock import Clock
from core.crypto import fingerprint
from core.errors import Unauthenticated
from webhooks.envelope import INSTANCE
from webhooks.memory import WAIT_S, Memory

OLDEST = timedelta(hours=24)  # retries carry the first attempt's token for 25 minutes, and clocks are off
NEWEST = timedelta(minutes=5)
REFUSED = "Unknown webhook credential"


@dataclass(frozen=True, kw_only=True)
class KeyOwner:
    """The instance a key belongs to, and what its gateway calls it. None: a shared secret, which may speak for any, or
    for those on the `gateway` that it names."""

    instance: str | None = None
    user_id: str | None = None
    gateway_name: str | None = None
    gateway: str | None = None


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

    def gateway_of(self, instance: str) -> str | None:
        """The gateway that an instance is on."""

    def by_user(self, user_id: str) -> KeyOwner | None:
        """The instance of a user."""


class Gate:
    def __init__(self, keys: KeyRing, shared: Sequence[str], clock: Clock, *, wait_s: float = WAIT_S) -> None:
        self._keys, self._clock = keys, clock
        self._shared = {fingerprint(secret): secret for secret in shared}
        self._memory = Memory(clock, wait_s=wait_s)

    def admit(self, headers: Mapping[str, str | None], path_user: str | None) -> Sender:
        """Who sends this. `headers`: `token`, `path_token` and `authorization`.

        Raises Unauthenticated, StorageUnavailable.
        """
        for token in (headers.get("token"), headers.get("path_token")):
            if token and (owner := self._owner_of(token)):
                return Sender(owner=owner)
        scheme, _, bearer = (headers.get("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not self._looks_right(bearer):
            raise Unauthenticated(REFUSED)
        if any(_signed_with(secret, bearer) for secret in self._shared.values()):
            return Sender(owner=KeyOwner())
        return self._admit_bearer(bearer, path_user)

    def prove(self, sender: Sender, instance: str | None) -> Sender:
        """Check a bearer against the instance that the body names. Raises Unauthenticated, StorageUnavailable."""
        if sender.bearer is None:
            return sender
        if not instance or not self._is_key_of(instance, sender.bearer):
            raise Unauthenticated(REFUSED)
        return Sender(owner=replace(sender.owner, instance=instance))

    def our_name(self, owner: KeyOwner, called: str | None, path_user: str | None) -> str | None:
        """Our name of the instance that the gateway calls so: some were there before us, and have kept theirs."""
        if called in (None, owner.instance, f"user_{path_user}"):
            return called
        known = owner if owner.instance else (self._instance_of(path_user) if path_user else None)
        return known.instance if known and known.gateway_name == called else called

    def speaks_for(self, owner: KeyOwner, instance: str, path_user: str | None) -> bool:
        """May this sender report on this instance, on this path?"""
        if owner.instance is not None:
            return owner.instance == instance and path_user in (
                None,
                owner.user_id,
                instance.removeprefix("user_"),
            )
        if owner.gateway is not None:
            return self._gateway_of(instance) in (None, owner.gateway)
        if path_user is None or instance == f"user_{path_user}":
            return True
        named = self._instance_of(path_user)
        return named is not None and named.instance == instance

    def _admit_bearer(self, bearer: str, path_user: str | None) -> Sender:
        """Where the path names an instance the bearer is proven at once, else when the body has named one."""
        if path_user is None:
            return Sender(owner=KeyOwner(), bearer=bearer)
        named = self._instance_of(path_user)
        if named and named.instance:
            return self.prove(Sender(owner=named, bearer=bearer), named.instance)
        name = f"user_{path_user}"
        if INSTANCE.fullmatch(name) and self._is_key_of(name, bearer):
            return Sender(owner=KeyOwner(instance=name))
        return Sender(owner=KeyOwner(), bearer=bearer)

    def _owner_of(self, token: str) -> KeyOwner | None:
        hashed = fingerprint(token)
        if any(hmac.compare_digest(hashed, shared) for shared in self._shared):
            return KeyOwner()
        key, unknown = ("token", hashed), KeyOwner(instance="")
        owner = self._memory.recall(key, unknown)
        if owner is not unknown:
            return owner
        return self._memory.ask(key, lambda: self._keys.by_token(hashed), keep=lambda _: True)

    def _instance_of(self, user_id: str) -> KeyOwner | None:
        """Only an instance that is there is remembered: a new one's first event must not wait."""
        key = ("user", user_id)
        return self._memory.recall(key, None) or self._memory.ask(key, lambda: self._keys.by_user(user_id))

    def _gateway_of(self, instance: str) -> str | None:
        key = ("gateway", instance)
        return self._memory.recall(key, None) or self._memory.ask(key, lambda: self._keys.gateway_of(instance))

    def _is_key_of(self, instance: str, bearer: str) -> bool:
        """Whether a key of the instance has signed this; a key made a moment ago counts."""
        key = ("instance", instance)
        remembered: tuple[str, ...] = self._memory.recall(key, ())
        if any(_signed_with(one, bearer) for one in remembered):
            return True
        known = self._memory.ask(key, lambda: tuple(self._keys.by_instance(instance)))
        return any(_signed_with(one, bearer) for one in known)

    def _looks_right(self, bearer: str) -> bool:
        """Everything about a bearer but its signature: HS256, made by Evolution, for webhooks, in our time."""
        try:
            claims: dict[str, Any] = jwt.decode(bearer, options={"verify_signature": False})
            if jwt.get_unverified_header(bearer)["alg"] != "HS256":
                return False
            age = self._clock.now() - datetime.fromtimestamp(claims["iat"], UTC)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError, OSError, RecursionError):
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
