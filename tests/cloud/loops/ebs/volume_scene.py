"""Volumes, snapshots and servers for the tests of their loops: a compute whose file systems are words in a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from support.fresh_state import fresh_state
from support.plain_instance import LAUNCHED as NOW
from support.plain_instance import plain_instance

from skylift.cloud.compute.disk.disk import DiskInUse, DiskRefused
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import Snapshot, Volume
from skylift.cloud.loops.ebs.root_copy import RootCopies
from skylift.cloud.loops.ebs.server_pause import ServerPauses
from skylift.cloud.loops.ebs.snapshot import SnapshotLoop
from skylift.cloud.loops.ebs.volume import Mounts, VolumeLoop
from skylift.cloud.loops.ebs.volume_locks import VolumeLocks
from skylift.cloud.store.database import Database

INSTANCE = plain_instance(state="running")
VOLUME = Volume("vol-1", 10, "us-east-1a", NOW)
ATTACHED = replace(VOLUME, state="in-use", instance_id="i-1", device="/dev/sdf", attachment="attached", attached=NOW)
SNAPSHOT = Snapshot("snap-1", "vol-1", 10, NOW)
ROOT = replace(ATTACHED, id="vol-root", device="/dev/xvda", root=True)
IMAGE = Image("ami-2", "two", "", "", 8, NOW, "x86_64", "self", state="pending", source_instance_id="i-1")
OF_IMAGE = (
    replace(SNAPSHOT, id="snap-root", volume_id="vol-root", of_root=True, image_id="ami-2", set_id="ami-2"),
    replace(SNAPSHOT, image_id="ami-2", set_id="ami-2"),
)


class FakeCompute:
    """Disks, servers and their sockets in one: what was done, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.alive: dict[str, int] = {"i-1": 7}
        self.mounts: set[str] = set()
        self.there: set[str] = set()
        self.frozen_now: set[str] = set()
        self.plugged: set[str] = set()
        self.refuses: set[str] = set()
        self.busy = False
        self.grows_online = True
        self.meanwhile: Callable[[], None] = lambda: None
        self.files: tuple[set[str], set[str]] = (set(), set())

    def make(self, volume_id: str, size_gib: int) -> None:
        self.do(f"make {volume_id} {size_gib}")
        self.there.add(volume_id)

    def make_from(self, volume_id: str, size_gib: int, snapshot_id: str) -> None:
        self.do(f"make {volume_id} {size_gib} of {snapshot_id}")

    def make_of_tree(self, volume_id: str, size_gib: int, tree: Path) -> None:
        self.do(f"make {volume_id} {size_gib} of {tree}")
        self.there.add(volume_id)

    def make_by(self, volume_id: str, fill: Callable[[Path], None]) -> int:
        fill(Path(f"/making/{volume_id}"))
        assert volume_id not in self.mounts, "it would go on to be what is mounted there"
        self.there.add(volume_id)
        return 11

    def made(self, volume_id: str) -> bool:
        return volume_id in self.there

    def mount(self, volume_id: str) -> Path:
        self.mounts.add(volume_id)
        return Path("/mounts") / volume_id

    def unmount(self, volume_id: str) -> None:
        assert volume_id not in self.plugged, "a server would still have it"
        self.mounts.discard(volume_id)

    def mounted(self) -> set[str]:
        return set(self.mounts)

    def grow(self, volume_id: str, size_gib: int) -> bool:
        if volume_id in self.mounts and not self.grows_online:
            return False
        self.do(f"grow {volume_id} {size_gib}")
        return True

    def remove(self, volume_id: str) -> None:
        self.do(f"remove {volume_id}")

    def running(self) -> dict[str, int]:
        return dict(self.alive)

    def pause(self, server_id: str) -> None:
        self.do("pause")

    def resume(self, server_id: str) -> None:
        self.do("resume")

    def mount_into(self, pid: int, source: Path, device: str, owner: int) -> None:
        assert (pid, owner) == (7, 1_000_000_000)
        self.do(f"plug {source.name} {device}")
        self.plugged.add(source.name)

    def unmount_from(self, pid: int, source: Path, force: bool) -> None:
        if self.busy and not force:
            raise DiskInUse("in use")
        self.do(f"unplug {source.name}{' by force' if force else ''}")
        self.plugged.discard(source.name)

    @contextmanager
    def frozen(self, volume_id: str) -> Iterator[None]:
        self.do(f"freeze {volume_id}")
        self.frozen_now.add(volume_id)
        try:
            yield
        finally:
            self.frozen_now.remove(volume_id)

    def copy(self, volume_id: str, snapshot_id: str) -> None:
        assert volume_id in self.frozen_now
        self.do(f"copy {volume_id} as {snapshot_id}")
        self.meanwhile()

    def share(self, source_id: str, snapshot_id: str) -> None:
        self.do(f"share {source_id} as {snapshot_id}")

    def present(self) -> tuple[set[str], set[str]]:
        return set(self.files[0]), set(self.files[1])

    def remove_snapshot(self, snapshot_id: str) -> None:
        self.do(f"remove {snapshot_id}")

    def do(self, what: str) -> None:
        if what.split(maxsplit=1)[0] in self.refuses:
            raise DiskRefused(f"{what}: no")
        self.done.append(what)


class FakeCaptures:
    """Copies of root disks; writes down in the list of `compute` what was done."""

    def __init__(self, compute: FakeCompute) -> None:
        self._compute = compute

    def take(
        self,
        name: str,
        *,
        lower: Path,
        disk: Path,
        uid_base: int,
        held: Callable[[], AbstractContextManager[None]] | None,
    ) -> Path:
        assert (lower, uid_base) == (Path("/base"), 1_000_000_000)
        # A root volume of its own is mounted, wherever the server is.
        assert disk == Path("/disks/i-1") or disk.name in self._compute.mounts
        if held is not None:
            with held():
                self._compute.do("copy writes")
        self._compute.do(f"capture {name}")
        self._compute.meanwhile()
        return Path(f"/captures/{name}/root")

    def pack(self, file: Path, size_gib: int, *, lower: Path, disk: Path, uid_base: int) -> None:
        assert disk == Path("/disks/i-1") or disk.name in self._compute.mounts
        self._compute.do(f"pack {file} {size_gib}")


class Scene:
    def __init__(self, path: Path) -> None:
        self.database = Database(fresh_state(path))
        self.compute = FakeCompute()
        pauses = ServerPauses(self.compute)
        mounts = Mounts(self.compute.mount_into, self.compute.unmount_from)
        self.settled: list[str] = []
        self.locks = VolumeLocks()
        self.roots = RootCopies(self.database, self.compute, FakeCaptures(self.compute), pauses, self.locks.of)
        self.snapshots = SnapshotLoop(
            self.database,
            self.compute,
            self.locks.of,
            pauses,
            self.roots.make,
            lambda: self.compute.done.append("tidy"),
            self.settled.append,
        )
        self.loop = VolumeLoop(
            self.database, self.compute, self.compute, mounts, pauses, self.locks, self.snapshots.last_looks
        )
        self.add(INSTANCE, Image("ami-1", "base", "", "/base", 1, NOW, "x86_64"))

    def add(self, *rows: object) -> None:
        with self.database.write() as tx:
            for row in rows:
                tx.add(row)

    def change(self, row: object) -> None:
        with self.database.write() as tx:
            tx.save(row)

    @property
    def volume(self) -> Volume:
        with self.database.read() as tx:
            found = tx.get(Volume, id="vol-1")
        assert found is not None
        return found

    @property
    def snapshot(self) -> Snapshot:
        return self.snapshots_made("snap-1")[0]

    def snapshots_made(self, *ids: str) -> list[Snapshot]:
        with self.database.read() as tx:
            found = [tx.get(Snapshot, id=one) for one in ids]
        assert None not in found
        return [one for one in found if one is not None]

    def settle(self) -> None:
        for loop in (self.loop, self.snapshots):
            loop.step()
            loop.wait_until_idle()

    def close(self) -> None:
        self.loop.close()
        self.snapshots.close()
        self.database.close()
