"""An issuer of ID tokens that tests are: it has keys, and signs what they want."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

URL = "https://issuer.example.com/realm"
HOST = URL.removeprefix("https://")
AUDIENCE = "sts.amazonaws.com"
SUBJECT = "repo:shop/web:ref:refs/heads/main"

HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Signer:
    """One key of the issuer's, for one algorithm."""

    def __init__(self, algorithm: str = "RS256", key_id: str = "key-1") -> None:
        self.algorithm, self.key_id = algorithm, key_id
        self._private: Any = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if algorithm.startswith("RS")
            else ec.generate_private_key(CURVES[algorithm])
        )

    @property
    def web_key(self) -> dict[str, str]:
        """The public key, as the issuer publishes it."""
        numbers = self._private.public_key().public_numbers()
        mine = {"kid": self.key_id, "alg": self.algorithm, "use": "sig"}
        if self.algorithm.startswith("RS"):
            return {**mine, "kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[self.algorithm]
        return {**mine, "kty": "EC", "crv": curve, "x": number(numbers.x), "y": number(numbers.y)}

    def sign(self, content: bytes) -> bytes:
        digest = HASHES[self.algorithm[2:]]
        if self.algorithm.startswith("RS"):
            return bytes(self._private.sign(content, padding.PKCS1v15(), digest))
        length = (self._private.curve.key_size + 7) // 8
        parts = decode_dss_signature(self._private.sign(content, ec.ECDSA(digest)))
        return b"".join(part.to_bytes(length, "big") for part in parts)

    def token(self, claims: Mapping[str, Any] | str, **header: Any) -> str:
        """A header of None has no such member."""
        named = {"alg": self.algorithm, "typ": "JWT", "kid": self.key_id, **header}
        head = json.dumps({name: value for name, value in named.items() if value is not None})
        body = claims if isinstance(claims, str) else json.dumps(claims)
        content = f"{encoded(head.encode())}.{encoded(body.encode())}"
        return f"{content}.{encoded(self.sign(content.encode()))}"


def key_set(*signers: Signer) -> str:
    return json.dumps({"keys": [signer.web_key for signer in signers]})


def claims(now: datetime, **more: Any) -> dict[str, Any]:
    """Those of a good token; a claim of None is left out."""
    usual = {
        "iss": URL,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "iat": int(now.timestamp()),
        "exp": int(now.timestamp()) + 600,
        **more,
    }
    return {name: value for name, value in usual.items() if value is not None}
