"""A lock among all who share an account: for what AWS would let two callers make twice.

Generation N of a lock is an object that exactly one caller could write first (S3's `If-None-Match: *`). A holder that
has not finished by the time its object says is taken for dead, and the next generation is free to be claimed; so a
dead holder costs a wait, never a deadlock, and nothing is ever deleted that another may be looking at.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from skylift.runner.errors import RunError
from skylift.runner.remote.api import Api

T = TypeVar("T")

LEASE = 60.0
"""Seconds that one holder has; longer than any of the things made under a lock takes on AWS."""
_PATIENCE = 4 * LEASE


def make_once(api: Api, bucket: str, name: str, find: Callable[[], T | None], make: Callable[[], T]) -> T:
    """What `find` finds, or what `make` makes while nobody else does. `make` completes what a dead holder began."""
    until = time.time() + _PATIENCE
    pause = 0.05
    while (found := find()) is None:
        if _claim(api, bucket, name):
            # Another may have finished between our look and our claim.
            return find() or make()
        if time.time() > until:
            raise RunError(f"Another run has been making the {name} for too long.", "Try again in a minute.")
        time.sleep(pause)
        pause = min(pause * 1.5, 2)
    return found


def _claim(api: Api, bucket: str, name: str) -> bool:
    """Whether the next free generation is ours. Times are the holders' own clocks: a lease is long for that reason."""
    generation = 1
    while (held := api.get(bucket, _key(name, generation))) is not None:
        if json.loads(held)["until"] > time.time():
            return False
        generation += 1
    body = json.dumps({"until": time.time() + LEASE, "holder": secrets.token_hex(8)}).encode()
    return api.put(bucket, _key(name, generation), body, first=True)


def _key(name: str, generation: int) -> str:
    return f"locks/{name}/{generation:06d}"
