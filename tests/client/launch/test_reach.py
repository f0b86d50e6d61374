"""What a job's servers must reach of AWS, and what their subnet leads to: moto's VPC, by its routes and endpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.whole_run import Seen, order, run

from skylift.client.errors import NotPermitted, UsageError
from skylift.client.job.job import ClusterPart, Job, MapPart, Spot
from skylift.client.job.settings import Access, Settings
from skylift.client.launch.check import _within
from skylift.client.launch.network import ensure_network
from skylift.client.launch.reach import EVERYTHING, NEEDS, Reach, find_reach
from skylift.client.remote.account import Account
from skylift.client.remote.api import Api

BUCKET = "skylift-123456789012-us-east-1"
REGION = "com.amazonaws.us-east-1"


def nothing_sent(*_: Any) -> None:
    pass


def several(job: Job, *, asked: bool = True) -> Job:
    return replace(job, map=MapPart(b"{}", nothing_sent, servers=3, may_do_with_one=not asked))


@dataclass(frozen=True)
class Subnet:
    """A subnet of the user's, with a route table of its own."""

    api: Api
    settings: Settings
    vpc: str
    id: str
    table: str

    def reach(self, *, private: bool = True) -> Reach:
        access = Access(private=private, subnet=self.id)
        return find_reach(Account(self.api, replace(self.settings, access=access), "123456789012", BUCKET), print)

    def endpoint(self, service: str, **more: Any) -> None:
        self.api.call("ec2", "create_vpc_endpoint", VpcId=self.vpc, ServiceName=f"{REGION}.{service}", **more)

    def route(self, **target: Any) -> None:
        self.api.call("ec2", "create_route", RouteTableId=self.table, DestinationCidrBlock="0.0.0.0/0", **target)

    def to_the_internet(self) -> None:
        gateway = self.api.call("ec2", "create_internet_gateway")["InternetGateway"]["InternetGatewayId"]
        self.api.call("ec2", "attach_internet_gateway", InternetGatewayId=gateway, VpcId=self.vpc)
        self.route(GatewayId=gateway)

    def to_nat(self) -> None:
        allocated = self.api.call("ec2", "allocate_address")["AllocationId"]
        made = self.api.call("ec2", "create_nat_gateway", SubnetId=self.id, AllocationId=allocated)
        self.route(NatGatewayId=made["NatGateway"]["NatGatewayId"])

    def to_a_peer(self) -> None:
        other = self.api.call("ec2", "create_vpc", CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
        made = self.api.call("ec2", "create_vpc_peering_connection", VpcId=self.vpc, PeerVpcId=other)
        self.route(VpcPeeringConnectionId=made["VpcPeeringConnection"]["VpcPeeringConnectionId"])

    def to_an_appliance(self) -> None:
        """By an endpoint of a Gateway Load Balancer, or of a Network Firewall."""
        made = self.api.call(
            "ec2",
            "create_vpc_endpoint",
            VpcId=self.vpc,
            ServiceName="com.amazonaws.vpce.us-east-1.x",
            VpcEndpointType="GatewayLoadBalancer",
            SubnetIds=[self.id],
        )
        self.route(GatewayId=made["VpcEndpoint"]["VpcEndpointId"])


@pytest.fixture
def subnet(api: Api, settings: Settings) -> Subnet:
    vpc = api.call("ec2", "create_vpc", CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    made = api.call("ec2", "create_subnet", VpcId=vpc, CidrBlock="10.1.1.0/24", AvailabilityZone="us-east-1c")
    table = api.call("ec2", "create_route_table", VpcId=vpc)["RouteTable"]["RouteTableId"]
    api.call("ec2", "associate_route_table", RouteTableId=table, SubnetId=made["Subnet"]["SubnetId"])
    return Subnet(api, replace(settings, endpoint_url=None), vpc, made["Subnet"]["SubnetId"], table)


def lacking(reach: Reach, job: Job, *, scheduled: bool = False) -> list[str]:
    return [each.service for each in reach.lacks(job, scheduled=scheduled)]


def test_what_each_mode_needs(folder: Path) -> None:
    """With nothing but the VPC itself: the table, as it is documented."""
    nowhere, job = Reach(frozenset(), vpc="vpc-1", subnet="subnet-1"), order(folder, "")
    assert lacking(nowhere, job) == ["s3"]
    assert lacking(nowhere, replace(job, keep=600)) == ["s3"]
    assert lacking(nowhere, replace(job, spot=Spot())) == ["s3", "ec2"]
    assert lacking(nowhere, several(job)) == ["s3", "autoscaling"]
    assert lacking(nowhere, several(replace(job, spot=Spot()))) == ["s3", "ec2", "autoscaling"]
    assert lacking(nowhere, replace(job, cluster=ClusterPart(2))) == ["s3", "autoscaling"]
    assert lacking(nowhere, replace(job, map=MapPart(b"{}", nothing_sent))) == ["s3"]
    # A schedule's spot servers have no fleet.
    assert lacking(nowhere, replace(job, spot=Spot()), scheduled=True) == ["s3"]
    assert {each.service for each in NEEDS} == {"s3", "ec2", "autoscaling"}
    assert lacking(EVERYTHING, several(replace(job, spot=Spot()))) == []


def test_a_subnet_leads_to_what_its_endpoints_are_for(subnet: Subnet) -> None:
    assert subnet.reach() == Reach(frozenset(), vpc=subnet.vpc, subnet=subnet.id, table=subnet.table)
    subnet.endpoint("s3", RouteTableIds=[subnet.table])
    subnet.endpoint("ec2", VpcEndpointType="Interface", SubnetIds=[subnet.id])
    found = subnet.reach()
    assert (found.services, found.out) == ({"s3", "ec2"}, False)


def test_a_gateway_endpoint_of_another_route_table_is_none_of_this_subnets(subnet: Subnet) -> None:
    other = subnet.api.call("ec2", "create_route_table", VpcId=subnet.vpc)["RouteTable"]["RouteTableId"]
    subnet.endpoint("s3", RouteTableIds=[other])
    assert subnet.reach().services == frozenset()


@pytest.mark.parametrize(
    ("lead", "private", "out"),
    [
        (Subnet.to_nat, True, True),
        (Subnet.to_a_peer, True, True),
        (Subnet.to_an_appliance, True, True),
        (Subnet.to_the_internet, True, False),
        (Subnet.to_the_internet, False, True),
        (lambda _: None, False, False),
    ],
)
def test_a_route_may_lead_to_everything(
    subnet: Subnet, lead: Callable[[Subnet], None], private: bool, out: bool
) -> None:
    lead(subnet)
    assert subnet.reach(private=private).out is out


def test_a_subnet_without_a_table_of_its_own_has_the_main_one(subnet: Subnet) -> None:
    made = subnet.api.call("ec2", "create_subnet", VpcId=subnet.vpc, CidrBlock="10.1.2.0/24")
    other = replace(subnet, id=made["Subnet"]["SubnetId"])
    assert other.reach().table not in ("", subnet.table)


def test_a_subnet_of_another_account_may_have_endpoints_that_nobody_here_sees(subnet: Subnet) -> None:
    settings = replace(subnet.settings, access=Access(private=True, subnet=subnet.id))
    assert find_reach(Account(subnet.api, settings, "999999999999", BUCKET), print) == EVERYTHING


def test_skylifts_own_network(api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def account(access: Access) -> Account:
        return Account(api, replace(settings, access=access), "123456789012", BUCKET)

    assert find_reach(account(Access(private=True)), print) == Reach(), "it is not made yet"
    api.call("s3", "create_bucket", Bucket=BUCKET)
    ensure_network(api, BUCKET)
    found = find_reach(account(Access(private=True)), print)
    assert (found.services, found.out, found.subnet) == ({"s3"}, False, "")
    monkeypatch.setattr(Api, "call", lambda *_, **__: pytest.fail("each run would wait for it"))
    assert find_reach(account(Access()), print) == EVERYTHING


def test_who_may_not_look_is_told_and_goes_on(subnet: Subnet, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Api.call

    def denied(self: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "describe_vpc_endpoints":
            raise NotPermitted("UnauthorizedOperation", "You may not", operation)
        return call(self, service, operation, **params)

    monkeypatch.setattr(Api, "call", denied)
    told: list[str] = []
    settings = replace(subnet.settings, access=Access(private=True, subnet=subnet.id))
    assert find_reach(Account(subnet.api, settings, "123456789012", BUCKET), told.append) == EVERYTHING
    assert "could not be checked: describe_vpc_endpoints: You may not" in told[0]


def instances(api: Api) -> int:
    return len(api.pages("ec2", "describe_instances", "Reservations"))


@pytest.mark.parametrize("on_aws", [True, False])
def test_nothing_is_started_where_a_way_is_missing(subnet: Subnet, folder: Path, on_aws: bool) -> None:
    """A fleet would start servers in a loop, and a map wait for Auto Scaling."""
    subnet.endpoint("s3", RouteTableIds=[subnet.table])
    reach = subnet.reach()
    job = several(replace(order(folder, ""), spot=Spot()))
    settings = subnet.settings if on_aws else replace(subnet.settings, endpoint_url="http://127.0.0.1:4520")
    error = reach.refusal(reach.lacks(job), settings)
    assert error.message == (
        f"{subnet.id} has no way to EC2, which a job with --spot asks for its end; or to Auto Scaling, which starts "
        "and ends the job's other servers."
    )
    made = f"aws ec2 create-vpc-endpoint --vpc-id {subnet.vpc} --service-name {REGION}."
    assert ("NAT gateway" in error.advice, f"{made}autoscaling --vpc-endpoint-type Interface" in error.advice) == (
        True,
        on_aws,
    )
    assert "s3" not in error.advice


def test_a_map_that_was_asked_for_no_number_has_one_server(subnet: Subnet, folder: Path) -> None:
    subnet.endpoint("s3", RouteTableIds=[subnet.table])
    told: list[str] = []
    job = _within(subnet.reach(), several(order(folder, ""), asked=False), subnet.settings, told.append)
    assert job.map is not None and job.map.servers == 1 and not job.has_workers
    assert told[0].startswith(f"The map has one server. {subnet.id} has no way to Auto Scaling")
    # One server needs EC2 as well.
    spot = replace(several(order(folder, ""), asked=False), spot=Spot())
    with pytest.raises(UsageError, match="no way to EC2"):
        _within(subnet.reach(), spot, subnet.settings, told.append)
    assert len(told) == 1


def test_a_run_of_a_private_subnet_without_any_way(
    settings: Settings, api: Api, subnet: Subnet, seen: Seen, folder: Path
) -> None:
    there = replace(settings, access=Access(private=True, subnet=subnet.id))
    with pytest.raises(UsageError, match="no way to S3") as refused:
        run(order(folder, ""), there, seen)
    assert f"{REGION}.s3 --route-table-ids {subnet.table}" in refused.value.advice
    assert instances(api) == 0
    subnet.endpoint("s3", RouteTableIds=[subnet.table])
    with pytest.raises(UsageError, match="no way to EC2"):
        run(replace(order(folder, ""), spot=Spot()), there, seen)
    with pytest.raises(UsageError, match="no way to Auto Scaling"):
        run(several(order(folder, "")), there, seen)
    assert instances(api) == 0
