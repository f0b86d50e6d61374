"""A VPC and more, before it is made: what is missing, what is drawn, and the calls in their order."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from test_call import made_by_the_cli

from skylift.client.errors import Refused, RunError
from skylift.console.call import Call
from skylift.console.vpc_plan import LONGEST_WAIT, NAT_EACH, NAT_ONE, Making, VpcChoice

PLAN = VpcChoice("shop", "10.0.0.0/16", ("us-east-1a", "us-east-1b"), True, 1, "", True)
PLANS = (
    PLAN,
    replace(PLAN, nat=NAT_ONE),
    replace(PLAN, nat=NAT_EACH, private=2),
    replace(PLAN, public=False, s3=False),
    replace(PLAN, name="", private=0),
    replace(PLAN, name="<b>'$(id)\"", zones=("us-east-1a", "us-east-1b", "us-east-1c"), private=2, nat=NAT_EACH),
)


class Answer:
    """Of any call that makes something: what ends with Id is its id."""

    def __init__(self, given: str) -> None:
        self._given = given

    def __getitem__(self, key: str) -> Any:
        return self._given if key.endswith("Id") else self


class Ec2:
    """Gives ids as EC2 does, and refuses what refers to an id that it has not given."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.nat = "pending"

    def perform(self, call: Call) -> Any:
        given = f"id-{len(self.there)}"
        if call.operation == "describe_nat_gateways":
            return {"NatGateways": [{"State": self.nat, "FailureMessage": "No address is left."}]}
        assert "%" not in str({name: each for name, each in call.params.items() if name != "TagSpecifications"})
        if call.operation.startswith(("delete", "release", "disassociate", "detach")):
            return {}
        self.there.append(call.operation)

        return Answer(given)


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"name": "%vpc%"}, "The name has no %"),
        *[({"cidr": each}, "The range is like") for each in ("", "10.0.0.1/16", "ten", "::/16", "10.0.0.0/33")],
        *[({"cidr": each}, "The range has from 256") for each in ("10.0.0.0/8", "10.0.0.0/25")],
        ({"zones": ()}, "Choose at least one zone"),
        ({"public": False, "private": 0}, "Choose public or private"),
        ({"public": False, "nat": NAT_ONE}, "A NAT gateway stands"),
    ],
)
def test_what_is_missing_is_said(different: dict[str, Any], said: str) -> None:
    (found,) = replace(PLAN, **different).missing()
    assert found.startswith(said)


@pytest.mark.parametrize("plan", PLANS)
def test_each_step_refers_to_what_is_there_before_it(plan: VpcChoice) -> None:
    assert plan.missing() == []
    known: set[str] = set()
    for step in plan.steps("us-east-1"):
        params = {name: value for name, value in step.call.params.items() if name != "TagSpecifications"}
        assert set(re.findall("%([a-z0-9-]+)%", str(params))) <= known
        known.add(step.gives)
        for each in filter(None, [step.undo]):
            assert set(re.findall("%([a-z0-9-]+)%", str(each.params))) <= known


def test_the_commands_set_what_later_ones_use(monkeypatch: pytest.MonkeyPatch) -> None:
    # The CLI takes its time: commands that differ in ids, ranges and zones alone are read once.
    steps = {
        (step.call.operation, frozenset(step.call.params), plan.name): step
        for plan in PLANS
        for step in plan.steps("us-east-1")
    }
    for step in steps.values():
        line = step.line().rpartition("\n")[2]
        if step.gives:
            command = re.fullmatch(r"[a-z0-9_]+=\$\((.*) --query [A-Za-z.]+ --output text\)", line, re.DOTALL)
            assert command is not None
            line = command[1]
        command_line = re.sub(r'"\$([a-z0-9_]+)"', r"id-\1", line)
        assert shlex.split(command_line)[0] == "aws"
        assert made_by_the_cli(command_line, monkeypatch).keys() == step.call.params.keys()


def test_what_is_drawn_is_what_is_made() -> None:
    plan = replace(PLAN, nat=NAT_EACH, private=2)
    drawn = {node.id for node in plan.preview().nodes}
    assert drawn == {step.gives for step in plan.steps("us-east-1") if step.gives and "link" not in step.gives} - {
        "nat-a-address",
        "nat-b-address",
    }
    assert plan.preview().related("private-a-1") == {"vpc", "private-a-1", "private-a-routes", "nat-a", "s3"}


def test_subnets_are_apart() -> None:
    plan = replace(PLAN, zones=("us-east-1a", "us-east-1b", "us-east-1c"), private=2, cidr="10.1.0.0/24")
    ranges = [node.detail.split(", ")[1] for node in plan.preview().nodes if node.column == 1]
    assert len(set(ranges)) == 9
    assert all(each.endswith("/28") for each in ranges)


def test_a_nat_gateway_is_waited_for_so_long_and_no_longer() -> None:
    ec2, now = Ec2(), [0.0]
    making = Making(replace(PLAN, nat=NAT_ONE).steps("us-east-1"), lambda: now[0])
    while making.make_next(ec2.perform):
        pass
    now[0] = LONGEST_WAIT
    assert not making.make_next(ec2.perform)
    now[0] += 1
    with pytest.raises(RunError, match="is still pending after 10 minutes"):
        making.make_next(ec2.perform)
    assert not making.make_next(ec2.perform), "tried again, it waits as long once more"
    ec2.nat = "available"
    assert making.make_next(ec2.perform)
    assert making.is_over


def test_what_cannot_be_undone_is_named_beside_the_reason() -> None:
    ec2 = Ec2()

    def perform(call: Call) -> Any:
        if call.operation in ("create_route_table", "delete_internet_gateway"):
            raise Refused("UnauthorizedOperation", "You are not authorized.", call.operation, "Ask for it.")
        return ec2.perform(call)

    making = Making(PLAN.steps("us-east-1"))
    with pytest.raises(Refused, match="create_route_table") as refused:
        making.make_all(perform)
    vpc, gateway = making.made["vpc"], making.made["igw"]
    assert refused.value.advice.startswith("Ask for it. ")
    assert f"VPC {vpc}, " in refused.value.advice
    assert f"Internet gateway {gateway}: delete_internet_gateway: You are not" in refused.value.advice


def test_what_failed_is_made_again_and_all_of_it_can_be_removed() -> None:
    ec2, making = Ec2(), Making(replace(PLAN, nat=NAT_ONE).steps("us-east-1"))

    def refuse(call: Call) -> Any:
        raise Refused(call.operation, "VpcLimitExceeded", "The maximum number of VPCs has been reached.")

    making.make_next(ec2.perform)
    with pytest.raises(Refused):
        making.make_next(refuse)
    assert making.done == 1
    while making.make_next(ec2.perform):
        assert not making.is_over
    assert making.steps[making.done].awaits == "nat-a"
    ec2.nat = "failed"
    with pytest.raises(RunError, match="No address is left"):
        making.make_next(ec2.perform)
    ec2.nat = "available"
    assert making.make_next(ec2.perform)
    assert making.is_over
    with pytest.raises(Refused):
        making.undo_last(refuse)
    undone: list[str] = []
    while making.done:
        making.undo_last(lambda call: undone.append(call.operation))
    assert undone[:2] == ["delete_route", "delete_nat_gateway"]
    assert undone[-1] == "delete_vpc"
    assert len(undone) == len([step for step in making.steps if step.undo])
