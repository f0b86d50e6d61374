"""Who may reach a job's server, and where it stands: skylift's own network, or a subnet of the user's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skylift.client.errors import LaunchFailed, UsageError
from skylift.client.job.settings import Access, Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.network import (
    RANGE,
    TAG_PART,
    Network,
    ensure_network,
    find_caller,
    find_network,
    open_network,
    open_ssh,
)
from skylift.client.remote.api import Api
from skylift.client.waiting import pauses

BUCKET = "skylift-123456789012-us-east-1"


@pytest.fixture
def subnet(api: Api) -> tuple[str, str]:
    """A user's own VPC, and a subnet in it."""
    vpc = api.call("ec2", "create_vpc", CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    made = api.call("ec2", "create_subnet", VpcId=vpc, CidrBlock="10.1.1.0/24", AvailabilityZone="us-east-1c")
    return vpc, made["Subnet"]["SubnetId"]


def rules(api: Api, group: str) -> list[Any]:
    found: list[Any] = api.call("ec2", "describe_security_groups", GroupIds=[group])["SecurityGroups"][0][
        "IpPermissions"
    ]
    return found


def test_who_may_open_ssh(settings: Settings) -> None:
    def caller(access: Access) -> str | None:
        return find_caller(replace(settings, access=access))

    assert caller(Access()) == "203.0.113.7/32"
    assert caller(Access(ssh_from="198.51.100.0/24")) == "198.51.100.0/24"
    assert caller(Access(ssh_from="198.51.100.1")) == "198.51.100.1/32"
    assert caller(Access(private=True)) is None
    assert caller(Access(subnet="subnet-0123abcd", groups=("sg-0123abcd",))) is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ssh_from": "everybody"}, "everybody"),
        ({"ssh_from": "10.0.0.1/8"}, "host bits"),
        ({"private": True, "ssh_from": "198.51.100.1"}, "--private"),
        ({"subnet": "mine"}, "--subnet"),
        ({"groups": ("sg-0123abcd",)}, "--subnet"),
        ({"subnet": "subnet-0123abcd", "groups": ("mine",)}, "--security-group"),
    ],
)
def test_what_cannot_be_meant(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Access(**wrong)


def test_own_subnet_gets_a_group_that_lets_the_caller_in(api: Api, subnet: tuple[str, str]) -> None:
    vpc, place = subnet
    access = Access(subnet=place)
    network = find_network(api, access)
    assert network is not None
    assert (network.vpc, network.subnets) == (vpc, (("us-east-1c", place),))
    opened = open_network(api, network, access, "203.0.113.7/32")
    assert opened.public
    assert [each["CidrIp"] for rule in rules(api, network.groups[0]) for each in rule["IpRanges"]] == ["203.0.113.7/32"]
    assert find_network(api, access) == open_ssh(api, opened, "203.0.113.7/32")


def test_groups_that_the_user_names_are_left_as_they_are(api: Api, subnet: tuple[str, str]) -> None:
    vpc, place = subnet
    group = api.call("ec2", "create_security_group", GroupName="mine", Description="x", VpcId=vpc)["GroupId"]
    access = Access(subnet=place, groups=(group,))
    network = find_network(api, access)
    assert network == Network(vpc, (("us-east-1c", place),), (group,), frozenset(), own=False)
    assert open_network(api, network, access, None) == network
    assert rules(api, group) == []


def test_a_network_that_could_not_be_completed_is_completed_by_the_next_run(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts are made at the same time, so that some are there when another one is refused."""
    monkeypatch.setattr("skylift.client.launch.network._SETTLING", 0.5)
    ensure_bucket(api, BUCKET)
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": TAG_PART, "Value": "vpc"}]}]
    vpc = api.call("ec2", "create_vpc", CidrBlock=RANGE, TagSpecifications=tags)["Vpc"]["VpcId"]
    in_the_way = api.call("ec2", "create_subnet", VpcId=vpc, CidrBlock="10.83.16.0/24")["Subnet"]["SubnetId"]
    with pytest.raises(LaunchFailed, match=r"has no room for skylift's subnet 10\.83\.16\.0/20"):
        ensure_network(api, BUCKET)
    assert find_network(api) is None
    api.call("ec2", "delete_subnet", SubnetId=in_the_way)
    api.call("s3", "delete_object", Bucket=BUCKET, Key="locks/network/000001")
    network = ensure_network(api, BUCKET)
    assert network == find_network(api)
    assert network.vpc == vpc
    zones = [each["ZoneName"] for each in api.call("ec2", "describe_availability_zones")["AvailabilityZones"]]
    assert [zone for zone, _ in network.subnets] == sorted(zones)
    places = api.call("ec2", "describe_subnets", Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    assert sorted(each["SubnetId"] for each in places) == sorted(subnet for _, subnet in network.subnets)
    attached = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
    assert len(api.call("ec2", "describe_internet_gateways", Filters=attached)["InternetGateways"]) == 1


def test_subnet_that_is_not_there(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylift.client.remote.api.pauses", lambda _: pauses(0.3))
    with pytest.raises(UsageError, match="subnet-0123abcd"):
        find_network(api, Access(subnet="subnet-0123abcd"))


def test_private_server_opens_nothing(api: Api) -> None:
    ensure_bucket(api, BUCKET)
    made = ensure_network(api, BUCKET)
    network = open_network(api, made, Access(private=True), None)
    assert not network.public
    assert "no public address" in network.spell(None)
    assert rules(api, network.groups[0]) == []


def test_private_server_has_a_way_to_s3(api: Api) -> None:
    ensure_bucket(api, BUCKET)
    made = ensure_network(api, BUCKET)
    for _ in range(2):
        open_network(api, made, Access(private=True), None)
    (endpoint,) = api.call("ec2", "describe_vpc_endpoints")["VpcEndpoints"]
    assert (endpoint["VpcId"], endpoint["ServiceName"]) == (made.vpc, "com.amazonaws.us-east-1.s3")
    main = [{"Name": "vpc-id", "Values": [made.vpc]}, {"Name": "association.main", "Values": ["true"]}]
    (table,) = api.call("ec2", "describe_route_tables", Filters=main)["RouteTables"]
    assert endpoint["RouteTableIds"] == [table["RouteTableId"]]
