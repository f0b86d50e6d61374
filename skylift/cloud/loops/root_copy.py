"""Copies of servers' root disks: as root directories of images, and as volumes that outlive their instance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from skylift.cloud.compute.capture import UNFINISHED
from skylift.cloud.instance import Image, Instance
from skylift.cloud.loops.hold import Hold
from skylift.cloud.store.database import Database
from skylift.cloud.volume import Volume


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
    def gib(self, tree: Path) -> int: ...
    def remove(self, tree: Path) -> None: ...


class FileSystems(Protocol):
    """The part of compute's disks that this drives; see compute/disk.py."""

    def mounted(self) -> set[str]: ...
    def mount(self, volume_id: str) -> Path: ...
    def unmount(self, volume_id: str) -> None: ...
    def made(self, volume_id: str) -> bool: ...
    def make_of_tree(self, volume_id: str, size_gib: int, tree: Path) -> None: ...


class RootCopies:
    """`instances` is the directory of servers' disks, `lock_of(volume_id)` the lock of a volume; `make` is called with
    that of the root volume."""

    def __init__(
        self,
        database: Database,
        disks: FileSystems,
        captures: Captures,
        instances: Path,
        hold: Hold,
        lock_of: Callable[[str], threading.RLock],
    ) -> None:
        self._database = database
        self._disks = disks
        self._captures = captures
        self._instances = instances
        self._hold = hold
        self._lock_of = lock_of

    def make(self, name: str, instance: Instance, along: Callable[[], None]) -> Path:
        """A copy of the root disk as it is when `along` is done: a server that runs stands still for both."""

        @contextmanager
        def held() -> Iterator[None]:
            with self._hold.of(instance.id):
                along()
                yield

        with self._database.read() as tx:
            below = tx.get(Image, id=instance.image_id)
            volume = tx.get(Volume, instance_id=instance.id, root=True)
        assert below is not None, "an image stays as long as a server's disk is based on it"
        assert volume is not None, "an instance has its root volume until it has ended"
        runs = self._hold.runs(instance.id)
        if not runs:
            along()
        with self._disk(volume) as disk:
            return self._captures.take(
                name,
                lower=Path(below.root),
                disk=disk,
                uid_base=instance.uid_base,
                held=held if runs else None,
            )

    def keep(self, instance: Instance) -> None:
        """A server has ended. A root volume that is to outlive it is from here on a volume as others are, with all that
        the server saw."""
        with self._database.read() as tx:
            volume = tx.get(Volume, instance_id=instance.id, root=True)
        if volume is None or volume.delete_on_termination:
            return
        with self._lock_of(volume.id):
            size = volume.size_gib
            if not self._kept(volume):
                tree = self.make(f"{UNFINISHED}{volume.id}", instance, lambda: None)
                size = max(size, self._captures.gib(tree))
                self._disks.unmount(volume.id)
                self._disks.make_of_tree(volume.id, size, tree)
                self._captures.remove(tree)
            with self._database.write() as tx:
                current = tx.get(Volume, id=volume.id)
                assert current is not None
                tx.save(replace(current, root=False, bounded=False, size_gib=size))

    def _kept(self, volume: Volume) -> bool:
        """Whether that has been done already, and only not been written down before the cloud ended."""
        if not self._disks.made(volume.id):
            return False
        with self._disk(replace(volume, bounded=True)) as place:
            return not (place / "upper").exists()

    @contextmanager
    def _disk(self, volume: Volume) -> Iterator[Path]:
        """Where the writes of a server are."""
        assert volume.instance_id is not None
        if not volume.bounded:
            yield self._instances / volume.instance_id
            return
        here = volume.id in self._disks.mounted()
        place = self._disks.mount(volume.id)
        try:
            yield place
        finally:
            if not here:
                self._disks.unmount(volume.id)
