"""Volumes in servers, and what is on them when server, cloud or volume have been through something."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real


def zone(server: Server) -> str:
    return str(server.describe()["Placement"]["AvailabilityZone"])


def describe(cloud: RealCloud, volume: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]
    return found


def attachment(cloud: RealCloud, volume: str) -> str:
    attachments = describe(cloud, volume)["Attachments"]
    return str(attachments[0]["State"]) if attachments else "none"


def attach(server: Server, volume: str, device: str) -> None:
    server.cloud.ec2.attach_volume(VolumeId=volume, InstanceId=server.id, Device=device)
    until(lambda: attachment(server.cloud, volume) == "attached", f"{volume} to be attached")


def detach(cloud: RealCloud, volume: str, **options: Any) -> None:
    cloud.ec2.detach_volume(VolumeId=volume, **options)
    until(lambda: describe(cloud, volume)["State"] == "available", f"{volume} to be detached")


def make(server: Server, **wanted: Any) -> str:
    made = server.cloud.ec2.create_volume(**{"AvailabilityZone": zone(server), "Size": 1, **wanted})
    volume = str(made["VolumeId"])
    until(lambda: describe(server.cloud, volume)["State"] != "creating", f"{volume} to be made")
    return volume


def snapshot(cloud: RealCloud, volume: str) -> str:
    made = str(cloud.ec2.create_snapshot(VolumeId=volume)["SnapshotId"])

    def state() -> str:
        return str(cloud.ec2.describe_snapshots(SnapshotIds=[made])["Snapshots"][0]["State"])

    until(lambda: state() != "pending", f"{made} to be made")
    assert state() == "completed"
    return made


def remove(cloud: RealCloud, volume: str) -> None:
    cloud.ec2.delete_volume(VolumeId=volume)
    known = cloud.ec2.describe_volumes
    filters = [{"Name": "volume-id", "Values": [volume]}]
    until(lambda: known(Filters=filters)["Volumes"] == [], f"{volume} to be removed")


def free(server: Server, place: str) -> int:
    """MiB that a file system can still take."""
    return int(server.says(f"df --output=avail -BM {place} | tail -1 | tr -d ' M'"))


def test_a_volume_goes_from_server_to_server_with_what_is_on_it(cloud: RealCloud) -> None:
    first, second = cloud.start(), cloud.start()
    for server in (first, second):
        server.await_ssh()
    volume = make(first)
    attach(first, volume, "/dev/sdf")
    assert first.says("stat -c '%U %a' /mnt/sdf") == "root 755"
    first.ssh("sudo chown ec2-user /mnt/sdf && echo kept >/mnt/sdf/word && mkdir /mnt/sdf/d")
    first.ssh("sudo install -m 4755 /bin/true /mnt/sdf/suid")
    # The size is the file system's: there is no more room than that.
    assert 900 < free(first, "/mnt/sdf") < 1024
    assert "No space left" in first.ssh("fallocate -l 2G /mnt/sdf/big", check=False).stderr
    # What a server has not, and what it cannot do with what it has.
    assert first.ssh("sudo umount /mnt/sdf", check=False).returncode != 0
    assert first.ssh("sudo mknod /mnt/sdf/sda b 8 0", check=False).returncode != 0
    with subprocess.Popen([*first.ssh_command(), "cd /mnt/sdf/d && echo in && sleep 150"], stdout=-1) as holding:
        assert holding.stdout is not None and holding.stdout.readline() == b"in\n"
        cloud.ec2.detach_volume(VolumeId=volume, InstanceId=first.id)
        until(lambda: attachment(cloud, volume) == "busy", "the volume to be busy")
        first.ssh("pkill sleep")
    until(lambda: describe(cloud, volume)["State"] == "available", "the volume to be let go of")
    assert first.ssh("test -e /mnt/sdf", check=False).returncode != 0
    attach(second, volume, "/dev/xvdba")
    assert second.says("cat /mnt/xvdba/word; stat -c '%U %a' /mnt/xvdba/suid") == "kept\nroot 4755"
    first.terminate()
    second.terminate()
    assert describe(cloud, volume)["State"] == "available"
    remove(cloud, volume)
    assert not (cloud.home.data.volumes / f"{volume}.img").exists()


def test_a_volume_of_a_launch_stays_through_reboot_stop_and_start(cloud: RealCloud) -> None:
    mappings = [
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 2}},
        {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": False}},
    ]
    server = cloud.launch(BlockDeviceMappings=mappings)
    volumes = [one["Ebs"]["VolumeId"] for one in server.describe()["BlockDeviceMappings"]]
    server.ssh("echo b | sudo tee /mnt/sdb/word; echo c | sudo tee /mnt/sdc/word")
    # Where the cloud writes at each boot, too, before the volume is there.
    server.ssh("until test -e /var/lib/cloud/instance/boot-finished; do sleep 0.05; done")
    server.ssh("sudo mv /var/lib/cloud /mnt/sdb && sudo ln -s /mnt/sdb/cloud /var/lib")
    server.reboot()
    assert server.says("cat /mnt/sdb/word /mnt/sdc/word") == "b\nc"
    cloud.ec2.stop_instances(InstanceIds=[server.id])
    server.await_state("stopped")
    mounts = f"/run/skylift/{cloud.number}/volumes"
    assert subprocess.run(["findmnt", f"{mounts}/{volumes[1]}"], check=False, stdout=-1).returncode != 0
    added = make(server)
    attach(server, added, "/dev/sdd")
    cloud.ec2.start_instances(InstanceIds=[server.id])
    server.await_state("running")
    server.await_way_in("SSH after the start")
    assert server.says("cat /mnt/sdb/word /mnt/sdc/word; ls /mnt") == "b\nc\nsdb\nsdc\nsdd"
    server.terminate()
    until(lambda: not (cloud.home.data.volumes / f"{volumes[1]}.img").exists(), "the volume to end with its instance")
    assert {describe(cloud, volume)["State"] for volume in (volumes[2], added)} == {"available"}
    for volume in (volumes[2], added):
        remove(cloud, volume)


def test_a_volume_grows_and_its_snapshot_is_of_one_moment(cloud: RealCloud) -> None:
    server = cloud.launch()
    volume = make(server, VolumeType="gp3")
    attach(server, volume, "/dev/sdf")
    server.ssh("sudo chown ec2-user /mnt/sdf; echo one >/mnt/sdf/word")
    cloud.ec2.modify_volume(VolumeId=volume, Size=3)

    def change() -> dict[str, Any]:
        found: dict[str, Any] = cloud.ec2.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"][0]
        return found

    until(lambda: change()["ModificationState"] != "modifying", "the volume to grow")
    assert change()["ModificationState"] == "completed", change()
    assert describe(cloud, volume)["Size"] == 3
    assert free(server, "/mnt/sdf") > 2900
    # While a program writes two files in turn, none of them is ahead of the other by more than one line.
    writer = "while :; do echo >>/mnt/sdf/a; echo >>/mnt/sdf/b; done"
    server.ssh(f"nohup sh -c {writer!r} >/dev/null 2>&1 &")
    server.ssh("until test -s /mnt/sdf/b; do sleep 0.05; done; sync")
    taken = snapshot(cloud, volume)
    then = server.says("wc -l </mnt/sdf/a")
    until(lambda: server.says("wc -l </mnt/sdf/a") != then, "the writer to have gone on")
    server.ssh("pkill -f 'mnt/sdf/[a]'; echo two >/mnt/sdf/word")
    copy = make(server, SnapshotId=taken, Size=4)
    attach(server, copy, "/dev/sdg")
    first, second, word = server.says("wc -l </mnt/sdg/a; wc -l </mnt/sdg/b; cat /mnt/sdg/word").split()
    assert int(first) - int(second) in (0, 1)
    assert (word, free(server, "/mnt/sdg") > 3900) == ("one", True)
    cloud.ec2.delete_snapshot(SnapshotId=taken)
    until(lambda: not (cloud.home.data.snapshots / f"{taken}.img").exists(), "the snapshot's file to be removed")
    # By force: programs keep what they have open, and the volume is free all the same.
    with subprocess.Popen([*server.ssh_command(), "cd /mnt/sdg && echo in && sleep 150"], stdout=-1) as holding:
        assert holding.stdout is not None and holding.stdout.readline() == b"in\n"
        detach(cloud, copy, Force=True)
        server.ssh("pkill sleep")
    server.terminate()
    for one in (volume, copy):
        remove(cloud, one)


def test_volumes_are_there_when_the_cloud_was_killed_and_gone_from_the_host_when_it_is_down(
    own_cloud: RealCloud,
) -> None:
    server = own_cloud.launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}}])
    volume = make(server)
    attach(server, volume, "/dev/sdf")
    server.ssh("echo here | sudo tee /mnt/sdf/word")
    # As if the cloud had been killed in the middle of a snapshot: nobody can write.
    place = f"/run/skylift/{own_cloud.number}/volumes/{volume}"
    subprocess.run(["fsfreeze", "--freeze", place], check=True)
    own_cloud.kill()
    (own_cloud.home.data.volumes / "vol-00000000000000000.img").touch()
    (own_cloud.home.data.snapshots / ".making-snap-00000000000000000.img").touch()
    own_cloud.up()
    server.ssh("echo again | sudo tee /mnt/sdf/word /mnt/sdb/word")
    assert sorted(file.stem for file in own_cloud.home.data.volumes.glob("vol-*")) == sorted(
        one["Ebs"]["VolumeId"] for one in server.describe()["BlockDeviceMappings"]
    )
    assert list(own_cloud.home.data.snapshots.iterdir()) == []
    own_cloud.down()
    assert own_cloud.traces() == []
    own_cloud.up()
    own_cloud.ec2.start_instances(InstanceIds=[server.id])
    server.await_state("running")
    server.await_way_in("SSH after the start")
    assert server.says("cat /mnt/sdf/word") == "again"
