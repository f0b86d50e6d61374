"""Expires and moves objects by the lifecycle rules of their buckets: each bucket once a day, and when its rules change.

A bucket may have millions of versions, so each step looks at some of them and lets the other loops have their turn. A
transaction removes a few of them only: other writers wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Protocol

from skylift.cloud.domain.bucket import Bucket, LifecycleRule, ObjectVersion
from skylift.cloud.loops.guard import guarded
from skylift.cloud.store.bucket import GREATEST, versions_after, with_lifecycle
from skylift.cloud.store.database import Database, Tx

log = logging.getLogger(__name__)

LOOKED_AT = 200
"""Versions in one step."""
AT_ONCE = 10
"""Versions in one transaction: each may have ten thousand extents."""
BEGINNING = ("", GREATEST)
PAUSE = 0.05
"""Seconds between two steps."""


class Upkeep(Protocol):
    """What is due, and how it is carried out."""

    def is_due(self, tx: Tx, bucket: Bucket, found: ObjectVersion, /) -> bool: ...

    def carry_out(self, tx: Tx, name: str, found: ObjectVersion, /) -> None: ...

    def abandoned_uploads(self, tx: Tx, bucket: Bucket, /) -> list[str]: ...

    def abort(self, tx: Tx, name: str, upload_id: str, /) -> None: ...


@dataclass(frozen=True)
class _Walk:
    """How far a bucket has been looked at on a day. `after` is the last version; None once it is done."""

    day: date
    rules: tuple[LifecycleRule, ...]
    after: tuple[str, int] | None = BEGINNING


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
            uploads = upkeep.abandoned_uploads(tx, bucket) if walk.after == BEGINNING else []
            versions = versions_after(tx, bucket.name, walk.after, LOOKED_AT)
            due = [found for found in versions if upkeep.is_due(tx, bucket, found)]
        for upload_id in uploads:
            with self._database.write() as tx:
                upkeep.abort(tx, bucket.name, upload_id)
        for at in range(0, len(due), AT_ONCE):
            with self._database.write() as tx:
                for found in due[at : at + AT_ONCE]:
                    upkeep.carry_out(tx, bucket.name, found)
        if due or uploads:
            log.info("lifecycle of %s: %d versions, %d uploads", bucket.name, len(due), len(uploads))
        done = len(versions) < LOOKED_AT
        after = None if done else (versions[-1].key, versions[-1].sequence)
        self._walks[bucket.name] = _Walk(walk.day, walk.rules, after)
        if not done:
            self._wake_in(PAUSE)
