"""Makes keys, reads them, signs and verifies with them. The only importer of cryptography."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, pkcs7

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api import putty

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey
VerifyingKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

RSA_BITS = 2048
RSA_IMPORT_BITS = range(1024, 16385)
RSA_VERIFYING_BITS = range(2048, 8193)
"""RFC 7518 wants 2,048 at least; what a stranger's signature may cost is bounded."""
CERTIFIED = timedelta(days=365 * 30)


@dataclass(frozen=True)
class Made:
    """A new key: the part that is answered, and the part that is kept."""

    material: str
    fingerprint: str
    public: PublicKey


def make_rsa(name: str, form: str) -> Made:
    private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    fingerprint = _colons(hashlib.sha1(pkcs8, usedforsecurity=False).hexdigest())
    if form == "pem":
        material = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    else:
        numbers = private.private_numbers()
        secret = putty.rsa_private(numbers.d, numbers.p, numbers.q, pow(numbers.q, -1, numbers.p))
        material = putty.key_file("ssh-rsa", name, _blob(private.public_key()), secret)
    return Made(material, fingerprint, private.public_key())


def make_ed25519(name: str, form: str) -> Made:
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key()
    if form == "pem":
        material = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    else:
        secret = putty.ed25519_private(private.private_bytes_raw())
        material = putty.key_file("ssh-ed25519", name, _blob(public), secret)
    return Made(material, _sha256(public), public)


def make_host_keys(comment: str) -> dict[str, tuple[str, str]]:
    """New keys of an SSH server as OpenSSH keeps them, by its names of their kinds: the private file and the public."""
    found = {}
    for kind, private in (
        ("ed25519", ed25519.Ed25519PrivateKey.generate()),
        ("ecdsa", ec.generate_private_key(ec.SECP256R1())),
    ):
        secret = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        found[kind] = (secret, f"{line} {comment}\n")
    return found


def imported_fingerprint(public: PublicKey) -> str:
    if isinstance(public, rsa.RSAPublicKey):
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _colons(hashlib.md5(der, usedforsecurity=False).hexdigest())
    return _sha256(public)


def read_public(material: bytes) -> PublicKey:
    """A line of OpenSSH, an SSH2 public key file (RFC 4716), or base64 of a DER SubjectPublicKeyInfo."""
    refusal = ServiceError("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
    text = material.strip()
    try:
        if text.startswith(b"---- BEGIN SSH2 PUBLIC KEY ----"):
            text = _line_of_ssh2(text)
        loaded = (
            serialization.load_ssh_public_key(text)
            if text.startswith(b"ssh-")
            else serialization.load_der_public_key(base64.b64decode(text, validate=True))
        )
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise refusal from error
    if isinstance(loaded, ed25519.Ed25519PublicKey):
        return loaded
    if isinstance(loaded, rsa.RSAPublicKey) and loaded.key_size in RSA_IMPORT_BITS:
        return loaded
    raise refusal


def _line_of_ssh2(text: bytes) -> bytes:
    """Headers may go on over several lines that end with a backslash."""
    joined = text.replace(b"\\\r\n", b"").replace(b"\\\n", b"")
    body = [line.strip() for line in joined.splitlines()[1:-1] if b":" not in line]
    blob = base64.b64decode(b"".join(body), validate=True)
    length = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + length] + b" " + base64.b64encode(blob)


def openssh_line(public: PublicKey) -> str:
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _blob(public: PublicKey) -> bytes:
    """The key as the SSH protocol spells it."""
    return base64.b64decode(openssh_line(public).split()[1])


def _sha256(public: PublicKey) -> str:
    """OpenSSH's fingerprint, but with base64's padding and without a prefix, as EC2 answers it."""
    return base64.b64encode(hashlib.sha256(_blob(public)).digest()).decode()


def kind_of(public: PublicKey) -> Literal["rsa", "ed25519"]:
    return "rsa" if isinstance(public, rsa.RSAPublicKey) else "ed25519"


def make_certified(name: str, now: datetime) -> tuple[str, str]:
    """A new RSA key to sign with, and the certificate that it signs for itself; both as PEM."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        # The reader's clock may be behind.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + CERTIFIED)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret.decode(), certificate.public_bytes(Encoding.PEM).decode()


def sign(private_key: str, content: bytes) -> bytes:
    """RSA over SHA-256, as `openssl dgst -sha256 -verify` takes it."""
    return _signing_key(private_key).sign(content, padding.PKCS1v15(), hashes.SHA256())


def sign_enclosed(private_key: str, certificate: str, content: bytes) -> bytes:
    """A PKCS #7 message (DER) around the content, without the certificate, as `openssl smime -verify` takes it."""
    return (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(content)
        .add_signer(x509.load_pem_x509_certificate(certificate.encode()), _signing_key(private_key), hashes.SHA256())
        .sign(Encoding.DER, [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCerts])
    )


def rsa_key(modulus: int, exponent: int) -> VerifyingKey:
    """A public key by its numbers; raises ValueError for what is none."""
    if modulus.bit_length() not in RSA_VERIFYING_BITS or exponent.bit_length() > 32:
        raise ValueError("the key is too short or too long")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def elliptic_key(curve: str, x: int, y: int) -> VerifyingKey:
    """A public key by its point; raises ValueError where the curve (`P-256`) does not have it."""
    return ec.EllipticCurvePublicNumbers(x, y, _CURVES[curve]).public_key()


def verifies(public: VerifyingKey, algorithm: str, signature: bytes, content: bytes) -> bool:
    """Whether this key has signed the content, by an algorithm of JSON Web Signatures (`RS256`, `ES384`)."""
    digest = _DIGESTS[algorithm[2:]]
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, content, padding.PKCS1v15(), digest)
            return True
        half = (public.curve.key_size + 7) // 8
        if len(signature) != 2 * half:
            return False
        parts = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        public.verify(encode_dss_signature(*parts), content, ec.ECDSA(digest))
    except InvalidSignature:
        return False
    return True


_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_DIGESTS: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def _signing_key(private_key: str) -> rsa.RSAPrivateKey:
    loaded = serialization.load_pem_private_key(private_key.encode(), password=None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded


def _colons(digits: str) -> str:
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))
