"""VPC peering connections: their states, the routes into them, and what compute is told."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION, Cloud, filters, tagged

from skylift.cloud.compute.network.router import planned_routes
from skylift.cloud.loops.vpc.network import NetworkLoop, vpc_plans
from skylift.cloud.services.vpc.peering import forget_ended


class Pair:
    """Two VPCs with a subnet each, and what the loop does for them without a kernel."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.failures: dict[str, Exception] = {}
        self.vpcs = [cloud.call("CreateVpc", CidrBlock=cidr)["Vpc"]["VpcId"] for cidr in ("10.0.0.0/16", "10.1.0.0/16")]
        for number, vpc in enumerate(self.vpcs):
            cloud.call("CreateSubnet", VpcId=vpc, CidrBlock=f"10.{number}.1.0/24")
        self._loop = NetworkLoop(cloud.database, self, lambda _: {}, lambda _: None)

    def apply(self, plans: list[Any]) -> dict[str, Exception]:
        self.plans = {plan.vpc.id: plan for plan in plans}
        return self.failures

    def step(self) -> None:
        self._loop.step()

    def sync(self) -> None:
        self._loop.sync()

    def ask(self, **params: Any) -> str:
        asked = {"VpcId": self.vpcs[0], "PeerVpcId": self.vpcs[1], **params}
        return str(
            self.cloud.call("CreateVpcPeeringConnection", **asked)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        )

    def join(self) -> str:
        peering = self.ask()
        self.cloud.call("AcceptVpcPeeringConnection", VpcPeeringConnectionId=peering)
        self.step()
        return peering

    def table(self, vpc: str) -> str:
        found = self.cloud.call("DescribeRouteTables", Filters=filters(vpc_id=vpc))["RouteTables"]
        return str(found[0]["RouteTableId"])

    def state(self, peering: str) -> str:
        found = self.cloud.call("DescribeVpcPeeringConnections", VpcPeeringConnectionIds=[peering])
        return str(found["VpcPeeringConnections"][0]["Status"]["Code"])


@pytest.fixture
def pair(cloud: Cloud) -> Pair:
    return Pair(cloud)


def test_a_connection_from_request_to_end(cloud: Cloud, pair: Pair) -> None:
    first, second = pair.vpcs
    peering = pair.ask(TagSpecifications=tagged("vpc-peering-connection", Name="both"))
    (shown,) = cloud.call("DescribeVpcPeeringConnections")["VpcPeeringConnections"]
    assert shown["Status"] == {"Code": "pending-acceptance", "Message": f"Pending Acceptance by {ACCOUNT}"}
    assert (shown["RequesterVpcInfo"]["VpcId"], shown["AccepterVpcInfo"]["VpcId"]) == (first, second)
    assert shown["AccepterVpcInfo"]["CidrBlockSet"] == [{"CidrBlock": "10.1.0.0/16"}]
    assert (shown["RequesterVpcInfo"]["Region"], shown["Tags"]) == (REGION, [{"Key": "Name", "Value": "both"}])
    accepted = cloud.call("AcceptVpcPeeringConnection", VpcPeeringConnectionId=peering)["VpcPeeringConnection"]
    assert accepted["Status"]["Code"] == "provisioning"
    pair.step()
    assert pair.state(peering) == "active"
    for operation in ("AcceptVpcPeeringConnection", "RejectVpcPeeringConnection"):
        assert cloud.code(operation, VpcPeeringConnectionId=peering) == "InvalidStateTransition"
    cloud.call("DeleteVpcPeeringConnection", VpcPeeringConnectionId=peering)
    assert pair.state(peering) == "deleting"
    pair.step()
    assert pair.state(peering) == "deleted"
    cloud.call("DeleteVpcPeeringConnection", VpcPeeringConnectionId=peering)
    cloud.clock.forward(hours=2)
    with cloud.database.write() as tx:
        forget_ended(tx)
    assert cloud.code("DeleteVpcPeeringConnection", VpcPeeringConnectionId=peering) == (
        "InvalidVpcPeeringConnectionID.NotFound"
    )


@pytest.mark.parametrize("what", ["first", "second", "peering"])
def test_a_connection_waits_for_both_routers_and_for_the_link(cloud: Cloud, pair: Pair, what: str) -> None:
    peering = pair.ask()
    behind = {"first": pair.vpcs[0], "second": pair.vpcs[1], "peering": peering}[what]
    pair.failures[behind] = OSError("the kernel says no")
    cloud.call("AcceptVpcPeeringConnection", VpcPeeringConnectionId=peering)
    pair.sync()
    assert pair.state(peering) == "provisioning"
    pair.failures.clear()
    pair.sync()
    assert pair.state(peering) == "active"
    pair.failures[behind] = OSError("the kernel says no")
    cloud.call("DeleteVpcPeeringConnection", VpcPeeringConnectionId=peering)
    pair.sync()
    assert pair.state(peering) == "deleting"
    pair.failures.clear()
    pair.sync()
    assert pair.state(peering) == "deleted"


def test_a_request_is_rejected_or_expires(cloud: Cloud, pair: Pair) -> None:
    rejected = pair.ask()
    cloud.call("RejectVpcPeeringConnection", VpcPeeringConnectionId=rejected)
    assert pair.state(rejected) == "rejected"
    assert cloud.code("DeleteVpcPeeringConnection", VpcPeeringConnectionId=rejected) == "InvalidStateTransition"
    late = pair.ask()
    cloud.clock.forward(days=7)
    with cloud.database.write() as tx:
        forget_ended(tx)
    assert pair.state(late) == "expired"
    assert cloud.code("AcceptVpcPeeringConnection", VpcPeeringConnectionId=late) == "InvalidStateTransition"


def test_ranges_that_overlap_fail(cloud: Cloud, pair: Pair) -> None:
    third = cloud.call("CreateVpc", CidrBlock="10.0.0.0/20")["Vpc"]["VpcId"]
    assert pair.state(pair.ask(PeerVpcId=third)) == "failed"
    pair.join()
    grown = {"VpcId": pair.vpcs[0], "CidrBlock": "10.1.0.0/20"}
    assert cloud.code("AssociateVpcCidrBlock", **grown) == "InvalidVpc.Range"


def test_what_cannot_be_asked_for(cloud: Cloud, pair: Pair) -> None:
    first, second = pair.vpcs
    pair.ask()
    both = {"VpcId": second, "PeerVpcId": first}
    assert cloud.code("CreateVpcPeeringConnection", **both) == "VpcPeeringConnectionAlreadyExists"
    assert cloud.code("CreateVpcPeeringConnection", VpcId=first, PeerVpcId=first) == "InvalidParameterValue"
    assert cloud.code("CreateVpcPeeringConnection", VpcId=first) == "MissingParameter"
    assert cloud.code("CreateVpcPeeringConnection", **both, PeerRegion="eu-west-1") == "InvalidParameterValue"
    assert cloud.code("CreateVpcPeeringConnection", **both, PeerOwnerId="210987654321") == "InvalidParameterValue"
    absent = {"VpcId": first, "PeerVpcId": "vpc-0123456789abcdef0"}
    assert cloud.code("CreateVpcPeeringConnection", **absent) == "InvalidVpcID.NotFound"


def test_routes_into_a_connection(cloud: Cloud, pair: Pair) -> None:
    table = pair.table(pair.vpcs[0])
    route = {"RouteTableId": table, "DestinationCidrBlock": "10.1.0.0/16"}
    waiting = pair.ask()
    assert cloud.code("CreateRoute", **route, VpcPeeringConnectionId=waiting) == "InvalidStateTransition"
    cloud.call("AcceptVpcPeeringConnection", VpcPeeringConnectionId=waiting)
    cloud.call("CreateRoute", **route, VpcPeeringConnectionId=waiting)
    elsewhere = {"RouteTableId": cloud.default("table")["RouteTableId"], "DestinationCidrBlock": "10.1.0.0/16"}
    assert cloud.code("CreateRoute", **elsewhere, VpcPeeringConnectionId=waiting) == "InvalidParameterValue"
    shown = cloud.call("DescribeRouteTables", Filters=filters(**{"route.vpc_peering_connection_id": waiting}))
    assert shown["RouteTables"][0]["Routes"][1] == {
        "DestinationCidrBlock": "10.1.0.0/16",
        "VpcPeeringConnectionId": waiting,
        "Origin": "CreateRoute",
        "State": "active",
    }
    with cloud.database.read() as tx:
        plans = {plan.vpc.id: plan for plan in vpc_plans(tx)}
    planned = {(one.target, one.kind, one.peering) for one in planned_routes(plans[pair.vpcs[0]])}
    assert {("10.1.0.0/16", "unicast", waiting), ("10.1.0.0/16", "blackhole", None)} <= planned
    cloud.call("DeleteVpcPeeringConnection", VpcPeeringConnectionId=waiting)
    with cloud.database.read() as tx:
        plans = {plan.vpc.id: plan for plan in vpc_plans(tx)}
    planned = {(one.kind, one.peering) for one in planned_routes(plans[pair.vpcs[0]]) if one.target == "10.1.0.0/16"}
    assert planned == {("blackhole", None)}
    table_now = cloud.call("DescribeRouteTables", RouteTableIds=[table])["RouteTables"][0]
    assert table_now["Routes"][1]["State"] == "blackhole"


def test_a_vpc_that_goes_takes_its_connection_along(cloud: Cloud, pair: Pair) -> None:
    peering = pair.join()
    assert [peer.vpc_id for peer in pair.plans[pair.vpcs[0]].peers] == [pair.vpcs[1]]
    for subnet in cloud.call("DescribeSubnets", Filters=filters(vpc_id=pair.vpcs[1]))["Subnets"]:
        cloud.call("DeleteSubnet", SubnetId=subnet["SubnetId"])
    cloud.call("DeleteVpc", VpcId=pair.vpcs[1])
    pair.step()
    assert pair.state(peering) == "deleted"
    assert pair.plans[pair.vpcs[0]].peers == ()


def test_policies_see_both_ends(cloud: Cloud, pair: Pair) -> None:
    ends = {
        "ec2:RequesterVpc": f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/{pair.vpcs[0]}",
        "ec2:AccepterVpc": f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/{pair.vpcs[1]}",
    }
    making = cloud.checks("CreateVpcPeeringConnection", VpcId=pair.vpcs[0], PeerVpcId=pair.vpcs[1])[0]
    assert ends.items() <= (making.context or {}).items()
    accepting = cloud.checks("AcceptVpcPeeringConnection", VpcPeeringConnectionId=pair.ask())
    assert ends.items() <= (accepting[0].context or {}).items()
    assert accepting[1].resource == ends["ec2:AccepterVpc"]


def group_of(cloud: Cloud, vpc: str) -> str:
    found = cloud.call("DescribeSecurityGroups", Filters=filters(vpc_id=vpc))["SecurityGroups"]
    return str(found[0]["GroupId"])


def test_rules_that_name_a_group_of_the_peer(cloud: Cloud, pair: Pair) -> None:
    first, second = pair.vpcs
    own, theirs = group_of(cloud, first), group_of(cloud, second)
    asked = {
        "GroupId": own,
        "IpPermissions": [
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": theirs}]}
        ],
    }
    assert cloud.code("AuthorizeSecurityGroupIngress", **asked) == "InvalidGroup.NotFound"
    peering = pair.join()
    (rule,) = cloud.call("AuthorizeSecurityGroupIngress", **asked)["SecurityGroupRules"]
    pair_of_rule = {
        "GroupId": theirs,
        "UserId": ACCOUNT,
        "VpcId": second,
        "VpcPeeringConnectionId": peering,
        # Recorded on AWS: test_security_group_stale in cloud-custodian's tests/data/placebo.
        "PeeringStatus": "active",
    }
    assert rule["ReferencedGroupInfo"] == pair_of_rule
    shown = cloud.call("DescribeSecurityGroups", GroupIds=[own])["SecurityGroups"][0]["IpPermissions"]
    (of_22,) = [one for one in shown if one.get("FromPort") == 22]
    assert of_22["UserIdGroupPairs"] == [pair_of_rule]
    references = cloud.call("DescribeSecurityGroupReferences", GroupId=[theirs])["SecurityGroupReferenceSet"]
    assert references == [{"GroupId": theirs, "ReferencingVpcId": first, "VpcPeeringConnectionId": peering}]
    subnet = cloud.call("DescribeSubnets", Filters=filters(vpc_id=second))["Subnets"][0]["SubnetId"]
    address = cloud.run(SubnetId=subnet)["PrivateIpAddress"]

    def sources() -> list[str | None]:
        with cloud.database.read() as tx:
            plan = next(plan for plan in vpc_plans(tx) if plan.vpc.id == first)
        (group,) = plan.groups
        return [rule.cidr for rule in group.rules if rule.from_port == 22]

    assert sources() == [f"{address}/32"]
    assert cloud.call("DescribeStaleSecurityGroups", VpcId=first) == {"StaleSecurityGroupSet": []}
    cloud.call("DeleteVpcPeeringConnection", VpcPeeringConnectionId=peering)
    assert sources() == []
    (stale,) = cloud.call("DescribeStaleSecurityGroups", VpcId=first)["StaleSecurityGroupSet"]
    assert (stale["GroupId"], stale["StaleIpPermissionsEgress"]) == (own, [])
    (of_stale,) = stale["StaleIpPermissions"][0]["UserIdGroupPairs"]
    assert (of_stale["GroupId"], of_stale["PeeringStatus"]) == (theirs, "deleting")
    pair.step()
    cloud.clock.forward(hours=2)
    with cloud.database.write() as tx:
        forget_ended(tx)
    (stale,) = cloud.call("DescribeStaleSecurityGroups", VpcId=first)["StaleSecurityGroupSet"]
    assert stale["StaleIpPermissions"][0]["UserIdGroupPairs"][0]["PeeringStatus"] == "deleted"
    assert cloud.call("DescribeSecurityGroupReferences", GroupId=[theirs])["SecurityGroupReferenceSet"] == []
    cloud.call("RevokeSecurityGroupIngress", GroupId=own, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
    assert cloud.call("DescribeStaleSecurityGroups", VpcId=first) == {"StaleSecurityGroupSet": []}


@pytest.mark.parametrize("gone", [False, True])
def test_a_stale_rule_is_revoked_by_its_permission(cloud: Cloud, pair: Pair, gone: bool) -> None:
    """`You can delete stale security group rules as you would any other security group rule.` (VPC peering guide,
    Update your security groups to reference peer security groups)"""
    first, second = pair.vpcs
    own, theirs = (
        group_of(cloud, first),
        cloud.call("CreateSecurityGroup", GroupName="theirs", Description="theirs", VpcId=second)["GroupId"],
    )
    peering = pair.join()
    pairs = [{"GroupId": theirs, "VpcId": second, "VpcPeeringConnectionId": peering}]
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": pairs}
    cloud.call("AuthorizeSecurityGroupIngress", GroupId=own, IpPermissions=[permission])
    cloud.call("DeleteVpcPeeringConnection", VpcPeeringConnectionId=peering)
    if gone:
        cloud.call("DeleteSecurityGroup", GroupId=theirs)
    (stale,) = cloud.call("DescribeStaleSecurityGroups", VpcId=first)["StaleSecurityGroupSet"]
    cloud.call("RevokeSecurityGroupIngress", GroupId=own, IpPermissions=stale["StaleIpPermissions"])
    assert cloud.call("DescribeStaleSecurityGroups", VpcId=first) == {"StaleSecurityGroupSet": []}
    shown = cloud.call("DescribeSecurityGroups", GroupIds=[own])["SecurityGroups"][0]["IpPermissions"]
    assert [one for one in shown if one.get("FromPort") == 22] == []


def test_the_connection_that_a_rule_names_has_to_lead_there(cloud: Cloud, pair: Pair) -> None:
    peering, theirs = pair.join(), group_of(cloud, pair.vpcs[1])

    def code(**more: str) -> str:
        group = {"GroupId": theirs, **more}
        permission = {"IpProtocol": "-1", "UserIdGroupPairs": [group]}
        asked = {"GroupId": group_of(cloud, pair.vpcs[0]), "IpPermissions": [permission], "DryRun": True}
        return cloud.code("AuthorizeSecurityGroupEgress", **asked)

    assert code(VpcId=pair.vpcs[0]) == "InvalidGroup.NotFound"
    assert code(VpcPeeringConnectionId="pcx-0123456789abcdef0") == "InvalidGroup.NotFound"
    assert code(VpcId=pair.vpcs[1], VpcPeeringConnectionId=peering) == "DryRunOperation"
