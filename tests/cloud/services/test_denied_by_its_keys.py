"""A Deny holds for each spelling of what a policy can ask about a request, and for each resource that it reaches."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION, Cloud
from permission_scene import HERE, Permissions, deny

from skylift.cloud.domain.bucket import Spool
from skylift.cloud.services.table import TABLE

PROTECTED = {"StringEquals": {"aws:ResourceTag/keep": "yes"}}


@pytest.fixture
def scene(cloud: Cloud) -> Permissions:
    return Permissions(cloud)


@pytest.mark.parametrize("key", ["ec2:Add/group", "ec2:Add/userId", "ec2:Remove/group", "ec2:Remove/userId"])
def test_policies_can_ask_with_whom_an_image_or_a_snapshot_is_shared(scene: Permissions, key: str) -> None:
    """In the structure of today, and in the spelling of older tools."""
    verb, kind = key.removeprefix("ec2:").split("/")
    whom = {"group": "all", "userId": "111122223333"}[kind]
    structured = {verb: [{"Group" if kind == "group" else "UserId": whom}]}
    older = {"OperationType": verb.lower(), **({} if kind == "group" else {"UserIds": [whom]})}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("ModifyImageAttribute", {"LaunchPermission": structured}),
        ("ModifyImageAttribute", {**older, "Attribute": "launchPermission", **_group("UserGroups", kind)}),
        ("ModifySnapshotAttribute", {"CreateVolumePermission": structured}),
        ("ModifySnapshotAttribute", {**older, "Attribute": "createVolumePermission", **_group("GroupNames", kind)}),
    ]
    for name, asked in ways:
        resource = {"ImageId": scene.cloud.image_id} if "Image" in name else {"SnapshotId": "snap-0123456789abcdef0"}
        scene.given(deny(f"ec2:{name}", StringEquals={key: whom}))
        assert not scene.may("ec2", name, **resource, **asked), asked
        scene.given(deny(f"ec2:{name}", StringEquals={key: "other"}))
        assert scene.may("ec2", name, **resource, **asked), asked


def _group(member: str, kind: str) -> dict[str, Any]:
    return {member: ["all"]} if kind == "group" else {}


def test_an_attribute_has_its_value_in_the_older_spelling_too(scene: Permissions) -> None:
    scene.given(deny("ec2:ModifyImageAttribute", StringEquals={"ec2:Attribute/Description": "x"}))
    for asked in ({"Description": {"Value": "x"}}, {"Attribute": "description", "Value": "x"}):
        assert not scene.may("ec2", "ModifyImageAttribute", ImageId=scene.cloud.image_id, **asked)
    assert scene.may(
        "ec2", "ModifyImageAttribute", ImageId=scene.cloud.image_id, Attribute="description", Value="another"
    )


def test_a_volume_that_a_deny_keeps_does_not_go_with_its_server(scene: Permissions) -> None:
    server = scene.cloud.run()["InstanceId"]
    (volume,) = scene.cloud.call("DescribeVolumes")["Volumes"]
    (attachment,) = volume["Attachments"]
    scene.cloud.call("CreateTags", Resources=[volume["VolumeId"]], Tags=[{"Key": "keep", "Value": "yes"}])
    goes = [{"DeviceName": attachment["Device"], "Ebs": {"DeleteOnTermination": True}}]
    for denial in (
        deny("ec2:ModifyInstanceAttribute", f"{HERE}volume/{volume['VolumeId']}"),
        deny("ec2:ModifyInstanceAttribute", **PROTECTED),
    ):
        scene.given(denial)
        assert not scene.may("ec2", "ModifyInstanceAttribute", InstanceId=server, BlockDeviceMappings=goes)
        assert scene.may("ec2", "ModifyInstanceAttribute", InstanceId=server, DisableApiStop={"Value": True})


def test_a_fleet_is_made_of_nothing_that_a_deny_keeps_from_fleets(scene: Permissions) -> None:
    cloud = scene.cloud
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro"}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="servers", LaunchTemplateData=data)
    first, second, *_ = cloud.call("DescribeSubnets")["Subnets"]
    spec = {"LaunchTemplateSpecification": {"LaunchTemplateName": "servers", "Version": "1"}}
    target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}

    def asked(**override: str) -> dict[str, Any]:
        overrides = [{"SubnetId": first["SubnetId"]}, {"SubnetId": first["SubnetId"], **override}]
        return {"LaunchTemplateConfigs": [{**spec, "Overrides": overrides}]}

    def made(**override: str) -> bool:
        return scene.may("ec2", "CreateFleet", **asked(**override), TargetCapacitySpecification=target)

    fleet = cloud.call("CreateFleet", LaunchTemplateConfigs=[spec], TargetCapacitySpecification=target)["FleetId"]
    actions = ["ec2:CreateFleet", "ec2:ModifyFleet"]
    for denial in (
        deny(actions, f"{HERE}subnet/{second['SubnetId']}"),
        deny(actions, f"{HERE}subnet/*", StringEquals={"ec2:AvailabilityZone": second["AvailabilityZone"]}),
    ):
        scene.given(denial)
        assert made(InstanceType="t3.small")
        assert not made(SubnetId=second["SubnetId"])
        assert scene.may("ec2", "ModifyFleet", FleetId=fleet, **asked(InstanceType="t3.small"))
        assert not scene.may("ec2", "ModifyFleet", FleetId=fleet, **asked(SubnetId=second["SubnetId"]))
    scene.given(deny("ec2:CreateFleet", StringEquals={"ec2:InstanceType": "t3.large"}))
    assert made(InstanceType="t3.small")
    assert not made(InstanceType="t3.large")
    scene.given(deny(actions, f"arn:aws:ec2:{REGION}::image/{cloud.image_id}"))
    assert not made(InstanceType="t3.small")
    assert not scene.may("ec2", "ModifyFleet", FleetId=fleet, **asked(InstanceType="t3.small"))


def test_policies_can_ask_for_types_images_and_versions_of_a_group(scene: Permissions) -> None:
    group = {"AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 1}

    def may(version: str | None, *overrides: dict[str, Any], mixed: bool = True) -> bool:
        spec = {"LaunchTemplateName": "gone", **({"Version": version} if version else {})}
        template = {"LaunchTemplateSpecification": spec, "Overrides": list(overrides)}
        asked = {"MixedInstancesPolicy": {"LaunchTemplate": template}} if mixed else {"LaunchTemplate": spec}
        return scene.may("autoscaling", "CreateAutoScalingGroup", **group, **asked)

    for key, member in (("autoscaling:InstanceTypes", "InstanceType"), ("autoscaling:ImageId", "ImageId")):
        scene.given(deny("autoscaling:*", **{"ForAnyValue:StringEquals": {key: "denied"}}))
        assert not may("1", {member: "other"}, {member: "denied"})
        assert may("1", {member: "other"})
    scene.given(deny("autoscaling:*", Bool={"autoscaling:LaunchTemplateVersionSpecified": "false"}))
    for mixed in (True, False):
        assert may("3", mixed=mixed)
        for version in (None, "$Latest", "$Default"):
            assert not may(version, mixed=mixed)
    own = {"LaunchTemplateName": "own", "Version": "$Latest"}
    assert not may("3", {"InstanceType": "t3.micro", "LaunchTemplateSpecification": own})


def test_an_object_has_no_tags_of_what_another_service_calls_so(scene: Permissions) -> None:
    """A bucket may be called like a type of resource, and its objects like one of them."""
    scene.root("ssm", "PutParameter", Name="/p", Value="v", Type="String", Tags=[{"Key": "keep", "Value": "yes"}])
    scene.root("s3", "CreateBucket", Bucket="parameter")
    scene.given(deny("s3:*", **PROTECTED), deny("ssm:*", **PROTECTED))
    assert scene.may("s3", "GetObject", Bucket="parameter", Key="p")
    assert not scene.may("ssm", "GetParameter", Name="/p")


def test_an_address_is_taken_from_no_nat_gateway_that_a_deny_keeps(scene: Permissions) -> None:
    cloud = scene.cloud
    first, second = (cloud.call("AllocateAddress")["AllocationId"] for _ in range(2))
    made = cloud.call(
        "CreateNatGateway",
        SubnetId=cloud.default("subnet")["SubnetId"],
        AllocationId=first,
        SecondaryAllocationIds=[second],
    )["NatGateway"]
    addresses = {one["AllocationId"]: one for one in made["NatGatewayAddresses"]}
    asked = {"NatGatewayId": made["NatGatewayId"], "AssociationIds": [addresses[second]["AssociationId"]]}
    interface = addresses[first]["NetworkInterfaceId"]
    for allowed, resource in (
        (False, f"elastic-ip/{second}"),
        (False, f"network-interface/{interface}"),
        (False, f"natgateway/{made['NatGatewayId']}"),
        (True, f"elastic-ip/{first}"),
    ):
        scene.given(deny("ec2:DisassociateNatGatewayAddress", f"{HERE}{resource}"))
        assert scene.may("ec2", "DisassociateNatGatewayAddress", **asked) == allowed


def test_what_only_reads_is_denied_by_resource_too(scene: Permissions) -> None:
    group = scene.cloud.default("group")["GroupId"]
    scene.given(deny("ec2:DescribeSecurityGroupReferences", f"{HERE}security-group/{group}"))
    assert not scene.may("ec2", "DescribeSecurityGroupReferences", GroupId=[group])
    scene.given(deny("cloudwatch:*", f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:kept"))
    assert not scene.may("cloudwatch", "DescribeAlarms", AlarmNames=["other", "kept"])
    assert not scene.may("cloudwatch", "DescribeAlarmHistory", AlarmName="kept")
    assert scene.may("cloudwatch", "DescribeAlarms", AlarmNames=["other"])
    assert scene.may("cloudwatch", "DescribeAlarms")
    scene.given(deny("servicequotas:*", StringEquals={"servicequotas:service": "ec2"}))
    assert not scene.may("service-quotas", "GetServiceQuota", ServiceCode="ec2", QuotaCode="L-1216C47A")


def test_policies_can_ask_what_a_placement_is_changed_to(scene: Permissions) -> None:
    server = scene.cloud.run()["InstanceId"]
    scene.given(deny("ec2:ModifyInstancePlacement", StringEquals={"ec2:Attribute/Tenancy": "host"}))
    assert not scene.may("ec2", "ModifyInstancePlacement", InstanceId=server, Tenancy="host")
    assert scene.may("ec2", "ModifyInstancePlacement", InstanceId=server, Tenancy="default")


def test_an_address_comes_to_no_server_that_a_deny_keeps(scene: Permissions) -> None:
    """Neither to a server by its interface, nor to an interface by its server."""
    cloud = scene.cloud
    address = cloud.call("AllocateAddress")["AllocationId"]
    server, other = cloud.run()["InstanceId"], cloud.run()["InstanceId"]
    interface, free = (cloud.instance(one)["NetworkInterfaces"][0]["NetworkInterfaceId"] for one in (server, other))
    for resource in (f"instance/{server}", f"network-interface/{interface}"):
        scene.given(deny("ec2:AssociateAddress", f"{HERE}{resource}"))
        assert not scene.may("ec2", "AssociateAddress", AllocationId=address, InstanceId=server)
        assert not scene.may("ec2", "AssociateAddress", AllocationId=address, NetworkInterfaceId=interface)
        assert scene.may("ec2", "AssociateAddress", AllocationId=address, InstanceId=other)
        assert scene.may("ec2", "AssociateAddress", AllocationId=address, NetworkInterfaceId=free)


def test_nobody_asks_for_the_etag_of_an_object_that_a_deny_keeps_from_readers(scene: Permissions) -> None:
    """Whether a condition holds says what is in the object: also of one of many that are to be deleted."""
    body = Spool("", 1, "0cc175b9c0f1b6a831c399e269772661", {}, b"a", "AAAAAAAAAAA=")
    scene.root("s3", "CreateBucket", Bucket="bucket")
    for key, tagging in (("secret", "keep=yes"), ("open", "keep=no")):
        scene.root("s3", "PutObject", Bucket="bucket", Key=key, Body=body, Tagging=tagging)
    scene.given(deny("s3:GetObject", StringEquals={"s3:ExistingObjectTag/keep": "yes"}))
    guess = '"00000000000000000000000000000000"'
    for key in ("secret", "open"):
        named = {"Bucket": "bucket", "Key": key}
        assert scene.may("s3", "DeleteObject", **named)
        assert scene.may("s3", "PutObject", **named, Body=body)
        assert scene.may("s3", "DeleteObject", **named, IfMatch=guess) == (key == "open")
        assert scene.may("s3", "PutObject", **named, Body=body, IfMatch=guess) == (key == "open")
    many = {"Bucket": "bucket", "Delete": {"Objects": [{"Key": key, "ETag": guess} for key in ("secret", "open")]}}
    operation = TABLE["s3", "DeleteObjects"]
    with scene.cloud.database.write() as tx:
        (handler,) = operation.prepared(tx, scene.caller, many)
        answer: Any = handler(tx, scene.caller, many)
    assert {one["Key"]: one["Code"] for one in answer["Errors"]} == {
        "secret": "AccessDenied",
        "open": "PreconditionFailed",
    }
