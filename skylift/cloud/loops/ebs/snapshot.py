"""Makes snapshots, and removes the files of deleted ones."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from skylift.cloud.compute.disk.disk import DiskError
from skylift.cloud.compute.error import ComputeError
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.volume import Snapshot, Volume
from skylift.cloud.loops.ebs.root_copy import Along
from skylift.cloud.loops.ebs.server_pause import ServerPauses
from skylift.cloud.loops.work import Work
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.volume import snapshot_files, volume_files

log = logging.getLogger(__name__)


PATIENCE = 1.0
"""Seconds between two looks at a server that is about to start or to stop."""


class Copies(Protocol):
    """The part of compute's disks that this loop drives."""

    def frozen(self, volume_id: str) -> AbstractContextManager[None]: ...
    def copy(self, volume_id: str, snapshot_id: str) -> None: ...
    def share(self, source_id: str, snapshot_id: str) -> None: ...
    def present(self) -> tuple[set[str], set[str]]: ...
    def remove(self, volume_id: str) -> None: ...
    def remove_snapshot(self, snapshot_id: str) -> None: ...


@dataclass(eq=False)
class SnapshotLoop:
    """`lock_of(volume_id)` is the lock of a volume. `root_of(snapshot_id, instance, along)` copies an instance's disk,
    as it is when `along` is done, and returns the copy's place. `along` returns work that is done as soon as the paused
    server goes on. `tidy` removes copies that are not needed. `settled(image_id)` is called once an image's snapshots
    are made.

    Snapshots of one set are made together, of one moment, and are in the store together.
    """

    database: Database
    disks: Copies
    lock_of: Callable[[str], threading.RLock]
    pauses: ServerPauses
    root_of: Callable[[str, Instance, Along], Path]
    tidy: Callable[[], None]
    settled: Callable[[str], None]

    def __post_init__(self) -> None:
        self._work = Work("snapshot", self._settle, workers=2)
        self._known: set[str] | None = None

    def step(self) -> None:
        """Starts work on each pending snapshot, and on files that are not needed any more."""
        with self.database.read() as tx:
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
        with self.database.read() as tx:
            pending = tx.find(Snapshot, volume_id=volume_id, state="pending")
        for row in pending:
            self._make(row.id, at_rest=True)

    def at_rest(self, instance_id: str) -> None:
        """A server has shut down: make the snapshots that wait for its volumes."""
        with self.database.read() as tx:
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
        volumes, snapshots = self.disks.present()
        with self.database.read() as tx:
            volumes -= volume_files(tx)
            snapshots -= snapshot_files(tx)
        for volume_id in volumes:
            self._remove(volume_id, self.disks.remove)
        for snapshot_id in snapshots:
            self._remove(snapshot_id, self.disks.remove_snapshot)
        self.tidy()

    def _remove(self, name: str, act: Callable[[str], None]) -> None:
        try:
            act(name)
        except (OSError, ComputeError) as error:
            # The unneeded file takes room until the next start. No request should wait for its removal.
            log.error("%s could not be removed: %s", name, error)

    def _make(self, snapshot_id: str, *, at_rest: bool) -> None:
        with self.database.read() as tx:
            volumes = {row.volume_id for row in _set_of(tx, snapshot_id)}
        with ExitStack() as locks:
            for volume_id in sorted(volumes):
                locks.enter_context(self.lock_of(volume_id))
            with self.database.read() as tx:
                rows = _set_of(tx, snapshot_id)
                if not rows or (not at_rest and _waits_for_rest(tx, rows[0])):
                    return
                instance = _instance_of(tx, rows)
            of_root = any(row.of_root and row.source_id is None for row in rows)
            if of_root and not at_rest and instance is not None and instance.state not in ("running", "stopped"):
                # Its disk is about to be used or removed.
                self._work.later(snapshot_id, PATIENCE)
                return
            self._save(self._take(rows, instance))
        for image_id in {row.image_id for row in rows if row.image_id}:
            self.settled(image_id)

    def _take(self, rows: list[Snapshot], instance: Instance | None) -> dict[str, Path | Exception | None]:
        """The result of each: a root volume's directory, or the reason of a failure."""
        results: dict[str, Path | Exception | None] = {}

        def take(row: Snapshot, act: Callable[[], Path | None]) -> None:
            try:
                results[row.id] = act()
            except ComputeError as error:
                results[row.id] = error

        files = [row for row in rows if not row.of_root or row.source_id is not None]
        roots = [row for row in rows if row not in files]

        def freeze() -> Callable[[], None]:
            """Freezes all volumes now. The returned function copies each volume, and thaws it."""
            thaw = {row.id: ExitStack() for row in files}
            for row in files:
                if row.source_id is None:
                    take(row, partial(_enter, thaw[row.id], self.disks.frozen(row.volume_id)))

            def copy() -> None:
                with ExitStack() as all_of_them:
                    # Whatever happens, none of them stays frozen.
                    for stack in thaw.values():
                        all_of_them.push(stack)
                    for row in files:
                        if not isinstance(results.get(row.id), Exception):
                            take(row, partial(self._copy_file, row, thaw[row.id]))

            return copy

        for row in roots:
            take(row, partial(self._copy_root, row, instance, freeze))
        if any(row.id not in results for row in files):
            # There is no root volume among them, or it could not be copied.
            still = self.pauses.paused(instance.id) if instance is not None and files[1:] else nullcontext()
            with ExitStack() as then, still:
                then.callback(freeze())
        return results

    def _copy_file(self, row: Snapshot, frozen: ExitStack) -> None:
        with frozen:
            if row.source_id is not None:
                self.disks.share(row.source_id, row.id)
            else:
                self.disks.copy(row.volume_id, row.id)

    def _copy_root(self, row: Snapshot, instance: Instance | None, along: Along) -> Path:
        if instance is None:
            raise DiskError(f"{row.volume_id} ended before it was copied")
        return self.root_of(row.id, instance, along)

    def _save(self, results: dict[str, Path | Exception | None]) -> None:
        gone = False
        with self.database.write() as tx:
            for snapshot_id, result in results.items():
                row = tx.get(Snapshot, id=snapshot_id)
                if row is None or row.state != "pending":
                    # It was deleted while it was being made.
                    gone = True
                elif isinstance(result, Exception):
                    log.error("snapshot %s of %s: %s", row.id, row.volume_id, result)
                    tx.save(replace(row, state="error", message=str(result), completed=tx.now))
                else:
                    log.info("snapshot %s of %s: completed", row.id, row.volume_id)
                    tx.save(replace(row, state="completed", root=str(result or ""), completed=tx.now))
        if gone:
            self._work.submit("")


def _enter(stack: ExitStack, context: AbstractContextManager[None]) -> None:
    stack.enter_context(context)


def _set_of(tx: Tx, snapshot_id: str) -> list[Snapshot]:
    """The snapshots of the same set, which are made together."""
    row = tx.get(Snapshot, id=snapshot_id)
    if row is None:
        return []
    found = tx.find(Snapshot, set_id=row.set_id) if row.set_id else [row]
    return [one for one in found if one.state == "pending"]


def _instance_of(tx: Tx, rows: list[Snapshot]) -> Instance | None:
    """The instance that has the volumes."""
    for row in rows:
        volume = tx.get(Volume, id=row.volume_id)
        if volume is not None and volume.instance_id:
            return tx.get(Instance, id=volume.instance_id)
    return None


def _waits_for_rest(tx: Tx, row: Snapshot) -> bool:
    """Whether it belongs to an image whose server is about to shut down for it."""
    image = tx.get(Image, id=row.image_id) if row.image_id else None
    if image is None or image.state != "pending" or image.no_reboot or image.source_instance_id is None:
        return False
    instance = tx.get(Instance, id=image.source_instance_id)
    return instance is not None and instance.state in ("pending", "running")
