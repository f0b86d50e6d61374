"""Servers stop and terminate: asked, forced, of themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_clock import Clock
from instance_scene import INTERFACE, Scene
from support.plain_instance import LAUNCHED
from support.still_known import still_known

from skylift.cloud.compute.server.server import EXIT_POWEROFF, RuntimeRefused
from skylift.cloud.domain.network import Address
from skylift.cloud.domain.volume import Volume


def test_terminate_shuts_down_then_destroys(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    assert scene.machines.done[2:] == ["request_shutdown", "clear", "destroy"]
    assert scene.row.state == "terminated"
    assert scene.told == ["running", "terminated"]
    assert scene.looked_at_volumes
    assert scene.with_volumes == set()
    assert scene.interface is None
    assert scene.plugs == []


def test_a_server_that_does_not_shut_down_loses_its_plug(scene: Scene, clock: Clock) -> None:
    scene.machines.deaf = True
    scene.add()
    scene.settle()
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    while scene.row.state == "shutting-down":
        clock.due.pop()()
        scene.loop.wait_until_idle()
    assert scene.machines.done[-3:] == ["kill", "clear", "destroy"]
    assert scene.row.state == "terminated"


def test_stop_keeps_the_disk_and_gives_the_public_address_back(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.change(desired="stopped", state="stopping")
    scene.settle()
    assert "destroy" not in scene.machines.done
    assert scene.row.state == "stopped"
    assert scene.interface is not None
    assert scene.interface.public_ip is None


def test_an_elastic_address_stays_through_a_stop_and_outlives_the_server(scene: Scene) -> None:
    scene.add()
    scene.settle()
    with scene.database.write() as tx:
        tx.add(Address("eipalloc-1", "127.40.1.1", "eipassoc-1", "eni-1", INTERFACE.private_ip))
    scene.change(desired="stopped", state="stopping")
    scene.settle()
    assert scene.interface is not None
    assert scene.interface.public_ip == "127.40.1.1"
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    assert scene.interface is None
    with scene.database.read() as tx:
        assert tx.find(Address) == [Address("eipalloc-1", "127.40.1.1")]


@pytest.mark.parametrize(("behavior", "state"), [("stop", "stopped"), ("terminate", "terminated")])
def test_a_shutdown_inside_follows_the_shutdown_behavior(scene: Scene, behavior: str, state: str) -> None:
    scene.add(shutdown_behavior=behavior)
    scene.settle()
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.settle()
    assert (scene.row.state, scene.row.desired) == (state, state)
    assert scene.row.state_reason_code == "Client.InstanceInitiatedShutdown"


def test_one_that_is_forced_is_switched_off(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.change(desired="stopped", state="stopping", forced=True)
    scene.settle()
    assert scene.machines.done[2:] == ["kill", "clear"]
    assert (scene.row.state, scene.row.forced) == ("stopped", False)


def test_images_are_made_before_a_disk_is_used_again_or_deleted(scene: Scene) -> None:
    scene.notes_rest = True
    scene.add()
    scene.settle()
    scene.change(rebooting=True)
    scene.settle()
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    rest = [*("at_rest", "create", "start")]
    assert scene.machines.done == [
        *rest,
        *("request_shutdown", "clear", *rest),
        *("request_shutdown", "clear", "at_rest", "keep", "destroy"),
    ]


def test_a_root_volume_that_cannot_be_kept_holds_its_instance_up(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.no_room = True
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    assert (scene.row.state, "destroy" in scene.machines.done) == ("shutting-down", False)
    scene.no_room = False
    scene.settle()
    assert (scene.row.state, "destroy" in scene.machines.done) == ("terminated", True)


@pytest.mark.parametrize("state", ["pending", "running"])
def test_the_late_word_of_an_earlier_boots_end_ends_nothing(scene: Scene, state: str) -> None:
    scene.add()
    scene.settle()
    scene.change(state="stopping", desired="stopped")
    scene.settle()
    assert scene.row.state == "stopped"
    scene.change(state="pending", desired="running")
    if state == "running":
        scene.settle()
    scene.loop.ended("i-1", EXIT_POWEROFF)
    scene.settle()
    assert scene.row.state == "running"
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.settle()
    assert scene.row.state == "stopped"


def test_a_server_is_asked_to_shut_down_again_and_at_last_not_asked(scene: Scene, clock: Clock) -> None:
    scene.machines.deaf = True
    scene.add()
    scene.settle()
    scene.change(desired="stopped", state="stopping")
    scene.settle()
    while scene.row.state == "stopping":
        clock.due.pop()()
        scene.loop.wait_until_idle()
    assert scene.machines.done[2:] == [*["request_shutdown"] * 10, "kill", "clear"]
    assert scene.row.state == "stopped"
    assert clock.due == []


def test_the_word_of_an_end_is_not_lost_when_it_cannot_be_dealt_with(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.add()
    scene.settle()

    def refuse() -> dict[str, int]:
        raise RuntimeRefused("list: no")

    with monkeypatch.context() as out_of_order:
        out_of_order.setattr(scene.machines, "running", refuse)
        scene.machines.end("i-1", EXIT_POWEROFF)
        scene.settle()
        assert scene.row.state == "running"
    scene.settle()
    assert scene.row.state == "stopped"


def test_a_server_whose_monitor_has_ended_is_watched_itself(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.loop.ended("i-1", None)
    scene.settle()
    assert scene.row.state == "running"
    assert scene.machines.done == ["create", "start", "adopt"]


def add_root(scene: Scene, **changes: object) -> None:
    with scene.database.write() as tx:
        root = Volume("vol-1", 8, "us-east-1a", LAUNCHED, root=True, instance_id="i-1", device="/dev/xvda")
        tx.add(replace(root, state="in-use", attachment="attached", delete_on_termination=False))


def test_a_server_that_turns_itself_off_without_room_for_its_root_volume_ends_once_there_is(
    scene: Scene, clock: Clock
) -> None:
    scene.add(shutdown_behavior="terminate")
    add_root(scene)
    scene.settle()
    scene.no_room = True
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.loop.wait_until_idle()
    row = scene.row
    assert (row.state, row.desired, row.state_reason_code) == (
        "shutting-down",
        "terminated",
        "Client.InstanceInitiatedShutdown",
    )
    assert row.state_reason.endswith("its root volume cannot be kept: no room for its root volume")
    assert scene.told == ["running", "shutting-down"]
    scene.no_room = False
    # Not by any commit of anybody's: what is tried again takes its time.
    scene.settle()
    assert scene.row.state == "shutting-down"
    clock.due.pop()()
    scene.loop.wait_until_idle()
    row = scene.row
    assert (row.state, row.state_reason_code) == ("terminated", "Client.InstanceInitiatedShutdown")
    assert row.state_reason == "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
    assert "destroy" in scene.machines.done


def test_what_holds_an_end_up_is_tried_again_less_and_less_often(scene: Scene, clock: Clock) -> None:
    scene.add(shutdown_behavior="terminate")
    add_root(scene)
    scene.settle()
    scene.no_room = True
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.loop.wait_until_idle()
    pauses = []
    for _ in range(8):
        before = clock.now
        clock.due.pop(0)()
        scene.loop.wait_until_idle()
        pauses.append(clock.now - before)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert scene.row.state_reason.count("cannot be kept") == 1


def test_an_end_that_is_held_up_goes_on_at_once_where_nothing_is_to_be_kept_any_more(
    scene: Scene, clock: Clock
) -> None:
    scene.add(shutdown_behavior="terminate")
    add_root(scene)
    scene.settle()
    scene.no_room = True
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.loop.wait_until_idle()
    with scene.database.write() as tx:
        root = tx.get(Volume, id="vol-1")
        assert root is not None
        tx.save(replace(root, delete_on_termination=True))
    scene.no_room = False
    scene.settle()
    assert scene.row.state == "terminated"


def test_an_end_that_cannot_be_written_down_either_is_not_forgotten(scene: Scene, clock: Clock) -> None:
    scene.add(shutdown_behavior="terminate")
    add_root(scene)
    scene.settle()
    scene.no_room = True
    scene.database_full = True
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.loop.wait_until_idle()
    assert scene.row.state == "running"
    scene.database_full = False
    scene.settle()
    assert scene.row.state == "shutting-down"
    scene.no_room = False
    while scene.row.state != "terminated":
        clock.due.pop()()
        scene.loop.wait_until_idle()


def test_an_end_that_comes_while_an_earlier_word_is_dealt_with_is_not_forgotten_with_it(scene: Scene) -> None:
    """The monitor of a server was killed, which is no end; as the server itself is to be watched from then on, that has
    ended."""
    scene.add()
    scene.settle()
    scene.machines.on_adopt = lambda: scene.machines.end("i-1", EXIT_POWEROFF)
    scene.loop.ended("i-1", None)
    scene.loop.wait_until_idle()
    assert (scene.row.state, scene.row.state_reason_code) == ("stopped", "Client.InstanceInitiatedShutdown")


@pytest.mark.parametrize("how", ["asked to stop", "off by itself"])
def test_terminating_while_it_is_taken_off_the_host_is_not_forgotten(scene: Scene, how: str) -> None:
    scene.add()
    scene.settle()
    scene.meanwhile = [lambda: scene.change(desired="terminated", state="shutting-down", state_reason_code="Client.X")]
    if how == "asked to stop":
        scene.change(desired="stopped", state="stopping")
        scene.settle()
    else:
        scene.machines.end("i-1", EXIT_POWEROFF)
        scene.loop.wait_until_idle()
    scene.settle()
    assert (scene.row.state, scene.row.desired, scene.row.state_reason_code) == ("terminated", "terminated", "Client.X")
    assert "destroy" in scene.machines.done


def test_terminating_while_a_start_fails_is_not_forgotten(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.machines.end("i-1", EXIT_POWEROFF)
    scene.settle()
    scene.machines.refuses = {"start"}
    scene.meanwhile = [lambda: scene.change(desired="terminated", state="shutting-down")]
    scene.change(desired="running", state="pending")
    scene.settle()
    scene.settle()
    assert (scene.row.state, scene.row.desired) == ("terminated", "terminated")


def test_others_hear_of_an_end_also_when_the_network_cannot_be_brought_up_to_date(scene: Scene) -> None:
    scene.add()
    scene.settle()
    scene.network_fails = True
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    assert scene.row.state == "terminated"
    assert scene.told == ["running", "terminated"]
    assert scene.looked_at_volumes


@pytest.mark.parametrize("deaf", [False, True])
def test_servers_that_are_gone_are_forgotten(scene: Scene, clock: Clock, deaf: bool) -> None:
    """Also one that had to be asked again and again."""
    scene.machines.deaf = deaf
    scene.add()
    scene.settle()
    scene.change(desired="terminated", state="shutting-down")
    scene.settle()
    while scene.row.state == "shutting-down":
        clock.due.pop()()
        scene.loop.wait_until_idle()
    assert not still_known(scene.loop, "i-1", besides=[scene, scene.database, scene.machines])
