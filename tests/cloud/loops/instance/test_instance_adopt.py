"""A cloud that starts finds what the one before it has left."""

from __future__ import annotations

import pytest
from instance_scene import Scene, unseen_end

from skylift.cloud.compute.server import EXIT_POWEROFF


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
    assert scene.machines.done == ["create", "start", "adopt", "resume"]
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
