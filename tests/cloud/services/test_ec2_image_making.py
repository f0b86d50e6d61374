from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged

from skylift.cloud.instance import Image


def settle(cloud: Cloud, image_id: str, **changes: Any) -> None:
    """Write down what the loop does with an image."""
    with cloud.database.write() as tx:
        image = tx.get(Image, id=image_id)
        assert image is not None
        tx.save(replace(image, **changes))


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
    settle(cloud, image_id, state="available", root="/mine")
    return image_id


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
