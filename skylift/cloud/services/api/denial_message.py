"""The sealed form of EC2's denials, which callers with permission can decode.

The request's context can be more than the caller is to know. Nothing is kept of a denial: the message is all there is.
https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from skylift.cloud.domain.identity import AccessKey, Caller
from skylift.cloud.services.api.operation import Check
from skylift.cloud.store.database import Tx

_NONCE = 16
_SEAL = 32


def sealed(tx: Tx, caller: Caller, check: Check, context: Mapping[str, str | tuple[str, ...]], why: str) -> str:
    """The message on one denied check; `why` is the decision's."""
    conditions = [
        {"key": key, "values": _items({"value": one} for one in ((value,) if isinstance(value, str) else value))}
        for key, value in sorted(context.items())
    ]
    message = {
        "allowed": False,
        "explicitDeny": "explicit deny" in why,
        "matchedStatements": _items([]),
        "failures": _items([]),
        "context": {
            "principal": {"id": caller.user_id, "arn": caller.arn, **({"name": caller.user} if caller.user else {})},
            "action": check.action,
            "resource": check.resource,
            "conditions": _items(conditions),
        },
    }
    return _seal(_key(tx), json.dumps(message, separators=(",", ":")).encode())


def opened(tx: Tx, message: str) -> str | None:
    """The content of a sealed message; None if the message was not made by this cloud, or is not whole."""
    return _opened(_key(tx), message)


def _items(values: Iterable[Any]) -> dict[str, list[Any]]:
    return {"items": list(values)}


def _key(tx: Tx) -> bytes:
    """The key of sealed messages, made from the first key of the account's root, which every cloud has and only root
    knows."""
    first = min(tx.find(AccessKey, user=None), key=lambda key: (key.created, key.id))
    return hmac.digest(first.secret.encode(), b"authorization messages", "sha256")


def _seal(key: bytes, content: bytes) -> str:
    nonce = secrets.token_bytes(_NONCE)
    hidden = _masked(key, nonce, zlib.compress(content, 9))
    seal = hmac.digest(key, nonce + hidden, "sha256")
    return base64.urlsafe_b64encode(nonce + seal + hidden).rstrip(b"=").decode()


def _opened(key: bytes, message: str) -> str | None:
    try:
        content = base64.urlsafe_b64decode(message + "=" * (-len(message) % 4))
    except (binascii.Error, ValueError):
        return None
    nonce, seal, hidden = content[:_NONCE], content[_NONCE : _NONCE + _SEAL], content[_NONCE + _SEAL :]
    if not hmac.compare_digest(seal, hmac.digest(key, nonce + hidden, "sha256")):
        return None
    return zlib.decompress(_masked(key, nonce, hidden)).decode()


def _masked(key: bytes, nonce: bytes, content: bytes) -> bytes:
    """SHAKE-256 of the key and a nonce is a pad that is used once."""
    pad = hashlib.shake_256(key + nonce).digest(len(content))
    return bytes(one ^ other for one, other in zip(content, pad, strict=True))
