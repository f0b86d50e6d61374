"""Copies of servers' root disks: as root directories of images, and as volumes that outlive their instance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.volume import Volume
from skylift.cloud.loops.ebs.server_pause import ServerPauses
from skylift.cloud.store.database import Database

Along = Callable[[], Callable[[], None]]
"""Work that is done at the moment of the copy; it returns the work that remains after that."""


class RootCaptures(Protocol):
    """The part of compute's captures that this drives; see compute/image/image_from_disk.py."""

    def take(
        self,
        name: str,
        *,
        lower: Path,
        disk: Path,
        uid_base: int,
        held: Callable[[], AbstractContextManager[None]] | None,
    ) -> Path: ...
    def pack(self, file: Path, size_gib: int, *, lower: Path, disk: Path, uid_base: int) -> None: ...


class RootDisks(Protocol):
    """The part of compute's disks that this drives; see compute/disk/disk.py."""

    def mounted(self) -> set[str]: ...
    def mount(self, volume_id: str) -> Path: ...
    def unmount(self, volume_id: str) -> None: ...
    def made(self, volume_id: str) -> bool: ...
    def make_by(self, volume_id: str, fill: Callable[[Path], None]) -> int: ...


@dataclass(frozen=True)
class RootCopies:
    """`lock_of(volume_id)` is a volume's lock. `make` is called under the root volume's lock."""

    database: Database
    disks: RootDisks
    captures: RootCaptures
    pauses: ServerPauses
    lock_of: Callable[[str], threading.RLock]

    def make(self, name: str, instance: Instance, along: Along) -> Path:
        """A copy of the root disk as it is when `along` is done. A server that runs stands still until what it has
        written is copied."""

        @contextmanager
        def held() -> Iterator[None]:
            with ExitStack() as then, self.pauses.paused(instance.id):
                then.callback(along())
                yield

        volume, lower = self._parts(instance)
        runs = self.pauses.runs(instance.id)
        if not runs:
            along()()
        with self._disk(volume) as disk:
            return self.captures.take(
                name, lower=lower, disk=disk, uid_base=instance.uid_base, held=held if runs else None
            )

    def keep(self, instance: Instance) -> None:
        """A server has ended. A root volume that is to outlive it is from here on a volume as others are, with all that
        the server saw."""
        with self.database.read() as tx:
            if tx.get(Volume, instance_id=instance.id, root=True, delete_on_termination=False) is None:
                return
        volume, lower = self._parts(instance)

        def fill(file: Path) -> None:
            with self._disk(volume) as disk:
                self.captures.pack(file, volume.size_gib, lower=lower, disk=disk, uid_base=instance.uid_base)
            # What has the name until now must not be mounted at its place any more.
            self.disks.unmount(volume.id)

        with self.lock_of(volume.id):
            size = volume.size_gib if self._kept(volume) else self.disks.make_by(volume.id, fill)
            with self.database.write() as tx:
                current = tx.get(Volume, id=volume.id)
                assert current is not None
                tx.save(replace(current, root=False, size_gib=size))

    def _parts(self, instance: Instance) -> tuple[Volume, Path]:
        """The root volume, and the root directory of the image below it."""
        with self.database.read() as tx:
            below = tx.get(Image, id=instance.image_id)
            volume = tx.get(Volume, instance_id=instance.id, root=True)
        assert below is not None, "an image stays as long as a server's disk is based on it"
        assert volume is not None, "an instance has its root volume until it has ended"
        return volume, Path(below.root)

    def _kept(self, volume: Volume) -> bool:
        """Whether that has been done already, and only not been written down before the cloud ended."""
        if not self.disks.made(volume.id):
            return False
        with self._disk(volume) as place:
            return not (place / "upper").exists()

    @contextmanager
    def _disk(self, volume: Volume) -> Iterator[Path]:
        """The place of a server's writes."""
        here = volume.id in self.disks.mounted()
        place = self.disks.mount(volume.id)
        try:
            yield place
        finally:
            if not here:
                self.disks.unmount(volume.id)
