"""Key pairs. The private half is made here, answered once and never kept. The only importer of cryptography.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.instance import KeyPair
from skylift.cloud.services import putty
from skylift.cloud.services.filter import matching
from skylift.cloud.services.refusal import combination, invalid_value
from skylift.cloud.services.resource import new_id, require, require_all
from skylift.cloud.services.tag import tag_list, tags_for
from skylift.cloud.store.database import Tx

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey

RSA_BITS = 2048
RSA_IMPORT_BITS = range(1024, 16385)

FILTERS = {"fingerprint": "KeyFingerprint", "key-name": "KeyName", "key-pair-id": "KeyPairId"}


@dataclass(frozen=True)
class _Made:
    """A new key: what is answered, and what is kept of it."""

    material: str
    fingerprint: str
    public: PublicKey


def create(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    name = _new_name(tx, params["KeyName"])
    kind, form = params.get("KeyType", "rsa"), params.get("KeyFormat", "pem")
    if kind not in ("rsa", "ed25519"):
        raise invalid_value(kind, "keyType", "It has to be rsa or ed25519.")
    if form not in ("pem", "ppk"):
        raise invalid_value(form, "keyFormat", "It has to be pem or ppk.")
    made = _make_rsa(name, form) if kind == "rsa" else _make_ed25519(name, form)
    pair = _keep(tx, params, kind, made.public, made.fingerprint)
    return {
        "KeyPairId": pair.id,
        "KeyName": pair.name,
        "KeyFingerprint": pair.fingerprint,
        "KeyMaterial": made.material,
        "Tags": tag_list(pair.tags),
    }


def import_(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    _new_name(tx, params["KeyName"])
    public = _read_public(params["PublicKeyMaterial"])
    kind: Literal["rsa", "ed25519"] = "rsa" if isinstance(public, rsa.RSAPublicKey) else "ed25519"
    pair = _keep(tx, params, kind, public, _imported_fingerprint(public))
    return {
        "KeyPairId": pair.id,
        "KeyName": pair.name,
        "KeyFingerprint": pair.fingerprint,
        "Tags": tag_list(pair.tags),
    }


def describe(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    names, ids = params.get("KeyNames") or [], params.get("KeyPairIds") or []
    rows = [*(by_name(tx, name) for name in names), *require_all(tx, KeyPair, ids)]
    if not (names or ids):
        rows = tx.find(KeyPair)
    with_key = params.get("IncludePublicKey", False)
    items = [_view(pair, with_key) for pair in {row.id: row for row in rows}.values()]
    return {"KeyPairs": matching(items, params.get("Filters"), FILTERS, tags="Tags")}


def delete(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """Deleting what is not there succeeds, as on AWS; servers keep the key they were launched with."""
    name, pair_id = params.get("KeyName"), params.get("KeyPairId")
    if name and pair_id:
        raise combination("The parameter keyName cannot be used with the parameter keyPairId")
    if not name and not pair_id:
        raise ServiceError("MissingParameter", "The request must contain the parameter KeyName or KeyPairId")
    pair = require(tx, KeyPair, pair_id) if pair_id else tx.get(KeyPair, name=name)
    if pair is None:
        return {"Return": True}
    tx.remove(pair)
    return {"Return": True, "KeyPairId": pair.id}


def login_key(material: bytes) -> str:
    """The line of `authorized_keys`, without a comment, for a public key as ImportKeyPair takes it.

    Raises InvalidKey.Format.
    """
    return _openssh_line(_read_public(material))


def by_name(tx: Tx, name: str) -> KeyPair:
    pair = tx.get(KeyPair, name=name)
    if pair is None:
        raise ServiceError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
    return pair


def _view(pair: KeyPair, with_key: bool) -> dict[str, Any]:
    return {
        "KeyPairId": pair.id,
        "KeyName": pair.name,
        "KeyType": pair.kind,
        "KeyFingerprint": pair.fingerprint,
        "CreateTime": pair.created,
        "Tags": tag_list(pair.tags),
        **({"PublicKey": pair.public_key} if with_key else {}),
    }


def _new_name(tx: Tx, name: str) -> str:
    """A name goes into `authorized_keys` as the key's comment: one line of printable ASCII."""
    if not re.fullmatch(r"[!-~]([ -~]{0,253}[!-~])?", name):
        raise invalid_value(
            name, "keyName", "It has to be 1 to 255 printable ASCII characters without spaces at its ends."
        )
    if tx.get(KeyPair, name=name) is not None:
        raise ServiceError("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
    return name


def _keep(tx: Tx, params: Any, kind: Literal["rsa", "ed25519"], public: PublicKey, fingerprint: str) -> KeyPair:
    pair = KeyPair(
        new_id("key"),
        params["KeyName"],
        kind,
        fingerprint,
        public_key=f"{_openssh_line(public)} {params['KeyName']}",
        created=tx.now,
        tags=tags_for(params, "key-pair"),
    )
    tx.add(pair)
    return pair


def _make_rsa(name: str, form: str) -> _Made:
    private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    fingerprint = _colons(hashlib.sha1(pkcs8, usedforsecurity=False).hexdigest())
    if form == "pem":
        material = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    else:
        numbers = private.private_numbers()
        secret = putty.rsa_private(numbers.d, numbers.p, numbers.q, pow(numbers.q, -1, numbers.p))
        material = putty.key_file("ssh-rsa", name, _blob(private.public_key()), secret)
    return _Made(material, fingerprint, private.public_key())


def _make_ed25519(name: str, form: str) -> _Made:
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key()
    if form == "pem":
        material = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    else:
        secret = putty.ed25519_private(private.private_bytes_raw())
        material = putty.key_file("ssh-ed25519", name, _blob(public), secret)
    return _Made(material, _sha256(public), public)


def _imported_fingerprint(public: PublicKey) -> str:
    if isinstance(public, rsa.RSAPublicKey):
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _colons(hashlib.md5(der, usedforsecurity=False).hexdigest())
    return _sha256(public)


def _read_public(material: bytes) -> PublicKey:
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


def _openssh_line(public: PublicKey) -> str:
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _blob(public: PublicKey) -> bytes:
    """The key as the SSH protocol spells it."""
    return base64.b64decode(_openssh_line(public).split()[1])


def _sha256(public: PublicKey) -> str:
    """As OpenSSH computes it, but with base64's padding and without a prefix: that is what EC2 answers."""
    return base64.b64encode(hashlib.sha256(_blob(public)).digest()).decode()


def _colons(digits: str) -> str:
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))
