"""Launch configurations, and groups that are made from one or from an instance."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION, Cloud
from scaling_scene import Scene

from skylift.cloud.domain.identity import InstanceProfile, Role
from skylift.cloud.services.ssm import parameter_put
from skylift.cloud.services.table import TABLE

SCRIPT = base64.b64encode(b"#!/bin/sh\ntrue\n").decode()
NOT_HERE: dict[str, Any] = {"LaunchTemplate": None, "VPCZoneIdentifier": None}


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    return Scene(cloud)


@pytest.fixture
def instance(scene: Scene) -> dict[str, Any]:
    """One that runs, with all that others can take over, and with things that they do not."""
    cloud = scene.cloud
    cloud.call("CreateKeyPair", KeyName="mine")
    made = cloud.run(
        KeyName="mine",
        InstanceType="t3.small",
        SubnetId=scene.subnets[1],
        UserData=SCRIPT,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "first"}]}],
    )
    cloud.observe(made["InstanceId"], "running")
    return dict(cloud.instance(made["InstanceId"]))


def configurations(scene: Scene, *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scene.call("DescribeLaunchConfigurations", LaunchConfigurationNames=list(names))[
        "LaunchConfigurations"
    ]
    return found


def test_a_group_made_from_an_instance_has_a_configuration_of_its_name(scene: Scene, instance: dict[str, Any]) -> None:
    """As the user guide's example shows both: what is the instance's, and what is not.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/create-asg-from-instance.html
    """
    scene.create(1, 2, 2, **NOT_HERE, InstanceId=instance["InstanceId"])
    scene.settle()
    (made,) = configurations(scene)
    assert made["LaunchConfigurationARN"].startswith(f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:launchConfiguration:")
    assert made["LaunchConfigurationARN"].endswith(":launchConfigurationName/web")
    groups = [one["GroupId"] for one in instance["SecurityGroups"]]
    assert {key: value for key, value in made.items() if key not in ("LaunchConfigurationARN", "CreatedTime")} == {
        "LaunchConfigurationName": "web",
        "ImageId": instance["ImageId"],
        "InstanceType": "t3.small",
        "KeyName": "mine",
        "SecurityGroups": groups,
        "UserData": SCRIPT,
        "AssociatePublicIpAddress": True,
        "InstanceMonitoring": {"Enabled": False},
        "BlockDeviceMappings": [],
        "ClassicLinkVPCSecurityGroups": [],
        "EbsOptimized": False,
        "KernelId": "",
        "RamdiskId": "",
    }
    assert (scene.group["LaunchConfigurationName"], scene.group["Tags"]) == ("web", [])
    assert "LaunchTemplate" not in scene.group
    assert scene.group["VPCZoneIdentifier"] == scene.subnets[1]
    assert len(scene.ids) == 2 and instance["InstanceId"] not in scene.ids
    for member in scene.group["Instances"]:
        assert member["LaunchConfigurationName"] == "web" and "LaunchTemplate" not in member
        launched = scene.cloud.instance(member["InstanceId"])
        assert (launched["InstanceType"], launched["KeyName"], launched["SubnetId"]) == (
            *("t3.small", "mine"),
            scene.subnets[1],
        )
        assert [one["GroupId"] for one in launched["SecurityGroups"]] == groups
        assert launched["PublicIpAddress"]
        assert [one["DeviceName"] for one in launched["BlockDeviceMappings"]] == ["/dev/xvda"]
        assert {pair["Key"] for pair in launched["Tags"]} == {"aws:autoscaling:groupName"}
    (shown, _) = scene.call("DescribeAutoScalingInstances")["AutoScalingInstances"]
    assert shown["LaunchConfigurationName"] == "web"


def test_a_group_is_made_from_no_instance_that_cannot_be(scene: Scene, instance: dict[str, Any]) -> None:
    def refusal(instance_id: str, **more: Any) -> str:
        asked = {"AutoScalingGroupName": "other", "MinSize": 0, "MaxSize": 1, "InstanceId": instance_id, **more}
        return scene.refusal("CreateAutoScalingGroup", **asked).message

    pending = scene.cloud.run()["InstanceId"]
    assert "not in correct state" in refusal(pending)
    assert "i-0123456789abcdef0" in refusal("i-0123456789abcdef0")
    assert "availability zone" in refusal(instance["InstanceId"], VPCZoneIdentifier=scene.subnets[0])
    named = {"LaunchTemplateId": scene.template}
    assert "Valid requests must contain either" in refusal(instance["InstanceId"], LaunchTemplate=named)
    scene.create(1, 1)
    scene.settle()
    assert "already part of AutoScalingGroup:web" in refusal(scene.ids[0])
    assert configurations(scene) == []


def test_a_configuration_from_an_instance_takes_over_what_is_not_asked_for(
    scene: Scene, instance: dict[str, Any]
) -> None:
    scene.call(
        "CreateLaunchConfiguration",
        LaunchConfigurationName="like",
        InstanceId=instance["InstanceId"],
        InstanceType="t3.nano",
        AssociatePublicIpAddress=False,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdg", "NoDevice": False, "Ebs": {"VolumeSize": 2}}],
    )
    (made,) = configurations(scene, "like")
    assert (made["InstanceType"], made["KeyName"], made["UserData"]) == ("t3.nano", "mine", SCRIPT)
    assert made["AssociatePublicIpAddress"] is False
    assert made["SecurityGroups"] == [one["GroupId"] for one in instance["SecurityGroups"]]
    assert made["BlockDeviceMappings"] == [{"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 2}}]
    scene.create(1, 1, LaunchTemplate=None, LaunchConfigurationName="like")
    scene.settle()
    launched = scene.cloud.instance(scene.ids[0])
    assert launched["InstanceType"] == "t3.nano" and "PublicIpAddress" not in launched
    assert {one["DeviceName"] for one in launched["BlockDeviceMappings"]} == {"/dev/xvda", "/dev/sdg"}


def test_a_configuration_from_scratch(scene: Scene) -> None:
    group = scene.cloud.call("DescribeSecurityGroups")["SecurityGroups"][0]["GroupId"]
    plain = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    scene.call("CreateLaunchConfiguration", LaunchConfigurationName="b", **plain, SpotPrice="0.5")
    scene.call("CreateLaunchConfiguration", LaunchConfigurationName="a", **plain, SecurityGroups=[group])
    first = scene.call("DescribeLaunchConfigurations", MaxRecords=1)
    (a,), (b,) = (
        first["LaunchConfigurations"],
        scene.call("DescribeLaunchConfigurations", MaxRecords=1, NextToken=first["NextToken"])["LaunchConfigurations"],
    )
    assert (a["LaunchConfigurationName"], a["SecurityGroups"]) == ("a", [group])
    assert "AssociatePublicIpAddress" not in a and "SpotPrice" not in a
    # Auto Scaling's default, unlike EC2's.
    assert a["InstanceMonitoring"] == {"Enabled": True}
    assert (b["LaunchConfigurationName"], b["SpotPrice"]) == ("b", "0.5")
    scene.create(1, 1, LaunchTemplate=None, LaunchConfigurationName="b")
    scene.settle()
    launched = scene.cloud.instance(scene.ids[0])
    assert (launched["InstanceLifecycle"], launched["Monitoring"]["State"]) == ("spot", "enabled")


def test_a_volume_is_shown_with_what_was_asked_of_its_encryption(scene: Scene) -> None:
    """Recorded on AWS: test_asg_non_encrypted_filter in cloud-custodian's tests/data/placebo. Terraform makes a
    configuration anew where it reads less than it wrote."""
    plain = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    volume = {"VolumeSize": 8, "VolumeType": "gp3", "DeleteOnTermination": False, "Encrypted": False}
    scene.call("CreateLaunchConfiguration", LaunchConfigurationName="a", **plain, **disks(("/dev/sde", volume)))
    (shown,) = scene.call("DescribeLaunchConfigurations")["LaunchConfigurations"]
    assert shown["BlockDeviceMappings"] == disks(("/dev/sde", volume))["BlockDeviceMappings"]
    scene.create(1, 1, LaunchTemplate=None, LaunchConfigurationName="a")
    scene.settle()
    assert len(scene.cloud.instance(scene.ids[0])["BlockDeviceMappings"]) == 2


def disks(*wanted: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"BlockDeviceMappings": [{"DeviceName": name, "Ebs": volume} for name, volume in wanted]}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"InstanceType": "t3.micro"}, "either the InstanceID parameter or both the ImageId and InstanceType"),
        ({"ImageId": "ami-0123456789abcdef0", "InstanceType": "t3.micro"}, "ami-0123456789abcdef0"),
        ({"InstanceType": "t9.micro", "ImageId": "here"}, "t9.micro"),
        ({"InstanceType": "t4g.micro", "ImageId": "here"}, "arm64"),
        ({"InstanceType": "t3.micro", "ImageId": "here", "KeyName": "none"}, "'none'"),
        ({"InstanceType": "t3.micro", "ImageId": "here", "SecurityGroups": ["default"]}, '"default"'),
        ({"InstanceType": "t3.micro", "ImageId": "here", "IamInstanceProfile": "none"}, "none"),
        ({"InstanceType": "t3.micro", "ImageId": "here", "SpotPrice": "much"}, "much"),
        ({"InstanceType": "t3.micro", "ImageId": "here", "UserData": "%"}, "BASE64"),
        ({"InstanceType": "t3.micro", "ImageId": "here", "PlacementTenancy": "shared"}, "shared"),
        ({"InstanceId": "i-0123456789abcdef0"}, "i-0123456789abcdef0"),
        *(
            ({"InstanceType": "t3.micro", "ImageId": "here", **more}, words)
            for more, words in (
                ({"MetadataOptions": {"HttpTokens": "perhaps"}}, "perhaps"),
                ({"MetadataOptions": {"HttpPutResponseHopLimit": 1000}}, "between 1 and 64"),
                (disks(("/dev/sdf", {"SnapshotId": "snap-0123456789abcdef0"})), "snap-0123456789abcdef0"),
                (disks(("/dev/sdf", {"VolumeSize": 99999999})), "99999999"),
                (disks(("/dev/sdf", {"VolumeSize": 1}), ("/dev/sdf", {"VolumeSize": 2})), "Duplicate device name"),
            )
        ),
    ],
)
def test_what_no_instance_can_be_launched_from_is_refused(scene: Scene, asked: dict[str, Any], words: str) -> None:
    named = {**asked, **({"ImageId": scene.cloud.image_id} if asked.get("ImageId") == "here" else {})}
    refusal = scene.refusal("CreateLaunchConfiguration", LaunchConfigurationName="bad", **named)
    assert refusal.code == "ValidationError" and words in refusal.message
    assert configurations(scene) == []


def test_a_parameter_is_not_looked_up_for_an_image(scene: Scene) -> None:
    """AWS takes ids of images only. Whoever may make configurations could otherwise read every parameter."""
    with scene.database.write() as tx:
        for name, value in (("/db/password", "hunter2"), ("/golden", scene.cloud.image_id)):
            parameter_put.put(tx, scene.cloud.caller, {"Name": name, "Value": value, "Type": "String"})
    for parameter in ("/db/password", "/golden", "/none"):
        asked = {"ImageId": f"resolve:ssm:{parameter}", "InstanceType": "t3.micro"}
        refusal = scene.refusal("CreateLaunchConfiguration", LaunchConfigurationName="bad", **asked)
        assert refusal.code == "ValidationError"
        assert parameter in refusal.message and "hunter2" not in refusal.message
    assert configurations(scene) == []


def test_the_oldest_of_three_configurations_goes_first(scene: Scene) -> None:
    plain = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    scene.call("CreateLaunchConfiguration", LaunchConfigurationName="1", **plain)
    for number, name in enumerate("132", start=1):
        # In the order 1, 3, 2 of launches; 3 is the newest.
        if name == "3":
            scene.cloud.clock.forward(seconds=10)
            scene.call("CreateLaunchConfiguration", LaunchConfigurationName="2", **plain)
            scene.cloud.clock.forward(seconds=10)
            scene.call("CreateLaunchConfiguration", LaunchConfigurationName="3", **plain)
        settings = {"LaunchConfigurationName": name, "DesiredCapacity": number}
        if number == 1:
            policies = ["OldestLaunchConfiguration", "NewestInstance"]
            one = {"LaunchTemplate": None, "VPCZoneIdentifier": scene.subnets[0], "TerminationPolicies": policies}
            scene.create(0, 3, 1, **one, LaunchConfigurationName=name)
        else:
            scene.on("UpdateAutoScalingGroup", **settings)
        scene.settle()
        scene.cloud.clock.forward(seconds=10)
    names = {one["InstanceId"]: one["LaunchConfigurationName"] for one in scene.group["Instances"]}
    assert [names[each] for each in scene.ids] == ["1", "3", "2"]
    scene.on("SetDesiredCapacity", DesiredCapacity=2)
    scene.settle()
    assert [names[each] for each in scene.ids] == ["3", "2"]
    # The group has 2 now, which is the older one.
    scene.on("SetDesiredCapacity", DesiredCapacity=1)
    scene.settle()
    assert [names[each] for each in scene.ids] == ["3"]


def test_an_instance_of_a_configuration_that_was_deleted_goes_first(scene: Scene) -> None:
    """Also where there is one of the same name since."""
    plain = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    for name in ("kept", "again"):
        scene.call("CreateLaunchConfiguration", LaunchConfigurationName=name, **plain)
        scene.cloud.clock.forward(seconds=10)
    one = {"LaunchTemplate": None, "VPCZoneIdentifier": scene.subnets[0], "TerminationPolicies": ["Default"]}
    scene.create(0, 2, 1, **one, LaunchConfigurationName="again")
    scene.settle()
    scene.cloud.clock.forward(seconds=10)
    scene.on("UpdateAutoScalingGroup", LaunchConfigurationName="kept", DesiredCapacity=2)
    scene.settle()
    deleted, kept = scene.ids
    scene.call("DeleteLaunchConfiguration", LaunchConfigurationName="again")
    scene.cloud.clock.forward(seconds=10)
    scene.call("CreateLaunchConfiguration", LaunchConfigurationName="again", **plain)
    scene.on("UpdateAutoScalingGroup", LaunchConfigurationName="again", DesiredCapacity=1)
    scene.settle()
    assert scene.ids == [kept] and deleted != kept


def test_a_configuration_goes_once_no_group_has_it(scene: Scene) -> None:
    plain = {"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"}
    scene.call("CreateLaunchConfiguration", LaunchConfigurationName="old", **plain)
    again = scene.refusal("CreateLaunchConfiguration", LaunchConfigurationName="old", **plain)
    assert again.code == "AlreadyExists"
    scene.create(0, 3, 1, LaunchTemplate=None, LaunchConfigurationName="old", TerminationPolicies=["NewestInstance"])
    scene.settle()
    assert scene.refusal("DeleteLaunchConfiguration", LaunchConfigurationName="old").code == "ResourceInUse"
    scene.call("CreateLaunchConfiguration", LaunchConfigurationName="new", **plain)
    scene.on("UpdateAutoScalingGroup", LaunchConfigurationName="new", DesiredCapacity=2)
    scene.settle()
    first, second = scene.ids
    names = {one["InstanceId"]: one["LaunchConfigurationName"] for one in scene.group["Instances"]}
    assert names == {first: "old", second: "new"}
    # What it was launched from goes first, though it is the older one's policy that asks for the newest.
    scene.on("UpdateAutoScalingGroup", TerminationPolicies=["OldestLaunchConfiguration"], DesiredCapacity=1)
    scene.settle()
    assert scene.ids == [second]
    scene.call("DeleteLaunchConfiguration", LaunchConfigurationName="old")
    scene.on("UpdateAutoScalingGroup", LaunchTemplate={"LaunchTemplateId": scene.template}, DesiredCapacity=2)
    scene.settle()
    assert "LaunchConfigurationName" not in scene.group and len(scene.ids) == 2
    scene.on("UpdateAutoScalingGroup", TerminationPolicies=["Default"], DesiredCapacity=1)
    scene.settle()
    assert second not in scene.ids
    scene.call("DeleteLaunchConfiguration", LaunchConfigurationName="new")
    missing = scene.refusal("DeleteLaunchConfiguration", LaunchConfigurationName="new")
    assert (missing.code, "Launch configuration new not found" in missing.message) == ("ValidationError", True)
    limits = scene.call("DescribeAccountLimits")
    assert (limits["NumberOfLaunchConfigurations"], limits["MaxNumberOfLaunchConfigurations"]) == (0, 200)


def test_making_one_from_an_instance_passes_its_role(scene: Scene) -> None:
    """Whoever may make groups does not thereby hand out every role."""
    now, prefix = scene.cloud.clock.now, f"arn:aws:iam::{ACCOUNT}"
    role = Role("batch", "AROAEXAMPLE", f"{prefix}:role/batch", "/", "{}", now)
    with scene.database.write() as tx:
        tx.add(role)
        tx.add(InstanceProfile("batch", "AIPAEXAMPLE", f"{prefix}:instance-profile/batch", "/", now, "batch"))
    made = scene.cloud.run(IamInstanceProfile={"Name": "batch"})["InstanceId"]
    scene.cloud.observe(made, "running")
    params = {"AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 1, "InstanceId": made}
    with scene.database.read() as tx:
        checks = list(TABLE["autoscaling", "CreateAutoScalingGroup"].checks(tx, scene.cloud.caller, params))
    assert ("iam:PassRole", role.arn) in [(check.action, check.resource) for check in checks]
    (making,) = [check for check in checks if check.action == "autoscaling:CreateLaunchConfiguration"]
    assert making.resource.endswith(":launchConfigurationName/web")
    assert making.context is not None and making.context["autoscaling:InstanceType"] == "t3.micro"
