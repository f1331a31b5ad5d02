"""Who is calling, wired: our own JWTs, an identity provider's published keys, personal tokens."""

from collections.abc import Callable
from urllib.parse import urlsplit

from core.access import Access
from core.api_tokens import ApiTokens
from core.bearers import Tokens
from core.clock import Clock
from core.db import Transaction
from core.errors import BadResponse
from core.key_set import KeySet
from core.settings import Settings
from manager.providers.http import Limits, Request, Transport

KEYS_WITHIN_S = 5.0
LARGEST_KEY_SET = 256 * 1024


def make_access(settings: Settings, transaction: Transaction, clock: Clock) -> Access:
    secret = settings.auth_jwt_secret.get_secret_value() if settings.auth_jwt_secret else None
    published = KeySet(key_server(settings.auth_jwks_url), clock) if settings.auth_jwks_url else None
    tokens = Tokens(secret, settings.auth_jwt_audience, clock, published)
    return Access(transaction, tokens, ApiTokens(transaction, clock), clock)


def key_server(url: str, within_s: float = KEYS_WITHIN_S) -> Callable[[], bytes]:
    """GET the key set, with a total deadline; no redirect is followed, and no proxy of the environment's used.

    What it gives raises Unavailable, TimedOut, BadResponse (no 200, too large).
    """
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    transport = Transport(origin, Limits(connect_s=min(3.0, within_s), largest_bytes=LARGEST_KEY_SET))
    asked = Request(method="GET", path=url.removeprefix(origin) or "/", within_s=within_s)

    def fetch() -> bytes:
        answer = transport.ask(asked)
        if answer.status != 200:
            raise BadResponse("The identity provider gave no key set", provider_status=answer.status)
        return answer.body

    return fetch
