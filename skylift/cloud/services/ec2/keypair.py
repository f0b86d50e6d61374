"""Key pairs. The private half is made here, answered once and never kept.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import KeyPair
from skylift.cloud.services.api import key_material
from skylift.cloud.services.api.check import makes_key, on_key
from skylift.cloud.services.api.ec2_operation import acts_on, reads, writes
from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.key_material import PublicKey
from skylift.cloud.services.api.refusal import combination, invalid_value, one_of
from skylift.cloud.services.api.resource import new_id, require, require_all
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

KINDS: tuple[Literal["rsa", "ed25519"], ...] = ("rsa", "ed25519")
FILTERS = {"fingerprint": "KeyFingerprint", "key-name": "KeyName", "key-pair-id": "KeyPairId"}


def create(tx: Tx, _caller: Caller, params: ec2.CreateKeyPairRequest) -> ec2.KeyPair:
    name = _new_name(tx, params["KeyName"])
    kind = one_of(params.get("KeyType", "rsa"), "keyType", KINDS)
    form = one_of(params.get("KeyFormat", "pem"), "keyFormat", ("pem", "ppk"))
    made = key_material.make_rsa(name, form) if kind == "rsa" else key_material.make_ed25519(name, form)
    pair = _keep(tx, params, kind, made.public, made.fingerprint)
    return {
        "KeyPairId": pair.id,
        "KeyName": pair.name,
        "KeyFingerprint": pair.fingerprint,
        "KeyMaterial": made.material,
        "Tags": tag_list(pair.tags),
    }


def import_(tx: Tx, _caller: Caller, params: ec2.ImportKeyPairRequest) -> ec2.ImportKeyPairResult:
    _new_name(tx, params["KeyName"])
    public = key_material.read_public(params["PublicKeyMaterial"])
    pair = _keep(tx, params, key_material.kind_of(public), public, key_material.imported_fingerprint(public))
    return {"KeyPairId": pair.id, "KeyName": pair.name, "KeyFingerprint": pair.fingerprint, "Tags": tag_list(pair.tags)}


def describe(tx: Tx, _caller: Caller, params: ec2.DescribeKeyPairsRequest) -> ec2.DescribeKeyPairsResult:
    names, ids = params.get("KeyNames") or [], params.get("KeyPairIds") or []
    rows = [*(by_name(tx, name) for name in names), *require_all(tx, KeyPair, ids)]
    if not (names or ids):
        rows = tx.find(KeyPair)
    with_key = params.get("IncludePublicKey", False)
    items = [_view(pair, with_key) for pair in {row.id: row for row in rows}.values()]
    return {"KeyPairs": matching(items, params.get("Filters"), FILTERS, tags="Tags")}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteKeyPairRequest) -> ec2.DeleteKeyPairResult:
    """Succeeds without the key, as on AWS; servers keep the key they were launched with."""
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
    return key_material.openssh_line(key_material.read_public(material))


def by_name(tx: Tx, name: str) -> KeyPair:
    pair = tx.get(KeyPair, name=name)
    if pair is None:
        raise ServiceError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
    return pair


def _view(pair: KeyPair, with_key: bool) -> ec2.KeyPairInfo:
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


def _keep(
    tx: Tx,
    params: ec2.CreateKeyPairRequest | ec2.ImportKeyPairRequest,
    kind: Literal["rsa", "ed25519"],
    public: PublicKey,
    fingerprint: str,
) -> KeyPair:
    pair = KeyPair(
        new_id("key"),
        params["KeyName"],
        kind,
        fingerprint,
        public_key=f"{key_material.openssh_line(public)} {params['KeyName']}",
        created=tx.now,
        tags=tags_for(params, "key-pair"),
    )
    tx.add(pair)
    return pair


OPERATIONS = (
    writes("CreateKeyPair", create, "KeyName KeyType KeyFormat TagSpecifications", makes_key("CreateKeyPair")),
    writes("ImportKeyPair", import_, "KeyName PublicKeyMaterial TagSpecifications", makes_key("ImportKeyPair")),
    reads("DescribeKeyPairs", describe, "Filters KeyNames KeyPairIds IncludePublicKey"),
    acts_on("DeleteKeyPair", delete, "KeyName KeyPairId", on_key),
)
