"""A lock shared by all users of an account, for resources that AWS would let two callers make twice.

Generation N of a lock is an object that only one caller can write (S3's `If-None-Match: *`). The object says when the
lease ends. A holder that has not finished by then counts as dead, and the next generation may be claimed. So a dead
holder costs a wait and never a deadlock, and no lock object is deleted while another caller may read it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from skylift.client.errors import RunError
from skylift.client.remote.api import Api
from skylift.client.text.json_object import given, parse_object
from skylift.client.waiting import pauses
from skylift.contract.document import FOREVER, Malformed

T = TypeVar("T")

LEASE = 60.0
"""Seconds that one holder has. Nothing that is made under a lock takes longer on AWS."""
_PATIENCE = 4 * LEASE
_MOST = 1024
"""Bytes of a lock object."""


def make_once(api: Api, bucket: str, name: str, find: Callable[[], T | None], make: Callable[[], T]) -> T:
    """What `find` finds, or else what `make` makes, under the lock `name`. `make` has to complete what a dead holder
    has begun. Raises RunError when others hold the lock for too long."""
    for _ in pauses(_PATIENCE, 2):
        if (found := find()) is not None:
            return found
        if _claim(api, bucket, name):
            # Another holder may have finished between our `find` and our claim.
            return find() or make()
    raise RunError(f"Another run has been making the {name} for too long.", "Try again in a minute.")


def _claim(api: Api, bucket: str, name: str) -> bool:
    """Claim the next free generation. False while somebody holds the lock. Each holder uses its own clock, so a lease
    is long."""
    generation = 1
    while (held := api.get(bucket, _key(name, generation))) is not None:
        if _lease_end(bucket, _key(name, generation), held) > time.time():
            return False
        generation += 1
    body = json.dumps({"until": time.time() + LEASE, "holder": secrets.token_hex(8)}).encode()
    return api.put(bucket, _key(name, generation), body, first=True)


def _lease_end(bucket: str, key: str, held: bytes) -> float:
    """When the lease of a lock object ends, in seconds since the epoch. Raises RunError for any other object."""
    try:
        return given(parse_object(held, _MOST).number("until", 0, FOREVER), "until")
    except Malformed as error:
        raise RunError(
            f"The object s3://{bucket}/{key} is not a lock of skylift's: {error}.",
            f"If nobody needs it, remove it: aws s3 rm s3://{bucket}/{key}",
        ) from None


def _key(name: str, generation: int) -> str:
    return f"locks/{name}/{generation:06d}"
