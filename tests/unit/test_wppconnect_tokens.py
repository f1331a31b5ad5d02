"""The tokens that WPPConnect Server checks: made here, of session and secret."""

from uuid import uuid4

import bcrypt
import pytest

from core.errors import NotOffered
from manager.providers.wppconnect.tokens import Tokens, token_of

NAME, SECRET = f"user_{uuid4()}", "secret-0123456789-0123456789-tail"


def proves(token: str, words: str) -> bool:
    """As the server looks at it."""
    return bcrypt.checkpw(words.encode()[:72], token.replace("_", "/").replace("-", "+").encode())


def test_a_token_proves_session_and_secret():
    token = Tokens(SECRET).of(NAME)
    assert len(token) == 60
    assert proves(token, NAME + SECRET)
    assert not proves(token, f"user_{uuid4()}{SECRET}")
    assert not proves(token, f"{NAME}another-{SECRET}")


def test_a_token_fits_into_a_header_and_a_path():
    assert all("/" not in token and "+" not in token for token in (token_of("a", str(n)) for n in range(6)))


def test_a_token_is_made_once_a_session():
    tokens = Tokens(SECRET)
    assert tokens.of(NAME) == tokens.of(NAME)
    assert tokens.of("other") != tokens.of(NAME)


def test_bcrypt_looks_at_72_bytes_so_31_of_the_secret_count():
    assert len(NAME) == 41
    assert proves(Tokens(SECRET).of(NAME), NAME + SECRET[:31])
    assert not proves(Tokens(SECRET).of(NAME), NAME + SECRET[:30])


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "..", "user 1", "usuário", "a" * 57, "a" * 72, "a\n"])
def test_a_name_that_no_session_can_have_or_that_drowns_the_secret_is_refused(name):
    with pytest.raises(NotOffered):
        Tokens(SECRET).of(name)


def test_the_longest_name_leaves_16_bytes_of_the_secret():
    name = "a" * 56
    assert not proves(Tokens(SECRET).of(name), name + SECRET[:15])
    assert proves(Tokens(SECRET).of(name), name + SECRET[:16])
