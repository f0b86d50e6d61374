"""A VPC is taken away with all that is in it, in an order that EC2 takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skylift.client.errors import Refused, UsageError
from skylift.console.call import Call
from skylift.console.networks import SubnetLine, change_table, remove_gateway
from skylift.console.vpc_plan import Making, internet_gateway_steps
from skylift.console.vpc_removal import PATIENCE, plan_removal

NAT = {"NatGatewayId": "nat-1", "State": "available", "NatGatewayAddresses": [{"PublicIp": "192.0.2.1"}]}
OTHER = {"UserIdGroupPairs": [{"GroupId": "sg-2"}], "IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
WHOLE: dict[str, Any] = {
    "nats": [NAT],
    "endpoints": [{"VpcEndpointId": "vpce-1"}, {"VpcEndpointId": "vpce-2"}],
    "subnets": [{"SubnetId": "subnet-1", "Tags": [{"Key": "Name", "Value": "<b>"}]}],
    "tables": [
        {"RouteTableId": "rtb-main", "Associations": [{"Main": True}]},
        {"RouteTableId": "rtb-1", "Associations": []},
    ],
    "gateways": [{"InternetGatewayId": "igw-1"}],
    "groups": [
        {"GroupId": "sg-0", "GroupName": "default"},
        {"GroupId": "sg-1", "GroupName": "web", "IpPermissions": [OTHER]},
        {"GroupId": "sg-2", "GroupName": "db"},
    ],
    "acls": [{"NetworkAclId": "acl-0", "IsDefault": True}, {"NetworkAclId": "acl-1"}],
}


def test_all_of_it_is_named_and_what_others_lean_on_goes_last() -> None:
    removal = plan_removal("vpc-1", **WHOLE)
    assert [call.operation for _, call in removal.steps] == [
        "delete_nat_gateway",
        "delete_vpc_endpoints",
        "delete_subnet",
        "detach_internet_gateway",
        "delete_internet_gateway",
        "delete_route_table",
        "delete_network_acl",
        "revoke_security_group_ingress",
        "delete_security_group",
        "delete_security_group",
        "delete_vpc",
    ]
    assert "subnet <b> (subnet-1)" in [words for words, _ in removal.steps]
    assert removal.kept == ("192.0.2.1 stays yours, and costs: release it among Elastic IPs.",)
    (revoked,) = removal.steps[7][1].params["IpPermissions"]
    assert (revoked["UserIdGroupPairs"], revoked["IpRanges"]) == ([{"GroupId": "sg-2"}], [])


def test_servers_are_in_the_way() -> None:
    servers = [
        *({"InstanceId": f"i-{number}", "State": {"Name": "stopped"}} for number in range(7)),
        {"InstanceId": "i-gone", "State": {"Name": "terminated"}},
    ]
    removal = plan_removal("vpc-1", instances=servers)
    assert removal.obstacles == ("Servers are in this VPC: terminate i-0, i-1, i-2, i-3, i-4 and 2 more first.",)
    made: list[Call] = []
    with pytest.raises(UsageError):
        removal.perform(made.append)
    assert made == []


def test_rules_of_the_default_group_let_go_of_the_groups_that_they_name() -> None:
    pairs = [{"GroupId": "sg-0"}, {"GroupId": "sg-1"}]
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": pairs}
    itself = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-0"}]}
    default = {
        "GroupId": "sg-0",
        "GroupName": "default",
        "IpPermissions": [itself, rule],
        "IpPermissionsEgress": [rule],
    }
    removal = plan_removal("vpc-1", groups=[default, {"GroupId": "sg-1", "GroupName": "web"}])
    assert [call.operation for _, call in removal.steps] == [
        "revoke_security_group_ingress",
        "revoke_security_group_egress",
        "delete_security_group",
        "delete_vpc",
    ]
    for _, call in removal.steps[:2]:
        assert call.params["GroupId"] == "sg-0"
        (revoked,) = call.params["IpPermissions"]
        assert (revoked["FromPort"], revoked["UserIdGroupPairs"]) == (80, [{"GroupId": "sg-1"}])
    assert removal.steps[2][1].params == {"GroupId": "sg-1"}


def test_interfaces_that_do_not_go_with_the_vpc_are_in_the_way() -> None:
    def interface(number: int, kind: str = "interface", **more: Any) -> dict[str, Any]:
        return {"NetworkInterfaceId": f"eni-{number}", "InterfaceType": kind, **more}

    goes_along = [
        interface(1, Attachment={"InstanceId": "i-1"}),
        interface(2, "nat_gateway", RequesterManaged=True),
        interface(3, "natGateway", RequesterManaged=True),
        interface(4, "vpc_endpoint", RequesterManaged=True),
        interface(5, "gateway_load_balancer_endpoint", RequesterManaged=True),
    ]
    assert plan_removal("vpc-1", interfaces=goes_along).obstacles == ()
    balancer = interface(6, Description="ELB app/<b>/1", Attachment={"InstanceOwnerId": "amazon-elb"})
    removal = plan_removal("vpc-1", interfaces=[*goes_along, balancer, interface(7, "lambda"), interface(8)])
    assert removal.obstacles == (
        "Network interfaces are in this VPC: first delete what they belong to, or the interfaces themselves: "
        "eni-6 (ELB app/<b>/1), eni-7 (lambda), eni-8.",
    )
    made: list[Call] = []
    with pytest.raises(UsageError):
        removal.perform(made.append)
    assert made == []


class Ec2:
    """Lets go of the subnet when it was asked so often."""

    def __init__(self, holds: int) -> None:
        self.holds, self.now = holds, 0.0
        self.asked: list[str] = []

    def perform(self, call: Call) -> None:
        self.asked.append(call.operation)
        if call.operation == "delete_subnet" and self.holds:
            self.holds -= 1
            raise Refused("DependencyViolation", "it has dependencies", "DeleteSubnet")

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_what_is_held_for_a_while_is_waited_for_and_not_for_ever() -> None:
    removal = plan_removal("vpc-1", subnets=WHOLE["subnets"])
    patient = Ec2(3)
    removal.perform(patient.perform, lambda: patient.now, patient.sleep)
    assert patient.asked == [*["delete_subnet"] * 4, "delete_vpc"]
    stuck = Ec2(100_000)
    with pytest.raises(Refused, match="it has dependencies"):
        removal.perform(stuck.perform, lambda: stuck.now, stuck.sleep)
    assert stuck.now > PATIENCE
    assert "delete_vpc" not in stuck.asked


def test_a_subnet_has_one_route_table() -> None:
    plain = SubnetLine("subnet-1", "", "us-east-1a", "10.0.0.0/24", 251, "no", "rtb-main")
    own = replace(plain, table="rtb-1", association="link-1")
    first = change_table(plain, "rtb-1", "rtb-main")
    other, back = change_table(own, "rtb-2", "rtb-main"), change_table(own, "rtb-main", "rtb-main")
    assert first.params == {"RouteTableId": "rtb-1", "SubnetId": "subnet-1"}
    assert other.operation == "replace_route_table_association"
    assert back.params == {"AssociationId": "link-1"}
    for subnet, table in ((plain, "rtb-main"), (own, "rtb-1")):
        with pytest.raises(UsageError, match="It has this one"):
            change_table(subnet, table, "rtb-main")


def test_a_gateway_that_cannot_join_its_vpc_is_not_there() -> None:
    made: list[str] = []

    def perform(call: Call) -> Any:
        made.append(call.operation)
        if call.operation == "attach_internet_gateway":
            raise Refused("Resource.AlreadyAssociated", "it has one", "AttachInternetGateway")
        return {"InternetGateway": {"InternetGatewayId": "igw-1"}}

    with pytest.raises(Refused):
        Making(internet_gateway_steps("vpc-1", "%odd%")).make_all(perform)
    assert made == ["create_internet_gateway", "attach_internet_gateway", "delete_internet_gateway"]
    assert remove_gateway("vpc-1", "pcx-1") == []
