"""The broker's signature of a delivery: taken in each of its forms, and in no other."""

import pytest

from manager.providers.broker.signature import is_signed

BODY = '{"event":"MESSAGE_INBOUND","payload":{"text":"Olá"}}'.encode()
SECRET = "a-shared-secret"
# printf '%s' '{"event":…}' | openssl dgst -sha256 -hmac a-shared-secret
GOOD = "d050a253f24e399c565bf61df8a7d97676b448de37ed0d2bef7e7d058243908d"


@pytest.mark.parametrize("header", [GOOD, f"sha256={GOOD}", GOOD.upper(), f"SHA256={GOOD}", f" {GOOD} "])
def test_a_good_signature_is_taken_in_every_form(header):
    assert is_signed(BODY, header, [SECRET])


def test_one_of_several_secrets_is_enough():
    assert is_signed(BODY, GOOD, ["another", SECRET])
    assert is_signed(BODY, GOOD, iter([SECRET, "another"]))


@pytest.mark.parametrize(
    "header",
    [None, "", "sha256=", GOOD[:-1], f"{GOOD}0", f"sha1={GOOD}", f"{GOOD},{GOOD}", "z" * 64, "é" * 64, "\0", "0" * 64],
)
def test_a_malformed_or_wrong_header_is_no_signature(header):
    assert not is_signed(BODY, header, [SECRET])


def test_another_body_or_secret_is_not_signed():
    assert not is_signed(BODY + b" ", GOOD, [SECRET])
    assert not is_signed(BODY, GOOD, ["another"])


def test_without_a_secret_nothing_is_signed():
    """Not even with the signature that everybody can make, by an empty key."""
    empty = "6a408bdf900bf290aaa6421480b25f225ba2b1a68e36490437a3ad44c29137d2"
    assert not is_signed(BODY, empty, [""])
    assert not is_signed(BODY, GOOD, [])
