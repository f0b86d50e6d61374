"""Root volumes: bounded, grown, and kept when their server ends."""

from __future__ import annotations

from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real


def of_size(gib: int, **ebs: Any) -> list[dict[str, Any]]:
    return [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": gib, **ebs}}]


def describe(cloud: RealCloud, volume: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]
    return found


def state(cloud: RealCloud, image: str) -> str:
    return str(cloud.ec2.describe_images(ImageIds=[image])["Images"][0]["State"])


def gib(server: Server) -> float:
    """The size of the root file system."""
    return int(server.says("df --output=size -BM / | tail -1 | tr -d ' M'")) / 1024


def grow(server: Server, volume: str, size: int) -> None:
    """Where the kernel does not let us grow what is mounted, the server has to be off for it."""
    ec2 = server.cloud.ec2
    ec2.modify_volume(VolumeId=volume, Size=size)

    def state() -> str:
        found = ec2.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"]
        return str(found[0]["ModificationState"])

    ec2.stop_instances(InstanceIds=[server.id])
    server.await_state("stopped")
    until(lambda: state() == "completed", f"{volume} to grow")
    ec2.start_instances(InstanceIds=[server.id])
    server.await_state("running")
    server.await_way_in("SSH after the start")


def test_a_root_volume_has_its_size_and_its_writes_through_all_that_a_server_goes_through(own_cloud: RealCloud) -> None:
    cloud = own_cloud
    server = cloud.launch(BlockDeviceMappings=of_size(9))
    volume = server.root_volume
    file = cloud.home.data.volumes / f"{volume}.img"
    assert (describe(cloud, volume)["Size"], 8.5 < gib(server) < 9) == (9, True)
    assert "No space left" in server.ssh("fallocate -l 10G ~/big", check=False).stderr
    server.ssh("rm -f ~/big; echo kept >~/word; sync")
    assert file.stat().st_blocks * 512 < 1 << 30
    server.reboot()
    assert server.says("cat ~/word") == "kept"
    cloud.kill()
    cloud.up()
    server.ssh("echo more >>~/word")
    grow(server, volume, 11)
    assert (describe(cloud, volume)["Size"], 10.5 < gib(server) < 11) == (11, True)
    assert server.says("cat ~/word") == "kept\nmore"
    cloud.down()
    cloud.up()
    cloud.ec2.start_instances(InstanceIds=[server.id])
    server.await_state("running")
    server.await_way_in("SSH after the start")
    assert server.says("cat ~/word") == "kept\nmore"
    server.terminate()
    until(lambda: not file.exists(), "the root volume to end with its instance")


def test_a_root_volume_has_its_images_size_where_none_is_given(cloud: RealCloud) -> None:
    """In bytes, and in files."""
    server = cloud.launch()
    assert (describe(cloud, server.root_volume)["Size"], 7.5 < gib(server) < 8) == (8, True)
    assert "No space left" in server.ssh("fallocate -l 9G ~/big; rm -f ~/big", check=False).stderr
    assert int(server.says("df --output=itotal / | tail -1")) < 1 << 20
    server.terminate()


def test_a_root_volume_outlives_its_server_when_it_is_told_to(cloud: RealCloud) -> None:
    server = cloud.launch(BlockDeviceMappings=of_size(9, DeleteOnTermination=False))
    server.ssh("echo kept >~/word; sudo rm /etc/motd")
    volume, architecture = server.root_volume, server.describe()["Architecture"]
    other = cloud.start(Placement={"AvailabilityZone": server.describe()["Placement"]["AvailabilityZone"]})
    cloud.ec2.terminate_instances(InstanceIds=[server.id])
    other.await_ssh()
    until(lambda: describe(cloud, volume)["State"] == "available", f"{volume} to be let go of", patience=180)
    assert describe(cloud, volume)["Size"] == 9
    cloud.ec2.attach_volume(VolumeId=volume, InstanceId=other.id, Device="/dev/sdf")
    until(lambda: describe(cloud, volume)["Attachments"][0]["State"] == "attached", f"{volume} to be attached")
    home = "/mnt/sdf/home/ec2-user"
    said = other.says(f"cat {home}/word; stat -c %U {home}; test ! -e /mnt/sdf/etc/motd; ls -d /mnt/sdf/usr/bin")
    assert said.split() == ["kept", "ec2-user", "/mnt/sdf/usr/bin"]
    other.terminate()
    # An image of it starts servers with what it has.
    snapshot = str(cloud.ec2.create_snapshot(VolumeId=volume)["SnapshotId"])
    cloud.ec2.get_waiter("snapshot_completed").wait(
        SnapshotIds=[snapshot], WaiterConfig={"Delay": 1, "MaxAttempts": 240}
    )
    mappings = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]
    asked = {"Architecture": architecture, "RootDeviceName": "/dev/xvda", "VirtualizationType": "hvm"}
    image = str(cloud.ec2.register_image(Name=f"of {snapshot}", BlockDeviceMappings=mappings, **asked)["ImageId"])
    until(lambda: state(cloud, image) != "pending", f"{image} to be made", patience=180)
    twin = cloud.launch(ImageId=image)
    assert twin.says("cat ~/word; stat -c %U ~; test ! -e /lost+found") == "kept\nec2-user"
    twin.terminate()
    cloud.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    cloud.ec2.delete_volume(VolumeId=volume)
    until(lambda: not (cloud.home.data.volumes / f"{volume}.img").exists(), f"{volume} to be removed")
