"""Routes and rules of network ACLs, as they are typed."""

from __future__ import annotations

import pytest

from skylift.client.errors import UsageError
from skylift.console.networks import allocate_address, create_acl_rule, create_route, nat_gateway_steps


@pytest.mark.parametrize(
    ("target", "parameter"), [("igw-1", "GatewayId"), ("nat-1", "NatGatewayId"), ("pcx-1", "VpcPeeringConnectionId")]
)
def test_a_route_names_its_target_by_kind(target: str, parameter: str) -> None:
    assert create_route("rtb-1", " 0.0.0.0/0 ", target).params == {
        "RouteTableId": "rtb-1",
        "DestinationCidrBlock": "0.0.0.0/0",
        parameter: target,
    }
    assert "DestinationIpv6CidrBlock" in create_route("rtb-1", "::/0", target).params


@pytest.mark.parametrize(("destination", "target"), [("", "igw-1"), ("10.0.0.1/8", "igw-1"), ("0.0.0.0/0", "")])
def test_a_route_that_is_none_says_what_to_do(destination: str, target: str) -> None:
    with pytest.raises(UsageError) as refused:
        create_route("rtb-1", destination, target)
    assert refused.value.advice


def test_a_rule_has_ports_where_its_protocol_has_some() -> None:
    rule = create_acl_rule("acl-1", "90", "in", "6", "8000-8080", "10.0.0.0/8", "deny").params
    assert (rule["PortRange"], rule["Egress"], rule["RuleAction"]) == ({"From": 8000, "To": 8080}, False, "deny")
    assert "PortRange" not in create_acl_rule("acl-1", "90", "out", "-1", "", "::/0", "allow").params


@pytest.mark.parametrize(
    ("number", "protocol", "ports", "cidr"),
    [
        *((each, "-1", "", "0.0.0.0/0") for each in ("", "0", "32767", "x", "²")),
        *(("1", "6", each, "0.0.0.0/0") for each in ("", "a", "1-b", "²")),
        *(("1", "-1", "", each) for each in ("", "10.0.0.1/8", "all")),
    ],
)
def test_a_rule_that_is_none_says_what_to_do(number: str, protocol: str, ports: str, cidr: str) -> None:
    with pytest.raises(UsageError) as refused:
        create_acl_rule("acl-1", number, "in", protocol, ports, cidr, "allow")
    assert refused.value.advice


def test_an_address_has_a_name_or_no_tags() -> None:
    assert "TagSpecifications" not in allocate_address("").params
    assert allocate_address("<b>").params["TagSpecifications"][0]["Tags"] == [{"Key": "Name", "Value": "<b>"}]


def test_a_nat_gateway_has_an_address_that_is_there_or_one_of_its_own() -> None:
    (given,) = nat_gateway_steps("subnet-1", "eipalloc-1", "")
    assert given.call.params == {"SubnetId": "subnet-1", "AllocationId": "eipalloc-1"}
    address, made = nat_gateway_steps("subnet-1", "", "<b>")
    assert made.known({"address": "eipalloc-2"}).params["AllocationId"] == "eipalloc-2"
    undone = address.undoing({"address": "eipalloc-2"})
    assert undone is not None
    assert (undone.operation, undone.params) == ("release_address", {"AllocationId": "eipalloc-2"})
    tags = [{"Key": "Name", "Value": "<b>"}]
    assert made.call.params["TagSpecifications"] == [{"ResourceType": "natgateway", "Tags": tags}]


@pytest.mark.parametrize(("subnet", "name"), [("", ""), ("subnet-1", "%address%")])
def test_a_nat_gateway_that_cannot_be_is_refused_in_words(subnet: str, name: str) -> None:
    with pytest.raises(UsageError):
        nat_gateway_steps(subnet, "", name)
