"""The loop of snapshots against a fake of compute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from volume_scene import ATTACHED, IMAGE, INSTANCE, OF_IMAGE, ROOT, SNAPSHOT, VOLUME, Scene

from skylift.cloud.loops.ebs.server_pause import ServerPauses


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
    assert [one for one in scene.compute.done if one != "tidy"] == ["pause", "copy writes", "resume", "capture snap-1"]


@pytest.mark.parametrize("refused", ["freeze vol-1", "copy vol-1 as snap-1"])
def test_a_snapshot_that_cannot_be_made_says_why(scene: Scene, refused: str) -> None:
    scene.compute.refuses = {refused.split(maxsplit=1)[0]}
    scene.add(replace(VOLUME, state="available"), SNAPSHOT)
    scene.settle()
    assert (scene.snapshot.state, scene.snapshot.message) == ("error", f"{refused}: no")
    assert scene.compute.frozen_now == set()


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
