"""Servers are made, started, and started again."""

from __future__ import annotations

import pytest
from instance_scene import Scene

from skylift.cloud.compute.server.server import EXIT_POWEROFF


def test_a_launch_creates_plugs_in_and_starts(scene: Scene) -> None:
    scene.add()
    scene.settle()
    assert scene.machines.done == ["create", "start"]
    assert scene.plugs == ["eni-1"]
    assert scene.with_volumes == {"i-1"}
    assert scene.row.state == "running"
    assert scene.told == ["running"]


@pytest.mark.parametrize("step", ["create", "start"])
def test_a_launch_that_fails_ends_terminated_and_says_why(scene: Scene, step: str) -> None:
    scene.machines.refuses = {step}
    scene.add()
    scene.settle()
    assert (scene.row.state, scene.row.desired) == ("terminated", "terminated")
    assert scene.row.state_reason_code == "Server.InternalError"
    assert f"{step} i-1: no" in scene.row.state_reason
    assert scene.plugs == []
    assert scene.machines.table == {}


def test_a_start_that_fails_keeps_the_disk(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.settle()
    scene.machines.refuses = {"start"}
    scene.change(desired="running", state="pending")
    scene.settle()
    assert (scene.row.state, scene.row.desired) == ("stopped", "stopped")
    assert scene.row.state_reason_code == "Server.InternalError"
    assert "destroy" not in scene.machines.done


def test_terminating_while_it_starts_is_not_forgotten(scene: Scene) -> None:
    scene.add()
    original = scene.machines.start

    def start(server_id: str) -> None:
        original(server_id)
        scene.change(desired="terminated", state="shutting-down")

    scene.machines.start = start  # type: ignore[method-assign]
    scene.settle()
    scene.settle()
    assert scene.row.state == "terminated"


def test_a_launch_that_could_not_be_written_down_is_made_anew(scene: Scene) -> None:
    """The disk is full for a moment, while its volumes are noted."""
    scene.add()
    scene.database_full = True
    scene.settle()
    assert (scene.row.state, scene.machines.table, scene.plugs) == ("pending", {}, [])
    scene.database_full = False
    scene.settle()
    assert scene.row.state == "running"
