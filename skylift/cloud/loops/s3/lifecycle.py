"""Expires and moves objects by the lifecycle rules of their buckets: each bucket once a day, and when its rules change.

A bucket may have millions of keys, so each step looks at some of them and lets the other loops have their turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Protocol

from skylift.cloud.domain.bucket import Bucket, LifecycleRule
from skylift.cloud.loops.guard import guarded
from skylift.cloud.store.bucket import keys_after, with_lifecycle
from skylift.cloud.store.database import Database, Tx

log = logging.getLogger(__name__)

LOOKED_AT = 200
"""Keys in one step."""
PAUSE = 0.05
"""Seconds between two steps."""


class Upkeep(Protocol):
    """What is due, and how it is carried out."""

    def is_due(self, tx: Tx, bucket: Bucket, key: str, /) -> bool: ...

    def carry_out(self, tx: Tx, name: str, key: str, /) -> None: ...

    def abandoned_uploads(self, tx: Tx, bucket: Bucket, /) -> list[str]: ...

    def abort(self, tx: Tx, name: str, upload_id: str, /) -> None: ...


@dataclass(frozen=True)
class _Walk:
    """How far a bucket has been looked at on a day. `after` is the last key; None once it is done."""

    day: date
    rules: tuple[LifecycleRule, ...]
    after: str | None = ""


class LifecycleLoop:
    def __init__(self, database: Database, upkeep: Upkeep, wake_in: Callable[[float], None]) -> None:
        self._database = database
        self._upkeep = upkeep
        self._wake_in = wake_in
        self._walks: dict[str, _Walk] = {}

    def step(self) -> None:
        with self._database.read() as tx:
            today, buckets = tx.now.date(), with_lifecycle(tx)
        self._walks = {bucket.name: self._walk(bucket, today) for bucket in buckets}
        for bucket in buckets:
            if self._walks[bucket.name].after is not None:
                # A bucket that fails is tried again with the next step, which it does not bring about.
                guarded(f"lifecycle of {bucket.name}", partial(self._go_on, bucket, self._walks[bucket.name]))

    def _walk(self, bucket: Bucket, today: date) -> _Walk:
        known = self._walks.get(bucket.name)
        same = known is not None and (known.day, known.rules) == (today, bucket.lifecycle)
        return known if known is not None and same else _Walk(today, bucket.lifecycle)

    def _go_on(self, bucket: Bucket, walk: _Walk) -> None:
        assert walk.after is not None, "a walk that is done does not go on"
        upkeep = self._upkeep
        with self._database.read() as tx:
            uploads = upkeep.abandoned_uploads(tx, bucket) if not walk.after else []
            keys = keys_after(tx, bucket.name, walk.after, LOOKED_AT)
            due = [key for key in keys if upkeep.is_due(tx, bucket, key)]
        if due or uploads:
            with self._database.write() as tx:
                for upload_id in uploads:
                    upkeep.abort(tx, bucket.name, upload_id)
                for key in due:
                    upkeep.carry_out(tx, bucket.name, key)
            log.info("lifecycle of %s: %d keys, %d uploads", bucket.name, len(due), len(uploads))
        done = len(keys) < LOOKED_AT
        self._walks[bucket.name] = _Walk(walk.day, walk.rules, None if done else keys[-1])
        if not done:
            self._wake_in(PAUSE)
