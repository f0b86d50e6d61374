"""EC2 Fleets over a real database: what is launched, kept, replaced and ended, and what is said of it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters, tagged
from fleet_scene import SPEC, active, alive, described, history, make, make_template, resize, step

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.fleet import Fleet, FleetEvent, FleetMember
from skylift.cloud.domain.identity import InstanceProfile, Role
from skylift.cloud.domain.instance import Instance
from skylift.cloud.loops.market.fleet import FleetLoop
from skylift.cloud.services.market import fleet_upkeep
from skylift.cloud.store.database import Tx
from skylift.cloud.store.fleet import forget_fleets


@pytest.fixture
def template(cloud: Cloud) -> str:
    return make_template(cloud)


@pytest.mark.usefixtures("template")
def test_a_fleet_of_one_launches_its_instance_and_replaces_it_once_it_is_off(cloud: Cloud) -> None:
    fleet_id = make(cloud, TagSpecifications=tagged("fleet", job="count"))
    assert described(cloud, fleet_id)["FleetState"] == "submitted"
    step(cloud)
    (first,) = active(cloud, fleet_id)
    tags = {tag["Key"]: tag["Value"] for tag in cloud.instance(first)["Tags"]}
    assert tags["aws:ec2:fleet-id"] == fleet_id
    assert tags["job"] == "count"
    cloud.observe(first, "running")
    step(cloud)
    assert alive(cloud) == [first]
    fleet = described(cloud, fleet_id)
    assert (fleet["FleetState"], fleet["ActivityStatus"], fleet["FulfilledCapacity"]) == ("active", "fulfilled", 1.0)
    cloud.call("TerminateInstances", InstanceIds=[first])
    step(cloud)
    assert alive(cloud) == [first], "its place is taken until it is off"
    cloud.observe(first, "terminated")
    step(cloud)
    (second,) = active(cloud, fleet_id)
    assert second != first
    assert history(cloud, fleet_id) == ["submitted", "active", "launched", "terminated", "launched"]


@pytest.mark.usefixtures("template")
def test_deleted_with_its_instances_or_without(cloud: Cloud) -> None:
    for terminate, state in ((True, "deleted_terminating"), (False, "deleted_running")):
        fleet_id = make(cloud)
        step(cloud)
        (instance_id,) = active(cloud, fleet_id)
        cloud.observe(instance_id, "running")
        answer = cloud.call("DeleteFleets", FleetIds=[fleet_id], TerminateInstances=terminate)
        assert answer["SuccessfulFleetDeletions"] == [
            {"FleetId": fleet_id, "CurrentFleetState": state, "PreviousFleetState": "active"}
        ]
        step(cloud)
        assert cloud.row(instance_id).state == ("shutting-down" if terminate else "running")
        assert described(cloud, fleet_id)["FleetState"] == state
        cloud.observe(instance_id, "terminated")
        step(cloud)
        assert described(cloud, fleet_id)["FleetState"] == "deleted"
        assert alive(cloud) == []
        (undone,) = cloud.call("DeleteFleets", FleetIds=[fleet_id], TerminateInstances=terminate)[
            "UnsuccessfulFleetDeletions"
        ]
        assert undone["Error"]["Code"] == "fleetNotInDeletableState"


@pytest.mark.usefixtures("template")
def test_a_protected_instance_keeps_its_fleet(cloud: Cloud) -> None:
    """And one that is protected while the fleet ends stays, and keeps nobody busy."""

    def protect(instance_id: str, on: bool) -> None:
        cloud.call("ModifyInstanceAttribute", InstanceId=instance_id, DisableApiTermination={"Value": on})

    fleet_id = make(cloud, 2)
    step(cloud)
    ids = active(cloud, fleet_id)
    asked: dict[str, Any] = {"FleetIds": [fleet_id], "TerminateInstances": True}
    protect(ids[1], True)
    (undone,) = cloud.call("DeleteFleets", **asked)["UnsuccessfulFleetDeletions"]
    assert undone["Error"]["Code"] == "unexpectedError"
    step(cloud)
    assert (active(cloud, fleet_id), described(cloud, fleet_id)["FleetState"]) == (ids, "active")
    protect(ids[1], False)
    assert cloud.call("DeleteFleets", **asked)["SuccessfulFleetDeletions"]
    protect(ids[0], True)
    loop = FleetLoop(cloud.database, fleet_upkeep.keep, fleet_upkeep.survey, fleet_upkeep.mark, lambda _: None)
    loop.step()
    assert [cloud.row(one).state for one in ids] == ["pending", "shutting-down"]
    protect(ids[0], False)
    loop.step()
    assert cloud.row(ids[0]).state == "shutting-down"


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize("terminate", [True, False])
def test_it_ends_at_its_deadline(cloud: Cloud, terminate: bool) -> None:
    until = cloud.clock.now + timedelta(minutes=10)
    fleet_id = make(cloud, ValidUntil=until, TerminateInstancesWithExpiration=terminate)
    (seconds,) = step(cloud)
    assert 600 <= seconds < 601
    (instance_id,) = active(cloud, fleet_id)
    cloud.observe(instance_id, "running")
    cloud.clock.forward(minutes=10)
    step(cloud)
    assert cloud.row(instance_id).state == ("shutting-down" if terminate else "running")
    assert described(cloud, fleet_id)["FleetState"] == ("deleted_terminating" if terminate else "deleted_running")
    cloud.observe(instance_id, "terminated")
    step(cloud)
    assert alive(cloud) == []


@pytest.mark.usefixtures("template")
def test_it_begins_no_sooner_than_it_is_valid(cloud: Cloud) -> None:
    fleet_id = make(cloud, ValidFrom=cloud.clock.now + timedelta(hours=1))
    (seconds,) = step(cloud)
    assert 3600 <= seconds < 3601
    assert described(cloud, fleet_id)["FleetState"] == "submitted"
    cloud.clock.forward(hours=1)
    step(cloud)
    assert len(active(cloud, fleet_id)) == 1


@pytest.mark.usefixtures("template")
def test_each_step_asks_for_the_next_one(cloud: Cloud) -> None:
    """Whoever is asked forgets it as soon as somebody else's time has come."""
    make(cloud, ValidUntil=cloud.clock.now + timedelta(hours=1))
    alarms: list[float] = []
    loop = FleetLoop(cloud.database, fleet_upkeep.keep, fleet_upkeep.survey, fleet_upkeep.mark, alarms.append)
    loop.step()
    cloud.clock.forward(minutes=10)
    loop.step()
    assert [round(seconds / 60) for seconds in alarms] == [60, 50]


@pytest.mark.usefixtures("template")
def test_one_that_cannot_be_kept_does_not_keep_the_others_from_it(cloud: Cloud) -> None:
    broken, sound = make(cloud), make(cloud)

    def keep(tx: Tx, fleet_id: str, found: Any) -> datetime | None:
        due = fleet_upkeep.keep(tx, fleet_id, found)
        if fleet_id == broken:
            raise LookupError("what nobody has thought of")
        return due

    FleetLoop(cloud.database, keep, fleet_upkeep.survey, fleet_upkeep.mark, lambda _: None).step()
    assert len(active(cloud, sound)) == 1
    assert active(cloud, broken) == []
    step(cloud)
    assert len(active(cloud, broken)) == 1


@pytest.mark.usefixtures("template")
def test_larger_and_smaller(cloud: Cloud) -> None:
    fleet_id = make(cloud, 2)
    step(cloud)
    first = active(cloud, fleet_id)
    resize(cloud, fleet_id, 4)
    assert described(cloud, fleet_id)["FleetState"] == "modifying"
    step(cloud)
    assert len(active(cloud, fleet_id)) == 4
    assert described(cloud, fleet_id)["FleetState"] == "active"
    resize(cloud, fleet_id, 2)
    step(cloud)
    step(cloud)
    assert active(cloud, fleet_id) == first, "the latest go first, and no more than are too many"
    assert described(cloud, fleet_id)["ActivityStatus"] == "pending_termination"
    for instance_id in set(alive(cloud)) - set(first):
        cloud.observe(instance_id, "terminated")
    step(cloud)
    assert described(cloud, fleet_id)["FleetState"] == "active"
    resize(cloud, fleet_id, 1, ExcessCapacityTerminationPolicy="no-termination")
    step(cloud)
    assert active(cloud, fleet_id) == first
    cloud.observe(first[0], "terminated")
    step(cloud)
    assert active(cloud, fleet_id) == [first[1]], "one that ends is not replaced while there are enough"


@pytest.mark.usefixtures("template")
def test_nothing_is_launched_twice_however_often_it_is_looked_at(cloud: Cloud) -> None:
    fleet_id = make(cloud, 3)
    for _ in range(3):
        step(cloud)
    assert len(alive(cloud)) == 3
    assert alive(cloud) == active(cloud, fleet_id)


@pytest.mark.usefixtures("template")
def test_what_ends_as_it_begins_is_replaced_later_each_time(cloud: Cloud) -> None:
    fleet_id = make(cloud)
    pauses = []
    for _ in range(8):
        step(cloud)
        (instance_id,) = alive(cloud)
        with cloud.database.write() as tx:
            row = tx.get(Instance, id=instance_id)
            assert row is not None
            fields = {"state": "terminated", "state_reason_code": "Server.InternalError", "state_reason": "no init"}
            tx.save(Instance(**{**vars(row), **fields, "ended": tx.now}))
        (seconds,) = step(cloud)
        assert alive(cloud) == []
        pauses.append(round(seconds))
        cloud.clock.forward(seconds=seconds)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert history(cloud, fleet_id).count("allLaunchSpecsTemporarilyBlacklisted") == 8


def test_a_template_whose_image_is_gone_is_told_of(cloud: Cloud, template: str) -> None:
    data = {"ImageId": "ami-00000000000000000", "InstanceType": "t3.micro"}
    cloud.call("CreateLaunchTemplateVersion", LaunchTemplateId=template, LaunchTemplateData=data)
    fleet_id = make(cloud)
    step(cloud)
    assert described(cloud, fleet_id)["ActivityStatus"] == "error"
    start = cloud.clock.now - timedelta(hours=1)
    (record,) = cloud.call("DescribeFleetHistory", FleetId=fleet_id, EventType="service-error", StartTime=start)[
        "HistoryRecords"
    ]
    assert "InvalidAMIID.NotFound" in record["EventInformation"]["EventDescription"]
    cloud.call("DeleteLaunchTemplate", LaunchTemplateId=template)
    cloud.clock.forward(seconds=1)
    step(cloud)
    assert history(cloud, fleet_id).count("allLaunchSpecsTemporarilyBlacklisted") == 2


@pytest.mark.usefixtures("template")
def test_it_is_forgotten_two_days_after_its_end(cloud: Cloud) -> None:
    def forget() -> None:
        with cloud.database.write() as tx:
            forget_fleets(tx)

    lasting, ended = make(cloud), make(cloud)
    step(cloud)
    cloud.call("DeleteFleets", FleetIds=[ended], TerminateInstances=True)
    step(cloud)
    (instance_id,) = [one for one in alive(cloud) if cloud.row(one).state == "shutting-down"]
    cloud.observe(instance_id, "terminated")
    step(cloud)
    cloud.clock.forward(hours=47)
    forget()
    assert described(cloud, ended)["FleetState"] == "deleted"
    cloud.clock.forward(hours=2)
    forget()
    assert cloud.code("DescribeFleets", FleetIds=[ended]) == "InvalidFleetId.NotFound"
    assert len(active(cloud, lasting)) == 1
    with cloud.database.read() as tx:
        assert {member.fleet_id for member in tx.find(FleetMember)} == {lasting}
        assert tx.find(FleetEvent) == []


@pytest.mark.usefixtures("template")
def test_a_request_that_was_met_once_is_never_met_again(cloud: Cloud) -> None:
    fleet_id = make(cloud, 1, Type="request")
    step(cloud)
    (instance_id,) = active(cloud, fleet_id)
    cloud.observe(instance_id, "running")
    cloud.call("TerminateInstances", InstanceIds=[instance_id])
    cloud.observe(instance_id, "terminated")
    step(cloud)
    for _ in range(2):
        cloud.clock.forward(hours=49)
        with cloud.database.write() as tx:
            forget_fleets(tx)
        step(cloud)
        assert alive(cloud) == []


def test_an_instant_fleet_answers_what_it_has_and_why_not_the_rest(cloud: Cloud, template: str) -> None:
    answer = cloud.call(
        "CreateFleet",
        Type="instant",
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
                "Overrides": [
                    {"InstanceType": "t4g.micro", "AvailabilityZone": "us-east-1a"},
                    {"InstanceType": "t3.small", "AvailabilityZone": "us-east-1b"},
                ],
            }
        ],
        TargetCapacitySpecification={"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "on-demand"},
        TagSpecifications=[*tagged("fleet", a="1"), *tagged("instance", b="2")],
        ClientToken="once",
    )
    (error,) = answer["Errors"]
    assert error["ErrorCode"] == "InvalidParameterValue"
    assert error["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] == "t4g.micro"
    (group,) = answer["Instances"]
    assert (group["InstanceType"], group["Lifecycle"], len(group["InstanceIds"])) == ("t3.small", "on-demand", 2)
    assert alive(cloud) == group["InstanceIds"]
    tags = {tag["Key"]: tag["Value"] for tag in cloud.instance(group["InstanceIds"][0])["Tags"]}
    assert (tags["b"], tags["job"], tags["aws:ec2:fleet-id"]) == ("2", "count", answer["FleetId"])
    fleet = described(cloud, answer["FleetId"])
    assert (fleet["Errors"], fleet["Instances"]) == (answer["Errors"], answer["Instances"])
    assert cloud.call("DescribeFleets")["Fleets"] == []
    assert cloud.code("DescribeFleetInstances", FleetId=answer["FleetId"]) == "UnsupportedOperation"
    (undone,) = cloud.call("DeleteFleets", FleetIds=[answer["FleetId"]], TerminateInstances=False)[
        "UnsuccessfulFleetDeletions"
    ]
    assert undone["Error"]["Code"] == "NoTerminateInstancesNotSupported"


@pytest.mark.usefixtures("template")
def test_an_instant_fleet_launches_its_overrides_and_describes_them(cloud: Cloud) -> None:
    subnet = cloud.default("subnet")
    override = {
        "InstanceType": "t3.small",
        "ImageId": cloud.image_id,
        "MaxPrice": "0.5",
        "SubnetId": subnet["SubnetId"],
        "WeightedCapacity": 2.0,
        "Priority": 1.0,
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 9}},
            {"DeviceName": "/dev/sdg", "NoDevice": ""},
        ],
    }
    unseen = {
        "KeyName": cloud.call("CreateKeyPair", KeyName="mine")["KeyName"],
        "MetadataOptions": {"HttpPutResponseHopLimit": 3},
    }
    fleet_id = make(cloud, 2, {**override, **unseen}, Type="instant")
    fleet = described(cloud, fleet_id)
    assert fleet["LaunchTemplateConfigs"] == [{"LaunchTemplateSpecification": SPEC, "Overrides": [override]}]
    (instance_id,) = fleet["Instances"][0]["InstanceIds"]
    instance = cloud.instance(instance_id)
    assert (instance["InstanceType"], instance["KeyName"], instance["SubnetId"]) == (
        "t3.small",
        "mine",
        subnet["SubnetId"],
    )
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 3
    source = fleet["Instances"][0]["LaunchTemplateAndOverrides"]["Overrides"]
    shown = {name: value for name, value in override.items() if name != "BlockDeviceMappings"}
    assert source == {**shown, "AvailabilityZone": subnet["AvailabilityZone"]}


@pytest.mark.usefixtures("template")
def test_the_same_request_again_is_the_same_fleet(cloud: Cloud) -> None:
    assert make(cloud, ClientToken="t") == make(cloud, ClientToken="t")
    with cloud.database.read() as tx:
        assert len(tx.find(Fleet)) == 1


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize(
    ("older", "name"),
    [
        ("lowestPrice", "lowest-price"),
        ("capacityOptimized", "capacity-optimized"),
        ("capacityOptimizedPrioritized", "capacity-optimized-prioritized"),
        ("priceCapacityOptimized", "price-capacity-optimized"),
    ],
)
def test_strategies_have_older_names(cloud: Cloud, older: str, name: str) -> None:
    """`awscli/examples/ec2/describe-fleets.rst` of aws/aws-cli shows a fleet with `lowestPrice` in both options."""
    spot = make(cloud, SpotOptions={"AllocationStrategy": older})
    assert described(cloud, spot)["SpotOptions"]["AllocationStrategy"] == name
    on_demand = make(cloud, OnDemandOptions={"AllocationStrategy": "lowestPrice"})
    assert described(cloud, on_demand)["OnDemandOptions"]["AllocationStrategy"] == "lowest-price"
    other = {"OnDemandOptions": {"AllocationStrategy": "capacityOptimized"}}
    with pytest.raises(ServiceError, match="lowest-price or prioritized"):
        make(cloud, **other)


@pytest.mark.usefixtures("template")
def test_weights_make_no_fleet_larger_than_the_largest(cloud: Cloud) -> None:
    fleet_id = make(cloud, 1, {"WeightedCapacity": 0.001})
    target = {"TotalTargetCapacity": 11, "DefaultTargetCapacityType": "on-demand"}
    refusal = cloud.refusal("ModifyFleet", FleetId=fleet_id, TargetCapacitySpecification=target)
    assert (refusal.code, "WeightedCapacity" in refusal.message) == ("InvalidParameterValue", True)


@pytest.mark.usefixtures("template")
def test_a_fleet_does_not_come_to_prefer_a_market_that_there_is_not(cloud: Cloud) -> None:
    """Also where the request leaves nothing for the preferred market to provide."""
    fleet_id = make(cloud)
    target = {"TotalTargetCapacity": 1, "OnDemandTargetCapacity": 1, "DefaultTargetCapacityType": "capacity-block"}
    assert cloud.code("ModifyFleet", FleetId=fleet_id, TargetCapacitySpecification=target) == "UnsupportedOperation"
    assert described(cloud, fleet_id)["TargetCapacitySpecification"]["DefaultTargetCapacityType"] == "on-demand"


@pytest.mark.usefixtures("template")
def test_the_service_role_is_made_with_the_first_fleet_that_needs_it(cloud: Cloud) -> None:
    make(cloud)
    make(cloud)
    with cloud.database.read() as tx:
        assert fleet_upkeep.service(tx).role == "AWSServiceRoleForEC2Fleet"


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"Type": "instant", "ValidUntil": "2027-01-01T00:00:00Z"}, "InvalidParameterCombination"),
        ({"ValidUntil": "2020-01-01T00:00:00Z"}, "InvalidParameterValue"),
        ({"Type": "request", "ReplaceUnhealthyInstances": True}, "InvalidParameterCombination"),
        ({"TargetCapacitySpecification": {"TotalTargetCapacity": 1}}, "MissingParameter"),
        ({"TagSpecifications": tagged("instance", a="b")}, "InvalidParameterValue"),
        ({"SpotOptions": {"InstanceInterruptionBehavior": "hibernate"}}, "UnsupportedOperation"),
        ({"LaunchTemplateConfigs": []}, "MissingParameter"),
        *(
            (
                {"LaunchTemplateConfigs": [{"LaunchTemplateSpecification": SPEC, "Overrides": [{"MaxPrice": price}]}]},
                "InvalidParameterValue",
            )
            for price in ("0.0001", "1e300", "much")
        ),
        *(
            (
                {"LaunchTemplateConfigs": [{"LaunchTemplateSpecification": SPEC, "Overrides": [{name: value}]}]},
                "InvalidParameterValue",
            )
            for name, value in (
                ("WeightedCapacity", 1e-300),
                ("WeightedCapacity", math.nan),
                ("Priority", math.nan),
                ("Priority", -1.0),
            )
        ),
        (
            {"LaunchTemplateConfigs": [{"LaunchTemplateSpecification": {"LaunchTemplateName": "servers"}}]},
            "MissingParameter",
        ),
        (
            {"LaunchTemplateConfigs": [{"LaunchTemplateSpecification": {**SPEC, "LaunchTemplateName": "none"}}]},
            "InvalidLaunchTemplateName.NotFoundException",
        ),
    ],
)
def test_what_cannot_be_asked_for(cloud: Cloud, params: dict[str, Any], code: str) -> None:
    from botocore.utils import parse_timestamp

    asked = {name: parse_timestamp(value) if name == "ValidUntil" else value for name, value in params.items()}
    given: dict[str, Any] = {
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": SPEC}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
        **asked,
    }
    assert cloud.code("CreateFleet", **given) == code
    assert cloud.call("DescribeFleets")["Fleets"] == []


def test_ids_that_are_not_there(cloud: Cloud) -> None:
    nobody = "fleet-00000000-0000-0000-0000-000000000000"
    assert cloud.code("DescribeFleets", FleetIds=[nobody]) == "InvalidFleetId.NotFound"
    assert cloud.code("DescribeFleets", FleetIds=["fleet-1"]) == "InvalidFleetId.Malformed"
    answer = cloud.call("DeleteFleets", FleetIds=[nobody, "fleet-1"], TerminateInstances=True)
    codes = [one["Error"]["Code"] for one in answer["UnsuccessfulFleetDeletions"]]
    assert codes == ["fleetIdDoesNotExist", "fleetIdMalformed"]


@pytest.mark.usefixtures("template")
def test_filters_and_pages(cloud: Cloud) -> None:
    ids = [make(cloud), make(cloud, 2), make(cloud, Type="request")]
    step(cloud)
    found = cloud.call("DescribeFleets", Filters=filters(type="request"))["Fleets"]
    assert [fleet["FleetId"] for fleet in found] == ids[2:]
    cloud.call("DeleteFleets", FleetIds=ids[:1], TerminateInstances=False)
    for spelled in ("deleted_running", "deleted-running"):
        found = cloud.call("DescribeFleets", Filters=filters(fleet_state=spelled))["Fleets"]
        assert [fleet["FleetId"] for fleet in found] == ids[:1]
    page = cloud.call("DescribeFleets", MaxResults=2)
    rest = cloud.call("DescribeFleets", MaxResults=2, NextToken=page["NextToken"])
    assert {fleet["FleetId"] for fleet in page["Fleets"] + rest["Fleets"]} == set(ids)


@pytest.mark.usefixtures("template")
def test_what_it_takes_to_be_allowed(cloud: Cloud) -> None:
    spec = {"LaunchTemplateSpecification": SPEC}
    target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
    checks = cloud.checks(
        "CreateFleet",
        LaunchTemplateConfigs=[spec],
        TargetCapacitySpecification=target,
        TagSpecifications=tagged("fleet", job="a"),
    )
    actions = {check.action for check in checks}
    assert {"ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateTags"} <= actions
    (fleet_check,) = [one for one in checks if one.action == "ec2:CreateFleet" and ":fleet/" in one.resource]
    assert (fleet_check.context or {})["aws:RequestTag/job"] == "a"
    fleet_id = make(cloud, TagSpecifications=tagged("fleet", job="a"))
    (check,) = cloud.checks("DeleteFleets", FleetIds=[fleet_id], TerminateInstances=False)
    assert (check.action, (check.context or {})["aws:ResourceTag/job"]) == ("ec2:DeleteFleets", "a")
    step(cloud)
    wanted = cloud.checks("DeleteFleets", FleetIds=[fleet_id], TerminateInstances=True)
    assert [check.action for check in wanted] == ["ec2:DeleteFleets", "ec2:TerminateInstances"]


@pytest.mark.usefixtures("template")
def test_a_change_gives_servers_no_role_that_its_caller_may_not_pass(cloud: Cloud) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/strong"
    with cloud.database.write() as tx:
        tx.add(Role("strong", "AROAEXAMPLE", role, "/", "{}", cloud.clock.now))
        arn = f"arn:aws:iam::{ACCOUNT}:instance-profile/strong"
        tx.add(InstanceProfile("strong", "AIPAEXAMPLE", arn, "/", cloud.clock.now, "strong"))
    fleet_id = make(cloud)
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "IamInstanceProfile": {"Name": "strong"}}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="stronger", LaunchTemplateData=data)
    spec = {"LaunchTemplateName": "stronger", "Version": "1"}
    overrides = [{"InstanceType": "t3.micro"}, {"InstanceType": "t3.small"}]
    configs = [{"LaunchTemplateSpecification": spec, "Overrides": overrides}]
    checks = cloud.checks("ModifyFleet", FleetId=fleet_id, LaunchTemplateConfigs=configs)
    assert {check.action for check in checks} == {"ec2:ModifyFleet", "ec2:RunInstances", "iam:PassRole"}
    assert {check.resource for check in checks if check.action == "iam:PassRole"} == {role}
    target = {"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "on-demand"}
    assert len(cloud.checks("ModifyFleet", FleetId=fleet_id, TargetCapacitySpecification=target)) == 1
