"""The loops of volumes and snapshots against a fake of compute: file systems that are words in a list."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fresh_state import fresh_state
from plain_instance import LAUNCHED as NOW
from plain_instance import plain_instance
from still_known import still_known

from skylift.cloud.compute.disk.disk import DiskError, DiskInUse, DiskRefused
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import Modification, Snapshot, Volume
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
        self.roots = RootCopies(
            self.database, self.compute, FakeCaptures(self.compute), Path("/disks"), pauses, self.locks.of
        )
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


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def test_a_volume_from_its_making_to_its_end(scene: Scene) -> None:
    scene.add(VOLUME)
    scene.settle()
    assert scene.volume.state == "available"
    scene.change(replace(ATTACHED, attachment="attaching"))
    scene.settle()
    assert (scene.volume.attachment, scene.compute.mounts) == ("attached", {"vol-1"})
    scene.change(replace(scene.volume, attachment="detaching"))
    scene.settle()
    assert (scene.volume, scene.compute.mounts) == (replace(VOLUME, state="available"), set())
    scene.change(replace(scene.volume, state="deleting"))
    scene.settle()
    with scene.database.read() as tx:
        assert tx.find(Volume) == []
    assert scene.compute.done == [
        "make vol-1 10",
        "tidy",
        "plug vol-1 /dev/sdf",
        "unplug vol-1",
        "remove vol-1",
    ]


def test_a_volume_that_cannot_be_made_says_why(scene: Scene) -> None:
    scene.compute.refuses = {"make"}
    scene.add(VOLUME)
    scene.settle()
    assert (scene.volume.state, scene.volume.error) == ("error", "make vol-1 10: no")


def test_a_volume_is_made_of_either_kind_of_snapshot(scene: Scene) -> None:
    scene.add(replace(SNAPSHOT, state="completed"), replace(VOLUME, size_gib=12, snapshot_id="snap-1"))
    scene.add(replace(SNAPSHOT, id="snap-2", state="completed", of_root=True, root="/tree"))
    scene.add(replace(VOLUME, id="vol-2", snapshot_id="snap-2"))
    scene.settle()
    assert {"make vol-1 12 of snap-1", "make vol-2 10 of /tree"} <= set(scene.compute.done)


def test_a_server_is_given_its_volumes_as_it_boots(scene: Scene) -> None:
    """Those of its launch are made by then, whoever comes first."""
    scene.change(replace(INSTANCE, state="pending"))
    scene.add(replace(ATTACHED, state="creating", attachment="attaching"))
    scene.loop.at_boot("i-1", 7)
    assert (scene.volume.state, scene.volume.attachment) == ("in-use", "attached")
    assert scene.compute.done == ["make vol-1 10", "plug vol-1 /dev/sdf"]
    scene.compute.alive = {}
    scene.compute.plugged = set()
    scene.loop.at_rest("i-1", for_good=False)
    assert scene.compute.mounts == set()


def test_a_launch_fails_with_the_words_of_the_volume_that_could_not_be_made(scene: Scene) -> None:
    scene.compute.refuses = {"make"}
    scene.add(replace(ATTACHED, state="creating", attachment="attaching"))
    with pytest.raises(DiskError, match=r"vol-1 \(/dev/sdf\): make vol-1 10: no"):
        scene.loop.at_boot("i-1", 7)


def test_a_volume_of_a_stopped_server_is_attached_at_once_and_mounted_later(scene: Scene) -> None:
    scene.change(replace(INSTANCE, state="stopped"))
    scene.compute.alive = {}
    scene.add(replace(ATTACHED, attachment="attaching"))
    scene.settle()
    assert (scene.volume.attachment, scene.compute.done) == ("attached", ["tidy"])


def test_a_volume_in_use_is_busy_until_programs_let_go_or_force_is_used(scene: Scene) -> None:
    scene.add(replace(ATTACHED, attachment="detaching"))
    scene.compute.mount("vol-1")
    scene.compute.busy = True
    scene.settle()
    assert scene.volume.attachment == "busy"
    scene.change(replace(scene.volume, forced=True))
    scene.settle()
    assert scene.volume.state == "available"
    assert "unplug vol-1 by force" in scene.compute.done


@pytest.mark.parametrize("online", [True, False])
def test_a_volume_grows_while_it_is_used(scene: Scene, online: bool) -> None:
    """Where the kernel does not let us, the server is held for the moment in which it is taken away."""
    change = Modification(20, "gp3", 3000, 125, 10, "gp2", 100, None, NOW)
    scene.add(replace(ATTACHED, modification=change))
    scene.compute.mount("vol-1")
    scene.compute.plugged.add("vol-1")
    scene.compute.grows_online = online
    scene.settle()
    done = scene.volume.modification
    assert done is not None
    assert (scene.volume.size_gib, scene.volume.type, done.state) == (20, "gp3", "completed")
    swap = ["pause", "unplug vol-1", "grow vol-1 20", "plug vol-1 /dev/sdf", "resume"]
    assert scene.compute.done[: len(swap)] == (["grow vol-1 20", "tidy"] if online else swap)


def test_a_volume_that_cannot_grow_stays_as_it_is(scene: Scene) -> None:
    scene.add(replace(ATTACHED, modification=Modification(20, "gp3", 3000, 125, 10, "gp3", 3000, 125, NOW)))
    scene.compute.refuses = {"grow"}
    scene.settle()
    done = scene.volume.modification
    assert done is not None
    assert (scene.volume.size_gib, done.state, done.message) == (10, "failed", "grow vol-1 20: no")


def test_a_start_finds_servers_with_their_volumes_and_lets_go_of_others(scene: Scene) -> None:
    scene.add(ATTACHED, replace(VOLUME, id="vol-2", state="available"))
    scene.compute.mounts = {"vol-2"}
    scene.loop.adopt()
    assert (scene.compute.mounts, scene.compute.plugged) == ({"vol-1"}, {"vol-1"})


def test_snapshots_are_made_before_their_volume_goes(scene: Scene) -> None:
    scene.add(replace(VOLUME, state="deleting"), SNAPSHOT)
    scene.loop.step()
    scene.loop.wait_until_idle()
    assert scene.compute.done == ["freeze vol-1", "copy vol-1 as snap-1", "remove vol-1"]
    assert scene.snapshot.state == "completed"


def test_a_snapshot_of_a_root_volume_is_a_directory(scene: Scene) -> None:
    scene.add(ROOT, replace(SNAPSHOT, volume_id="vol-root", of_root=True))
    scene.settle()
    assert (scene.snapshot.state, scene.snapshot.root) == ("completed", "/captures/snap-1/root")
    assert [one for one in scene.compute.done if one != "tidy"] == [
        "pause",
        "copy writes",
        "resume",
        "capture snap-1",
    ]


@pytest.mark.parametrize("refused", ["freeze vol-1", "copy vol-1 as snap-1"])
def test_a_snapshot_that_cannot_be_made_says_why(scene: Scene, refused: str) -> None:
    scene.compute.refuses = {refused.split(maxsplit=1)[0]}
    scene.add(replace(VOLUME, state="available"), SNAPSHOT)
    scene.settle()
    assert (scene.snapshot.state, scene.snapshot.message) == ("error", f"{refused}: no")
    assert scene.compute.frozen_now == set()


def test_files_without_a_row_are_removed_but_not_those_that_are_still_needed(scene: Scene) -> None:
    scene.compute.files = ({"vol-1", "vol-9"}, {"snap-1", "snap-8", "snap-9"})
    scene.add(replace(VOLUME, state="available"), replace(SNAPSHOT, state="completed"))
    scene.add(replace(SNAPSHOT, id="snap-2", source_id="snap-8"))
    scene.snapshots.clean_up()
    assert sorted(scene.compute.done) == ["remove snap-9", "remove vol-9", "tidy"]


def test_a_file_that_cannot_be_removed_keeps_no_other_from_it(scene: Scene) -> None:
    scene.compute.files = ({"vol-8", "vol-9"}, {"snap-9"})
    original = scene.compute.remove

    def remove(volume_id: str) -> None:
        if volume_id == "vol-8":
            raise DiskInUse("a program has it open")
        original(volume_id)

    scene.compute.remove = remove  # type: ignore[method-assign]
    scene.snapshots.clean_up()
    assert sorted(scene.compute.done) == ["remove snap-9", "remove vol-9", "tidy"]


def test_snapshots_of_an_image_without_a_reboot_are_of_one_moment(scene: Scene) -> None:
    scene.add(ROOT, ATTACHED, replace(IMAGE, no_reboot=True), *OF_IMAGE)
    scene.settle()
    done = [one for one in scene.compute.done if one != "tidy"]
    assert done == ["pause", "freeze vol-1", "copy writes", "resume", "copy vol-1 as snap-1", "capture snap-root"]
    assert [one.state for one in scene.snapshots_made("snap-1", "snap-root")] == ["completed", "completed"]
    assert scene.settled == ["ami-2"]


def test_those_of_one_that_reboots_for_it_are_left_to_the_moment_it_is_off(scene: Scene) -> None:
    scene.change(replace(INSTANCE, rebooting=True))
    scene.add(ROOT, ATTACHED, IMAGE, *OF_IMAGE)
    scene.settle()
    assert (scene.compute.done, scene.settled) == (["tidy"], [])
    scene.compute.alive = {}
    scene.snapshots.at_rest("i-1")
    assert scene.compute.done[1:] == ["freeze vol-1", "copy vol-1 as snap-1", "capture snap-root"]
    assert scene.settled == ["ami-2"]


def test_one_failure_leaves_the_others_of_the_set(scene: Scene) -> None:
    scene.compute.refuses = {"capture"}
    scene.add(ROOT, ATTACHED, replace(IMAGE, no_reboot=True), *OF_IMAGE)
    scene.settle()
    assert [one.state for one in scene.snapshots_made("snap-1", "snap-root")] == ["completed", "error"]


def test_a_set_without_the_root_volume_is_of_one_moment_too(scene: Scene) -> None:
    scene.add(ATTACHED, replace(ATTACHED, id="vol-2", device="/dev/sdg"))
    scene.add(replace(SNAPSHOT, set_id="s"), replace(SNAPSHOT, id="snap-2", volume_id="vol-2", set_id="s"))
    scene.settle()
    done = [one for one in scene.compute.done if one != "tidy"]
    frozen = ["pause", "freeze vol-1", "freeze vol-2", "resume"]
    assert done == [*frozen, "copy vol-1 as snap-1", "copy vol-2 as snap-2"]


def test_a_server_waits_with_its_start_for_a_copy_that_is_being_made(scene: Scene) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def meanwhile() -> None:
        begun.set()
        assert go_on.wait(120)

    scene.change(replace(INSTANCE, state="stopped"))
    scene.compute.alive = {}
    scene.compute.meanwhile = meanwhile
    scene.add(ROOT, OF_IMAGE[0], IMAGE)
    scene.snapshots.step()
    assert begun.wait(120)
    states: list[str] = []

    def start() -> None:
        scene.snapshots.at_rest("i-1")
        states.append(scene.snapshots_made("snap-root")[0].state)

    boot = threading.Thread(target=start)
    boot.start()
    go_on.set()
    boot.join()
    assert states == ["completed"]


def test_a_snapshot_of_a_root_volume_that_ended_fails(scene: Scene) -> None:
    scene.change(replace(INSTANCE, state="terminated"))
    scene.add(IMAGE, OF_IMAGE[0])
    scene.settle()
    (made,) = scene.snapshots_made("snap-root")
    assert (made.state, made.message) == ("error", "vol-root ended before it was copied")


def test_a_server_that_several_hold_goes_on_when_the_last_lets_go(scene: Scene) -> None:
    pauses = ServerPauses(scene.compute)
    with pauses.paused("i-1"), pauses.paused("i-1"):
        assert scene.compute.done == ["pause"]
    assert scene.compute.done == ["pause", "resume"]


def test_a_server_that_could_not_go_on_is_let_go_on_later(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    due: list[Callable[[], None]] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            due.append(lambda: self.function(*self.args))

    monkeypatch.setattr(threading, "Timer", Timer)
    pauses = ServerPauses(scene.compute)
    scene.compute.refuses = {"resume"}
    with pauses.paused("i-1"):
        pass
    due.pop()()
    scene.compute.refuses = set()
    due.pop()()
    assert (scene.compute.done, due) == (["pause", "resume"], [])
    # Of one that has ended nothing is asked any more.
    scene.compute.refuses = {"resume"}
    with pauses.paused("i-1"):
        scene.compute.alive.clear()
    assert due == []


BOUNDED = replace(ROOT, bounded=True)


def test_a_root_volume_is_made_and_mounted_before_its_server_is(scene: Scene) -> None:
    scene.add(BOUNDED)
    for _ in range(2):
        scene.loop.before_boot("i-1")
        assert (scene.compute.done, scene.compute.mounts) == (["make vol-root 10"], {"vol-root"})
        scene.loop.at_rest("i-1", for_good=False)
        assert scene.compute.mounts == set()
    scene.change(ROOT)
    scene.loop.before_boot("i-1")
    assert scene.compute.mounts == set()


def test_volumes_that_end_with_their_server_are_left_to_their_removal(scene: Scene) -> None:
    scene.add(BOUNDED, replace(ATTACHED, delete_on_termination=True))
    scene.change(replace(BOUNDED, delete_on_termination=True))
    scene.compute.mounts = {"vol-root", "vol-1"}
    scene.loop.at_rest("i-1", for_good=True)
    assert scene.compute.mounts == {"vol-root", "vol-1"}
    scene.change(replace(BOUNDED, delete_on_termination=False))
    scene.loop.at_rest("i-1", for_good=True)
    assert scene.compute.mounts == {"vol-1"}


def test_a_start_leaves_root_volumes_to_their_servers(scene: Scene) -> None:
    """One that is about to boot may have its root mounted already."""
    scene.compute.alive = {}
    scene.add(BOUNDED)
    scene.compute.mounts = {"vol-root"}
    scene.loop.adopt()
    assert scene.compute.mounts == {"vol-root"}
    scene.change(replace(INSTANCE, state="stopped"))
    scene.loop.adopt()
    assert scene.compute.mounts == set()


@pytest.mark.parametrize(
    ("online", "alive", "state"),
    [(True, True, "completed"), (False, True, "modifying"), (False, False, "completed")],
)
def test_a_root_volume_grows_with_its_server_or_once_that_is_off(
    scene: Scene, online: bool, alive: bool, state: str
) -> None:
    scene.add(replace(BOUNDED, modification=Modification(20, "gp3", 3000, 125, 10, "gp3", 3000, 125, NOW)))
    scene.compute.there = {"vol-root"}
    scene.compute.grows_online = online
    scene.compute.mounts = {"vol-root"}
    if not alive:
        scene.compute.alive = {}
    scene.settle()
    with scene.database.read() as tx:
        (row,) = tx.find(Volume)
    assert row.modification is not None
    assert (row.modification.state, row.size_gib) == (state, 20 if state == "completed" else 10)
    assert "pause" not in scene.compute.done


@pytest.mark.parametrize("volume", [ROOT, BOUNDED])
def test_a_root_volume_that_is_kept_is_a_volume_like_others(scene: Scene, volume: Volume) -> None:
    scene.change(replace(INSTANCE, state="shutting-down"))
    scene.compute.alive = {}
    scene.add(replace(volume, delete_on_termination=True))
    scene.roots.keep(INSTANCE)
    assert scene.compute.done == []
    scene.change(replace(volume, delete_on_termination=False))
    scene.roots.keep(INSTANCE)
    assert scene.compute.done == ["pack /making/vol-root 10"]
    with scene.database.read() as tx:
        (row,) = tx.find(Volume)
    assert (row.root, row.bounded, row.size_gib) == (False, False, 11)
    assert scene.compute.mounts == set()
    scene.roots.keep(INSTANCE)
    assert len(scene.compute.done) == 1


def test_a_root_volume_that_was_kept_before_the_cloud_ended_is_not_made_again(scene: Scene) -> None:
    scene.compute.alive = {}
    scene.add(BOUNDED)
    scene.compute.there = {"vol-root"}
    scene.roots.keep(INSTANCE)
    assert scene.compute.done == []
    with scene.database.read() as tx:
        assert [one.root for one in tx.find(Volume)] == [False]


def test_volumes_that_are_gone_are_forgotten(scene: Scene) -> None:
    scene.add(VOLUME)
    scene.settle()
    with scene.locks.of("vol-1"):
        assert still_known(scene.loop, "vol-1", besides=[scene.database, scene.compute])
    scene.change(replace(scene.volume, state="deleting"))
    scene.settle()
    assert not still_known(scene.loop, "vol-1", besides=[scene.database, scene.compute])
    assert not still_known(scene.snapshots, "vol-1", besides=[scene.database, scene.compute])


def test_a_volume_has_one_lock_as_long_as_somebody_has_it(scene: Scene) -> None:
    """Whoever comes meanwhile waits for it."""
    has_it, came = threading.Event(), threading.Event()

    def come() -> None:
        has_it.wait(30)
        with scene.locks.of("vol-1"):
            came.set()

    second = threading.Thread(target=come)
    second.start()
    with scene.locks.of("vol-1"):
        has_it.set()
        assert not came.wait(0.2)
    second.join(30)
    assert came.is_set()
