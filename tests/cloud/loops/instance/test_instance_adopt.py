"""A cloud that starts finds what the one before it has left."""

from __future__ import annotations

import pytest
from instance_scene import Scene


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
