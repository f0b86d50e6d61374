from __future__ import annotations

import base64
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged

from skylift.cloud.domain.identity import InstanceProfile, Role


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture
def profile(cloud: Cloud) -> InstanceProfile:
    role = Role("job", "AROAEXAMPLE", f"arn:aws:iam::{ACCOUNT}:role/skylift/job", "/skylift/", "{}", cloud.clock.now)
    made = InstanceProfile(
        "job",
        "AIPAEXAMPLE",
        f"arn:aws:iam::{ACCOUNT}:instance-profile/skylift/job",
        "/skylift/",
        cloud.clock.now,
        "job",
    )
    with cloud.database.write() as tx:
        tx.add(role)
        tx.add(made)
    return made


def test_the_smallest_launch(cloud: Cloud) -> None:
    answer = cloud.call("RunInstances", ImageId=cloud.image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    (instance,) = answer["Instances"]
    assert answer["OwnerId"] == ACCOUNT
    assert instance["State"] == {"Code": 0, "Name": "pending"}
    assert instance["StateReason"] == {"Code": "pending", "Message": "pending"}
    assert instance["Placement"]["AvailabilityZone"] == "us-east-1a"
    assert (instance["PrivateIpAddress"], instance["PublicIpAddress"]) == ("172.31.0.4", "127.7.1.1")
    assert instance["PrivateDnsName"] == "ip-172-31-0-4.ec2.internal"
    assert instance["PublicDnsName"] == ""
    assert instance["SecurityGroups"][0]["GroupName"] == "default"
    assert instance["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 2}
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    (interface,) = instance["NetworkInterfaces"]
    assert interface["Attachment"]["DeviceIndex"] == 0
    assert interface["Association"]["PublicIp"] == "127.7.1.1"
    (device,) = instance["BlockDeviceMappings"]
    (volume,) = cloud.call("DescribeVolumes")["Volumes"]
    assert (device["Ebs"]["VolumeId"], volume["Size"]) == (volume["VolumeId"], 8)
    (shown,) = cloud.call("DescribeNetworkInterfaces")["NetworkInterfaces"]
    assert shown["Attachment"]["InstanceId"] == instance["InstanceId"]
    assert cloud.row(instance["InstanceId"]).desired == "running"


def test_several_at_once(cloud: Cloud) -> None:
    answer = cloud.call("RunInstances", ImageId=cloud.image_id, InstanceType="t3.micro", MinCount=2, MaxCount=3)
    assert [one["AmiLaunchIndex"] for one in answer["Instances"]] == [0, 1, 2]
    assert [one["PrivateIpAddress"] for one in answer["Instances"]] == ["172.31.0.4", "172.31.0.5", "172.31.0.6"]
    rows = [cloud.row(one["InstanceId"]) for one in answer["Instances"]]
    assert len({row.uid_base for row in rows}) == len({one["PublicIpAddress"] for one in answer["Instances"]}) == 3
    (shown,) = cloud.call("DescribeInstances")["Reservations"]
    assert len(shown["Instances"]) == 3


def test_everything_that_can_be_asked_for(cloud: Cloud, profile: InstanceProfile) -> None:
    key = cloud.call("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    group = cloud.call("CreateSecurityGroup", GroupName="g", Description="d")["GroupId"]
    subnet = cloud.default("subnet")["SubnetId"]
    instance = cloud.run(
        KeyName="mine",
        NetworkInterfaces=[
            {
                "DeviceIndex": 0,
                "SubnetId": subnet,
                "Groups": [group],
                "AssociatePublicIpAddress": False,
                "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": "172.31.9.9"}],
                "Description": "the only one",
                "DeleteOnTermination": True,
            }
        ],
        UserData=b64(b"#!/bin/sh\n"),
        IamInstanceProfile={"Name": "job"},
        TagSpecifications=[
            *tagged("instance", Name="n", job="j"),
            *tagged("volume", job="j"),
            *tagged("network-interface", job="j"),
        ],
        InstanceInitiatedShutdownBehavior="terminate",
        MetadataOptions={"HttpTokens": "optional", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"},
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "VolumeType": "gp3"}}],
        Placement={"AvailabilityZone": "us-east-1a", "Tenancy": "default"},
        Monitoring={"Enabled": False},
        EbsOptimized=False,
    )
    assert "PublicIpAddress" not in instance
    assert instance["PrivateIpAddress"] == "172.31.9.9"
    assert instance["SecurityGroups"] == [{"GroupId": group, "GroupName": "g"}]
    assert instance["NetworkInterfaces"][0]["Description"] == "the only one"
    assert instance["IamInstanceProfile"] == {"Arn": profile.arn, "Id": profile.id}
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert instance["KeyName"] == "mine"
    row = cloud.row(instance["InstanceId"])
    (shown,) = cloud.call("DescribeKeyPairs", KeyPairIds=[key["KeyPairId"]], IncludePublicKey=True)["KeyPairs"]
    assert row.public_key == shown["PublicKey"]
    assert (row.shutdown_behavior, row.user_data) == ("terminate", b64(b"#!/bin/sh\n"))
    assert {one["ResourceType"] for one in cloud.call("DescribeTags", Filters=filters(key="job"))["Tags"]} == {
        "instance",
        "volume",
        "network-interface",
    }
    assert cloud.run(IamInstanceProfile={"Arn": profile.arn})["IamInstanceProfile"]["Id"] == profile.id


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "debian"}, "InvalidAMIID.Malformed"),
        ({"InstanceType": "t9.huge"}, "InvalidParameterValue"),
        ({"InstanceType": "t4g.micro"}, "InvalidParameterValue"),
        ({"KeyName": "none"}, "InvalidKeyPair.NotFound"),
        ({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound"),
        ({"SubnetId": "here"}, "InvalidSubnetId.Malformed"),
        ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
        ({"SecurityGroups": ["none"]}, "InvalidGroup.NotFound"),
        ({"MinCount": 0}, "InvalidParameterValue"),
        ({"MinCount": 2}, "InvalidParameterValue"),
        ({"MaxCount": 2, "PrivateIpAddress": "172.31.0.9"}, "InvalidParameterCombination"),
        ({"MinCount": 5000, "MaxCount": 5000}, "InsufficientFreeAddressesInSubnet"),
        ({"PrivateIpAddress": "10.0.0.9"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "172.31.0.3"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "172.31.15.255"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "nine"}, "InvalidParameterValue"),
        ({"PrivateIpAddress": "172.31.0.4"}, "InvalidIPAddress.InUse"),
        ({"UserData": "!!!"}, "InvalidUserData.Malformed"),
        ({"UserData": b64(b"x" * 16385)}, "InvalidParameterValue"),
        ({"IamInstanceProfile": {"Name": "none"}}, "InvalidParameterValue"),
        ({"IamInstanceProfile": {"Arn": "arn:none"}}, "InvalidParameterValue"),
        ({"IamInstanceProfile": {"Name": "a", "Arn": "b"}}, "InvalidParameterCombination"),
        ({"Placement": {"AvailabilityZone": "us-east-1z"}}, "InvalidParameterValue"),
        ({"Placement": {"Tenancy": "shared"}}, "InvalidParameterValue"),
        ({"Placement": {"GroupName": "g"}}, "InvalidPlacementGroup.Unknown"),
        (
            {"Placement": {"HostResourceGroupArn": "arn:aws:resource-groups:us-east-1:1:group/g"}},
            "UnsupportedOperation",
        ),
        ({"InstanceMarketOptions": {"MarketType": "capacity-block"}}, "UnsupportedOperation"),
        ({"LaunchTemplate": {"LaunchTemplateName": "t"}}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"MetadataOptions": {"HttpPutResponseHopLimit": 65}}, "InvalidParameterValue"),
        ({"MetadataOptions": {"HttpTokens": "maybe"}}, "InvalidParameterValue"),
        ({"InstanceInitiatedShutdownBehavior": "hibernate"}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 7}}]}, "InvalidBlockDeviceMapping"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/disk", "Ebs": {"VolumeSize": 9}}]}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}]}, "UnsupportedOperation"),
        ({"NetworkInterfaces": [{"DeviceIndex": number} for number in range(3)]}, "AttachmentLimitExceeded"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}, {"DeviceIndex": 0}]}, "InvalidParameterValue"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}, {"DeviceIndex": 256}]}, "InvalidParameterValue"),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}, {"DeviceIndex": 1}]},
            "InvalidParameterCombination",
        ),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 2}]},
            "PrivateIpAddressLimitExceeded",
        ),
        ({"NetworkInterfaces": [{"DeviceIndex": 1}]}, "InvalidParameterValue"),
        ({"NetworkInterfaces": [{}]}, "MissingParameter"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}], "SubnetId": "subnet-1"}, "InvalidParameterCombination"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}], "SecurityGroups": ["g"]}, "InvalidParameterCombination"),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-1"}]},
            "InvalidNetworkInterfaceId.Malformed",
        ),
        ({"NetworkInterfaces": [{"DeviceIndex": 0, "InterfaceType": "efa"}]}, "UnsupportedOperation"),
        ({"TagSpecifications": tagged("vpc", a="b")}, "InvalidParameterValue"),
        ({"ClientToken": "x" * 65}, "InvalidParameterValue"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_launches_that_cannot_be(cloud: Cloud, params: dict[str, Any], code: str) -> None:
    first = cloud.run()
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, **params}
    assert cloud.code("RunInstances", **asked) == code
    reservations = cloud.call("DescribeInstances")["Reservations"]
    assert [one["Instances"][0]["InstanceId"] for one in reservations] == [first["InstanceId"]]
    assert len(cloud.call("DescribeNetworkInterfaces")["NetworkInterfaces"]) == 1


def test_an_image_has_to_be_given(cloud: Cloud) -> None:
    assert cloud.code("RunInstances", MinCount=1, MaxCount=1) == "MissingParameter"
    assert cloud.run(ImageId=cloud.arm_image_id, InstanceType="t4g.nano")["Architecture"] == "arm64"


def test_without_a_type_of_its_own_or_its_templates_a_launch_is_of_m1_small(cloud: Cloud) -> None:
    """As EC2's API reference had it: "Default: m1.small"."""
    alone = {"ImageId": cloud.image_id, "MinCount": 1, "MaxCount": 1}
    (instance,) = cloud.call("RunInstances", **alone)["Instances"]
    assert instance["InstanceType"] == "m1.small"
    # Who may launch other types only may not leave it out.
    asked = [
        one.context["ec2:InstanceType"]
        for one in cloud.checks("RunInstances", **alone)
        if "ec2:InstanceType" in (one.context or {})
    ]
    assert asked == ["m1.small"]
    data = {"ImageId": cloud.image_id}
    template = cloud.call("CreateLaunchTemplate", LaunchTemplateName="bare", LaunchTemplateData=data)
    named = {"LaunchTemplate": {"LaunchTemplateId": template["LaunchTemplate"]["LaunchTemplateId"]}}
    (instance,) = cloud.call("RunInstances", **named, MinCount=1, MaxCount=1)["Instances"]
    assert instance["InstanceType"] == "m1.small"
    (instance,) = cloud.call("RunInstances", **named, InstanceType="t3.nano", MinCount=1, MaxCount=1)["Instances"]
    assert instance["InstanceType"] == "t3.nano"
    arm = {**alone, "ImageId": cloud.arm_image_id}
    assert cloud.code("RunInstances", **arm) == cloud.code("RunInstances", **arm, InstanceType="m1.small")


def test_group_and_subnet_have_to_be_in_one_network(cloud: Cloud) -> None:
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.0.0.0/28", AvailabilityZone="us-east-1b")["Subnet"]
    group = cloud.default("group")["GroupId"]
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    subnet_id = subnet["SubnetId"]
    assert cloud.code("RunInstances", **asked, SubnetId=subnet_id, SecurityGroupIds=[group]) == "InvalidParameter"
    assert cloud.code("RunInstances", **asked, SubnetId=subnet_id, SecurityGroups=["default"]) == (
        "InvalidParameterCombination"
    )
    assert (
        cloud.code("RunInstances", **asked, SubnetId=subnet_id, Placement={"AvailabilityZone": "us-east-1a"})
        == "InvalidParameterValue"
    )
    # A /28 has 11 addresses to give: as many as there are, if that is enough.
    answer = cloud.call("RunInstances", **{**asked, "MaxCount": 100}, SubnetId=subnet_id)
    assert len(answer["Instances"]) == 11
    assert "PublicIpAddress" not in answer["Instances"][0]
    assert cloud.code("RunInstances", **asked, SubnetId=subnet_id) == "InsufficientFreeAddressesInSubnet"


def test_client_token(cloud: Cloud) -> None:
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "ClientToken": "t"}
    first = cloud.call("RunInstances", **asked)
    assert cloud.call("RunInstances", **asked) == first
    assert cloud.code("RunInstances", **{**asked, "MaxCount": 2}) == "IdempotentParameterMismatch"
    instance_id = first["Instances"][0]["InstanceId"]
    cloud.observe(instance_id, "running")
    assert cloud.call("RunInstances", **asked)["Instances"][0]["State"]["Name"] == "running"
    cloud.call("TerminateInstances", InstanceIds=[instance_id])
    cloud.observe(instance_id, "terminated")
    assert cloud.code("RunInstances", **asked) == "IdempotentInstanceTerminated"


def test_a_profile_without_a_role_is_of_no_use(cloud: Cloud) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:instance-profile/empty"
    with cloud.database.write() as tx:
        tx.add(InstanceProfile("empty", "AIPAEMPTY", arn, "/", cloud.clock.now))
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    refusal = cloud.refusal("RunInstances", **asked, IamInstanceProfile={"Name": "empty"})
    assert (refusal.code, "no associated IAM Roles" in refusal.message) == ("InvalidParameterValue", True)


def test_permissions_asked_for(cloud: Cloud, profile: InstanceProfile) -> None:
    cloud.call("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    subnet, group = cloud.default("subnet"), cloud.default("group")
    checks = cloud.checks(
        "RunInstances",
        ImageId=cloud.image_id,
        InstanceType="t3.micro",
        KeyName="mine",
        IamInstanceProfile={"Name": "job"},
        TagSpecifications=tagged("instance", job="j"),
    )
    here = f"arn:aws:ec2:us-east-1:{ACCOUNT}:"
    assert {(check.action, check.resource) for check in checks} == {
        ("ec2:RunInstances", f"arn:aws:ec2:us-east-1::image/{cloud.image_id}"),
        ("ec2:RunInstances", f"{here}instance/*"),
        ("ec2:RunInstances", f"{here}volume/*"),
        ("ec2:RunInstances", f"{here}network-interface/*"),
        ("ec2:RunInstances", f"{here}subnet/{subnet['SubnetId']}"),
        ("ec2:RunInstances", f"{here}security-group/{group['GroupId']}"),
        ("ec2:RunInstances", f"{here}key-pair/mine"),
        ("ec2:CreateTags", f"{here}instance/*"),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/skylift/job"),
    }
    by_resource = {(check.action, check.resource): check.context or {} for check in checks}
    tagging = by_resource["ec2:CreateTags", f"{here}instance/*"]
    assert (tagging["ec2:CreateAction"], tagging["aws:RequestTag/job"]) == ("RunInstances", "j")
    assert tagging["aws:TagKeys"] == ("job",)
    making = by_resource["ec2:RunInstances", f"{here}instance/*"]
    assert (making["ec2:InstanceType"], making["ec2:InstanceProfile"]) == ("t3.micro", profile.arn)
    passing = by_resource["iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/skylift/job"]
    assert passing["iam:PassedToService"] == "ec2.amazonaws.com"
