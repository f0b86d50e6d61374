"""A rule, a route or an entry that is edited in its place: the call for what is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from test_call import HOSTILE, made_by_the_cli

from skylift.client.errors import UsageError
from skylift.console.call import Call
from skylift.console.group_wish import read_change
from skylift.console.networks import Acl, AclRule, ShownRoute, SubnetLine, change_acl, replace_acl_rule, replace_route
from skylift.console.rows import RuleRow

SSH = RuleRow("sgr-1", "in", "tcp 22", "10.0.0.0/8", "of the office", "tcp", 22, 22)
PING = RuleRow("sgr-2", "out", "icmp", "sg-2", "", "icmp", 8, 0)
WEB = AclRule(90, outbound=False, protocol="TCP", ports="443", cidr="0.0.0.0/0", allows=True, kind="6")
ECHO = AclRule(91, outbound=True, protocol="ICMP", ports="all", cidr="::/0", allows=True, kind="1", icmp=(8, 0))


def changed(rule: RuleRow, **typed: str) -> Call:
    as_it_is = {"kind": rule.protocol, "ports": rule.typed_ports, "other": rule.other, "description": rule.description}
    return read_change("sg-1", rule, **{**as_it_is, **typed})


def test_a_rule_is_given_whole() -> None:
    call = changed(SSH, ports=" 8000-8080 ", other="192.0.2.7")
    assert call.operation == "modify_security_group_rules"
    assert call.params == {
        "GroupId": "sg-1",
        "SecurityGroupRules": [
            {
                "SecurityGroupRuleId": "sgr-1",
                "SecurityGroupRule": {
                    "IpProtocol": "tcp",
                    "FromPort": 8000,
                    "ToPort": 8080,
                    "CidrIpv4": "192.0.2.7/32",
                    "Description": "of the office",
                },
            }
        ],
    }


def test_types_of_icmp_stay_where_nobody_types_them() -> None:
    (change,) = changed(PING, other="sg-3").params["SecurityGroupRules"]
    assert change["SecurityGroupRule"] == {
        "IpProtocol": "icmp",
        "FromPort": 8,
        "ToPort": 0,
        "ReferencedGroupId": "sg-3",
    }
    (change,) = changed(PING, kind="-1").params["SecurityGroupRules"]
    assert change["SecurityGroupRule"] == {"IpProtocol": "-1", "ReferencedGroupId": "sg-2"}


@pytest.mark.parametrize(("words", "left"), [("new", {"Description": "new"}), (" ", {})])
def test_other_words_alone_describe_it_anew(words: str, left: dict[str, str]) -> None:
    call = changed(SSH, description=words)
    assert call.operation == "update_security_group_rule_descriptions_ingress"
    assert call.params["SecurityGroupRuleDescriptions"] == [{"SecurityGroupRuleId": "sgr-1", **left}]
    assert changed(PING, description="x").operation == "update_security_group_rule_descriptions_egress"


@pytest.mark.parametrize(
    "typed", [{}, {"ports": "x"}, {"other": ""}, {"other": "sg-1"}, {"other": "::/0"}, {"other": "pl-1"}]
)
def test_what_no_rule_can_become_is_said(typed: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        changed(SSH, **typed)
    assert refused.value.message


@pytest.mark.parametrize("name", HOSTILE)
def test_the_cli_makes_the_same_change(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (changed(SSH, description=name), changed(SSH, other=name.replace(":", "") + "/8", description=name)):
        assert made_by_the_cli(call.command, monkeypatch) == json.loads(json.dumps(call.params))


def test_a_route_leads_elsewhere() -> None:
    route = ShownRoute("0.0.0.0/0", "igw-1", "active")
    call = replace_route("rtb-1", route, "nat-1")
    assert call.operation == "replace_route"
    assert call.params == {"RouteTableId": "rtb-1", "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"}
    with pytest.raises(UsageError):
        replace_route("rtb-1", route, "igw-1")


def test_an_entry_keeps_its_number_and_its_direction() -> None:
    call = replace_acl_rule("acl-1", WEB, "6", "80-443", "10.0.0.0/8", "deny")
    assert call.operation == "replace_network_acl_entry"
    assert call.params == {
        "NetworkAclId": "acl-1",
        "RuleNumber": 90,
        "Protocol": "6",
        "RuleAction": "deny",
        "Egress": False,
        "CidrBlock": "10.0.0.0/8",
        "PortRange": {"From": 80, "To": 443},
    }
    echo = replace_acl_rule("acl-1", ECHO, "1", "", "::/0", "deny").params
    assert echo["IcmpTypeCode"] == {"Type": 8, "Code": 0}


@pytest.mark.parametrize(
    "make",
    [
        lambda: replace_acl_rule("acl-1", WEB, "6", " 443", "0.0.0.0/0 ", "allow"),
        lambda: replace_acl_rule("acl-1", WEB, "6", "", "0.0.0.0/0", "allow"),
        lambda: replace_acl_rule("acl-1", ECHO, "1", "", "::/0", "allow"),
        lambda: replace_acl_rule("acl-1", WEB, "6", "443", "10.0.0.1/8", "allow"),
    ],
)
def test_what_is_no_other_entry_is_said(make: Callable[[], Call]) -> None:
    with pytest.raises(UsageError):
        make()


def test_a_subnet_gets_another_acl() -> None:
    subnet = SubnetLine("subnet-1", "", "z", "10.0.0.0/24", 251, "no", "rtb-1")
    first = Acl("acl-1", "", default=True, rules=(), associations={"subnet-1": "aclassoc-1"})
    call = change_acl(subnet, [first, replace(first, id="acl-2", associations={})], "acl-2")
    assert call.params == {"AssociationId": "aclassoc-1", "NetworkAclId": "acl-2"}
    with pytest.raises(UsageError):
        change_acl(subnet, [first], "acl-1")
