"""The disk that holds a cloud's state is full: what it answers, and that all is well once there is room again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from support.loop_disk import cloud_on, disk
from support.real_server import Server, until

from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real

MIB = 1 << 20


def refused(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as refusal:
        call(**parameters)
    assert "no space left" in refusal.value.response["Error"]["Message"]
    return f"{refusal.value.response['Error']['Code']} {refusal.value.response['ResponseMetadata']['HTTPStatusCode']}"


@contextmanager
def no_room(directory: Path, but: int = 0) -> Iterator[None]:
    """Take all the room that there is, but so many bytes; in the end it is there again."""
    ballast = directory / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            found = os.statvfs(directory)
            most = found.f_bavail * found.f_frsize - 16 * MIB
            if most > 0:
                # Taken without being written; what is written is the rest.
                os.posix_fallocate(file.fileno(), 0, most)
                file.seek(most)
            for size in (MIB, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)
            file.truncate(file.tell() - but)
            os.fsync(file.fileno())
        yield
    finally:
        ballast.unlink()


@contextmanager
def no_room_for_names(directory: Path) -> Iterator[None]:
    """Take all the inodes: what is there can grow, and nothing can be added."""
    taken = directory / "taken"
    taken.mkdir()
    try:
        number = 0
        while os.statvfs(taken).f_ffree:
            (taken / str(number)).touch()
            number += 1
        yield
    finally:
        shutil.rmtree(taken)


def until_refused(ec2: Any, vpc: str) -> str:
    """The log of the database has room of its own for some time: ask until that has been used."""
    for number in range(2000):
        try:
            ec2.create_tags(Resources=[vpc], Tags=[{"Key": f"key-{number % 40}", "Value": "v" * 200 + str(number)}])
        except ClientError as error:
            return f"{error.response['Error']['Code']} {error.response['ResponseMetadata']['HTTPStatusCode']}"
    raise AssertionError("a full disk took everything")


def test_a_full_disk_is_said_clearly_and_gets_over_when_there_is_room(image_home: Home) -> None:
    with disk(64) as held, cloud_on(held, image_home) as cloud:
        place = cloud.home.data.path
        ec2, s3 = cloud.ec2, cloud.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="kept", Body=b"kept")
        kept = cloud.launch()

        with no_room(place):
            assert refused(s3.put_object, Bucket="bucket", Key="new", Body=b"x" * MIB) == "InsufficientStorage 507"
            assert refused(s3.put_object, Bucket="bucket", Key="small", Body=b"x") == "InsufficientStorage 507"
            assert until_refused(ec2, cloud.vpc) == "InsufficientStorage 507"
            assert refused(ec2.run_instances, **cloud.request()) == "InsufficientStorage 507"
            # What is there can be looked at and used.
            assert s3.get_object(Bucket="bucket", Key="kept")["Body"].read() == b"kept"
            assert kept.state == "running"
            assert kept.says("echo works") == "works"
            tags = ec2.describe_vpcs(VpcIds=[cloud.vpc])["Vpcs"][0]["Tags"]
            # A server that ends now is not forgotten.
            kept.ssh("sudo poweroff", check=False)
        assert ec2.describe_vpcs(VpcIds=[cloud.vpc])["Vpcs"][0]["Tags"] == tags
        s3.put_object(Bucket="bucket", Key="new", Body=b"x" * MIB)
        ec2.create_tags(Resources=[cloud.vpc], Tags=[{"Key": "again", "Value": "yes"}])
        kept.await_state("stopped")
        cloud.launch().terminate()
        until(lambda: len(list(cloud.home.data.objects.iterdir())) == 1, "files of refused objects to go")


def test_a_launch_without_room_for_its_disk_ends_and_says_so(image_home: Home) -> None:
    with disk(64) as held, cloud_on(held, image_home) as cloud:
        place = cloud.home.data.path
        request = cloud.request()
        with no_room_for_names(place):
            # There is room for the row, and none for the directories of a disk.
            (made,) = cloud.ec2.run_instances(**request)["Instances"]
            server = Server(cloud, made["InstanceId"])
            server.await_state("terminated")
        reason = server.describe()["StateReason"]
        assert reason["Code"] == "Server.InsufficientInstanceCapacity"
        assert "No space left on device" in reason["Message"]
        cloud.launch().terminate()


def test_a_server_that_turns_itself_off_without_room_for_its_root_volume_ends_once_there_is(image_home: Home) -> None:
    with disk(1024) as held, cloud_on(held, image_home) as cloud:
        ec2 = cloud.ec2
        root = {"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": False}}
        server = cloud.launch(InstanceInitiatedShutdownBehavior="terminate", BlockDeviceMappings=[root])
        server.ssh("echo kept >word; sync")
        volume = server.describe()["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        with no_room(cloud.home.data.path, but=8 * MIB):
            server.ssh("sudo poweroff", check=False)
            server.await_state("shutting-down")
            reason = server.describe()["StateReason"]
            assert reason["Code"] == "Client.InstanceInitiatedShutdown"
            assert "its root volume cannot be kept" in reason["Message"]
            # It outlives the cloud's process, and goes on to be an end for everybody who asks.
            cloud.kill()
            cloud.up()
            (answer,) = ec2.terminate_instances(InstanceIds=[server.id])["TerminatingInstances"]
            assert answer["CurrentState"]["Name"] == "shutting-down"
        server.await_state("terminated")
        assert server.describe()["StateReason"] == {
            "Code": "Client.InstanceInitiatedShutdown",
            "Message": "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
        }
        assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available"


def test_a_cloud_starts_again_on_a_disk_that_is_full(image_home: Home) -> None:
    """What it was writing when it was killed may be what fills the disk, and only its start removes that."""
    with disk(64) as held, cloud_on(held, image_home) as cloud:
        unfinished = cloud.home.data.volumes / ".making-vol-1.img"
        with no_room(cloud.home.data.path, but=8 * MIB):
            cloud.kill()
            with suppress(OSError), unfinished.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1024))
            cloud.up()
            assert cloud.ec2.describe_vpcs()["Vpcs"]
            assert not unfinished.exists()


def test_a_server_whose_root_volume_finds_no_room_ends_without_it_when_it_is_told_to(image_home: Home) -> None:
    with disk(64) as held, cloud_on(held, image_home) as cloud:
        root = {"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": False}}
        server = cloud.launch(InstanceInitiatedShutdownBehavior="terminate", BlockDeviceMappings=[root])
        server.ssh("sudo poweroff", check=False)
        server.await_state("shutting-down")
        gone = {"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": True}}
        cloud.ec2.modify_instance_attribute(InstanceId=server.id, BlockDeviceMappings=[gone])
        server.await_state("terminated")
