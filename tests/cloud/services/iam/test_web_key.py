"""Key sets of issuers: which keys count, and what is refused where it is given."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.oidc_issuer import Signer, encoded, key_set, number

from skylift.cloud.services.iam.web_key import BadKeySet, parse_key_set

RSA = Signer("RS256", "rsa")
CURVE = Signer("ES256", "curve")


def one(**changes: Any) -> str:
    """A set of one RSA key with these members; None takes one away."""
    key = {**RSA.web_key, **changes}
    return json.dumps({"keys": [{name: value for name, value in key.items() if value is not None}]})


def test_keys_of_both_kinds() -> None:
    keys = parse_key_set(key_set(RSA, CURVE))
    assert [(key.id, key.kind, key.algorithm) for key in keys] == [("rsa", "RSA", "RS256"), ("curve", "P-256", "ES256")]
    (bare,) = parse_key_set(one(kid=None, alg=None, use=None, x5c=["MII..."], x5t="abc"))
    assert (bare.id, bare.algorithm) == ("", "")
    assert [bare.signs("any", algorithm) for algorithm in ("RS256", "RS512", "ES256")] == [False, False, False]
    assert [bare.signs("", algorithm) for algorithm in ("RS256", "RS512", "ES256")] == [True, True, False]


def test_other_keys_may_be_among_them() -> None:
    """RFC 7517, 5: keys of a kind that is not understood should be ignored."""
    others = [
        {"kty": "OKP", "crv": "Ed25519", "x": "abc"},
        {**RSA.web_key, "use": "enc"},
        {**RSA.web_key, "alg": "RSA-OAEP"},
        {**CURVE.web_key, "crv": "secp256k1"},
        {**RSA.web_key, "n": number(2**1023 + 1), "kid": "short"},
    ]
    assert [key.id for key in parse_key_set(json.dumps({"keys": [*others, CURVE.web_key]}))] == ["curve"]
    with pytest.raises(BadKeySet, match="It has no public key of RSA"):
        parse_key_set(json.dumps({"keys": others}))


def test_what_issuers_publish_beside_good_keys() -> None:
    """RFC 7517, 4.5: keys of different kinds may have one kid. A member of null is one that is left out."""
    same = Signer("ES256", "rsa")
    keys = parse_key_set(key_set(RSA, same, Signer("ES384", "rsa")))
    assert [(key.id, key.kind) for key in keys] == [("rsa", "RSA"), ("rsa", "P-256"), ("rsa", "P-384")]
    assert [key.kind for key in keys if key.signs("rsa", "ES256")] == ["P-256"]
    null = {"alg": None, "use": None, "kid": None, "crv": None, "x": None, "d": None}
    (key,) = parse_key_set(json.dumps({"keys": [{**RSA.web_key, **null}]}))
    assert (key.id, key.kind, key.algorithm) == ("", "RSA", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a JSON object: Expecting value"),
        ("[]", "not a JSON object: it is another kind of value"),
        ("{}", 'It has no list "keys"'),
        ('{"keys": {}}', 'It has no list "keys"'),
        ('{"keys": ["k"]}', "Key 1 is not an object."),
        ('{"keys": [{}]}', 'Key 1 has no "kty".'),
        ('{"keys": [], "keys": []}', "a name occurs twice in one object"),
        ('{"keys": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ("x" * 262_145, "It is larger than 262144 bytes."),
        (one(kid=7), 'Key 1 has a "kid" that is not a string.'),
        (one(d="abc"), "Key 1 has its private part."),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "Key 1 has its private part."),
        (one(n=None), 'Key 1 is no public key of RSA: it has no "n".'),
        (one(n="!"), "Key 1 is no public key of RSA."),
        (one(n=""), "Key 1 is no public key of RSA: no base64url."),
        (one(n="AA"), "It has no public key .*: key 1 has 0 bits, not 2048 to 8192"),
        (one(n=number(2**1023 + 1)), "It has no public key .*: key 1 has 1024 bits"),
        (one(n=encoded(b"\xff" * 1025)), "It has no public key .*: key 1 has 8200 bits"),
        (one(e="Ag"), "Key 1 is no public key of RSA."),
        (one(e=encoded(b"\xff" * 5)), "Key 1 is no public key of RSA."),
        (json.dumps({"keys": [{**CURVE.web_key, "y": "AQ"}]}), "Key 1 is no public key of P-256."),
        (key_set(RSA, Signer("RS512", "rsa")), 'Two of its keys of RSA have the same "kid".'),
        (json.dumps({"keys": [{**CURVE.web_key, "kid": str(n)} for n in range(101)]}), "101 keys of elliptic curves"),
    ],
)
def test_what_is_no_key_set(text: str, said: str) -> None:
    with pytest.raises(BadKeySet, match=said):
        parse_key_set(text)


MEMBERS = st.dictionaries(
    st.sampled_from(["kty", "kid", "alg", "use", "crv", "n", "e", "x", "y"]),
    st.sampled_from(["RSA", "EC", "P-256", "RS256", "sig", "AQAB", RSA.web_key["n"], "", "ä", 7, None, []]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MEMBERS, max_size=3))
def test_any_set_is_parsed_or_refused(keys: list[dict[str, Any]]) -> None:
    with suppress(BadKeySet):
        assert parse_key_set(json.dumps({"keys": keys}))
