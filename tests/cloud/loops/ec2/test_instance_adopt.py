"""A cloud that starts finds what the one before it has left."""

from __future__ import annotations

import threading

import pytest
from instance_scene import Scene, unseen_end
from support.plain_instance import plain_instance

from skylift.cloud.compute.server.server import EXIT_POWEROFF


@pytest.mark.parametrize("state", ["running", "stopping"])
def test_a_restart_between_the_making_and_the_start_waits_for_no_shutdown(scene: Scene, state: str) -> None:
    going = state == "running"
    scene.add(state=state, desired="running" if going else "stopped", rebooting=going, booted=True)
    scene.machines.made = {"i-1"}
    scene.machines.table["i-1"] = True
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.done == (["clear", "clear", "create", "start"] if going else ["clear", "clear"])
    assert (scene.row.state, scene.row.rebooting) == ("running" if going else "stopped", False)


def test_a_restart_adopts_what_runs(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.loop.close()
    scene.loop = scene.start_loop()
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.done == ["create", "start", "adopt"]
    assert scene.row.state == "running"


@pytest.mark.parametrize(("behavior", "state"), [("stop", "stopped"), ("terminate", "terminated")])
def test_a_restart_settles_what_ended_unseen(scene: Scene, behavior: str, state: str) -> None:
    scene.add(state="running", shutdown_behavior=behavior)
    scene.loop.adopt()
    scene.settle()
    assert scene.row.state == state
    assert scene.row.state_reason_code == "Server.ScheduledStop"


def test_a_restart_removes_what_no_row_knows(scene: Scene) -> None:
    scene.machines.table["i-stray"] = True
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.table == {}


def test_a_restart_deletes_the_disks_that_a_power_cut_has_brought_back(scene: Scene) -> None:
    scene.add(state="stopped")
    scene.machines.disks = {"i-1", "i-stray"}
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.disks == {"i-1"}
    scene.change(state="terminated", desired="terminated")
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.disks == set()


def test_a_restart_in_the_middle_of_a_launch_launches_again(scene: Scene) -> None:
    scene.add()
    scene.machines.table["i-1"] = False
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.done == ["clear", "create", "start"]
    assert scene.row.state == "running"


@pytest.mark.parametrize("refused", ["destroy", "clear"])
def test_a_server_that_cannot_be_removed_keeps_no_other_from_being_adopted(scene: Scene, refused: str) -> None:
    scene.add(state="running")
    scene.machines.table = {"i-1": True, "i-stray": False}
    scene.machines.made = {"i-stray"} if refused == "clear" else set()
    scene.machines.refuses = {refused}
    scene.loop.adopt()
    assert "adopt" in scene.machines.done


def test_the_end_of_a_server_that_could_not_be_adopted_at_first_is_heard_of(scene: Scene) -> None:
    scene.add(state="running")
    scene.machines.table = {"i-1": True}
    scene.machines.refuses = {"adopt"}
    scene.loop.adopt()
    scene.settle()
    scene.machines.refuses = set()
    scene.machines.done.clear()
    scene.settle()
    assert (scene.machines.done, scene.row.state) == (["adopt"], "running")
    unseen_end(scene)
    scene.machines.table["i-1"] = False
    scene.loop.ended("i-1", EXIT_POWEROFF)
    scene.settle()
    assert scene.row.state == "stopped"


def crowd(scene: Scene, size: int) -> None:
    """Servers that run."""
    with scene.database.write() as tx:
        for number in range(size):
            tx.add(plain_instance(id=f"i-{number}", state="running", booted=True, uid_base=(number + 1) << 16))
    scene.machines.table = {f"i-{number}": True for number in range(size)}


@pytest.mark.parametrize("size", [2, 20])
def test_a_restart_looks_at_all_servers_once_however_many_there_are(scene: Scene, size: int) -> None:
    crowd(scene, size)
    scene.loop.adopt()
    assert scene.machines.looks == 1
    assert scene.machines.done == ["adopt"] * size


def test_a_restart_adopts_several_servers_at_a_time(scene: Scene) -> None:
    crowd(scene, 4)
    scene.machines.adopting = threading.Barrier(4, timeout=30)
    scene.loop.adopt()
    assert scene.machines.done == ["adopt"] * 4


def test_a_restart_lets_a_server_go_on_that_was_made_to_stand_still(scene: Scene) -> None:
    crowd(scene, 2)
    scene.machines.held = {"i-1"}
    scene.loop.adopt()
    assert sorted(scene.machines.done) == ["adopt", "adopt", "resume"]


def test_nothing_is_begun_anew_before_everything_is_adopted(scene: Scene) -> None:
    scene.add(state="running", rebooting=True, booted=True)
    scene.loop.adopt()
    scene.loop.ended("i-1", None)
    scene.loop.wait_until_idle()
    assert scene.machines.done == []
    scene.settle()
    assert scene.machines.done == ["clear", "create", "start"]
    assert (scene.row.state, scene.row.rebooting) == ("running", False)


def test_an_adoption_that_is_broken_off_touches_nothing_more(scene: Scene) -> None:
    crowd(scene, 2)
    scene.machines.table["i-stray"] = True
    scene.machines.disks = {"i-stray"}
    scene.loop.adopt(stopped=lambda: True)
    scene.loop.wait_until_idle()
    assert scene.machines.done == []
    scene.loop.adopt()
    assert sorted(scene.machines.done) == ["adopt", "adopt", "destroy"]


def test_what_is_asked_for_meanwhile_waits_for_the_first_step(scene: Scene) -> None:
    """Answered, and in the store, with its server not looked at yet."""
    scene.add(state="running", booted=True)
    scene.machines.table["i-1"] = True
    scene.change(state="stopping", desired="stopped", forced=True)
    scene.loop.adopt()
    scene.loop.wait_until_idle()
    assert scene.machines.done == ["adopt"]
    scene.settle()
    scene.loop.wait_until_idle()
    assert scene.row.state == "stopped"
    assert scene.machines.done.count("kill") == 1
