"""Network interfaces by themselves: made, attached, detached, given addresses, deleted."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged

from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.loops.ec2.instance import settle

INVALID = "InvalidParameterValue"
NINE = {"PrivateIpAddress": "172.31.0.9"}


def make(cloud: Cloud, **asked: Any) -> dict[str, Any]:
    subnet = asked.pop("SubnetId", cloud.default("subnet")["SubnetId"])
    made: dict[str, Any] = cloud.call("CreateNetworkInterface", SubnetId=subnet, **asked)["NetworkInterface"]
    return made


def running(cloud: Cloud, **asked: Any) -> str:
    subnet = asked.pop("SubnetId", cloud.default("subnet")["SubnetId"])
    instance = str(cloud.run(SubnetId=subnet, **asked)["InstanceId"])
    cloud.observe(instance, "running")
    return instance


def described(cloud: Cloud, interface: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.call("DescribeNetworkInterfaces", NetworkInterfaceIds=[interface])[
        "NetworkInterfaces"
    ][0]
    return found


def plugged(cloud: Cloud, interface: str) -> None:
    """What the loops do once the kernel has what was asked for."""
    with cloud.database.write() as tx:
        row = tx.get(NetworkInterface, id=interface)
        assert row is not None
        settle(tx, row)


def attach(cloud: Cloud, interface: str, instance: str, index: int = 1) -> str:
    asked = {"NetworkInterfaceId": interface, "InstanceId": instance, "DeviceIndex": index}
    return str(cloud.call("AttachNetworkInterface", **asked)["AttachmentId"])


def test_one_that_nobody_has_is_available(cloud: Cloud) -> None:
    made = make(cloud, Description="spare", TagSpecifications=tagged("network-interface", Name="spare"))
    assert made["Status"] == "available"
    assert "Attachment" not in made
    assert made["Groups"] == [{"GroupId": cloud.default("group")["GroupId"], "GroupName": "default"}]
    assert described(cloud, made["NetworkInterfaceId"]) == made
    for name, value in (("operator.managed", "false"), ("status", "available"), ("description", "sp?re")):
        found = cloud.call("DescribeNetworkInterfaces", Filters=filters(**{name: value}))["NetworkInterfaces"]
        assert found == [made]
    free = cloud.default("subnet")["AvailableIpAddressCount"]
    cloud.call("DeleteNetworkInterface", NetworkInterfaceId=made["NetworkInterfaceId"])
    assert cloud.default("subnet")["AvailableIpAddressCount"] == free + 1
    code = cloud.code("DescribeNetworkInterfaces", NetworkInterfaceIds=[made["NetworkInterfaceId"]])
    assert code == "InvalidNetworkInterfaceID.NotFound"


def test_who_asked_for_it_is_shown(cloud: Cloud) -> None:
    """As recorded on AWS: test_network_interface_filter of cloud-custodian's tests/data/placebo.

    An instance's own interface has no requester.
    """
    made = make(cloud)
    assert made["RequesterId"] == cloud.caller.user_id and made["RequesterManaged"] is False
    launched = cloud.run()["NetworkInterfaces"][0]["NetworkInterfaceId"]
    asked = filters(**{"requester-id": cloud.caller.user_id})
    assert cloud.call("DescribeNetworkInterfaces", Filters=asked)["NetworkInterfaces"] == [made]
    assert "RequesterId" not in described(cloud, launched)


def test_addresses_by_name_and_by_number(cloud: Cloud) -> None:
    listed = [{"PrivateIpAddress": "172.31.0.9"}, {"PrivateIpAddress": "172.31.0.8", "Primary": True}]
    made = make(cloud, PrivateIpAddresses=listed)
    assert made["PrivateIpAddress"] == "172.31.0.8"
    assert [(one["PrivateIpAddress"], one["Primary"]) for one in made["PrivateIpAddresses"]] == [
        ("172.31.0.8", True),
        ("172.31.0.9", False),
    ]
    more = make(cloud, PrivateIpAddress="172.31.0.20", SecondaryPrivateIpAddressCount=2)
    assert [one["PrivateIpAddress"] for one in more["PrivateIpAddresses"]] == [
        "172.31.0.20",
        "172.31.0.4",
        "172.31.0.5",
    ]
    subnet = cloud.default("subnet")["SubnetId"]
    for taken in ("172.31.0.9", "172.31.0.4"):
        code = cloud.code("CreateNetworkInterface", SubnetId=subnet, PrivateIpAddress=taken)
        assert code == "InvalidIPAddress.InUse"
    # Nobody else gets one of them either.
    assert cloud.run(SubnetId=subnet)["PrivateIpAddress"] == "172.31.0.6"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (
            {"PrivateIpAddresses": [{**NINE, "Primary": True}], "PrivateIpAddress": "172.31.0.8"},
            "InvalidParameterValue",
        ),
        ({"PrivateIpAddresses": [NINE], "SecondaryPrivateIpAddressCount": 1}, "InvalidParameterCombination"),
        ({"PrivateIpAddresses": [NINE, NINE]}, INVALID),
        ({"SecondaryPrivateIpAddressCount": 50}, INVALID),
        ({"Groups": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
        ({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound"),
        ({"InterfaceType": "efa"}, "UnsupportedOperation"),
        ({"Ipv6AddressCount": 1}, "UnsupportedOperation"),
    ],
)
def test_what_cannot_be_is_refused(cloud: Cloud, asked: dict[str, Any], code: str) -> None:
    asked = {"SubnetId": cloud.default("subnet")["SubnetId"], **asked}
    assert cloud.code("CreateNetworkInterface", **asked) == code


def test_a_subnet_that_is_full_gives_none(cloud: Cloud) -> None:
    vpc = cloud.call("CreateVpc", CidrBlock="10.9.0.0/28")["Vpc"]["VpcId"]
    subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.9.0.0/28")["Subnet"]["SubnetId"]
    make(cloud, SubnetId=subnet, SecondaryPrivateIpAddressCount=9)
    more = {"SubnetId": subnet, "SecondaryPrivateIpAddressCount": 1}
    assert cloud.code("CreateNetworkInterface", **more) == "InsufficientFreeAddressesInSubnet"
    make(cloud, SubnetId=subnet)


def test_the_same_request_makes_one_interface(cloud: Cloud) -> None:
    first = make(cloud, ClientToken="once")["NetworkInterfaceId"]
    assert make(cloud, ClientToken="once")["NetworkInterfaceId"] == first
    subnet = cloud.default("subnet")["SubnetId"]
    changed = {"SubnetId": subnet, "ClientToken": "once", "Description": "another"}
    assert cloud.code("CreateNetworkInterface", **changed) == "IdempotentParameterMismatch"


def test_attached_to_a_server_that_runs_and_taken_from_it(cloud: Cloud) -> None:
    instance, spare = running(cloud), make(cloud)["NetworkInterfaceId"]
    attachment = attach(cloud, spare, instance)
    shown = described(cloud, spare)
    assert (shown["Status"], shown["Attachment"]["Status"]) == ("in-use", "attaching")
    plugged(cloud, spare)
    shown = described(cloud, spare)["Attachment"]
    assert (shown["Status"], shown["DeviceIndex"], shown["InstanceId"]) == ("attached", 1, instance)
    assert shown["DeleteOnTermination"] is False
    assert [one["NetworkInterfaceId"] for one in cloud.instance(instance)["NetworkInterfaces"]][1] == spare
    assert cloud.code("DeleteNetworkInterface", NetworkInterfaceId=spare) == "InvalidParameterValue"
    again = {"NetworkInterfaceId": spare, "InstanceId": instance, "DeviceIndex": 2}
    assert cloud.code("AttachNetworkInterface", **again) == "InvalidNetworkInterface.InUse"
    cloud.call("DetachNetworkInterface", AttachmentId=attachment)
    assert described(cloud, spare)["Attachment"]["Status"] == "detaching"
    plugged(cloud, spare)
    assert described(cloud, spare)["Status"] == "available"
    assert cloud.code("DetachNetworkInterface", AttachmentId=attachment) == "InvalidAttachmentID.NotFound"


def test_a_server_that_is_off_has_it_at_once(cloud: Cloud) -> None:
    instance, spare = running(cloud), make(cloud)["NetworkInterfaceId"]
    cloud.observe(instance, "stopped")
    attachment = attach(cloud, spare, instance)
    assert described(cloud, spare)["Attachment"]["Status"] == "attached"
    cloud.call("DetachNetworkInterface", AttachmentId=attachment)
    assert described(cloud, spare)["Status"] == "available"


def test_the_first_interface_stays(cloud: Cloud) -> None:
    (first,) = cloud.instance(running(cloud))["NetworkInterfaces"]
    code = cloud.code("DetachNetworkInterface", AttachmentId=first["Attachment"]["AttachmentId"])
    assert code == "OperationNotPermitted"


def test_where_and_how_many_the_type_and_the_zone_say(cloud: Cloud) -> None:
    instance = running(cloud)
    subnets = cloud.call("DescribeSubnets", Filters=filters(availability_zone="us-east-1b"))["Subnets"]
    far = make(cloud, SubnetId=subnets[0]["SubnetId"])["NetworkInterfaceId"]
    first, second = (make(cloud)["NetworkInterfaceId"] for _ in range(2))
    wide = make(cloud, SecondaryPrivateIpAddressCount=2)["NetworkInterfaceId"]

    def code(interface: str, index: int) -> str:
        asked = {"NetworkInterfaceId": interface, "InstanceId": instance, "DeviceIndex": index}
        return cloud.code("AttachNetworkInterface", **asked)

    assert code(first, 0) == "InvalidParameterValue"
    assert code(first, 256) == "InvalidParameterValue"
    assert code(far, 1) == "InvalidParameterCombination"
    assert code(wide, 1) == "PrivateIpAddressLimitExceeded"
    attach(cloud, first, instance)
    assert code(second, 1) == "InvalidParameterValue"
    # A t3.micro has two.
    assert code(second, 2) == "AttachmentLimitExceeded"
    cloud.observe(instance, "stopping")
    assert code(second, 2) == "IncorrectInstanceState"


def test_it_outlives_its_server_unless_told_to_end_with_it(cloud: Cloud) -> None:
    instance = running(cloud, InstanceType="t3.small")
    kept, ended = (make(cloud)["NetworkInterfaceId"] for _ in range(2))
    attach(cloud, kept, instance, 1)
    attachment = {"AttachmentId": attach(cloud, ended, instance, 2), "DeleteOnTermination": True}
    cloud.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=ended, Attachment=attachment)
    cloud.observe(instance, "terminated")
    assert described(cloud, kept)["Status"] == "available"
    assert cloud.code("DescribeNetworkInterfaces", NetworkInterfaceIds=[ended]) == "InvalidNetworkInterfaceID.NotFound"


def test_attributes_one_by_one(cloud: Cloud) -> None:
    spare = make(cloud)["NetworkInterfaceId"]
    vpc = cloud.default("vpc")["VpcId"]
    group = cloud.call("CreateSecurityGroup", GroupName="g", Description="g", VpcId=vpc)["GroupId"]

    def modify(**change: Any) -> None:
        cloud.call("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=spare, **change)

    def attribute(name: str) -> Any:
        return cloud.call("DescribeNetworkInterfaceAttribute", NetworkInterfaceId=spare, Attribute=name)

    modify(Description={"Value": "in words"})
    modify(SourceDestCheck={"Value": False})
    modify(Groups=[group])
    assert attribute("description")["Description"] == {"Value": "in words"}
    assert attribute("sourceDestCheck")["SourceDestCheck"] == {"Value": False}
    assert attribute("groupSet")["Groups"] == [{"GroupId": group, "GroupName": "g"}]
    assert "Attachment" not in attribute("attachment")
    assert attribute("associatePublicIpAddress")["AssociatePublicIpAddress"] is False
    cloud.call("ResetNetworkInterfaceAttribute", NetworkInterfaceId=spare, SourceDestCheck="true")
    assert described(cloud, spare)["SourceDestCheck"] is True
    both = {"NetworkInterfaceId": spare, "Description": {"Value": ""}, "Groups": [group]}
    assert cloud.code("ModifyNetworkInterfaceAttribute", **both) == "InvalidParameterCombination"
    assert cloud.code("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=spare) == "MissingParameter"
    assert cloud.code("DescribeNetworkInterfaceAttribute", NetworkInterfaceId=spare, Attribute="x") == (
        "InvalidParameterValue"
    )


def test_of_two_interfaces_an_instances_attribute_has_to_say_which(cloud: Cloud) -> None:
    instance = running(cloud)
    attach(cloud, make(cloud)["NetworkInterfaceId"], instance)
    off = {"InstanceId": instance, "SourceDestCheck": {"Value": False}}
    assert cloud.code("ModifyInstanceAttribute", **off) == "InvalidInstanceID"
    allocation = cloud.call("AllocateAddress")["AllocationId"]
    assert cloud.code("AssociateAddress", AllocationId=allocation, InstanceId=instance) == "InvalidInstanceID"


def addresses(cloud: Cloud, interface: str) -> list[str]:
    return [one["PrivateIpAddress"] for one in described(cloud, interface)["PrivateIpAddresses"]]


def test_secondary_addresses_come_and_go(cloud: Cloud) -> None:
    spare = make(cloud, PrivateIpAddress="172.31.0.10")["NetworkInterfaceId"]
    given = cloud.call("AssignPrivateIpAddresses", NetworkInterfaceId=spare, SecondaryPrivateIpAddressCount=2)
    assert given["AssignedPrivateIpAddresses"] == [{"PrivateIpAddress": f"172.31.0.{last}"} for last in (4, 5)]
    cloud.call("AssignPrivateIpAddresses", NetworkInterfaceId=spare, PrivateIpAddresses=["172.31.0.5", "172.31.0.30"])
    assert addresses(cloud, spare) == [f"172.31.0.{last}" for last in (10, 4, 5, 30)]
    cloud.call("UnassignPrivateIpAddresses", NetworkInterfaceId=spare, PrivateIpAddresses=["172.31.0.4"])
    assert addresses(cloud, spare) == [f"172.31.0.{last}" for last in (10, 5, 30)]
    for absent in ("172.31.0.4", "172.31.0.10"):
        asked = {"NetworkInterfaceId": spare, "PrivateIpAddresses": [absent]}
        assert cloud.code("UnassignPrivateIpAddresses", **asked) == "InvalidParameterValue"


def test_a_server_is_told_of_its_new_addresses(cloud: Cloud) -> None:
    instance = running(cloud)
    (first,) = cloud.instance(instance)["NetworkInterfaces"]
    interface = first["NetworkInterfaceId"]
    cloud.call("AssignPrivateIpAddresses", NetworkInterfaceId=interface, SecondaryPrivateIpAddressCount=1)
    with cloud.database.read() as tx:
        row = tx.get(NetworkInterface, id=interface)
        assert row is not None and row.attachment == "changing"
    assert described(cloud, interface)["Attachment"]["Status"] == "attached"
    # A t3.micro has two addresses at each interface.
    more = {"NetworkInterfaceId": interface, "SecondaryPrivateIpAddressCount": 1}
    assert cloud.code("AssignPrivateIpAddresses", **more) == "PrivateIpAddressLimitExceeded"


def test_an_address_moves_with_its_elastic_ip_only_where_that_is_allowed(cloud: Cloud) -> None:
    here = make(cloud, PrivateIpAddresses=[{"PrivateIpAddress": "172.31.0.40"}])["NetworkInterfaceId"]
    there = make(cloud)["NetworkInterfaceId"]
    made = cloud.call("AllocateAddress")
    elastic = {"AllocationId": made["AllocationId"], "NetworkInterfaceId": here, "PrivateIpAddress": "172.31.0.40"}
    association = cloud.call("AssociateAddress", **elastic)["AssociationId"]
    shown = described(cloud, here)
    assert "Association" not in shown
    assert shown["PrivateIpAddresses"][1]["Association"]["AssociationId"] == association
    move = {"NetworkInterfaceId": there, "PrivateIpAddresses": ["172.31.0.40"]}
    assert cloud.code("AssignPrivateIpAddresses", **move) == "InvalidIPAddress.InUse"
    cloud.call("AssignPrivateIpAddresses", **move, AllowReassignment=True)
    assert addresses(cloud, here)[1:] == []
    assert described(cloud, there)["PrivateIpAddresses"][1]["Association"]["PublicIp"] == made["PublicIp"]
    (address,) = cloud.call("DescribeAddresses", AllocationIds=[made["AllocationId"]])["Addresses"]
    assert (address["NetworkInterfaceId"], address["PrivateIpAddress"]) == (there, "172.31.0.40")
    cloud.call("UnassignPrivateIpAddresses", **move)
    (address,) = cloud.call("DescribeAddresses", AllocationIds=[made["AllocationId"]])["Addresses"]
    assert "AssociationId" not in address
    primary = {"NetworkInterfaceId": there, "PrivateIpAddresses": [addresses(cloud, here)[0]]}
    assert cloud.code("AssignPrivateIpAddresses", **primary, AllowReassignment=True) == "InvalidIPAddress.InUse"


def test_an_elastic_ip_at_each_address(cloud: Cloud) -> None:
    spare = make(cloud, SecondaryPrivateIpAddressCount=1)["NetworkInterfaceId"]
    first, second = addresses(cloud, spare)
    made = [cloud.call("AllocateAddress") for _ in range(2)]
    for one, private in zip(made, (first, second), strict=True):
        asked = {"AllocationId": one["AllocationId"], "NetworkInterfaceId": spare, "PrivateIpAddress": private}
        cloud.call("AssociateAddress", **asked)
    shown = described(cloud, spare)["PrivateIpAddresses"]
    assert [one["Association"]["PublicIp"] for one in shown] == [one["PublicIp"] for one in made]
    # From one address of the interface to the other one, whose own is free again.
    moved = {"AllocationId": made[0]["AllocationId"], "NetworkInterfaceId": spare, "PrivateIpAddress": second}
    cloud.call("AssociateAddress", **moved)
    shown = described(cloud, spare)["PrivateIpAddresses"]
    assert "Association" not in shown[0]
    assert shown[1]["Association"]["PublicIp"] == made[0]["PublicIp"]
    cloud.call("DeleteNetworkInterface", NetworkInterfaceId=spare)
    for one in made:
        cloud.call("ReleaseAddress", AllocationId=one["AllocationId"])


def test_with_a_second_interface_a_start_gives_no_public_address(cloud: Cloud) -> None:
    instance = running(cloud)
    assert "PublicIpAddress" in cloud.instance(instance)
    cloud.observe(instance, "stopped")
    attachment = attach(cloud, make(cloud)["NetworkInterfaceId"], instance)
    cloud.call("StartInstances", InstanceIds=[instance])
    assert "PublicIpAddress" not in cloud.instance(instance)
    cloud.observe(instance, "stopped")
    cloud.call("DetachNetworkInterface", AttachmentId=attachment)
    cloud.call("StartInstances", InstanceIds=[instance])
    assert "PublicIpAddress" in cloud.instance(instance)


def test_permission_is_asked_for_each_of_the_two(cloud: Cloud) -> None:
    instance, spare = running(cloud), make(cloud)["NetworkInterfaceId"]
    asked = {"NetworkInterfaceId": spare, "InstanceId": instance, "DeviceIndex": 1}
    kinds = [check.resource.rpartition(":")[2] for check in cloud.checks("AttachNetworkInterface", **asked)]
    assert kinds == [f"network-interface/{spare}", f"instance/{instance}"]
    attachment = attach(cloud, spare, instance)
    found = cloud.checks("DetachNetworkInterface", AttachmentId=attachment)
    assert [check.resource.rpartition(":")[2] for check in found] == kinds


def test_permission_to_make_one_knows_where(cloud: Cloud) -> None:
    subnet = cloud.default("subnet")
    tags = tagged("network-interface", Name="n")
    made, tagging, where = cloud.checks("CreateNetworkInterface", SubnetId=subnet["SubnetId"], TagSpecifications=tags)
    assert made.context is not None
    assert made.context["ec2:Subnet"] == subnet["SubnetArn"] == where.resource
    assert made.context["ec2:AvailabilityZone"] == subnet["AvailabilityZone"]
    assert (tagging.action, made.resource) == ("ec2:CreateTags", tagging.resource)


def test_a_launch_with_several_interfaces(cloud: Cloud) -> None:
    """One that the launch makes, with two addresses, and one that was there; they end as each was told to."""
    subnet, spare = cloud.default("subnet")["SubnetId"], make(cloud)["NetworkInterfaceId"]
    new = {"DeviceIndex": 0, "SubnetId": subnet, "SecondaryPrivateIpAddressCount": 1, "Description": "made"}
    old = {"DeviceIndex": 1, "NetworkInterfaceId": spare}
    instance = cloud.run(NetworkInterfaces=[old, new])
    first, second = instance["NetworkInterfaces"]
    assert (first["Description"], first["Attachment"]["DeviceIndex"], len(first["PrivateIpAddresses"])) == (
        "made",
        0,
        2,
    )
    assert (second["NetworkInterfaceId"], second["Attachment"]["DeviceIndex"]) == (spare, 1)
    # Of two interfaces none is given a public address, whatever the subnet says.
    assert "PublicIpAddress" not in instance
    ends = [one["Attachment"]["DeleteOnTermination"] for one in (first, second)]
    assert ends == [True, False]
    cloud.observe(instance["InstanceId"], "running")
    assert described(cloud, spare)["Attachment"]["Status"] == "attached"
    data = cloud.call("GetLaunchTemplateData", InstanceId=instance["InstanceId"])["LaunchTemplateData"]
    assert [one["DeviceIndex"] for one in data["NetworkInterfaces"]] == [0, 1]
    cloud.observe(instance["InstanceId"], "stopped")
    small = {"InstanceId": instance["InstanceId"], "InstanceType": {"Value": "t2.micro"}}
    cloud.call("ModifyInstanceAttribute", **small)
    cloud.observe(instance["InstanceId"], "terminated")
    (left,) = cloud.call("DescribeNetworkInterfaces")["NetworkInterfaces"]
    assert (left["NetworkInterfaceId"], left["Status"]) == (spare, "available")


def test_what_a_launch_says_of_an_existing_interface(cloud: Cloud) -> None:
    spare = make(cloud)["NetworkInterfaceId"]
    subnets = cloud.call("DescribeSubnets", Filters=filters(availability_zone="us-east-1b"))["Subnets"]
    far = make(cloud, SubnetId=subnets[0]["SubnetId"])["NetworkInterfaceId"]
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    here = {"DeviceIndex": 0, "NetworkInterfaceId": spare}

    def code(*interfaces: dict[str, Any], **more: Any) -> str:
        return cloud.code("RunInstances", **{**asked, **more}, NetworkInterfaces=list(interfaces))

    assert code({**here, "SubnetId": cloud.default("subnet")["SubnetId"]}) == "InvalidParameterCombination"
    assert code({**here, "DeleteOnTermination": True}) == "InvalidParameterCombination"
    assert code(here, {**here, "DeviceIndex": 1}) == "InvalidParameterValue"
    assert code(here, MaxCount=2) == "InvalidParameterCombination"
    assert code(here, {"DeviceIndex": 1, "NetworkInterfaceId": far}) == "InvalidParameterCombination"
    instance = cloud.run(NetworkInterfaces=[here])
    assert code(here) == "InvalidNetworkInterface.InUse"
    assert instance["PrivateIpAddress"] == described(cloud, spare)["PrivateIpAddress"]
    checks = cloud.checks("RunInstances", **asked, NetworkInterfaces=[here])
    kinds = [check.resource.rpartition(":")[2] for check in checks if check.action == "ec2:RunInstances"]
    assert f"network-interface/{spare}" in kinds
    assert not {"network-interface/*", "subnet/*"} & set(kinds)


def test_interfaces_of_one_launch_get_different_addresses(cloud: Cloud) -> None:
    """What one asks for by name no other one is given."""
    both = [{"DeviceIndex": 0}, {"DeviceIndex": 1, "PrivateIpAddress": "172.31.0.4"}]
    first, second = cloud.run(NetworkInterfaces=both)["NetworkInterfaces"]
    assert (first["PrivateIpAddress"], second["PrivateIpAddress"]) == ("172.31.0.5", "172.31.0.4")
    several = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 2, "MaxCount": 2}
    made = cloud.call("RunInstances", **several, NetworkInterfaces=[{"DeviceIndex": 0}, {"DeviceIndex": 1}])
    found = [one["PrivateIpAddress"] for instance in made["Instances"] for one in instance["NetworkInterfaces"]]
    assert found == [f"172.31.0.{last}" for last in (6, 7, 8, 9)]
