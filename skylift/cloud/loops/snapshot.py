"""Makes snapshots, and removes what those that are gone have left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from skylift.cloud.compute.disk import DiskError
from skylift.cloud.instance import Image, Instance
from skylift.cloud.loops.work import Work
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.volume import snapshot_files, volume_files
from skylift.cloud.volume import Snapshot, Volume

log = logging.getLogger(__name__)


PATIENCE = 1.0
"""Seconds between two looks at a server that is about to start or to stop."""


class Copies(Protocol):
    """The part of compute's disks that this loop drives."""

    def take(self, volume_id: str, snapshot_id: str) -> None: ...
    def share(self, source_id: str, snapshot_id: str) -> None: ...
    def present(self) -> tuple[set[str], set[str]]: ...
    def remove(self, volume_id: str) -> None: ...
    def remove_snapshot(self, snapshot_id: str) -> None: ...


class SnapshotLoop:
    """`lock_of(volume_id)` is the lock of a volume, `root_of(snapshot_id, instance)` copies an instance's root disk and
    answers where, `tidy` removes such copies that nobody needs. `failures` are the exceptions that compute has for
    "cannot".
    """

    def __init__(
        self,
        database: Database,
        disks: Copies,
        lock_of: Callable[[str], threading.RLock],
        root_of: Callable[[str, Instance], Path],
        tidy: Callable[[], None],
        failures: tuple[type[Exception], ...],
    ) -> None:
        self._database = database
        self._disks = disks
        self._lock_of = lock_of
        self._root_of = root_of
        self._tidy = tidy
        self._failures = failures
        self._work = Work("snapshot", self._settle, workers=2)
        self._known: set[str] | None = None

    def step(self) -> None:
        """Start work on every snapshot that is to be made, and on what is left over."""
        with self._database.read() as tx:
            pending = tx.find(Snapshot, state="pending")
            needed = snapshot_files(tx)
        for row in pending:
            self._work.submit(row.id)
        if self._known is None or self._known - needed:
            self._work.submit("")
        self._known = needed

    def wait_until_idle(self) -> None:
        self._work.wait_until_idle()

    def close(self) -> None:
        self._work.close()

    def last_looks(self, volume_id: str) -> None:
        """Make the snapshots that wait for this volume; it is about to be removed, or its server to go on."""
        with self._database.read() as tx:
            pending = tx.find(Snapshot, volume_id=volume_id, state="pending")
        for row in pending:
            self._make(row.id, at_rest=True)

    def at_rest(self, instance_id: str) -> None:
        """A server has shut down: make the snapshots that wait for its volumes."""
        with self._database.read() as tx:
            volumes = tx.find(Volume, instance_id=instance_id)
        for volume in volumes:
            self.last_looks(volume.id)

    def _settle(self, snapshot_id: str) -> None:
        if snapshot_id:
            self._make(snapshot_id, at_rest=False)
            return
        self.clean_up()

    def clean_up(self) -> None:
        """Remove files that no row names. They are looked at first: a row is there before its file is."""
        volumes, snapshots = self._disks.present()
        with self._database.read() as tx:
            volumes -= volume_files(tx)
            snapshots -= snapshot_files(tx)
        for volume_id in volumes:
            self._disks.remove(volume_id)
        for snapshot_id in snapshots:
            self._disks.remove_snapshot(snapshot_id)
        self._tidy()

    def _make(self, snapshot_id: str, *, at_rest: bool) -> None:
        with self._database.read() as tx:
            row = tx.get(Snapshot, id=snapshot_id)
        if row is None:
            return
        with self._lock_of(row.volume_id):
            with self._database.read() as tx:
                row = tx.get(Snapshot, id=snapshot_id)
                if row is None or row.state != "pending" or (not at_rest and _waits_for_rest(tx, row)):
                    return
                volume = tx.get(Volume, id=row.volume_id)
                instance = tx.get(Instance, id=volume.instance_id) if volume and volume.instance_id else None
            if row.of_root and not at_rest and instance is not None and instance.state not in ("running", "stopped"):
                # Its disk is about to be used, or is no more in a moment.
                self._work.later(row.id, PATIENCE)
                return
            try:
                root = self._copy(row, volume, instance)
            except self._failures as error:
                log.error("snapshot %s of %s: %s", row.id, row.volume_id, error)
                self._save(row.id, state="error", message=str(error))
                return
        log.info("snapshot %s of %s: completed", row.id, row.volume_id)
        self._save(row.id, state="completed", root=root)

    def _copy(self, row: Snapshot, volume: Volume | None, instance: Instance | None) -> str:
        """Answers the directory, where the snapshot is one."""
        if row.source_id is not None:
            self._disks.share(row.source_id, row.id)
            return ""
        if not row.of_root:
            self._disks.take(row.volume_id, row.id)
            return ""
        if volume is None or instance is None:
            raise DiskError(f"{row.volume_id} ended before it was copied")
        return str(self._root_of(row.id, instance))

    def _save(self, snapshot_id: str, **changes: object) -> None:
        with self._database.write() as tx:
            current = tx.get(Snapshot, id=snapshot_id)
            if current is not None and current.state == "pending":
                tx.save(replace(current, completed=tx.now, **changes))  # type: ignore[arg-type]
                return
        # It was deleted while it was being made.
        self._work.submit("")


def _waits_for_rest(tx: Tx, row: Snapshot) -> bool:
    """Whether it belongs to an image whose server is about to shut down for it."""
    image = tx.get(Image, id=row.image_id) if row.image_id else None
    if image is None or image.state != "pending" or image.no_reboot or image.source_instance_id is None:
        return False
    instance = tx.get(Instance, id=image.source_instance_id)
    return instance is not None and instance.state in ("pending", "running")
