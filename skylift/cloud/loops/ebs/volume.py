"""Makes volumes, mounts them into servers, lets them grow, and removes them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from skylift.cloud.compute.disk.disk import DiskError, DiskInUse
from skylift.cloud.compute.disk.mount_into import ServerGone
from skylift.cloud.compute.error import ComputeError
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.volume import Modification, Snapshot, Volume
from skylift.cloud.loops.ebs.server_pause import ServerPauses
from skylift.cloud.loops.ebs.volume_locks import VolumeLocks
from skylift.cloud.loops.work import Work
from skylift.cloud.state.rootless import rootless
from skylift.cloud.store.database import Database
from skylift.cloud.store.volume import unsettled_volumes

log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds between two attempts to take a volume from programs that use it."""


class VolumeDisks(Protocol):
    """The part of compute's disks that this loop drives; see compute/disk/disk.py."""

    def make(self, volume_id: str, size_gib: int) -> None: ...
    def make_from(self, volume_id: str, size_gib: int, snapshot_id: str) -> None: ...
    def make_of_tree(self, volume_id: str, size_gib: int, tree: Path) -> None: ...
    def mount(self, volume_id: str) -> Path: ...
    def unmount(self, volume_id: str) -> None: ...
    def mounted(self) -> set[str]: ...
    def grow(self, volume_id: str, size_gib: int) -> bool: ...
    def made(self, volume_id: str) -> bool: ...
    def remove(self, volume_id: str) -> None: ...


class VolumeServers(Protocol):
    """The part of compute's servers that this loop drives."""

    def running(self) -> dict[str, int]: ...


@dataclass(frozen=True)
class Mounts:
    """How a mounted file system is put into a server (init, where it is, device, uid of root) and taken out again."""

    mount_into: Callable[[int, Path, str, int], None]
    unmount_from: Callable[[int, Path, bool], None]


@dataclass(eq=False)
class VolumeLoop:
    """`last_looks(volume_id)` makes the snapshots that wait for a volume before it goes.

    A volume is mounted on the host while a running server has it. Its file and mounts are touched under its lock.
    """

    database: Database
    disks: VolumeDisks
    machines: VolumeServers
    mounts: Mounts
    pauses: ServerPauses
    locks: VolumeLocks
    last_looks: Callable[[str], None]

    def __post_init__(self) -> None:
        self._work = Work("volume", self._settle, workers=4)

    def step(self) -> None:
        """Start work on every volume whose row asks for it."""
        with self.database.read() as tx:
            rows = unsettled_volumes(tx)
        for row in rows:
            self._work.submit(row.id)

    def wait_until_idle(self) -> None:
        self._work.wait_until_idle()

    def close(self) -> None:
        self._work.close()

    def adopt(self) -> None:
        """At start: servers that run have their volumes, and nothing else is mounted."""
        alive = self.machines.running()
        with self.database.read() as tx:
            used = tx.find(Volume, state="in-use")
            off = {instance.id for instance in tx.find(Instance, state="stopped")}
        held = [volume for volume in used if volume.instance_id in alive]
        # The root volume of a server that is about to start, or to end, is seen to with it.
        kept = {volume.id for volume in held} | {one.id for one in used if one.root and one.instance_id not in off}
        for volume_id in self.disks.mounted() - kept:
            self._let_go(volume_id)
        for volume in held:
            assert volume.instance_id is not None
            if volume.attachment == "attached" and not volume.root:
                try:
                    with self.locks.of(volume.id):
                        self._put_in(volume, alive[volume.instance_id])
                except DiskError as error:
                    log.error("volume %s of %s: %s", volume.id, volume.instance_id, error)

    def before_boot(self, instance_id: str) -> None:
        """Mount the root volume of a server that is about to be created. Raises DiskError."""
        with self.database.read() as tx:
            root = tx.get(Volume, instance_id=instance_id, root=True)
        # Without root, what a server writes is in its own directory.
        if root is None or rootless():
            return
        with self.locks.of(root.id):
            if not self.disks.made(root.id):
                self.disks.make(root.id, root.size_gib)
            self.disks.mount(root.id)

    def at_boot(self, instance_id: str, pid: int) -> None:
        """Give a server that is about to start its volumes; those that it was launched with are made now at the latest.
        Raises DiskError."""
        with self.database.read() as tx:
            ids = [volume.id for volume in tx.find(Volume, instance_id=instance_id) if not volume.root]
        for volume_id in ids:
            with self.locks.of(volume_id):
                row = self._row(volume_id)
                if row is not None and row.instance_id == instance_id and row.state == "creating":
                    row = self._make(row)
                if row is None or row.instance_id != instance_id or row.attachment not in ("attaching", "attached"):
                    continue
                if row.state != "in-use":
                    raise DiskError(f"volume {row.id} ({row.device}): {row.error or row.state}")
                self._put_in(row, pid)
                self._save(row.id, attachment="attached")

    def at_rest(self, instance_id: str, *, for_good: bool) -> None:
        """A server has ended: its volumes need not be mounted. Those that end with it are left to their removal, which
        need not wait until what was written is on the disk."""
        with self.database.read() as tx:
            volumes = tx.find(Volume, instance_id=instance_id)
        for volume in volumes:
            if not (for_good and volume.delete_on_termination):
                self._let_go(volume.id)

    def _settle(self, volume_id: str) -> None:
        row = self._row(volume_id)
        if row is not None and row.state == "deleting":
            self.last_looks(volume_id)
        with self.locks.of(volume_id):
            row = self._row(volume_id)
            if row is not None and row.state == "creating":
                row = self._make(row)
            if row is None:
                return
            if row.state == "deleting":
                self._remove(row)
                return
            if row.modification is not None and row.modification.state == "modifying":
                self._modify(row, row.modification)
            if row.attachment == "attaching":
                self._attach(row)
            elif row.attachment in ("detaching", "busy"):
                self._detach(row)

    def _make(self, row: Volume) -> Volume | None:
        try:
            if row.snapshot_id is None:
                self.disks.make(row.id, row.size_gib)
            else:
                self._make_from(row, row.snapshot_id)
        except DiskError as error:
            log.error("volume %s: %s", row.id, error)
            return self._save(row.id, state="error", error=str(error))
        log.info("volume %s: made, %d GiB", row.id, row.size_gib)
        return self._save(row.id, state="in-use" if row.instance_id else "available")

    def _make_from(self, row: Volume, snapshot_id: str) -> None:
        with self.database.read() as tx:
            snapshot = tx.get(Snapshot, id=snapshot_id)
        if snapshot is not None and snapshot.of_root:
            self.disks.make_of_tree(row.id, row.size_gib, Path(snapshot.root))
        else:
            # The snapshot's file is kept until then, even if the snapshot was deleted.
            self.disks.make_from(row.id, row.size_gib, snapshot_id)

    def _remove(self, row: Volume) -> None:
        self.disks.remove(row.id)
        with self.database.write() as tx:
            tx.remove(row)
        log.info("volume %s: removed", row.id)

    def _attach(self, row: Volume) -> None:
        assert row.instance_id is not None
        instance = self._instance(row.instance_id)
        if instance.state == "pending":
            # It is given its volumes as it boots.
            return
        pid = self.machines.running().get(row.instance_id)
        try:
            if pid is not None:
                self._put_in(row, pid)
                if self.machines.running().get(row.instance_id) != pid:
                    self.disks.unmount(row.id)
        except ServerGone:
            self.disks.unmount(row.id)
        except DiskError as error:
            log.error("volume %s of %s: %s", row.id, row.instance_id, error)
            self._free(row)
            return
        self._save(row.id, attachment="attached")
        log.info("volume %s: attached to %s as %s", row.id, row.instance_id, row.device)

    def _detach(self, row: Volume) -> None:
        try:
            self._take_out(row, force=row.forced)
        except DiskInUse:
            if row.attachment != "busy":
                self._save(row.id, attachment="busy")
            self._work.later(row.id, PATIENCE)
            return
        self._free(row)
        log.info("volume %s: detached from %s", row.id, row.instance_id)

    def _put_in(self, row: Volume, pid: int) -> None:
        assert row.instance_id is not None and row.device is not None
        place = self.disks.mount(row.id)
        self.mounts.mount_into(pid, place, row.device, self._instance(row.instance_id).uid_base)

    def _take_out(self, row: Volume, *, force: bool) -> None:
        pid = self.machines.running().get(row.instance_id or "")
        if pid is not None and row.id in self.disks.mounted():
            self.mounts.unmount_from(pid, self.disks.mount(row.id), force)
        self.disks.unmount(row.id)

    def _modify(self, row: Volume, change: Modification) -> None:
        try:
            if change.size_gib > row.size_gib and not self._grow(row, change.size_gib):
                self._work.later(row.id, PATIENCE)
                return
        except ComputeError as error:
            log.error("volume %s: %s", row.id, error)
            self._save(row.id, modification=replace(change, state="failed", message=str(error)))
            return
        with self.database.write() as tx:
            current = tx.get(Volume, id=row.id)
            if current is not None:
                changed = replace(
                    current,
                    size_gib=change.size_gib,
                    type=change.type,
                    iops=change.iops,
                    throughput=change.throughput,
                    modification=replace(change, state="completed", ended=tx.now),
                )
                tx.save(changed)

    def _grow(self, row: Volume, size_gib: int) -> bool:
        """While it is used, where the kernel lets us; else in a moment in which no program uses it."""
        if row.root and not self.disks.made(row.id):
            # It is made with its new size.
            return True
        if self.disks.grow(row.id, size_gib):
            return True
        pid = self.machines.running().get(row.instance_id or "")
        if pid is None or row.instance_id is None:
            self.disks.unmount(row.id)
            return self.disks.grow(row.id, size_gib)
        if row.root:
            # A server cannot be without its root: it grows when it has been stopped.
            return False
        with self.pauses.paused(row.instance_id):
            try:
                self._take_out(row, force=False)
                try:
                    return self.disks.grow(row.id, size_gib)
                finally:
                    self._put_in(row, pid)
            except DiskInUse:
                return False

    def _let_go(self, volume_id: str) -> None:
        with self.locks.of(volume_id):
            try:
                self.disks.unmount(volume_id)
            except DiskError as error:
                # It stays mounted, at worst until the cloud goes down; no process writes to it.
                log.error("volume %s: %s", volume_id, error)

    def _row(self, volume_id: str) -> Volume | None:
        with self.database.read() as tx:
            return tx.get(Volume, id=volume_id)

    def _instance(self, instance_id: str) -> Instance:
        with self.database.read() as tx:
            found = tx.get(Instance, id=instance_id)
        assert found is not None, "an instance is remembered longer than its volumes are attached"
        return found

    def _save(self, volume_id: str, **changes: object) -> Volume | None:
        """Changes the row as it is now, not as it was read before."""
        with self.database.write() as tx:
            current = tx.get(Volume, id=volume_id)
            if current is None:
                return None
            if current.state == "deleting":
                changes = {name: value for name, value in changes.items() if name == "error"}
            if current.instance_id is None:
                changes.pop("attachment", None)
                if changes.get("state") == "in-use":
                    changes["state"] = "available"
            if current.attachment in ("detaching", "busy") and changes.get("attachment") == "attached":
                changes.pop("attachment")
            saved = replace(current, **changes)  # type: ignore[arg-type]
            tx.save(saved)
        return saved

    def _free(self, row: Volume) -> None:
        with self.database.write() as tx:
            current = tx.get(Volume, id=row.id)
            if current is not None and current.instance_id == row.instance_id and current.state == "in-use":
                tx.save(current.free())
