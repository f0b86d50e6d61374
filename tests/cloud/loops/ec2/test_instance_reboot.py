"""Reboots, from inside and from outside, and what they meet."""

from __future__ import annotations

import pytest
from hand_clock import Clock
from instance_scene import Scene, unseen_end

from skylift.cloud.compute.server.server import EXIT_REBOOT


def test_a_reboot_inside_starts_the_same_server_again(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.machines.end("i-1", EXIT_REBOOT)
    scene.settle()
    assert scene.machines.done == ["create", "start", "clear", "create", "start"]
    assert scene.row.state == "running"
    assert scene.interface is not None
    assert scene.interface.public_ip == "127.40.1.1"


def test_a_reboot_from_outside_asks_for_a_shutdown_and_starts_again(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.change(rebooting=True)
    scene.settle()
    assert scene.machines.done[2:] == ["request_shutdown", "clear", "create", "start"]
    assert (scene.row.state, scene.row.desired, scene.row.rebooting) == ("running", "running", False)
    assert scene.interface is not None
    assert scene.interface.public_ip == "127.40.1.1"
    assert scene.plugs == ["eni-1"]


def test_a_shutdown_behavior_of_terminate_does_not_end_a_server_that_reboots(scene: Scene) -> None:
    scene.add(shutdown_behavior="terminate")
    scene.settle()
    scene.change(rebooting=True)
    scene.settle()
    assert scene.row.state == "running"


def test_a_restart_in_the_middle_of_a_reboot_goes_on_with_it(scene: Scene) -> None:
    scene.add(state="running", rebooting=True, booted=True)
    scene.machines.table["i-1"] = False
    scene.loop.adopt()
    scene.settle()
    assert scene.machines.done == ["clear", "create", "start"]
    assert (scene.row.state, scene.row.rebooting) == ("running", False)


def test_terminating_wins_over_a_reboot(scene: Scene) -> None:
    scene.add()
    scene.settle()
    original = scene.machines.request_shutdown

    def request_shutdown(server_id: str) -> None:
        scene.change(desired="terminated", state="shutting-down", rebooting=False)
        original(server_id)

    scene.machines.request_shutdown = request_shutdown  # type: ignore[method-assign]
    scene.change(rebooting=True)
    scene.settle()
    assert scene.row.state == "terminated"


def test_forcing_goes_over_the_time_to_shut_down(scene: Scene) -> None:
    scene.machines.deaf = True
    scene.add()
    scene.settle()
    scene.change(desired="stopped", state="stopping")
    scene.settle()
    assert scene.row.state == "stopping"
    scene.change(forced=True)
    scene.settle()
    assert scene.row.state == "stopped"


@pytest.mark.parametrize("again", ["start", "reboot"])
def test_the_time_to_shut_down_ends_with_the_boot(scene: Scene, again: str, clock: Clock) -> None:
    due = clock.due
    scene.add()
    scene.settle()
    unseen_end(scene)
    if again == "start":
        scene.change(state="stopping", desired="stopped")
        scene.settle()
        assert len(due) == 1
        scene.settle()
        assert scene.row.state == "stopped"
        scene.change(state="pending", desired="running")
    else:
        scene.change(rebooting=True)
        scene.settle()
        assert len(due) == 1
    scene.settle()
    assert (scene.row.state, scene.row.rebooting) == ("running", False)
    assert due == []


def test_a_server_that_ends_as_it_is_asked_to_reboot_reboots(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add()
    scene.settle()
    unseen_end(scene)
    scene.change(rebooting=True)
    looks = iter([{"i-1": 1}])
    monkeypatch.setattr(scene.machines, "running", lambda: next(looks, {}))
    scene.settle()
    assert (scene.row.state, scene.row.rebooting) == ("running", True)
    scene.settle()
    assert (scene.row.state, scene.row.rebooting) == ("running", False)
