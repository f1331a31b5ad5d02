"""Whether a delivery of the broker's is signed with a secret that we share. Pure.

Builds of 2026 say `x-signature`, those of 2025 `x-signature-256`; the value is the hex HMAC-SHA256 of the body as it
came, with `sha256=` before it or without.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable

HEADERS = ("x-signature", "x-signature-256")
SIGNATURE = re.compile(r"(?:sha256=)?([0-9a-f]{64})", re.IGNORECASE)


def is_signed(body: bytes, header: str | None, secrets: Iterable[str]) -> bool:
    """Whether the header's value is the body's signature by one of these secrets; an empty secret is none. In a time
    that tells nothing of them."""
    found = SIGNATURE.fullmatch((header or "").strip())
    if found is None:
        return False
    given = found[1].lower()
    matches = [hmac.compare_digest(given, _signature(body, secret)) for secret in secrets if secret]
    return any(matches)


def _signature(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
