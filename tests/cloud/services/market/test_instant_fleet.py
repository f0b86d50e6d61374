"""Instant fleets of more servers than one transaction makes: what others do between two turns, and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ec2_fixtures import Cloud
from fleet_scene import SPEC, alive, described, make_template, step

from skylift.cloud.domain.fleet import Fleet
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.market import VcpuQuota
from skylift.cloud.services.table import TABLE
from skylift.cloud.store.database import Tx

A, B = "us-east-1a", "us-east-1b"
ZONES = ({"AvailabilityZone": A}, {"AvailabilityZone": B})
MANY = 60


def asked(total: int, *overrides: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": SPEC, "Overrides": list(overrides)}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": total, "DefaultTargetCapacityType": "on-demand"},
        **params,
    }


def turns(cloud: Cloud, params: dict[str, Any], between: Callable[[Tx], object]) -> Iterator[Any]:
    """The answers of one transaction after the other; after the first, others do something."""
    with cloud.database.read() as tx:
        handlers = TABLE["ec2", "CreateFleet"].prepared(tx, cloud.caller, params)
    for number, handler in enumerate(handlers):
        with cloud.database.write() as tx:
            if number == 1:
                between(tx)
            answer = handler(tx, cloud.caller, params)
        yield answer


def no_more(tx: Tx) -> None:
    tx.add(VcpuQuota("standard", "on-demand", 0))


def quota(cloud: Cloud, vcpus: int) -> None:
    cloud.control("PutQuota", InstanceClass="standard", MarketType="on-demand", VCpus=vcpus)


def room(cloud: Cloud, zone: str, count: int) -> None:
    named = {"InstanceType": "t3.micro", "AvailabilityZone": zone, "MarketType": "on-demand"}
    cloud.control("PutCapacity", **named, InstanceCount=count)


def put(cloud: Cloud, image: str) -> None:
    params = {"Name": "/image", "Value": image, "Type": "String", "DataType": "aws:ec2:image"}
    with cloud.database.write() as tx:
        TABLE["ssm", "PutParameter"].handler(tx, cloud.caller, params)


def ids(answer: Any) -> list[str]:
    return [one for group in answer["Instances"] for one in group["InstanceIds"]]


def rows(cloud: Cloud) -> list[Instance]:
    with cloud.database.read() as tx:
        return tx.find(Instance)


@pytest.fixture(autouse=True)
def template(cloud: Cloud) -> str:
    return make_template(cloud)


def test_what_there_is_when_others_take_the_rest_is_the_answer(cloud: Cloud) -> None:
    *_, answer = turns(cloud, asked(MANY, {}), no_more)
    assert 0 < len(ids(answer)) < MANY
    assert {error["ErrorCode"] for error in answer["Errors"]} == {"VcpuLimitExceeded"}
    assert ids(answer) == alive(cloud)
    fleet = described(cloud, answer["FleetId"])
    assert (fleet["Instances"], fleet["Errors"]) == (answer["Instances"], answer["Errors"])


def test_nothing_stays_of_less_than_the_least(cloud: Cloud) -> None:
    options = {"SingleInstanceType": True, "MinTargetCapacity": MANY}
    *_, answer = turns(cloud, asked(MANY, {}, OnDemandOptions=options), no_more)
    assert answer["Instances"] == described(cloud, answer["FleetId"])["Instances"] == []
    assert {error["ErrorCode"] for error in answer["Errors"]} == {"VcpuLimitExceeded"}
    assert {row.state for row in rows(cloud)} == {"shutting-down"}


def test_a_deleted_one_gets_no_more(cloud: Cloud) -> None:
    def delete(tx: Tx) -> None:
        (fleet,) = tx.find(Fleet)
        params = {"FleetIds": [fleet.id], "TerminateInstances": True}
        (handler,) = TABLE["ec2", "DeleteFleets"].prepared(tx, cloud.caller, params)
        handler(tx, cloud.caller, params)

    first, last = turns(cloud, asked(MANY, {}), delete)
    assert ids(first) == ids(last) == [row.id for row in rows(cloud)]
    assert [error["ErrorCode"] for error in last["Errors"]] == ["InternalError"]
    step(cloud)
    assert {row.state for row in rows(cloud)} == {"shutting-down"}


def test_one_that_a_cloud_was_launching_as_it_ended_says_so(cloud: Cloud) -> None:
    """Its request, repeated, makes nothing new; and no loop goes on with it."""
    params = asked(MANY, {}, ClientToken="once")
    first = next(turns(cloud, params, no_more))
    step(cloud)
    assert cloud.call("CreateFleet", **params)["FleetId"] == first["FleetId"]
    fleet = described(cloud, first["FleetId"])
    assert (fleet["FleetState"], fleet["Instances"]) == ("active", first["Instances"])
    assert [error["ErrorCode"] for error in fleet["Errors"]] == ["InternalError"]
    assert alive(cloud) == ids(first)
    deleted = cloud.call("DeleteFleets", FleetIds=[first["FleetId"]], TerminateInstances=True)
    assert deleted["SuccessfulFleetDeletions"]


def test_tags_that_it_gets_between_two_turns_stay(cloud: Cloud) -> None:
    def tag(tx: Tx) -> None:
        (fleet,) = tx.find(Fleet)
        (handler,) = TABLE["ec2", "CreateTags"].prepared(
            tx, cloud.caller, {"Resources": [fleet.id], "Tags": [{"Key": "late", "Value": "1"}]}
        )
        handler(tx, cloud.caller, {})

    *_, answer = turns(cloud, asked(MANY, {}), tag)
    assert len(ids(answer)) == MANY
    assert described(cloud, answer["FleetId"])["Tags"] == [{"Key": "late", "Value": "1"}]


def test_its_image_is_the_one_that_was_asked_about(cloud: Cloud) -> None:
    put(cloud, cloud.image_id)

    def change(tx: Tx) -> None:
        tx.execute("UPDATE parameter_versions SET value = ?", cloud.arm_image_id)

    *_, answer = turns(cloud, asked(MANY, {"ImageId": "resolve:ssm:/image"}), change)
    assert len(ids(answer)) == MANY
    assert {row.image_id for row in rows(cloud)} == {cloud.image_id}


def test_a_zone_that_has_not_enough_is_not_tried(cloud: Cloud) -> None:
    """What is launched only to be taken back would be seen, and paid for."""
    room(cloud, A, 40)
    *_, answer = turns(cloud, asked(MANY, *ZONES, OnDemandOptions={"SingleAvailabilityZone": True}), lambda _: None)
    assert answer["Errors"] == []
    assert len(ids(answer)) == MANY
    assert {row.zone for row in rows(cloud)} == {B}


def test_of_zones_that_have_not_enough_the_one_that_has_most_is_taken(cloud: Cloud) -> None:
    room(cloud, A, 20)
    room(cloud, B, 40)
    params = asked(MANY, *ZONES, OnDemandOptions={"SingleAvailabilityZone": True})
    *_, answer = turns(cloud, params, lambda _: None)
    assert len(ids(answer)) == 40
    assert {row.zone for row in rows(cloud)} == {B}
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["InsufficientInstanceCapacity"] * 2


def test_a_type_whose_zones_share_a_quota_has_it_once(cloud: Cloud) -> None:
    quota(cloud, 40)
    kinds = [{"InstanceType": kind, **zone} for kind in ("t3.micro", "t2.micro") for zone in ZONES]
    params = asked(30, *kinds, OnDemandOptions={"SingleInstanceType": True, "MinTargetCapacity": 30})
    *_, answer = turns(cloud, params, lambda _: None)
    assert (len(ids(answer)), {row.type for row in rows(cloud)}) == (30, {"t2.micro"})


def test_a_dry_run_launches_nothing(cloud: Cloud) -> None:
    for kind in ("instant", "maintain"):
        assert cloud.code("CreateFleet", **{**asked(MANY, {}), "Type": kind}, DryRun=True) == "DryRunOperation"
    assert rows(cloud) == []
    assert cloud.code("CreateFleet", **asked(0, {}), DryRun=True) == "InvalidParameterValue"


def test_a_request_that_comes_again_while_it_is_carried_out_has_to_wait(cloud: Cloud) -> None:
    """An answer with what there is by then would say that this is all."""
    params = asked(MANY, {}, ClientToken="once")
    launch = turns(cloud, params, lambda _: None)
    next(launch)
    assert cloud.code("CreateFleet", **params) == "PriorRequestNotComplete"
    *_, answer = launch
    assert len(ids(answer)) == MANY
    assert cloud.call("CreateFleet", **params) == answer


def test_a_minimum_beyond_the_target_is_refused(cloud: Cloud) -> None:
    """No launch could come to it."""
    options = {"SingleAvailabilityZone": True, "MinTargetCapacity": 11}
    assert cloud.code("CreateFleet", **asked(10, *ZONES, OnDemandOptions=options)) == "InvalidParameterValue"
    cloud.call("CreateFleet", **asked(10, *ZONES, SpotOptions=options))
