"""A certificate authority for one cluster, and the certificates of its parts.

The owner of a key that this authority has signed may run code on every server of the cluster: so each cluster has an
authority of its own, whose own key is forgotten as soon as all parts have theirs.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_EARLIER = datetime.timedelta(hours=1)
"""The time before now from which a certificate is valid: clocks differ."""
_LATER = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Identity:
    """What one part of a cluster proves itself with, and knows the others by: all of it PEM."""

    authority: str
    certificate: str
    key: str = field(repr=False)

    def encode(self) -> dict[str, str]:
        return {"ca": self.authority, "cert": self.certificate, "key": self.key}


def issue(cluster: str, parts: tuple[str, ...], now: float, until: float) -> dict[str, Identity]:
    """An identity for each part (`scheduler`, `worker`, `client`), which hold from now on and a little longer than
    `until`, both in seconds since the epoch."""
    begins = datetime.datetime.fromtimestamp(now, datetime.UTC) - _EARLIER
    ends = datetime.datetime.fromtimestamp(until, datetime.UTC) + _LATER
    signing = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"skylift {cluster}")
    own = (
        _builder(name, name, signing.public_key(), begins, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(signing, hashes.SHA256())
    )
    authority = own.public_bytes(serialization.Encoding.PEM).decode()
    return {each: _identity(authority, name, signing, f"{each} of {cluster}", begins, ends) for each in parts}


def _identity(
    authority: str,
    issuer: x509.Name,
    signing: ec.EllipticCurvePrivateKey,
    name: str,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    signed = (
        _builder(_name(name), issuer, key.public_key(), begins, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        # Each part connects and is connected to.
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(authority, signed.public_bytes(serialization.Encoding.PEM).decode(), pem.decode())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
