"""Secrets at rest: sealed with the first key of APP_ENCRYPTION_KEY, opened with any of them (rotation)."""

import hashlib
import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from core.errors import AppError


class Vault:
    """Seals small dictionaries of strings."""

    def __init__(self, keys: str) -> None:
        fernets = [Fernet(key) for key in keys.split(",")]
        self._fernet, self._newest = MultiFernet(fernets), fernets[0]

    def seal(self, values: Mapping[str, str]) -> bytes:
        return self._fernet.encrypt(json.dumps(dict(values)).encode())

    def open(self, sealed: bytes) -> dict[str, str]:
        """Raises AppError where none of the keys fits: the key was changed without keeping the old one."""
        try:
            opened: dict[str, str] = json.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise AppError("A stored secret does not open with APP_ENCRYPTION_KEY", code="WRONG_KEY") from None
        return opened

    def renewed(self, sealed: bytes) -> bytes | None:
        """The same, sealed with the newest key; None where it is already. Raises AppError as `open` does."""
        try:
            self._newest.decrypt(sealed)
        except InvalidToken:
            return self.seal(self.open(sealed))
        return None


def fingerprint(token: str) -> bytes:
    """What we keep of a token that others present to us. Our tokens have 256 random bits: no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
