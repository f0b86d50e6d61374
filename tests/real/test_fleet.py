"""A fleet of real servers: one that dies is replaced, by what the kernel says of it, and all go with the fleet."""

from __future__ import annotations

import signal

import pytest
from support.real_cloud import RealCloud
from support.real_fleet import fleet_of
from support.real_server import ending

pytestmark = pytest.mark.real


def test_a_server_that_dies_is_replaced_and_all_go_with_the_fleet(cloud: RealCloud) -> None:
    with fleet_of(cloud, 2) as fleet:
        first, second = fleet.running()
        with ending(first.init) as descriptor:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        first.await_state("terminated")
        servers = {server.id for server in fleet.running()}
        assert second.id in servers
        assert first.id not in servers
        assert fleet.describe()["ActivityStatus"] == "fulfilled"


def test_a_server_that_is_interrupted_is_replaced(cloud: RealCloud) -> None:
    with fleet_of(cloud, 1, "spot") as fleet:
        (first,) = fleet.running()
        assert first.describe()["InstanceLifecycle"] == "spot"
        cloud.skylift("cloud", "interrupt", first.id, "--in", "1s")
        first.await_state("terminated")
        (second,) = fleet.running()
        assert second.id != first.id
