"""Which keys of a published set are of use."""

import json

import pytest
from jwt.algorithms import ECAlgorithm

from core.errors import Malformed
from core.key_set import MOST_KEYS, read_keys
from tests.key_server import ec_key, published, rsa_key

RSA, EC = published("r", rsa_key("a")), published("e", ec_key("a"))


def read(*keys):
    return [(key.kid, key.algorithm) for key in read_keys(json.dumps({"keys": keys}).encode())]


def test_rsa_is_for_rs256_and_p256_for_es256():
    assert read(RSA, EC) == [("r", "RS256"), ("e", "ES256")]
    assert read(RSA | {"alg": "RS256", "use": "sig"}, EC | {"alg": "ES256", "key_ops": ["verify"]}) == [
        ("r", "RS256"),
        ("e", "ES256"),
    ]


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "h", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "h", "alg": "RS256"},
        RSA | {"alg": "HS256"},
        RSA | {"alg": "ES256"},
        RSA | {"alg": "PS256"},
        RSA | {"alg": None},
        RSA | {"use": "enc"},
        RSA | {"n": "AQAB"},
        RSA | {"n": 5},
        RSA | {"n": "é"},
        RSA | {"kty": "EC"},
        RSA | {"kty": ["RSA"]},
        EC | {"crv": "P-384"},
        EC | {"crv": {"a": 1}},
        EC | {"x": "AAAA"},
        published("weak", rsa_key("weak", 1024)),
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {},
        "RSA",
        None,
        5,
    ],
)
def test_others_are_left_out_and_harm_nobody(key):
    assert read(key, EC) == [("e", "ES256")]


def test_a_private_key_that_is_published_is_nobodys_proof():
    assert read(ECAlgorithm.to_jwk(ec_key("a"), as_dict=True) | {"kid": "e"}) == []


def test_an_odd_key_id_is_none():
    assert read(EC | {"kid": 5}) == [(None, "ES256")]


def test_a_set_may_be_empty_and_has_an_end():
    assert read() == []
    assert len(read(*[EC] * (MOST_KEYS + 1))) == MOST_KEYS


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"keys":null}', b"\xff", b"[" * 100_000])
def test_what_is_no_set_is_malformed(body):
    with pytest.raises(Malformed):
        read_keys(body)
