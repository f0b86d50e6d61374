"""Condition keys that EC2's checks carry, as the service authorization reference lists them by resource type."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, tagged

from skylift.cloud.services.api.operation import Check

HERE = f"arn:aws:ec2:us-east-1:{ACCOUNT}:"


def context(checks: list[Check], resource: str) -> dict[str, Any]:
    (found,) = [check for check in checks if check.resource.startswith(resource) and check.action != "ec2:CreateTags"]
    return dict(found.context or {})


def test_keys_of_an_instance(cloud: Cloud) -> None:
    instance_id = cloud.run(TagSpecifications=tagged("instance", job="j"))["InstanceId"]
    keys = context(cloud.checks("StopInstances", InstanceIds=[instance_id]), f"{HERE}instance/")
    assert keys == {
        "aws:ResourceTag/job": "j",
        "ec2:AvailabilityZone": cloud.row(instance_id).zone,
        "ec2:AvailabilityZoneId": "use1-az1",
        "ec2:EbsOptimized": "false",
        "ec2:InstanceID": instance_id,
        "ec2:InstanceMarketType": "on-demand",
        "ec2:InstanceMetadataTags": "disabled",
        "ec2:InstanceType": "t3.micro",
        "ec2:MetadataHttpEndpoint": "enabled",
        "ec2:MetadataHttpPutResponseHopLimit": "2",
        "ec2:MetadataHttpTokens": "required",
        "ec2:Region": "us-east-1",
        "ec2:ResourceTag/job": "j",
        "ec2:RootDeviceType": "ebs",
        "ec2:Tenancy": "default",
    }


def test_keys_of_the_parts_of_a_network(cloud: Cloud) -> None:
    vpc, subnet, group = cloud.default("vpc"), cloud.default("subnet"), cloud.default("group")
    in_vpc = f"{HERE}vpc/{vpc['VpcId']}"
    keys = context(cloud.checks("DeleteVpc", VpcId=vpc["VpcId"]), in_vpc)
    assert (keys["ec2:VpcID"], keys["ec2:Tenancy"]) == (vpc["VpcId"], "default")
    keys = context(cloud.checks("DeleteSubnet", SubnetId=subnet["SubnetId"]), f"{HERE}subnet/")
    assert (keys["ec2:SubnetID"], keys["ec2:Vpc"]) == (subnet["SubnetId"], in_vpc)
    assert keys["ec2:AvailabilityZone"] == subnet["AvailabilityZone"]
    keys = context(cloud.checks("DeleteSecurityGroup", GroupId=group["GroupId"]), f"{HERE}security-group/")
    assert (keys["ec2:SecurityGroupID"], keys["ec2:Vpc"]) == (group["GroupId"], in_vpc)
    table = cloud.default("table")["RouteTableId"]
    keys = context(cloud.checks("DeleteRouteTable", RouteTableId=table), f"{HERE}route-table/")
    assert (keys["ec2:RouteTableID"], keys["ec2:Vpc"]) == (table, in_vpc)
    acl = cloud.call("DescribeNetworkAcls")["NetworkAcls"][0]["NetworkAclId"]
    keys = context(cloud.checks("DeleteNetworkAcl", NetworkAclId=acl), f"{HERE}network-acl/")
    assert (keys["ec2:NetworkAclID"], keys["ec2:Vpc"]) == (acl, in_vpc)
    gateway = cloud.call("DescribeInternetGateways")["InternetGateways"][0]["InternetGatewayId"]
    keys = context(cloud.checks("DeleteInternetGateway", InternetGatewayId=gateway), f"{HERE}internet-gateway/")
    assert keys["ec2:InternetGatewayID"] == gateway


def test_keys_of_dhcp_options_and_of_the_vpc_that_gets_them(cloud: Cloud) -> None:
    domain = [{"Key": "domain-name", "Values": ["example.com"]}]
    made = cloud.call("CreateDhcpOptions", DhcpConfigurations=domain)["DhcpOptions"]["DhcpOptionsId"]
    checks = cloud.checks("AssociateDhcpOptions", DhcpOptionsId=made, VpcId=cloud.default("vpc")["VpcId"])
    assert context(checks, f"{HERE}dhcp-options/")["ec2:DhcpOptionsID"] == made
    assert context(checks, f"{HERE}vpc/")["ec2:VpcID"] == cloud.default("vpc")["VpcId"]


def test_keys_of_an_address_and_an_interface(cloud: Cloud) -> None:
    address = cloud.call("AllocateAddress")
    instance_id = cloud.run()["InstanceId"]
    interface = cloud.instance(instance_id)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    checks = cloud.checks("AssociateAddress", AllocationId=address["AllocationId"], NetworkInterfaceId=interface)
    keys = context(checks, f"{HERE}elastic-ip/")
    assert keys["ec2:AllocationId"] == address["AllocationId"]
    assert (keys["ec2:Domain"], keys["ec2:PublicIpAddress"]) == ("vpc", address["PublicIp"])
    keys = context(checks, f"{HERE}network-interface/")
    assert keys["ec2:NetworkInterfaceID"] == interface
    assert keys["ec2:Subnet"] == f"{HERE}subnet/{cloud.row(instance_id).subnet_id}"
    assert keys["ec2:AvailabilityZone"] == cloud.row(instance_id).zone


def test_keys_of_a_key_pair_and_an_image(cloud: Cloud) -> None:
    making = cloud.checks("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    assert context(making, f"{HERE}key-pair/mine")["ec2:KeyPairType"] == "ed25519"
    cloud.call("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    keys = context(cloud.checks("DeleteKeyPair", KeyName="mine"), f"{HERE}key-pair/mine")
    assert (keys["ec2:KeyPairName"], keys["ec2:KeyPairType"]) == ("mine", "ed25519")
    keys = context(cloud.checks("DeregisterImage", ImageId=cloud.image_id), "arn:aws:ec2:us-east-1::image/")
    assert keys["ec2:ImageID"] == cloud.image_id
    assert (keys["ec2:Owner"], keys["ec2:Public"]) == ("amazon", "true")
    assert (keys["ec2:ImageType"], keys["ec2:RootDeviceType"]) == ("machine", "ebs")


@pytest.mark.parametrize(
    ("asked", "names", "values"),
    [
        ({"DisableApiTermination": {"Value": False}}, ("DisableApiTermination",), {"DisableApiTermination": "false"}),
        ({"InstanceType": {"Value": "t3.small"}}, ("InstanceType",), {"InstanceType": "t3.small"}),
        ({"Groups": ["sg-00000000000000001"]}, ("Groups",), {}),
    ],
)
def test_a_policy_can_ask_what_is_changed(
    cloud: Cloud, asked: dict[str, Any], names: tuple[str, ...], values: dict[str, str]
) -> None:
    instance_id = cloud.run()["InstanceId"]
    keys = context(cloud.checks("ModifyInstanceAttribute", InstanceId=instance_id, **asked), f"{HERE}instance/")
    assert keys["ec2:Attribute"] == names
    found = {key.removeprefix("ec2:Attribute/"): value for key, value in keys.items() if key.startswith("ec2:Attri")}
    assert {name: value for name, value in found.items() if name != "ec2:Attribute"} == values


def test_every_option_that_is_changed_is_named(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]
    checks = cloud.checks("ModifyInstanceMetadataOptions", InstanceId=instance_id, HttpTokens="optional", DryRun=True)
    keys = context(checks, f"{HERE}instance/")
    assert keys["ec2:Attribute"] == ("HttpTokens",)
    assert keys["ec2:Attribute/HttpTokens"] == "optional"
    image = cloud.checks("ModifyImageAttribute", ImageId=cloud.image_id, Attribute="description", Value="x")
    assert context(image, "arn:aws:ec2:us-east-1::image/")["ec2:Attribute"] == ("Attribute", "Value", "Description")


def test_new_groups_of_an_instance_are_asked_about(cloud: Cloud) -> None:
    instance_id, group_id = cloud.run()["InstanceId"], cloud.default("group")["GroupId"]
    checks = cloud.checks("ModifyInstanceAttribute", InstanceId=instance_id, Groups=[group_id])
    assert [check.resource for check in checks] == [f"{HERE}instance/{instance_id}", f"{HERE}security-group/{group_id}"]


def test_an_image_of_a_server_takes_permission_on_its_snapshot_too(cloud: Cloud) -> None:
    checks = cloud.checks("CreateImage", InstanceId=cloud.run()["InstanceId"], Name="own-image")
    assert [check.resource for check in checks if check.resource.startswith("arn:aws:ec2:us-east-1::")] == [
        "arn:aws:ec2:us-east-1::image/*",
        "arn:aws:ec2:us-east-1::snapshot/*",
    ]


def test_a_launch_knows_what_its_template_says_and_what_the_request_does(cloud: Cloud) -> None:
    made = cloud.call(
        "CreateLaunchTemplate",
        LaunchTemplateName="web",
        LaunchTemplateData={"ImageId": cloud.image_id, "InstanceType": "t3.small"},
    )
    template = f"{HERE}launch-template/{made['LaunchTemplate']['LaunchTemplateId']}"
    asked: dict[str, Any] = {"MinCount": 1, "MaxCount": 1, "LaunchTemplate": {"LaunchTemplateName": "web"}}
    plain = cloud.checks("RunInstances", **asked)
    assert {(check.context or {})["ec2:LaunchTemplate"] for check in plain} == {template}
    assert {(check.context or {})["ec2:IsLaunchTemplateResource"] for check in plain} == {"true"}
    subnet_id = cloud.default("subnet")["SubnetId"]
    interfaces = [{"DeviceIndex": 0, "SubnetId": subnet_id}]
    other = cloud.checks("RunInstances", **asked, InstanceType="t3.large", NetworkInterfaces=interfaces)
    own = {check.resource for check in other if (check.context or {})["ec2:IsLaunchTemplateResource"] == "false"}
    assert own == {f"{HERE}instance/*", f"{HERE}network-interface/*", f"{HERE}subnet/{subnet_id}"}
    alone = cloud.checks("RunInstances", ImageId=cloud.image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    assert not any("ec2:LaunchTemplate" in (check.context or {}) for check in alone)


def test_who_deletes_all_tags_is_asked_about_each(cloud: Cloud) -> None:
    """Else leaving the keys out would pass a Deny on one of them, and an Allow of a few."""
    vpc = cloud.default("vpc")["VpcId"]
    in_vpc = f"{HERE}vpc/{vpc}"
    assert "aws:TagKeys" not in context(cloud.checks("DeleteTags", Resources=[vpc]), in_vpc)
    tags = [{"Key": "owner", "Value": "me"}, {"Key": "job", "Value": "j"}]
    cloud.call("CreateTags", Resources=[vpc], Tags=tags)
    for nothing in ({}, {"Tags": []}):
        assert context(cloud.checks("DeleteTags", Resources=[vpc], **nothing), in_vpc)["aws:TagKeys"] == (
            "owner",
            "job",
        )
    one = context(cloud.checks("DeleteTags", Resources=[vpc], Tags=[{"Key": "job"}]), in_vpc)
    assert one["aws:TagKeys"] == ("job",)
