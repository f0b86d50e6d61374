"""A list that is asked for again and again: an answer that says what the last one said is not read. EC2 is moto's."""

from __future__ import annotations

from typing import Any

from skylift.client.remote.api import Api


def networks(api: Api) -> list[Any]:
    return api.look("ec2", "describe_vpcs", "Vpcs")


def test_what_has_not_changed_is_the_same_list_and_what_has_changed_is_read(api: Api) -> None:
    first = networks(api)
    assert networks(api) is first
    made = api.call("ec2", "create_vpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    assert {each["VpcId"] for each in networks(api)} == {made, *(each["VpcId"] for each in first)}


def test_the_same_question_asked_otherwise_is_always_read(api: Api) -> None:
    made = api.call("ec2", "create_vpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    for _ in range(2):
        found = networks(api)
        assert made in {each["VpcId"] for each in found}
        assert api.pages("ec2", "describe_vpcs", "Vpcs") == found
        assert api.call("ec2", "describe_vpcs")["Vpcs"] == found
