"""Bearer JWTs: HS256 with AUTH_JWT_SECRET, as Supabase issued them; RS256 and ES256 with an identity provider's keys.

What a token says of its algorithm only chooses among keys that are bound to one: a public key never serves as a
secret, nor the secret for anything but HS256.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from core.access import Principal, storable, user_uuid
from core.clock import Clock
from core.errors import Malformed, NotConfigured, Unauthenticated
from core.key_set import ALGORITHMS, KeySet, PublicKey

END_OF_TIME = 253_402_300_799  # the last second a datetime can say
SHARED = "HS256"
PUBLISHED = tuple(ALGORITHMS.values())


class Tokens:
    """`secret`: None where only an identity provider issues tokens; `published`: its keys, None where there is none."""

    def __init__(self, secret: str | None, audience: str | None, clock: Clock, published: KeySet | None = None) -> None:
        self._secret, self._audience, self._clock, self._published = secret, audience, clock, published

    def issue(self, principal: Principal, *, valid_for: timedelta) -> str:
        """Raises NotConfigured without a secret."""
        if not self._secret:
            raise NotConfigured("Tokens are made with AUTH_JWT_SECRET, which is not set", code="AUTH_NOT_CONFIGURED")
        now = self._clock.now()
        claims = {"sub": str(principal.user_id), "role": principal.role, "iat": now, "exp": now + valid_for}
        claims |= {"email": principal.email} if principal.email else {}
        claims |= {"organization_id": principal.organization_id} if principal.organization_id else {}
        claims |= {"aud": self._audience} if self._audience else {}
        return jwt.encode(claims, self._secret, algorithm=SHARED)

    def verify(self, token: str) -> Principal:
        """Who the token speaks for. Raises Unauthenticated for whatever is wrong with it, and NotNow where the keys it
        would have to be verified with cannot be read."""
        try:
            return _principal(self._claims(token))
        except (jwt.InvalidTokenError, Malformed, RecursionError):
            raise Unauthenticated("The token is not valid") from None

    def _claims(self, token: str) -> Mapping[str, Any]:
        # an issuer whose clock is a little ahead is no forger: `iat` is not checked
        options: Any = {"require": ["sub", "exp"], "verify_iat": False, "verify_aud": self._audience is not None}
        for algorithm, key in self._keys(jwt.get_unverified_header(token)):
            with suppress(jwt.InvalidSignatureError):
                return jwt.decode(token, key, [algorithm], audience=self._audience, options=options)
        raise jwt.InvalidTokenError

    def _keys(self, header: Mapping[str, Any]) -> Iterator[tuple[str, str | PublicKey]]:
        """The algorithms are our keys' own, not the header's."""
        algorithm = header.get("alg")
        if algorithm == SHARED and self._secret:
            yield SHARED, self._secret
        elif algorithm in PUBLISHED and self._published:
            for one in self._published.find(header.get("kid"), algorithm):
                yield one.algorithm, one.key


def _principal(claims: Mapping[str, Any]) -> Principal:
    metadata = claims.get("app_metadata")
    roles = (claims.get("role"), metadata.get("role") if isinstance(metadata, Mapping) else None)
    return Principal(
        user_id=user_uuid(claims["sub"]),
        role="admin" if "admin" in roles else "user",
        email=storable(claims.get("email")),
        organization_id=storable(claims.get("organization_id")),
        until=datetime.fromtimestamp(min(int(claims["exp"]), END_OF_TIME), UTC),
        sworn="admin" in roles,
    )
