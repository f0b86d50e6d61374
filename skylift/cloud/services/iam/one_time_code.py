"""One-time codes by time (RFC 6238), as authenticator apps make them: six digits, another every 30 seconds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
from datetime import datetime

STEP = 30
DRIFT = 1
"""The most steps that a device's clock may be off."""


def new_seed() -> str:
    """320 bits in base 32: as many as AWS's seeds have, in whole groups, so that there is no padding."""
    return base64.b32encode(secrets.token_bytes(40)).decode()


def code(seed: str, step: int) -> str:
    digest = hmac.new(base64.b32decode(seed), struct.pack(">Q", step), hashlib.sha1).digest()
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**6:06}"


def step_of(seed: str, given: str, at: datetime, after: int) -> int | None:
    """The step that a code is of; None for one that is wrong, or not later than `after`: each is good once."""
    now = int(at.timestamp()) // STEP
    for step in range(max(now - DRIFT, after + 1), now + DRIFT + 1):
        if hmac.compare_digest(code(seed, step).encode(), given.encode()):
            return step
    return None


def step_of_two(seed: str, first: str, second: str, at: datetime, after: int) -> int | None:
    """The step of the second of two codes that follow each other; the clock may be off by more than for one."""
    now = int(at.timestamp()) // STEP
    for step in range(max(now - 10, after + 1), now + 10):
        if hmac.compare_digest((code(seed, step) + code(seed, step + 1)).encode(), (first + second).encode()):
            return step + 1
    return None
