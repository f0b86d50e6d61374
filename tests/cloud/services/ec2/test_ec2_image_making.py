from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged

from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import Snapshot, Volume


def settle(cloud: Cloud, image_id: str, **changes: Any) -> None:
    """Write down what the loop does with an image."""
    with cloud.database.write() as tx:
        image = tx.get(Image, id=image_id)
        assert image is not None
        tx.save(replace(image, **changes))


def complete(cloud: Cloud, image_id: str) -> None:
    """Write down that an image and its snapshots are there."""
    with cloud.database.write() as tx:
        for snapshot in tx.find(Snapshot, image_id=image_id):
            tx.save(replace(snapshot, state="completed", root="/mine" if snapshot.of_root else ""))
    settle(cloud, image_id, state="available", root="/mine")


def shown(cloud: Cloud, image_id: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.call("DescribeImages", ImageIds=[image_id])["Images"][0]
    return found


@pytest.fixture
def running(cloud: Cloud) -> str:
    instance_id: str = cloud.run()["InstanceId"]
    cloud.observe(instance_id, "running")
    return instance_id


@pytest.fixture
def mine(cloud: Cloud, running: str) -> str:
    image_id: str = cloud.call("CreateImage", InstanceId=running, Name="mine", NoReboot=True)["ImageId"]
    complete(cloud, image_id)
    return image_id


@pytest.fixture
def with_data(cloud: Cloud) -> str:
    """A running instance with a root volume and two others."""
    mappings = [
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 5}},
        {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 6, "VolumeType": "gp2", "DeleteOnTermination": False}},
    ]
    instance_id: str = cloud.run(BlockDeviceMappings=mappings)["InstanceId"]
    cloud.observe(instance_id, "running")
    with cloud.database.write() as tx:
        for row in tx.find(Volume, state="creating"):
            tx.save(replace(row, state="in-use", attachment="attached"))
    return instance_id


def devices(cloud: Cloud, image_id: str) -> dict[str, Any]:
    return {one["DeviceName"]: one["Ebs"] for one in shown(cloud, image_id)["BlockDeviceMappings"]}


def test_making_one_reboots_what_runs(cloud: Cloud, running: str) -> None:
    wanted = {"InstanceId": running, "Name": "of it", "Description": "all of it"}
    image_id = cloud.call("CreateImage", **wanted, TagSpecifications=tagged("image", job="a"))["ImageId"]
    assert cloud.row(running).rebooting
    image = shown(cloud, image_id)
    assert (image["State"], image["Public"], image["Description"]) == ("pending", False, "all of it")
    assert (image["SourceInstanceId"], image["Tags"]) == (running, [{"Key": "job", "Value": "a"}])
    assert cloud.code("RunInstances", ImageId=image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1) == (
        "InvalidAMIID.Unavailable"
    )
    settle(cloud, image_id, state="failed", state_reason="no space")
    assert shown(cloud, image_id)["StateReason"]["Message"] == "no space"


def test_making_one_without_a_reboot(cloud: Cloud, running: str) -> None:
    cloud.call("CreateImage", InstanceId=running, Name="of it", NoReboot=True)
    assert not cloud.row(running).rebooting


def test_names(cloud: Cloud, running: str, mine: str) -> None:
    refusal = cloud.refusal("CreateImage", InstanceId=running, Name="mine", NoReboot=True)
    assert (refusal.code, refusal.message) == (
        "InvalidAMIName.Duplicate",
        f"AMI name mine is already in use by AMI {mine}",
    )
    for name in ("what?", "über", "a\nb"):
        assert cloud.code("CreateImage", InstanceId=running, Name=name) == "InvalidAMIName.Malformed"
    assert not cloud.row(running).rebooting
    cloud.call("DeregisterImage", ImageId=mine)
    cloud.call("CreateImage", InstanceId=running, Name="mine")


def test_only_of_what_runs_or_is_stopped(cloud: Cloud) -> None:
    pending = cloud.run()["InstanceId"]
    assert cloud.code("CreateImage", InstanceId=pending, Name="mine") == "IncorrectState"


def test_deregistering(cloud: Cloud, mine: str) -> None:
    user = cloud.run(ImageId=mine)["InstanceId"]
    cloud.call("DeregisterImage", ImageId=mine)
    assert cloud.code("DescribeImages", ImageIds=[mine]) == "InvalidAMIID.NotFound"
    assert mine not in [image["ImageId"] for image in cloud.call("DescribeImages")["Images"]]
    launch = {"ImageId": mine, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert cloud.code("RunInstances", **launch) == "InvalidAMIID.NotFound"
    assert cloud.code("DeregisterImage", ImageId=mine) == "InvalidAMIID.NotFound"
    assert cloud.instance(user)["ImageId"] == mine
    cloud.observe(user, "stopped")
    cloud.call("ModifyInstanceAttribute", InstanceId=user, InstanceType={"Value": "t3.small"})
    cloud.call("StartInstances", InstanceIds=[user])


def test_provided_images_are_nobodys_to_change(cloud: Cloud) -> None:
    assert cloud.code("DeregisterImage", ImageId=cloud.image_id) == "AuthFailure"
    change = {"ImageId": cloud.image_id, "Description": {"Value": "x"}}
    assert cloud.code("ModifyImageAttribute", **change) == "AuthFailure"


def test_copies(cloud: Cloud, mine: str) -> None:
    cloud.call("CreateTags", Resources=[mine], Tags=[{"Key": "a", "Value": "b"}])
    asked = {"Name": "copy", "SourceImageId": mine, "SourceRegion": "us-east-1", "ClientToken": "t"}
    copy = cloud.call("CopyImage", **asked, CopyImageTags=True)["ImageId"]
    assert cloud.call("CopyImage", **asked, CopyImageTags=True)["ImageId"] == copy
    assert cloud.code("CopyImage", **asked) == "IdempotentParameterMismatch"
    image = shown(cloud, copy)
    assert (image["State"], image["SourceImageId"], image["SourceImageRegion"]) == ("available", mine, "us-east-1")
    assert image["Tags"] == [{"Key": "a", "Value": "b"}]
    cloud.call("DeregisterImage", ImageId=mine)
    cloud.run(ImageId=copy)
    assert cloud.code("CopyImage", **{**asked, "ClientToken": "u", "SourceRegion": "eu-west-1"}) == "InvalidRequest"
    encrypted = {**asked, "ClientToken": "u", "Name": "else", "Encrypted": True}
    assert cloud.code("CopyImage", **encrypted) == "UnsupportedOperation"


def test_a_copy_of_a_provided_image_is_the_accounts(cloud: Cloud) -> None:
    copy = cloud.call("CopyImage", Name="copy", SourceImageId=cloud.image_id, SourceRegion="us-east-1")["ImageId"]
    assert "ImageOwnerAlias" not in shown(cloud, copy)
    assert shown(cloud, copy)["Description"] == shown(cloud, cloud.image_id)["Description"]


def test_launch_permissions(cloud: Cloud, mine: str) -> None:
    def permissions() -> list[dict[str, str]]:
        answer = cloud.call("DescribeImageAttribute", ImageId=mine, Attribute="launchPermission")
        found: list[dict[str, str]] = answer["LaunchPermissions"]
        return found

    change = {"Add": [{"UserId": "111122223333"}, {"Group": "all"}]}
    cloud.call("ModifyImageAttribute", ImageId=mine, LaunchPermission=change)
    assert permissions() == [{"Group": "all"}, {"UserId": "111122223333"}]
    assert shown(cloud, mine)["Public"]
    found = cloud.call("DescribeImages", ExecutableUsers=["111122223333"])["Images"]
    assert [image["ImageId"] for image in found] == [mine]
    flat = {"Attribute": "launchPermission", "OperationType": "remove", "UserIds": ["111122223333"]}
    cloud.call("ModifyImageAttribute", ImageId=mine, **flat)
    assert permissions() == [{"Group": "all"}]
    cloud.call("ResetImageAttribute", ImageId=mine, Attribute="launchPermission")
    assert permissions() == []
    for bad in ({"UserId": "me"}, {"Group": "some"}):
        code = cloud.code("ModifyImageAttribute", ImageId=mine, LaunchPermission={"Add": [bad]})
        assert code == "InvalidAMIAttributeItemValue"


def test_descriptions(cloud: Cloud, mine: str) -> None:
    cloud.call("ModifyImageAttribute", ImageId=mine, Description={"Value": "new"})
    assert shown(cloud, mine)["Description"] == "new"
    cloud.call("ModifyImageAttribute", ImageId=mine, Attribute="description", Value="newer")
    answer = cloud.call("DescribeImageAttribute", ImageId=mine, Attribute="description")
    assert answer["Description"] == {"Value": "newer"}
    assert cloud.code("ModifyImageAttribute", ImageId=mine) == "MissingParameter"
    long = {"ImageId": mine, "Description": {"Value": "x" * 256}}
    assert cloud.code("ModifyImageAttribute", **long) == "InvalidParameterValue"
    assert cloud.call("DescribeImages", Filters=filters(source_instance_id="i-*"))["Images"] == [shown(cloud, mine)]


def test_one_comes_with_snapshots_of_all_volumes(cloud: Cloud, with_data: str) -> None:
    tags = [*tagged("image", a="1"), *tagged("snapshot", b="2")]
    asked = {"InstanceId": with_data, "Name": "whole", "TagSpecifications": tags}
    image = cloud.call("CreateImage", **asked)["ImageId"]
    found = devices(cloud, image)
    assert {name: (ebs["VolumeSize"], ebs["DeleteOnTermination"]) for name, ebs in found.items()} == {
        "/dev/xvda": (8, True),
        "/dev/sdb": (5, True),
        "/dev/sdc": (6, False),
    }
    volumes = {one["DeviceName"]: one["Ebs"]["VolumeId"] for one in cloud.instance(with_data)["BlockDeviceMappings"]}
    for name, ebs in found.items():
        (snapshot,) = cloud.call("DescribeSnapshots", SnapshotIds=[ebs["SnapshotId"]])["Snapshots"]
        assert (snapshot["State"], snapshot["VolumeId"]) == ("pending", volumes[name])
        assert snapshot["Description"] == f"Created by CreateImage({with_data}) for {image}"
        assert snapshot["Tags"] == [{"Key": "b", "Value": "2"}]
        assert cloud.code("DeleteSnapshot", SnapshotId=ebs["SnapshotId"]) == "InvalidSnapshot.InUse"
    complete(cloud, image)
    launched = cloud.run(ImageId=image)["BlockDeviceMappings"]
    assert [(one["DeviceName"], one["Ebs"]["DeleteOnTermination"]) for one in launched] == [
        ("/dev/xvda", True),
        ("/dev/sdb", True),
        ("/dev/sdc", False),
    ]
    made = cloud.call("DescribeVolumes", VolumeIds=[launched[2]["Ebs"]["VolumeId"]])["Volumes"][0]
    assert (made["SnapshotId"], made["VolumeType"]) == (found["/dev/sdc"]["SnapshotId"], "gp2")


def test_which_volumes_an_image_has_can_be_said(cloud: Cloud, with_data: str) -> None:
    mappings = [
        {"DeviceName": "/dev/sdb", "NoDevice": ""},
        {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 9, "DeleteOnTermination": True}},
        {"DeviceName": "/dev/sdd", "Ebs": {"VolumeSize": 3}},
    ]
    asked = {"InstanceId": with_data, "Name": "other", "BlockDeviceMappings": mappings}
    found = devices(cloud, cloud.call("CreateImage", **asked)["ImageId"])
    assert list(found) == ["/dev/xvda", "/dev/sdc", "/dev/sdd"]
    assert (found["/dev/sdc"]["VolumeSize"], found["/dev/sdc"]["DeleteOnTermination"]) == (9, True)
    assert "SnapshotId" not in found["/dev/sdd"]
    assert len(cloud.call("DescribeSnapshots")["Snapshots"]) == 2
    small = [{"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 5}}]
    code = cloud.code("CreateImage", InstanceId=with_data, Name="small", BlockDeviceMappings=small)
    assert code == "InvalidBlockDeviceMapping"
    assert len(cloud.call("DescribeImages", Owners=["self"])["Images"]) == 1


def test_a_copy_has_snapshots_of_its_own(cloud: Cloud, with_data: str) -> None:
    source = cloud.call("CreateImage", InstanceId=with_data, Name="whole", NoReboot=True)["ImageId"]
    complete(cloud, source)
    copy = cloud.call("CopyImage", Name="copy", SourceImageId=source, SourceRegion="us-east-1")["ImageId"]
    assert shown(cloud, copy)["State"] == "pending"
    theirs, own = devices(cloud, source), devices(cloud, copy)
    assert list(own) == list(theirs)
    assert {ebs["SnapshotId"] for ebs in own.values()}.isdisjoint(ebs["SnapshotId"] for ebs in theirs.values())
    (snapshot,) = cloud.call("DescribeSnapshots", SnapshotIds=[own["/dev/sdc"]["SnapshotId"]])["Snapshots"]
    assert (snapshot["VolumeId"], snapshot["VolumeSize"]) == ("vol-ffffffff", 6)
    assert snapshot["Description"] == (
        f"Copied for DestinationAmi {copy} from SourceAmi {source} for SourceSnapshot "
        f"{theirs['/dev/sdc']['SnapshotId']}."
    )
    cloud.call("DeregisterImage", ImageId=source, DeleteAssociatedSnapshots=True)
    assert len(cloud.call("DescribeSnapshots")["Snapshots"]) == 3


def test_deregistering_with_the_snapshots(cloud: Cloud, with_data: str) -> None:
    image = cloud.call("CreateImage", InstanceId=with_data, Name="whole", NoReboot=True)["ImageId"]
    complete(cloud, image)
    ids = [ebs["SnapshotId"] for ebs in devices(cloud, image).values()]
    mappings = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": ids[0]}}]
    cloud.call("RegisterImage", Name="shares", Architecture="x86_64", BlockDeviceMappings=mappings)
    answer = cloud.call("DeregisterImage", ImageId=image, DeleteAssociatedSnapshots=True)
    assert [(one["SnapshotId"], one["ReturnCode"]) for one in answer["DeleteSnapshotResults"]] == [
        (ids[0], "skipped"),
        (ids[1], "success"),
        (ids[2], "success"),
    ]
    assert [one["SnapshotId"] for one in cloud.call("DescribeSnapshots")["Snapshots"]] == ids[:1]


def test_snapshots_that_the_caller_may_not_delete_stay(cloud: Cloud, mine: str) -> None:
    cloud.caller = replace(cloud.caller, kind="user", arn="arn:aws:iam::123456789012:user/nobody", user_id="AIDANOBODY")
    answer = cloud.call("DeregisterImage", ImageId=mine, DeleteAssociatedSnapshots=True)
    assert [one["ReturnCode"] for one in answer["DeleteSnapshotResults"]] == ["missing-permissions"]


def test_a_disabled_image(cloud: Cloud, mine: str) -> None:
    cloud.call("ModifyImageAttribute", ImageId=mine, LaunchPermission={"Add": [{"Group": "all"}]})
    cloud.call("DisableImage", ImageId=mine)
    assert cloud.call("DescribeImages", ImageIds=[mine])["Images"] == []
    (image,) = cloud.call("DescribeImages", Owners=["self"], IncludeDisabled=True)["Images"]
    assert (image["State"], image["Public"]) == ("disabled", False)
    launch = {"ImageId": mine, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert cloud.code("RunInstances", **launch) == "InvalidAMIID.Unavailable"
    share = {"ImageId": mine, "LaunchPermission": {"Add": [{"Group": "all"}]}}
    assert cloud.code("ModifyImageAttribute", **share) == "IncorrectState"
    snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert cloud.code("DeleteSnapshot", SnapshotId=snapshot) == "InvalidSnapshot.InUse"
    cloud.call("EnableImage", ImageId=mine)
    cloud.run(ImageId=mine)
    assert shown(cloud, mine)["LastLaunchedTime"].startswith("2026-11-25T12:00:00")
    assert cloud.code("DisableImage", ImageId=cloud.image_id) == "AuthFailure"


def test_a_deprecated_image(cloud: Cloud, mine: str) -> None:
    at = cloud.clock.now + timedelta(days=1, seconds=31)
    cloud.call("EnableImageDeprecation", ImageId=mine, DeprecateAt=at)
    assert shown(cloud, mine)["DeprecationTime"] == "2026-11-26T12:01:00.000Z"
    cloud.clock.forward(days=2)
    # Its owner goes on to see it, and who knows it to use it.
    assert shown(cloud, mine)["State"] == "available"
    cloud.run(ImageId=mine)
    for wrong in (timedelta(days=-1), timedelta(days=3660)):
        asked = {"ImageId": mine, "DeprecateAt": cloud.clock.now + wrong}
        assert cloud.code("EnableImageDeprecation", **asked) == "InvalidParameterValue"
    cloud.call("DisableImageDeprecation", ImageId=mine)
    assert "DeprecationTime" not in shown(cloud, mine)


def test_a_protected_image(cloud: Cloud, mine: str) -> None:
    def attribute() -> str:
        asked = {"ImageId": mine, "Attribute": "deregistrationProtection"}
        return str(cloud.call("DescribeImageAttribute", **asked)["DeregistrationProtection"]["Value"])

    assert shown(cloud, mine)["DeregistrationProtection"] == attribute() == "disabled"
    cloud.call("EnableImageDeregistrationProtection", ImageId=mine)
    assert attribute() == "enabled-without-cooldown"
    assert cloud.code("DeregisterImage", ImageId=mine) == "OperationNotPermitted"
    cloud.call("EnableImageDeregistrationProtection", ImageId=mine, WithCooldown=True)
    cloud.call("DisableImageDeregistrationProtection", ImageId=mine)
    assert attribute() == "disabled"
    refusal = cloud.refusal("DeregisterImage", ImageId=mine)
    assert "ends at 2026-11-26T12:00:00Z" in refusal.message
    cloud.clock.forward(hours=24)
    cloud.call("DeregisterImage", ImageId=mine)
