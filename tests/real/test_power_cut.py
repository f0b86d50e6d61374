"""The power goes off in the middle of things: what was answered before is there afterwards, with servers' disks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from loop_disk import LoopDisk, cloud_on, disk
from power_soak import ROOM, PowerSoak
from real_cloud import RealCloud
from real_server import ending

from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real


@contextmanager
def cut_off(cloud: RealCloud, held: LoopDisk) -> Iterator[None]:
    """The machine is off inside, and on again with the cloud at the end."""
    with ending(cloud.endpoint.pid) as process:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        held.cut()
        signal.pidfd_send_signal(process, signal.SIGKILL)
    held.power_on(cloud.home)
    yield
    cloud.up()


def test_power_cuts_under_load_lose_nothing_that_was_answered(image_home: Home) -> None:
    with disk(ROOM) as held, cloud_on(held, image_home) as cloud:
        score = PowerSoak(cloud, "suite", held).run(kills=3)
    assert score.kills >= 3
    assert score.acknowledged > 0


def test_what_a_server_has_synced_is_there_after_a_power_cut(image_home: Home) -> None:
    with disk(ROOM) as held, cloud_on(held, image_home) as cloud:
        key = cloud.home.root_key()
        kept = cloud.launch()
        kept.with_volume()
        kept.says("echo synced >file && sync file && sudo cp file /mnt/sdf/file && sudo sync /mnt/sdf/file")
        gone = cloud.start(InstanceInitiatedShutdownBehavior="terminate")
        gone.await_state("running")
        # Nothing on this one has had the time to reach the disk by itself; whoever launched it can get in all the same.
        young = cloud.start()
        young.await_state("running")
        with cut_off(cloud, held):
            assert cloud.home.root_key() == key
        gone.await_state("terminated")
        for server in (kept, young):
            server.await_state("stopped")
            assert server.describe()["StateReason"]["Code"] == "Server.ScheduledStop"
        cloud.ec2.start_instances(InstanceIds=[kept.id, young.id])
        # With the host key that it had.
        kept.await_way_in(f"{kept.id} to be back")
        assert kept.says("cat file /mnt/sdf/file") == "synced\nsynced"
        young.await_ssh()
        assert young.says("cat /var/lib/cloud/seed/instance-id") == young.id
