from __future__ import annotations

from dataclasses import replace

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged

from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.services.api.zone import MAX_ADDRESSES


def allocate(cloud: Cloud) -> tuple[str, str]:
    made = cloud.call("AllocateAddress", Domain="vpc")
    return made["AllocationId"], made["PublicIp"]


def running(cloud: Cloud, **params: object) -> str:
    instance = str(cloud.run(**params)["InstanceId"])
    cloud.observe(instance, "running")
    return instance


def public_ip(cloud: Cloud, instance: str) -> str | None:
    return cloud.instance(instance).get("PublicIpAddress")


def test_an_address_is_the_accounts_until_it_is_released(cloud: Cloud) -> None:
    made = cloud.call("AllocateAddress", TagSpecifications=tagged("elastic-ip", Name="front"))
    assert made["PublicIp"].startswith("127.7.")
    (shown,) = cloud.call("DescribeAddresses", AllocationIds=[made["AllocationId"]])["Addresses"]
    assert shown["Tags"] == [{"Key": "Name", "Value": "front"}]
    assert (shown["Domain"], shown["NetworkBorderGroup"]) == ("vpc", "us-east-1")
    assert not shown.keys() & {"AssociationId", "InstanceId", "NetworkInterfaceId"}
    cloud.call("ReleaseAddress", AllocationId=made["AllocationId"])
    assert cloud.code("DescribeAddresses", AllocationIds=[made["AllocationId"]]) == "InvalidAllocationID.NotFound"
    assert cloud.code("ReleaseAddress", AllocationId=made["AllocationId"]) == "InvalidAllocationID.NotFound"


def test_nobody_else_gets_an_allocated_address(cloud: Cloud) -> None:
    _, address = allocate(cloud)
    with cloud.database.write() as tx:
        (facts,) = tx.find(CloudFacts)
        tx.save(replace(facts, public_ips_given=0))
    assert cloud.run()["NetworkInterfaces"][0]["Association"]["PublicIp"] != address


def test_the_quota_is_what_the_account_attributes_say(cloud: Cloud) -> None:
    (quota,) = cloud.call("DescribeAccountAttributes", AttributeNames=["vpc-max-elastic-ips"])["AccountAttributes"]
    assert quota["AttributeValues"] == [{"AttributeValue": str(MAX_ADDRESSES)}]
    for _ in range(MAX_ADDRESSES):
        allocate(cloud)
    assert cloud.code("AllocateAddress") == "AddressLimitExceeded"


def test_association_takes_the_place_of_the_address_that_ec2_gave(cloud: Cloud) -> None:
    instance = running(cloud)
    first = public_ip(cloud, instance)
    allocation, address = allocate(cloud)
    association = cloud.call("AssociateAddress", AllocationId=allocation, InstanceId=instance)["AssociationId"]
    assert public_ip(cloud, instance) == address != first
    (interface,) = cloud.instance(instance)["NetworkInterfaces"]
    assert interface["Association"]["IpOwnerId"] == ACCOUNT
    (shown,) = cloud.call("DescribeNetworkInterfaces", Filters=filters(**{"association.public_ip": address}))[
        "NetworkInterfaces"
    ]
    assert shown["Association"]["AllocationId"] == allocation
    assert shown["PrivateIpAddresses"][0]["Association"]["AssociationId"] == association
    (described,) = cloud.call("DescribeAddresses", Filters=filters(instance_id=instance))["Addresses"]
    assert described["AssociationId"] == association
    assert described["PrivateIpAddress"] == shown["PrivateIpAddress"]
    # Asking again changes nothing.
    again = cloud.call("AssociateAddress", AllocationId=allocation, InstanceId=instance)
    assert again["AssociationId"] == association
    cloud.call("DisassociateAddress", AssociationId=association)
    assert public_ip(cloud, instance) not in (None, address)
    cloud.call("ReleaseAddress", AllocationId=allocation)


def test_a_server_without_a_public_address_gets_none_back(cloud: Cloud) -> None:
    instance = running(cloud, NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": False}])
    allocation, address = allocate(cloud)
    cloud.call("AssociateAddress", AllocationId=allocation, InstanceId=instance)
    assert public_ip(cloud, instance) == address
    cloud.call("DisassociateAddress", PublicIp=address)
    assert public_ip(cloud, instance) is None


def test_a_start_keeps_an_elastic_address(cloud: Cloud) -> None:
    instance = running(cloud)
    allocation, address = allocate(cloud)
    cloud.call("AssociateAddress", AllocationId=allocation, InstanceId=instance)
    cloud.call("StopInstances", InstanceIds=[instance])
    cloud.observe(instance, "stopped")
    assert public_ip(cloud, instance) == address
    cloud.call("StartInstances", InstanceIds=[instance])
    assert public_ip(cloud, instance) == address


def test_an_address_moves_unless_that_is_forbidden(cloud: Cloud) -> None:
    one, other = running(cloud), running(cloud)
    allocation, address = allocate(cloud)
    cloud.call("AssociateAddress", AllocationId=allocation, InstanceId=one)
    refused = {"AllocationId": allocation, "InstanceId": other, "AllowReassociation": False}
    assert cloud.code("AssociateAddress", **refused) == "Resource.AlreadyAssociated"
    assert public_ip(cloud, one) == address
    cloud.call("AssociateAddress", AllocationId=allocation, InstanceId=other)
    assert public_ip(cloud, other) == address
    assert public_ip(cloud, one) not in (None, address)


def test_a_second_elastic_address_frees_the_first(cloud: Cloud) -> None:
    instance = running(cloud)
    (first, _), (second, address) = allocate(cloud), allocate(cloud)
    cloud.call("AssociateAddress", AllocationId=first, InstanceId=instance)
    cloud.call("AssociateAddress", AllocationId=second, InstanceId=instance)
    assert public_ip(cloud, instance) == address
    cloud.call("ReleaseAddress", AllocationId=first)
    assert cloud.code("ReleaseAddress", AllocationId=second) == "InvalidIPAddress.InUse"


def test_termination_frees_the_address(cloud: Cloud) -> None:
    instance = running(cloud)
    allocation, _ = allocate(cloud)
    cloud.call("AssociateAddress", AllocationId=allocation, InstanceId=instance)
    cloud.observe(instance, "terminated")
    (shown,) = cloud.call("DescribeAddresses")["Addresses"]
    assert "AssociationId" not in shown
    cloud.call("ReleaseAddress", AllocationId=allocation)


def test_what_cannot_be_associated(cloud: Cloud) -> None:
    allocation, address = allocate(cloud)
    pending = str(cloud.run()["InstanceId"])
    instance = running(cloud)
    associate = {"AllocationId": allocation, "InstanceId": instance}
    assert cloud.code("AssociateAddress", **associate | {"InstanceId": pending}) == "InvalidInstanceID"
    assert cloud.code("AssociateAddress", AllocationId=allocation) == "MissingParameter"
    assert cloud.code("AssociateAddress", InstanceId=instance) == "MissingParameter"
    assert cloud.code("AssociateAddress", **associate, PublicIp=address) == "InvalidParameterCombination"
    assert cloud.code("AssociateAddress", **associate, PrivateIpAddress="172.31.0.99") == "InvalidParameterValue"
    assert cloud.code("AssociateAddress", PublicIp="127.7.9.9", InstanceId=instance) == "InvalidAddress.NotFound"
    assert cloud.code("DisassociateAddress", AssociationId="eipassoc-1") == "InvalidAssociationID.NotFound"
    assert cloud.code("DisassociateAddress", PublicIp=address) == "InvalidAssociationID.NotFound"
    assert cloud.code("ReleaseAddress", PublicIp=address) == "InvalidParameterValue"
    assert cloud.code("AllocateAddress", Domain="standard") == "UnsupportedOperation"
    assert cloud.code("AllocateAddress", NetworkBorderGroup="eu-west-1") == "InvalidParameterValue"


def test_a_vpc_without_a_gateway_has_no_use_for_it(cloud: Cloud) -> None:
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    instance = running(cloud, SubnetId=subnet)
    allocation, _ = allocate(cloud)
    assert cloud.code("AssociateAddress", AllocationId=allocation, InstanceId=instance) == "Gateway.NotAttached"


@pytest.mark.parametrize("operation", ["AllocateAddress", "AssociateAddress", "DisassociateAddress", "ReleaseAddress"])
def test_a_dry_run_changes_nothing(cloud: Cloud, operation: str) -> None:
    instance = running(cloud)
    allocation, address = allocate(cloud)
    params: dict[str, str] = {"ReleaseAddress": {"AllocationId": allocation}}.get(operation, {})
    if operation in ("AssociateAddress", "DisassociateAddress"):
        params = {"AllocationId": allocation, "InstanceId": instance}
    if operation == "DisassociateAddress":
        params = {"AssociationId": cloud.call("AssociateAddress", **params)["AssociationId"]}
    before = cloud.call("DescribeAddresses")
    assert cloud.code(operation, DryRun=True, **params) == "DryRunOperation"
    assert cloud.call("DescribeAddresses") == before
    assert address in [one["PublicIp"] for one in before["Addresses"]]


def test_permission_is_asked_for_on_all_that_is_touched(cloud: Cloud) -> None:
    instance = running(cloud)
    allocation, _ = allocate(cloud)
    with cloud.database.read() as tx:
        (interface,) = tx.find(NetworkInterface, instance_id=instance)
    for named in ({"InstanceId": instance}, {"NetworkInterfaceId": interface.id}):
        asked = cloud.checks("AssociateAddress", AllocationId=allocation, **named)
        assert [check.resource.rpartition(":")[2] for check in asked] == [
            f"elastic-ip/{allocation}",
            f"instance/{instance}",
            f"network-interface/{interface.id}",
        ]
    association = cloud.call("AssociateAddress", AllocationId=allocation, InstanceId=instance)["AssociationId"]
    asked = cloud.checks("DisassociateAddress", AssociationId=association)
    assert [check.resource.rpartition(":")[2] for check in asked] == [
        f"elastic-ip/{allocation}",
        f"network-interface/{interface.id}",
    ]


def test_attributes_and_pages(cloud: Cloud) -> None:
    made = sorted(allocate(cloud)[0] for _ in range(3))
    page = cloud.call("DescribeAddressesAttribute", Attribute="domain-name", MaxResults=2)
    rest = cloud.call("DescribeAddressesAttribute", Attribute="domain-name", NextToken=page["NextToken"])
    assert [one["AllocationId"] for one in page["Addresses"] + rest["Addresses"]] == made


def test_a_released_address_can_be_had_again(cloud: Cloud) -> None:
    first = cloud.call("AllocateAddress")
    taken = {"Address": first["PublicIp"]}
    assert cloud.code("AllocateAddress", **taken) == "InvalidAddress.NotFound"
    cloud.call("ReleaseAddress", AllocationId=first["AllocationId"])
    again = cloud.call("AllocateAddress", **taken)
    assert again["PublicIp"] == first["PublicIp"] and again["AllocationId"] != first["AllocationId"]
    cloud.call("ReleaseAddress", AllocationId=again["AllocationId"])
    cloud.call("ReleaseAddress", AllocationId=cloud.call("AllocateAddress", **taken)["AllocationId"])


def test_an_address_that_somebody_has_been_given_since_is_gone(cloud: Cloud) -> None:
    first = cloud.call("AllocateAddress")
    cloud.call("ReleaseAddress", AllocationId=first["AllocationId"])
    with cloud.database.write() as tx:
        (facts,) = tx.find(CloudFacts)
        tx.save(replace(facts, public_ips_given=0))
    server = cloud.run()
    assert server["PublicIpAddress"] == first["PublicIp"]
    assert cloud.code("AllocateAddress", Address=first["PublicIp"]) == "AuthFailure"
    cloud.observe(server["InstanceId"], "terminated")
    assert cloud.call("AllocateAddress", Address=first["PublicIp"])["PublicIp"] == first["PublicIp"]
    assert cloud.code("AllocateAddress", Address="203.0.113.9") == "InvalidAddress.NotFound"
