"""NAT gateways of several addresses, and private ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ec2_fixtures import Cloud, filters

from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.loops.vpc.network import NetworkLoop


class Kernel:
    """Takes plans as compute does, and wishes to be looked at again."""

    def __init__(self, cloud: Cloud) -> None:
        self.plans: Sequence[VpcPlan] = ()
        self.wakes: list[float] = []
        self._loop = NetworkLoop(cloud.database, self, lambda _: {}, self.wakes.append)

    def apply(self, plans: list[VpcPlan]) -> dict[str, Exception]:
        self.plans = plans
        return {}

    def step(self) -> None:
        self._loop.step()

    def sources(self) -> list[tuple[str, ...]]:
        return [nat.sources for plan in self.plans for nat in plan.nat_gateways]


class Gateway:
    """One of these, with the calls about it."""

    def __init__(self, cloud: Cloud, kernel: Kernel, **params: Any) -> None:
        self.cloud = cloud
        asked = {"SubnetId": cloud.default("subnet")["SubnetId"], **params}
        self.made = cloud.call("CreateNatGateway", **asked)["NatGateway"]
        self.id = self.made["NatGatewayId"]
        kernel.step()

    def addresses(self) -> list[dict[str, Any]]:
        (found,) = self.cloud.call("DescribeNatGateways", NatGatewayIds=[self.id])["NatGateways"]
        return list(found["NatGatewayAddresses"])

    def states(self) -> list[str]:
        return [one["Status"] for one in self.addresses()]

    def call(self, operation: str, **params: Any) -> list[dict[str, Any]]:
        answer = self.cloud.call(operation, NatGatewayId=self.id, **params)
        assert answer["NatGatewayId"] == self.id
        return list(answer["NatGatewayAddresses"])

    def code(self, operation: str, **params: Any) -> str:
        return self.cloud.code(operation, NatGatewayId=self.id, **params)


@pytest.fixture
def kernel(cloud: Cloud) -> Kernel:
    return Kernel(cloud)


def allocate(cloud: Cloud) -> tuple[str, str]:
    made = cloud.call("AllocateAddress")
    return made["AllocationId"], made["PublicIp"]


def test_made_with_several(cloud: Cloud, kernel: Kernel) -> None:
    (first, one), (second, two) = allocate(cloud), allocate(cloud)
    more = {"SecondaryAllocationIds": [second], "SecondaryPrivateIpAddresses": ["172.31.0.99"]}
    gateway = Gateway(cloud, kernel, AllocationId=first, **more)
    assert [address["Status"] for address in gateway.made["NatGatewayAddresses"]] == ["associating"] * 2
    shown = gateway.addresses()
    assert [(at["PublicIp"], at["AllocationId"], at["IsPrimary"]) for at in shown] == [
        (one, first, True),
        (two, second, False),
    ]
    assert shown[1]["PrivateIp"] == "172.31.0.99"
    assert gateway.states() == ["succeeded"] * 2
    assert kernel.sources() == [(one, two)]
    (card,) = cloud.call("DescribeNetworkInterfaces", Filters=filters(interface_type="nat_gateway"))[
        "NetworkInterfaces"
    ]
    assert [at["Association"]["AllocationId"] for at in card["PrivateIpAddresses"]] == [first, second]
    cloud.call("DeleteNatGateway", NatGatewayId=gateway.id)
    kernel.step()
    for allocation in (first, second):
        cloud.call("ReleaseAddress", AllocationId=allocation)


def test_one_more_and_one_less(cloud: Cloud, kernel: Kernel) -> None:
    (first, one), (second, two) = allocate(cloud), allocate(cloud)
    gateway = Gateway(cloud, kernel, AllocationId=first)
    (added,) = gateway.call("AssociateNatGatewayAddress", AllocationIds=[second])
    assert (added["PublicIp"], added["Status"], added["IsPrimary"]) == (two, "associating", False)
    kernel.step()
    assert gateway.states() == ["succeeded"] * 2
    assert kernel.sources() == [(one, two)]
    drain = {"AssociationIds": [added["AssociationId"]], "MaxDrainDurationSeconds": 60}
    (leaving,) = gateway.call("DisassociateNatGatewayAddress", **drain)
    assert leaving["Status"] == "disassociating"
    assert gateway.code("DisassociateNatGatewayAddress", **drain) == "IncorrectState"
    kernel.step()
    assert (kernel.sources(), kernel.wakes) == ([(one,)], [60.0])
    assert [nat.addresses[1].public_ip for plan in kernel.plans for nat in plan.nat_gateways] == [two]
    assert cloud.code("ReleaseAddress", AllocationId=second) == "AuthFailure"
    cloud.clock.forward(seconds=60)
    kernel.step()
    assert [at["PublicIp"] for at in gateway.addresses()] == [one]
    assert [len(nat.addresses) for plan in kernel.plans for nat in plan.nat_gateways] == [1]
    cloud.call("ReleaseAddress", AllocationId=second)


def test_one_that_is_deleted_while_it_gives_up_an_address(cloud: Cloud, kernel: Kernel) -> None:
    (first, _), (second, _) = allocate(cloud), allocate(cloud)
    gateway = Gateway(cloud, kernel, AllocationId=first, SecondaryAllocationIds=[second])
    gateway.call("DisassociateNatGatewayAddress", AssociationIds=[gateway.addresses()[1]["AssociationId"]])
    cloud.call("DeleteNatGateway", NatGatewayId=gateway.id)
    kernel.step()
    assert cloud.call("DescribeNetworkInterfaces")["NetworkInterfaces"] == []
    for allocation in (first, second):
        cloud.call("ReleaseAddress", AllocationId=allocation)


def test_a_private_one(cloud: Cloud, kernel: Kernel) -> None:
    gateway = Gateway(
        cloud, kernel, ConnectivityType="private", PrivateIpAddress="172.31.0.50", SecondaryPrivateIpAddressCount=1
    )
    assert gateway.made["ConnectivityType"] == "private"
    first, second = gateway.addresses()
    assert first == {
        "IsPrimary": True,
        "NetworkInterfaceId": first["NetworkInterfaceId"],
        "PrivateIp": "172.31.0.50",
        "Status": "succeeded",
    }
    (added,) = gateway.call("AssignPrivateNatGatewayAddress", PrivateIpAddresses=["172.31.0.52"])
    assert added["Status"] == "assigning"
    kernel.step()
    assert kernel.sources() == [("172.31.0.50", second["PrivateIp"], "172.31.0.52")]
    (leaving,) = gateway.call("UnassignPrivateNatGatewayAddress", PrivateIpAddresses=["172.31.0.52"])
    assert leaving["Status"] == "unassigning"
    kernel.step()
    assert kernel.wakes == [350.0]
    cloud.clock.forward(seconds=350)
    kernel.step()
    assert len(gateway.addresses()) == 2
    assert cloud.run(PrivateIpAddress="172.31.0.52", SubnetId=gateway.made["SubnetId"])


def test_a_private_one_needs_no_internet_gateway(cloud: Cloud, kernel: Kernel) -> None:
    vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    made = cloud.call("CreateNatGateway", SubnetId=subnet, ConnectivityType="private")["NatGateway"]
    kernel.step()
    (shown,) = cloud.call("DescribeNatGateways", NatGatewayIds=[made["NatGatewayId"]])["NatGateways"]
    assert shown["State"] == "available"


def test_the_address_of_another_vpc_is_not_its_own(
    cloud: Cloud, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came while plans were carried out, in which that address was another gateway's."""
    gateways, at = [], {"PrivateIpAddresses": ["10.0.0.9"]}
    for _ in range(2):
        vpc = cloud.call("CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = cloud.call("CreateSubnet", VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        gateways.append(Gateway(cloud, kernel, SubnetId=subnet, ConnectivityType="private"))
    first, second = gateways
    first.call("AssignPrivateNatGatewayAddress", **at)

    def apply(_: Any) -> dict[str, Exception]:
        monkeypatch.undo()
        second.call("AssignPrivateNatGatewayAddress", **at)
        return {}

    monkeypatch.setattr(kernel, "apply", apply)
    kernel.step()
    assert (first.states(), second.states()) == (["succeeded"] * 2, ["succeeded", "assigning"])
    kernel.step()
    assert second.states() == ["succeeded"] * 2


def test_what_does_not_go_together(cloud: Cloud, kernel: Kernel) -> None:
    subnet, (first, _), (second, _) = cloud.default("subnet")["SubnetId"], allocate(cloud), allocate(cloud)
    public = {"SubnetId": subnet, "AllocationId": first}
    private = {"SubnetId": subnet, "ConnectivityType": "private"}
    for asked in (
        {**public, "SecondaryPrivateIpAddressCount": 1},
        {**public, "SecondaryAllocationIds": [second], "SecondaryPrivateIpAddresses": ["172.31.0.8", "172.31.0.9"]},
        {**private, "SecondaryAllocationIds": [second]},
        {**private, "SecondaryPrivateIpAddressCount": 1, "SecondaryPrivateIpAddresses": ["172.31.0.8"]},
    ):
        assert cloud.code("CreateNatGateway", **asked) == "InvalidParameterCombination"
    assert cloud.code("CreateNatGateway", **private, SecondaryPrivateIpAddressCount=8) == "InvalidParameterValue"
    assert cloud.code("CreateNatGateway", **public, SecondaryAllocationIds=[first]) == "InvalidParameterValue"
    gateway = Gateway(cloud, kernel, AllocationId=first)
    assert gateway.code("AssignPrivateNatGatewayAddress", PrivateIpAddressCount=1) == "InvalidParameterValue"
    assert gateway.code("AssociateNatGatewayAddress", AllocationIds=[first]) == "Resource.AlreadyAssociated"
    own = gateway.addresses()[0]["AssociationId"]
    assert gateway.code("DisassociateNatGatewayAddress", AssociationIds=[own]) == "InvalidParameterValue"
    nobody = gateway.code("DisassociateNatGatewayAddress", AssociationIds=["eipassoc-0"])
    assert nobody == "InvalidAssociationID.NotFound"
    assert gateway.code("AssociateNatGatewayAddress", AllocationIds=[second], DryRun=True) == "DryRunOperation"
    inner = Gateway(cloud, kernel, ConnectivityType="private")
    full = {"PrivateIpAddresses": [f"172.31.0.{number}" for number in range(100, 108)]}
    assert inner.code("AssignPrivateNatGatewayAddress", **full) == "NatGatewayAddressLimitExceeded"
    assert inner.code("UnassignPrivateNatGatewayAddress", PrivateIpAddresses=["172.31.0.9"]) == "InvalidParameterValue"
    assert inner.code("AssignPrivateNatGatewayAddress") == "MissingParameter"
