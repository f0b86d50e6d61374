"""Dedicated hosts and tenancy: who may be where, how many, and what it is billed as."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters, tagged

from skylift.cloud.services.ec2.dedicated_host import forget_released

ZONE = "us-east-1b"


def allocate(cloud: Cloud, **params: Any) -> str:
    asked = {"AvailabilityZone": ZONE, **({} if "InstanceType" in params else {"InstanceFamily": "m5"}), **params}
    (made,) = cloud.call("AllocateHosts", **asked)["HostIds"]
    return str(made)


def host(cloud: Cloud, host_id: str) -> dict[str, Any]:
    (found,) = cloud.call("DescribeHosts", HostIds=[host_id])["Hosts"]
    return dict(found)


def launch(cloud: Cloud, count: int = 1, kind: str = "m5.large", **placement: Any) -> list[dict[str, Any]]:
    asked = {"ImageId": cloud.image_id, "InstanceType": kind, "MinCount": 1, "MaxCount": count}
    made = cloud.call("RunInstances", **asked, Placement={"Tenancy": "host", **placement})["Instances"]
    for one in made:
        cloud.observe(one["InstanceId"], "running")
    return list(made)


def turn(cloud: Cloud, what: str, instance_id: str, state: str) -> None:
    cloud.call(f"{what}Instances", InstanceIds=[instance_id])
    cloud.observe(instance_id, state)


def test_its_life(cloud: Cloud) -> None:
    made = allocate(cloud, TagSpecifications=tagged("dedicated-host", team="net"))
    shown = host(cloud, made)
    assert (shown["State"], shown["AutoPlacement"], shown["AvailabilityZone"]) == ("available", "on", ZONE)
    assert shown["HostProperties"] == {"InstanceFamily": "m5", "TotalVCpus": 96, "Cores": 48}
    sizes = {one["InstanceType"]: one for one in shown["AvailableCapacity"]["AvailableInstanceCapacity"]}
    assert (sizes["m5.large"]["TotalCapacity"], sizes["m5.24xlarge"]["TotalCapacity"]) == (48, 1)
    assert "m5.metal" not in sizes
    for asked in (
        {"Filter": filters(state="available", availability_zone=ZONE)},
        {"Filter": [{"Name": "tag:team", "Values": ["net"]}]},
        {"MaxResults": 5},
    ):
        assert [one["HostId"] for one in cloud.call("DescribeHosts", **asked)["Hosts"]] == [made]
    assert cloud.call("ReleaseHosts", HostIds=[made]) == {"Successful": [made], "Unsuccessful": []}
    assert host(cloud, made)["State"] == "released"
    (again,) = cloud.call("ReleaseHosts", HostIds=[made])["Unsuccessful"]
    assert again["Error"]["Code"] == "Client.InvalidHostState"
    cloud.clock.forward(hours=1)
    with cloud.database.write() as tx:
        forget_released(tx)
    assert cloud.code("DescribeHosts", HostIds=[made]) == "InvalidHostID.NotFound"


def test_of_one_type_or_of_a_family(cloud: Cloud) -> None:
    one = host(cloud, allocate(cloud, InstanceType="m5.4xlarge"))
    assert (one["AllowsMultipleInstanceTypes"], one["HostProperties"]["InstanceType"]) == ("off", "m5.4xlarge")
    (size,) = one["AvailableCapacity"]["AvailableInstanceCapacity"]
    assert size == {"InstanceType": "m5.4xlarge", "TotalCapacity": 6, "AvailableCapacity": 6}
    assert cloud.code("RunInstances", **_run(cloud, "m5.large", HostId=one["HostId"])) == (
        "IncompatibleHostRequirements"
    )
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"InstanceFamily": "m5", "InstanceType": "m5.large"}, "InvalidParameterCombination"),
        ({}, "MissingParameter"),
        ({"InstanceFamily": "m99"}, "InvalidParameterValue"),
        ({"InstanceType": "m5.tiny"}, "InvalidParameterValue"),
        ({"InstanceFamily": "t2"}, "UnsupportedHostConfiguration"),
        ({"InstanceFamily": "m5", "Quantity": 0}, "InvalidParameterValue"),
        ({"InstanceFamily": "m5", "Quantity": 1001}, "InvalidParameterValue"),
        ({"InstanceFamily": "m5", "HostRecovery": "on"}, "UnsupportedOperation"),
    )
    for asked, code in wrong:
        assert cloud.code("AllocateHosts", AvailabilityZone=ZONE, **asked) == code, asked
    assert cloud.code("AllocateHosts", InstanceFamily="m5") == "MissingParameter"


def test_the_same_token_allocates_once(cloud: Cloud) -> None:
    asked = {"AvailabilityZone": ZONE, "InstanceFamily": "m5", "Quantity": 2, "ClientToken": "once"}
    first = cloud.call("AllocateHosts", **asked)["HostIds"]
    assert cloud.call("AllocateHosts", **asked)["HostIds"] == first and len(first) == 2
    cloud.call("ReleaseHosts", HostIds=first)
    cloud.clock.forward(hours=2)
    with cloud.database.write() as tx:
        forget_released(tx)
    assert cloud.call("AllocateHosts", **asked)["HostIds"] == first, "also once nobody knows them any more"
    assert cloud.code("AllocateHosts", **{**asked, "Quantity": 3}) == "IdempotentParameterMismatch"


def test_a_launch_fills_hosts_and_no_more(cloud: Cloud) -> None:
    assert cloud.code("RunInstances", **_run(cloud, "m5.8xlarge")) == "InsufficientHostCapacity"
    first, second = allocate(cloud), allocate(cloud)
    off = allocate(cloud, AutoPlacement="off")
    made = launch(cloud, count=9, kind="m5.8xlarge")
    assert [one["Placement"]["HostId"] for one in made] == [first] * 3 + [second] * 3
    assert {one["Placement"]["AvailabilityZone"] for one in made} == {ZONE}, "where the hosts are"
    full = host(cloud, first)
    assert full["AvailableCapacity"]["AvailableVCpus"] == 0
    assert [one["InstanceId"] for one in full["Instances"]] == [one["InstanceId"] for one in made[:3]]
    assert cloud.code("RunInstances", **_run(cloud, "m5.large", HostId=first)) == "InsufficientCapacityOnHost"
    assert cloud.code("RunInstances", **_run(cloud, "m5.large")) == "InsufficientHostCapacity"
    (named,) = launch(cloud, HostId=off)
    assert named["Placement"]["HostId"] == off
    (occupied,) = cloud.call("ReleaseHosts", HostIds=[first])["Unsuccessful"]
    assert occupied["Error"]["Code"] == "Client.InvalidHost.Occupied"
    (found,) = cloud.call("DescribeInstances", Filters=filters(host_id=off))["Reservations"]
    assert found["Instances"][0]["InstanceId"] == named["InstanceId"]
    turn(cloud, "Terminate", made[0]["InstanceId"], "terminated")
    assert host(cloud, first)["AvailableCapacity"]["AvailableVCpus"] == 32


def test_affinity_brings_an_instance_back_to_its_host(cloud: Cloud) -> None:
    first = allocate(cloud)
    (bound,) = launch(cloud, kind="m5.24xlarge", HostId=first, Affinity="host")
    turn(cloud, "Stop", bound["InstanceId"], "stopped")
    assert cloud.instance(bound["InstanceId"])["Placement"]["HostId"] == first
    (guest,) = launch(cloud, kind="m5.24xlarge")
    assert guest["Placement"]["HostId"] == first
    second = allocate(cloud)
    assert cloud.code("StartInstances", InstanceIds=[bound["InstanceId"]]) == "InsufficientCapacityOnHost"
    turn(cloud, "Stop", guest["InstanceId"], "stopped")
    assert "HostId" not in cloud.instance(guest["InstanceId"])["Placement"], "off, it is on none"
    turn(cloud, "Start", bound["InstanceId"], "running")
    turn(cloud, "Start", guest["InstanceId"], "running")
    assert cloud.instance(bound["InstanceId"])["Placement"]["HostId"] == first
    assert cloud.instance(guest["InstanceId"])["Placement"]["HostId"] == second
    turn(cloud, "Stop", bound["InstanceId"], "stopped")
    cloud.call("ReleaseHosts", HostIds=[first])
    assert cloud.code("StartInstances", InstanceIds=[bound["InstanceId"]]) == "InvalidHostState"
    turn(cloud, "Terminate", guest["InstanceId"], "terminated")
    moved = {"InstanceId": bound["InstanceId"], "HostId": second}
    assert cloud.call("ModifyInstancePlacement", **moved) == {"Return": True}
    turn(cloud, "Start", bound["InstanceId"], "running")
    assert cloud.instance(bound["InstanceId"])["Placement"]["HostId"] == second
    assert cloud.code("ModifyInstancePlacement", **moved) == "IncorrectInstanceState"


def test_modified_hosts(cloud: Cloud) -> None:
    made = allocate(cloud)
    (instance,) = launch(cloud)
    assert cloud.call("ModifyHosts", HostIds=[made], AutoPlacement="off")["Successful"] == [made]
    assert cloud.code("RunInstances", **_run(cloud, "m5.large")) == "InsufficientHostCapacity"
    (refused,) = cloud.call("ModifyHosts", HostIds=[made], InstanceType="m5.xlarge")["Unsuccessful"]
    assert refused["Error"]["Code"] == "Client.InvalidHostConfiguration"
    assert cloud.call("ModifyHosts", HostIds=[made], InstanceType="m5.large")["Successful"] == [made]
    turn(cloud, "Terminate", instance["InstanceId"], "terminated")
    assert cloud.call("ModifyHosts", HostIds=[made], InstanceFamily="m7a")["Successful"] == [made]
    assert cloud.code("ModifyHosts", HostIds=[made]) == "MissingParameter"


def test_tenancy_and_what_does_not_fit_to_it(cloud: Cloud) -> None:
    (one,) = launch(cloud, Tenancy="dedicated")
    assert cloud.instance(one["InstanceId"])["Placement"]["Tenancy"] == "dedicated"
    assert cloud.run()["Placement"]["Tenancy"] == "default"
    for placement, kind, code in (
        ({"Tenancy": "mine"}, "m5.large", "InvalidParameterValue"),
        ({"Tenancy": "default", "HostId": "h-0123456789abcdef0"}, "m5.large", "InvalidParameterCombination"),
        ({"Tenancy": "dedicated", "Affinity": "host"}, "m5.large", "InvalidParameterCombination"),
        ({"Tenancy": "dedicated"}, "t2.micro", "Unsupported"),
        ({"HostId": "h-0123456789abcdef0"}, "m5.large", "InvalidHostID.NotFound"),
        ({"HostId": "mine"}, "m5.large", "InvalidHostID.Malformed"),
    ):
        assert cloud.code("RunInstances", **_run(cloud, kind, **placement)) == code, placement
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    allocate(cloud)
    assert cloud.code("RunInstances", **_run(cloud, "m5.large"), **spot) == "InvalidParameterCombination"
    turn(cloud, "Stop", one["InstanceId"], "stopped")
    for tenancy, code in (("default", "InvalidTenancy"), ("mine", "InvalidTenancy")):
        with pytest.raises(Exception, match=code if code == "never" else "cannot be changed"):
            cloud.call("ModifyInstancePlacement", InstanceId=one["InstanceId"], Tenancy=tenancy)
    cloud.call("ModifyInstancePlacement", InstanceId=one["InstanceId"], Tenancy="host")
    assert cloud.instance(one["InstanceId"])["Placement"]["Tenancy"] == "host"


def test_a_vpc_of_dedicated_tenancy(cloud: Cloud) -> None:
    vpc = cloud.call("CreateVpc", CidrBlock="10.1.0.0/16", InstanceTenancy="dedicated")["Vpc"]
    assert vpc["InstanceTenancy"] == "dedicated"
    subnet = cloud.call("CreateSubnet", VpcId=vpc["VpcId"], CidrBlock="10.1.1.0/24")["Subnet"]["SubnetId"]
    assert cloud.run(SubnetId=subnet, InstanceType="m5.large")["Placement"]["Tenancy"] == "dedicated"
    checks = cloud.checks("RunInstances", **_run(cloud, "m5.large", Tenancy="default"), SubnetId=subnet)
    tenancies = {(one.context or {}).get("ec2:Tenancy") for one in checks if one.resource.endswith("instance/*")}
    assert tenancies == {"dedicated"}
    cloud.call("ModifyVpcTenancy", VpcId=vpc["VpcId"], InstanceTenancy="default")
    assert cloud.run(SubnetId=subnet, InstanceType="m5.large")["Placement"]["Tenancy"] == "default"
    assert cloud.code("CreateVpc", CidrBlock="10.1.0.0/16", InstanceTenancy="host") == "InvalidParameterValue"


def test_room_and_quotas_of_others_are_not_for_hosts(cloud: Cloud) -> None:
    allocate(cloud)
    (first,) = launch(cloud)
    cloud.control("PutCapacity", InstanceType="m5.large", AvailabilityZone=ZONE, InstanceCount=1)
    cloud.control("PutQuota", InstanceClass="standard", MarketType="on-demand", VCpus=2)
    shared = {"ImageId": cloud.image_id, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    assert cloud.call("RunInstances", **shared, Placement={"AvailabilityZone": ZONE})["Instances"]
    assert cloud.code("RunInstances", **shared, Placement={"AvailabilityZone": ZONE}) == "VcpuLimitExceeded"
    (capacity,) = cloud.control("DescribeCapacity")["Capacities"]
    (quota,) = cloud.control("DescribeQuotas")["Quotas"]
    assert (capacity["InUse"], quota["InUse"]) == (1, 2)
    # The host itself has room enough: for another one, and for the first one to come back.
    launch(cloud)
    turn(cloud, "Stop", first["InstanceId"], "stopped")
    turn(cloud, "Start", first["InstanceId"], "running")


def test_hosts_on_the_bill(cloud: Cloud) -> None:
    """A host has no price that a source gives; what runs on it costs nothing more."""
    made = allocate(cloud)
    launch(cloud)
    launch(cloud, Tenancy="dedicated")
    cloud.clock.forward(hours=1)
    bill = cloud.control("GetBill", To=cloud.clock.now)
    lines = {(one["Option"], one["ResourceId"][:2]): one for one in bill["Lines"]}
    assert lines["host", "h-"]["ResourceId"] == made and "Amount" not in lines["host", "h-"]
    assert Decimal(lines["host", "i-"]["Amount"]) == 0
    assert Decimal(lines["dedicated", "de"]["Amount"]) == 2
    assert bill["UnpricedLines"] == 2
    cloud.call("ReleaseHosts", HostIds=[made])


def _run(cloud: Cloud, kind: str, **placement: Any) -> dict[str, Any]:
    wanted = {"Tenancy": "host", **placement}
    return {"ImageId": cloud.image_id, "InstanceType": kind, "MinCount": 1, "MaxCount": 1, "Placement": wanted}
