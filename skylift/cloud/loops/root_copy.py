"""Copies of servers' root disks, as the root directories of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from skylift.cloud.instance import Image, Instance
from skylift.cloud.loops.hold import Hold
from skylift.cloud.store.database import Database


class Captures(Protocol):
    """The part of compute's captures that this drives; see compute/capture.py."""

    def take(
        self,
        name: str,
        *,
        lower: Path,
        disk: Path,
        uid_base: int,
        held: Callable[[], AbstractContextManager[None]] | None,
    ) -> Path: ...


class RootCopies:
    """`instances` is the directory of servers' disks. Who calls has the lock of the root volume."""

    def __init__(self, database: Database, captures: Captures, instances: Path, hold: Hold) -> None:
        self._database = database
        self._captures = captures
        self._instances = instances
        self._hold = hold

    def make(self, name: str, instance: Instance, along: Callable[[], None]) -> Path:
        """A copy of the root disk as it is when `along` is done: a server that runs stands still for both."""

        @contextmanager
        def held() -> Iterator[None]:
            with self._hold.of(instance.id):
                along()
                yield

        with self._database.read() as tx:
            below = tx.get(Image, id=instance.image_id)
        assert below is not None, "an image stays as long as a server's disk is based on it"
        runs = self._hold.runs(instance.id)
        if not runs:
            along()
        return self._captures.take(
            name,
            lower=Path(below.root),
            disk=self._instances / instance.id,
            uid_base=instance.uid_base,
            held=held if runs else None,
        )
