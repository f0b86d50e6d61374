"""The loop of volumes against a fake of compute."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from support.plain_instance import LAUNCHED as NOW
from support.still_known import still_known
from volume_scene import ATTACHED, INSTANCE, ROOT, SNAPSHOT, VOLUME, Scene

from skylift.cloud.compute.disk.disk import DiskError, DiskInUse
from skylift.cloud.domain.volume import Modification, Volume


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
    assert scene.compute.done == ["make vol-1 10", "tidy", "plug vol-1 /dev/sdf", "unplug vol-1", "remove vol-1"]


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


def test_a_root_volume_is_made_and_mounted_before_its_server_is(scene: Scene) -> None:
    scene.add(ROOT)
    for _ in range(2):
        scene.loop.before_boot("i-1")
        assert (scene.compute.done, scene.compute.mounts) == (["make vol-root 10"], {"vol-root"})
        scene.loop.at_rest("i-1", for_good=False)
        assert scene.compute.mounts == set()


def test_volumes_that_end_with_their_server_are_left_to_their_removal(scene: Scene) -> None:
    scene.add(ROOT, replace(ATTACHED, delete_on_termination=True))
    scene.change(replace(ROOT, delete_on_termination=True))
    scene.compute.mounts = {"vol-root", "vol-1"}
    scene.loop.at_rest("i-1", for_good=True)
    assert scene.compute.mounts == {"vol-root", "vol-1"}
    scene.change(replace(ROOT, delete_on_termination=False))
    scene.loop.at_rest("i-1", for_good=True)
    assert scene.compute.mounts == {"vol-1"}


def test_a_start_leaves_root_volumes_to_their_servers(scene: Scene) -> None:
    """One that is about to boot may have its root mounted already."""
    scene.compute.alive = {}
    scene.add(ROOT)
    scene.compute.mounts = {"vol-root"}
    scene.loop.adopt()
    assert scene.compute.mounts == {"vol-root"}
    scene.change(replace(INSTANCE, state="stopped"))
    scene.loop.adopt()
    assert scene.compute.mounts == set()


@pytest.mark.parametrize(
    ("online", "alive", "state"), [(True, True, "completed"), (False, True, "modifying"), (False, False, "completed")]
)
def test_a_root_volume_grows_with_its_server_or_once_that_is_off(
    scene: Scene, online: bool, alive: bool, state: str
) -> None:
    scene.add(replace(ROOT, modification=Modification(20, "gp3", 3000, 125, 10, "gp3", 3000, 125, NOW)))
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


def test_a_root_volume_that_is_kept_is_a_volume_like_others(scene: Scene) -> None:
    scene.change(replace(INSTANCE, state="shutting-down"))
    scene.compute.alive = {}
    scene.add(replace(ROOT, delete_on_termination=True))
    scene.roots.keep(INSTANCE)
    assert scene.compute.done == []
    scene.change(replace(ROOT, delete_on_termination=False))
    scene.roots.keep(INSTANCE)
    assert scene.compute.done == ["pack /making/vol-root 10"]
    with scene.database.read() as tx:
        (row,) = tx.find(Volume)
    assert (row.root, row.size_gib) == (False, 11)
    assert scene.compute.mounts == set()
    scene.roots.keep(INSTANCE)
    assert len(scene.compute.done) == 1


def test_a_root_volume_that_was_kept_before_the_cloud_ended_is_not_made_again(scene: Scene) -> None:
    scene.compute.alive = {}
    scene.add(ROOT)
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
