"""Interfaces are plugged in, changed and taken out while the server runs."""

from __future__ import annotations

from dataclasses import replace

from instance_scene import INTERFACE, Scene

from skylift.cloud.domain.network import NetworkInterface, PrivateAddress
from skylift.cloud.loops.ec2.instance import settle


def test_an_interface_is_plugged_into_a_server_that_runs_and_taken_out(scene: Scene) -> None:
    scene.add()
    scene.settle()
    assert scene.interface is not None and scene.interface.attachment == "attached"
    second = replace(INTERFACE, id="eni-2", mac="02:00:00:00:00:02", private_ip="10.0.1.6", public_ip=None, index=1)
    with scene.database.write() as tx:
        tx.add(replace(second, attachment="attaching"))
    scene.settle()
    assert scene.plugs == ["eni-1", "eni-2"]
    with scene.database.write() as tx:
        tx.save(replace(second, attachment="changing", secondary=(PrivateAddress("10.0.1.7"),)))
    scene.settle()
    assert scene.dressed == [["10.0.1.6", "10.0.1.7"]]
    with scene.database.write() as tx:
        tx.save(replace(second, attachment="detaching"))
    scene.settle()
    assert scene.plugs == ["eni-1"]
    with scene.database.read() as tx:
        row = tx.get(NetworkInterface, id="eni-2")
        assert row is not None and (row.attachment, row.instance_id) == ("detached", None)


def test_what_cannot_be_plugged_in_is_tried_again(scene: Scene) -> None:
    scene.add()
    scene.settle()
    second = replace(INTERFACE, id="eni-2", mac="02:00:00:00:00:02", private_ip="10.0.1.6", public_ip=None, index=1)
    with scene.database.write() as tx:
        tx.add(replace(second, attachment="attaching"))
    scene.jammed = True
    scene.settle()
    assert scene.plugs == ["eni-1"]
    scene.jammed = False
    scene.settle()
    assert scene.plugs == ["eni-1", "eni-2"]


def test_a_change_while_it_is_plugged_in_is_told_afterwards(scene: Scene) -> None:
    scene.add()
    scene.settle()
    with scene.database.write() as tx:
        row = tx.get(NetworkInterface, id="eni-1")
        assert row is not None
        before = replace(row, attachment="attaching")
        tx.save(replace(before, secondary=(PrivateAddress("10.0.1.9"),)))
        settle(tx, before)
        current = tx.get(NetworkInterface, id="eni-1")
        assert current is not None and current.attachment == "changing"
