"""A security group with its first rules: what is missing, and what makes it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from skylift.client.errors import RunError, UsageError
from skylift.console.call import Call
from skylift.console.group_wish import GroupWish, other_vpc
from skylift.console.vpc_plan import Making

SSH = ("tcp", "22", "203.0.113.7")
WEB = GroupWish("web", "", "vpc-1", (SSH, ("-1", "", "sg-2")))


class Ec2:
    """Answers as EC2 does. It refuses what its name says."""

    def __init__(self, refused: str = "") -> None:
        self.made: list[Call] = []
        self._refused = refused

    def perform(self, call: Call) -> Any:
        if call.operation == self._refused:
            raise RunError("a rule is no good")
        self.made.append(call)
        return {"GroupId": "sg-1"}


def test_a_group_is_made_with_all_its_rules_by_two_calls() -> None:
    ec2 = Ec2()
    assert WEB.missing() == []
    assert WEB.make(ec2.perform) == "sg-1"
    group, rules = ec2.made
    assert group.params == {"GroupName": "web", "Description": "web", "VpcId": "vpc-1"}
    assert rules.params["GroupId"] == "sg-1"
    assert [each.get("IpRanges") for each in rules.params["IpPermissions"]] == [[{"CidrIp": "203.0.113.7/32"}], None]


def test_the_commands_make_the_same() -> None:
    said = subprocess.run(
        ["bash", "-euc", f'aws() {{ printf "%s " "$@" >&2; echo sg-1; }}\n{Making(WEB.steps()).command}'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--group-name web --description web --vpc-id vpc-1" in said.stderr
    assert '--group-id sg-1 --ip-permissions [{"IpProtocol": "tcp", "FromPort": 22' in said.stderr


def test_a_group_whose_rules_are_refused_is_not_there() -> None:
    ec2 = Ec2("authorize_security_group_ingress")
    with pytest.raises(RunError, match="a rule is no good"):
        WEB.make(ec2.perform)
    assert [each.operation for each in ec2.made] == ["create_security_group", "delete_security_group"]


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"name": ""}, "The group needs a name."),
        *[({"name": each}, "The name has letters") for each in ("%vpc%", "$(id)<b>", "ü", "sg-1", "x" * 256, "a\n")],
        ({"description": "%x%"}, "The description has letters"),
        ({"vpc": ""}, "Choose a VPC."),
        ({"rules": (("tcp", "22", " "),)}, "Say where from or to."),
        ({"rules": (("tcp", "22;", "203.0.113.7"),)}, "'22;' is not a port"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_made(different: dict[str, Any], said: str) -> None:
    ec2, wish = Ec2(), replace(WEB, **different)
    (found,) = wish.missing()
    assert found.startswith(said)
    with pytest.raises(UsageError):
        wish.make(ec2.perform)
    assert ec2.made == []


def test_a_subnet_and_a_group_are_of_one_vpc() -> None:
    vpcs = {"subnet-1": "vpc-1", "sg-1": "vpc-1", "sg-2": "vpc-2"}
    assert other_vpc("subnet-1", "sg-1", vpcs) == other_vpc("", "sg-2", vpcs) == other_vpc("subnet-1", "", vpcs) == ""
    assert other_vpc("subnet-1", "sg-2", vpcs) == "The subnet is in vpc-1, and the security group in vpc-2."
