"""The token of each session, made here: WPPConnect Server keeps none, it only checks that the bearer is a bcrypt hash
of session and secret. So the secret stays out of URLs, which servers and proxies write into their logs.

Called by the client. Pure, but for the salt.
"""

import re

import bcrypt

from core.errors import NotOffered

HASHED_BYTES = 72  # bcrypt looks at no more
SECRET_BYTES = 16  # so many of the secret have to be among them: else a token can be guessed
FIT = re.compile(rf"[A-Za-z0-9_-]{{1,{HASHED_BYTES - SECRET_BYTES}}}")  # a folder there is called so too
ROUNDS = 10


class Tokens:
    """One object a server; safe for many threads. A token never expires: each is made once, in some 60 ms."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._made: dict[str, str] = {}

    def of(self, session: str) -> str:
        """Raises NotOffered for a name that no session can have, or that would leave the token open to guessing."""
        if not FIT.fullmatch(session):
            raise NotOffered("WPPConnect Server has no sessions of such a name")
        if session not in self._made:
            self._made[session] = token_of(session, self._secret)
        return self._made[session]


def token_of(session: str, secret: str) -> str:
    hashed = bcrypt.hashpw((session + secret).encode()[:HASHED_BYTES], bcrypt.gensalt(ROUNDS)).decode()
    return hashed.replace("/", "_").replace("+", "-")
