"""Auto Scaling groups: what may be asked for, and what the loop makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ec2_fixtures import Cloud
from scaling_scene import Scene

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.metric import Metric
from skylift.cloud.domain.metric import WantedSummaries as WantedMetric
from skylift.cloud.domain.scaling_group import METRICS, ScalingGroup, Wanted
from skylift.cloud.loops.cloudwatch.metering import Metering, TypeLimits
from skylift.cloud.services.table import TABLE
from skylift.cloud.store.database import Tx
from skylift.cloud.store.metric import summaries

HOOK = {"LifecycleHookName": "wait", "HeartbeatTimeout": 60}
ENDS = "autoscaling:EC2_INSTANCE_TERMINATING"
STARTS = "autoscaling:EC2_INSTANCE_LAUNCHING"


@pytest.fixture
def scene(cloud: Cloud) -> Scene:
    return Scene(cloud)


def test_a_group_launches_what_it_wants_balanced_over_its_zones(scene: Scene) -> None:
    scene.create(1, 5, 3, Tags=[{"Key": "Name", "Value": "web", "PropagateAtLaunch": True}, {"Key": "team"}])
    assert scene.group["Instances"] == []
    scene.loop.step()
    assert scene.states == ["Pending"] * 3
    scene.settle()
    assert scene.states == ["InService"] * 3
    zones = [one["AvailabilityZone"] for one in scene.group["Instances"]]
    assert sorted(zones.count(zone) for zone in set(zones)) == [1, 2]
    tags = {pair["Key"]: pair["Value"] for pair in scene.cloud.instance(scene.ids[0])["Tags"]}
    assert tags == {
        "Name": "web",
        "aws:autoscaling:groupName": "web",
        "aws:ec2launchtemplate:id": scene.template,
        "aws:ec2launchtemplate:version": "1",
    }
    assert scene.group["Instances"][0]["LaunchTemplate"] == {
        "LaunchTemplateId": scene.template,
        "LaunchTemplateName": "web",
        "Version": "1",
    }
    role = scene.group["ServiceLinkedRoleARN"]
    assert role.endswith("role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling")


def test_activities_say_who_wanted_it(scene: Scene) -> None:
    scene.create(0, 3, 1)
    scene.settle()
    (launched,) = scene.activities
    now = "2026-11-25T12:00:00Z"
    assert launched["Description"] == f"Launching a new EC2 instance: {scene.ids[0]}"
    assert launched["Cause"] == (
        f"At {now} a user request created an AutoScalingGroup changing the desired capacity from 0 to 1.  "
        f"At {now} an instance was started in response to a difference between desired and actual capacity, "
        "increasing the capacity from 0 to 1."
    )
    assert (launched["StatusCode"], launched["Progress"]) == ("Successful", 100)
    assert launched["StartTime"] == launched["EndTime"] == scene.cloud.clock.now
    scene.on("SetDesiredCapacity", DesiredCapacity=2)
    scene.settle()
    assert (
        "a user request explicitly set group desired capacity changing the desired capacity from 1 to 2."
        in (scene.activities[0]["Cause"])
    )
    scene.on("UpdateAutoScalingGroup", MaxSize=1)
    scene.settle()
    gone = scene.activities[0]
    assert gone["Description"].startswith("Terminating EC2 instance: i-")
    assert gone["Cause"] == (
        f"At {now} a user request update of AutoScalingGroup constraints to min: 0, max: 1, desired: 1 changing the "
        f"desired capacity from 2 to 1.  At {now} an instance was taken out of service in response to a difference "
        f"between desired and actual capacity, shrinking the capacity from 2 to 1.  At {now} instance "
        f"{gone['Description'].split()[-1]} was selected for termination."
    )
    assert len(scene.group["Instances"]) == 1


def test_a_dead_server_is_replaced(scene: Scene) -> None:
    scene.create(2, 2)
    scene.settle()
    first, second = scene.ids
    scene.cloud.clock.forward(hours=1)
    scene.die(first)
    scene.settle()
    assert len(scene.ids) == 2 and first not in scene.ids and second in scene.ids
    assert scene.cloud.instance(first)["State"]["Name"] == "terminated"
    launched, terminated = scene.activities[:2]
    assert terminated["Cause"].endswith(
        "an instance was taken out of service in response to an EC2 health check indicating it has been terminated "
        "or stopped."
    )
    assert launched["Cause"].endswith(
        "an instance was launched in response to an unhealthy instance needing to be replaced."
    )


def test_servers_that_die_at_once_are_replaced_ever_less_often(scene: Scene) -> None:
    scene.create(1, 1)
    launches = 0
    for _ in range(200):
        scene.settle()
        for instance_id in scene.ids:
            launches += 1
            scene.die(instance_id)
        scene.cloud.clock.forward(seconds=3)
    assert launches == 7, "in ten minutes: after 5, 10, 20, ... seconds, and at most five minutes"
    assert scene.wakes and 0 < scene.wakes[-1] <= 300


def test_a_template_whose_image_is_gone_is_told_and_tried_again(scene: Scene) -> None:
    source = scene.cloud.run()["InstanceId"]
    scene.cloud.observe(source, "running")
    made = scene.cloud.call("CreateImage", InstanceId=source, Name="mine")["ImageId"]
    with scene.database.write() as tx:
        image = tx.get(Image, id=made)
        assert image is not None
        tx.save(replace(image, state="available"))
    scene.cloud.call(
        "CreateLaunchTemplateVersion",
        LaunchTemplateId=scene.template,
        LaunchTemplateData={"ImageId": made, "InstanceType": "t3.micro"},
    )
    scene.create(1, 2)
    scene.cloud.call("DeregisterImage", ImageId=made)
    scene.settle()
    (failed,) = scene.activities
    assert failed["StatusCode"] == "Failed"
    assert failed["Description"].startswith("Launching a new EC2 instance.  Status Reason: The image id")
    assert failed["StatusMessage"].endswith("Launching EC2 instance failed.")
    scene.settle()
    assert len(scene.activities) == 1, "it waits"
    scene.cloud.call(
        "CreateLaunchTemplateVersion",
        LaunchTemplateId=scene.template,
        LaunchTemplateData={"ImageId": scene.cloud.image_id, "InstanceType": "t3.micro"},
    )
    scene.cloud.clock.forward(seconds=6)
    scene.settle()
    assert scene.states == ["InService"]
    assert scene.group["Instances"][0]["LaunchTemplate"]["Version"] == "3"


def test_a_zone_without_capacity_is_passed_over(scene: Scene) -> None:
    launch = scene.launch

    def refuse_first_zone(tx: Any, group: Any, wanted: Any) -> Instance:
        if wanted.subnet_id == scene.subnets[0]:
            raise ServiceError("InsufficientInstanceCapacity", "We currently do not have sufficient capacity.")
        return launch(tx, group, wanted)

    scene.launch = refuse_first_zone
    scene.create(2, 2)
    scene.settle()
    assert {one["AvailabilityZone"] for one in scene.group["Instances"]} == {"us-east-1b"}
    assert {one["StatusCode"] for one in scene.activities} == {"Successful"}


def test_zones_are_balanced_again_when_there_is_capacity_and_room(scene: Scene) -> None:
    launch, full = scene.launch, {scene.subnets[0]}

    def refuse(tx: Any, group: Any, wanted: Any) -> Instance:
        if wanted.subnet_id in full:
            raise ServiceError("InsufficientInstanceCapacity", "We currently do not have sufficient capacity.")
        return launch(tx, group, wanted)

    def zones() -> list[str]:
        return sorted(one["AvailabilityZone"] for one in scene.group["Instances"])

    scene.launch = refuse
    scene.create(4, 4)
    scene.settle()
    assert zones() == ["us-east-1b"] * 4, "at its most it stays as it is"
    assert {one["StatusCode"] for one in scene.activities} == {"Successful"}
    scene.on("UpdateAutoScalingGroup", MaxSize=5)
    scene.settle()
    assert zones() == ["us-east-1b"] * 4
    assert scene.activities[0]["StatusCode"] == "Failed"
    first = scene.ids[0]
    scene.call("TerminateInstanceInAutoScalingGroup", InstanceId=first, ShouldDecrementDesiredCapacity=False)
    scene.settle()
    assert zones() == ["us-east-1b"] * 4, "a successor waited for a balance that cannot be"
    assert first not in scene.ids
    full.clear()
    scene.cloud.clock.forward(minutes=6)
    for _ in range(4):
        scene.settle()
    assert zones() == ["us-east-1a", "us-east-1a", "us-east-1b", "us-east-1b"]
    told = len(scene.activities)
    scene.settle()
    assert len(scene.activities) == told


def test_a_zone_that_the_group_has_left_is_emptied(scene: Scene) -> None:
    scene.create(0, 3, 2)
    scene.settle()
    scene.on("UpdateAutoScalingGroup", VPCZoneIdentifier=scene.subnets[1])
    for _ in range(3):
        scene.settle()
        scene.check()
    assert [one["AvailabilityZone"] for one in scene.group["Instances"]] == ["us-east-1b"] * 2


def test_who_is_protected_in_the_fullest_zone_has_nobody_moved(scene: Scene) -> None:
    scene.create(0, 4, 2, VPCZoneIdentifier=scene.subnets[0], NewInstancesProtectedFromScaleIn=True)
    scene.settle()
    scene.on("UpdateAutoScalingGroup", VPCZoneIdentifier=",".join(scene.subnets[:2]))
    before = scene.ids
    for _ in range(3):
        scene.settle()
    assert scene.ids == before


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"MinSize": 3, "MaxSize": 2}, "Max bound, 2, must be greater than or equal to min bound, 3"),
        ({"MinSize": 0, "MaxSize": 2, "DesiredCapacity": 5}, "Desired capacity:5 must be between"),
        ({"VPCZoneIdentifier": None}, "At least one Availability Zone or VPC Subnet is required."),
        ({"VPCZoneIdentifier": "subnet-0123"}, "The subnet ID 'subnet-0123' does not exist"),
        ({"LaunchTemplate": None}, "Valid requests must contain either launchTemplate"),
        ({"LaunchTemplate": {"LaunchTemplateName": "nosuch"}}, "You must use a valid fully-formed launch template."),
        ({"AvailabilityZones": ["us-east-1c"]}, "do not match"),
        ({"TerminationPolicies": ["Tallest"]}, "Termination policy Tallest"),
    ],
)
def test_what_cannot_be_is_refused(scene: Scene, asked: dict[str, Any], message: str) -> None:
    given = {"MinSize": 1, "MaxSize": 1, **asked}
    with pytest.raises(ServiceError, match=message) as caught:
        scene.create(given.pop("MinSize"), given.pop("MaxSize"), **given)
    assert caught.value.code == "ValidationError"
    assert scene.call("DescribeAutoScalingGroups")["AutoScalingGroups"] == []


def test_names_and_sizes_are_kept_to(scene: Scene) -> None:
    scene.create(1, 3, 2)
    with pytest.raises(ServiceError, match="already exists") as caught:
        scene.create(1, 3)
    assert caught.value.code == "AlreadyExists"
    assert (
        "above max value 3"
        in scene.refusal("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=4).message
    )
    assert (
        "below min value 1"
        in scene.refusal("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=0).message
    )
    cooling = scene.refusal("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=3, HonorCooldown=True)
    assert cooling.code == "ScalingActivityInProgress"
    scene.settle()
    scene.cloud.clock.forward(seconds=301)
    scene.on("SetDesiredCapacity", DesiredCapacity=3, HonorCooldown=True)
    assert "not found" in scene.refusal("DeleteAutoScalingGroup", AutoScalingGroupName="nosuch").message
    assert (
        scene.refusal("SetDesiredCapacity", AutoScalingGroupName="nosuch", DesiredCapacity=1).code == "ValidationError"
    )


def test_deleting_takes_force_where_there_are_instances(scene: Scene) -> None:
    scene.create(2, 2, LifecycleHookSpecificationList=[HOOK | {"LifecycleTransition": ENDS}])
    scene.settle()
    ids = scene.ids
    assert scene.refusal("DeleteAutoScalingGroup", AutoScalingGroupName="web").code == "ResourceInUse"
    scene.on("DeleteAutoScalingGroup", ForceDelete=True)
    assert scene.group["Status"] == "Delete in progress"
    pending = scene.refusal("UpdateAutoScalingGroup", AutoScalingGroupName="web", MinSize=1)
    assert pending.code == "ScalingActivityInProgress"
    scene.loop.step()
    assert scene.boot()
    # With the last of its instances: nothing happens after that which would have it looked at again.
    scene.loop.step()
    assert scene.call("DescribeAutoScalingGroups")["AutoScalingGroups"] == []
    assert {scene.cloud.instance(one)["State"]["Name"] for one in ids} == {"terminated"}
    told = scene.on("DescribeScalingActivities", IncludeDeletedGroups=True)["Activities"]
    assert {one["AutoScalingGroupState"] for one in told} == {"Deleted"}
    scene.create(0, 0)
    scene.on("DeleteAutoScalingGroup")
    assert scene.call("DescribeAutoScalingGroups")["AutoScalingGroups"] == []


def test_who_makes_a_group_may_run_instances_and_make_its_role(scene: Scene) -> None:
    params = {
        "AutoScalingGroupName": "web",
        "MinSize": 0,
        "MaxSize": 1,
        "LaunchTemplate": {"LaunchTemplateId": scene.template},
        "VPCZoneIdentifier": scene.subnets[0],
        "Tags": [{"Key": "team", "Value": "a"}],
    }

    def asked() -> list[str]:
        with scene.database.read() as tx:
            checks = TABLE["autoscaling", "CreateAutoScalingGroup"].checks(tx, scene.cloud.caller, params)
            return [check.action for check in checks]

    first = asked()
    assert first[:3] == [
        "autoscaling:CreateAutoScalingGroup",
        "autoscaling:CreateOrUpdateTags",
        "iam:CreateServiceLinkedRole",
    ]
    assert set(first[3:]) == {"ec2:RunInstances"}
    scene.create(0, 1)
    assert "iam:CreateServiceLinkedRole" not in asked()


def test_its_role_stays_as_long_as_a_group_needs_it(scene: Scene) -> None:
    def iam(name: str, **params: str) -> Any:
        operation = TABLE["iam", name]
        with scene.database.write() as tx:
            return operation.handler(tx, scene.cloud.caller, params)

    scene.create(0, 0)
    role = scene.group["ServiceLinkedRoleARN"].rpartition("/")[2]
    task = iam("DeleteServiceLinkedRole", RoleName=role)["DeletionTaskId"]
    told = iam("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task)
    assert told["Status"] == "FAILED"
    assert told["Reason"]["RoleUsageList"][0]["Resources"] == [scene.group["AutoScalingGroupARN"]]
    scene.on("DeleteAutoScalingGroup")
    task = iam("DeleteServiceLinkedRole", RoleName=role)["DeletionTaskId"]
    assert iam("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task) == {"Status": "SUCCEEDED"}


def test_suspended_processes_do_not_happen(scene: Scene) -> None:
    scene.create(1, 3)
    scene.settle()
    scene.on("SuspendProcesses", ScalingProcesses=["Launch", "ReplaceUnhealthy"])
    scene.on("SetDesiredCapacity", DesiredCapacity=2)
    scene.settle()
    (only,) = scene.ids
    scene.die(only)
    scene.settle()
    assert [one["HealthStatus"] for one in scene.group["Instances"]] == ["Unhealthy"]
    scene.on("ResumeProcesses")
    scene.settle()
    scene.cloud.clock.forward(seconds=10)
    scene.settle()
    assert len(scene.ids) == 2 and only not in scene.ids
    assert scene.group["SuspendedProcesses"] == []


def test_tags_are_changed_found_and_removed(scene: Scene) -> None:
    tag = {"ResourceId": "web", "ResourceType": "auto-scaling-group"}
    scene.create(0, 1)
    scene.call("CreateOrUpdateTags", Tags=[tag | {"Key": "a", "Value": "1", "PropagateAtLaunch": True}])
    scene.call("CreateOrUpdateTags", Tags=[tag | {"Key": "a", "Value": "2"}, tag | {"Key": "b", "Value": "x"}])
    assert [(one["Key"], one["Value"], one["PropagateAtLaunch"]) for one in scene.call("DescribeTags")["Tags"]] == [
        ("a", "2", False),
        ("b", "x", False),
    ]
    first = scene.call("DescribeTags", MaxRecords=1)
    second = scene.call("DescribeTags", NextToken=first["NextToken"])
    assert [one["Key"] for one in first["Tags"] + second["Tags"]] == ["a", "b"]
    found = scene.call("DescribeAutoScalingGroups", Filters=[{"Name": "tag:b", "Values": ["x"]}])
    assert len(found["AutoScalingGroups"]) == 1
    scene.call("DeleteTags", Tags=[tag | {"Key": "a"}])
    assert [one["Key"] for one in scene.group["Tags"]] == ["b"]


def test_a_group_that_cannot_be_seen_to_keeps_no_other_from_it(scene: Scene) -> None:
    def launch(tx: Tx, group: ScalingGroup, wanted: Wanted) -> Instance:
        if group.name == "broken":
            raise OverflowError("what nobody has thought of")
        return sound(tx, group, wanted)

    sound, scene.launch = scene.launch, launch
    scene.create(1, 1, AutoScalingGroupName="broken")
    scene.create(1, 1)
    scene.settle()
    assert scene.states == ["InService"]


def test_metrics_of_a_group_are_collected_while_that_is_asked_for(scene: Scene) -> None:
    """`If you specify Granularity and don't specify any metrics, all metrics are enabled.` (EnableMetricsCollection)"""
    scene.create(1, 4, 2)
    assert scene.group["EnabledMetrics"] == []
    types = scene.call("DescribeMetricCollectionTypes")
    every = [one["Metric"] for one in types["Metrics"]]
    assert types["Granularities"] == [{"Granularity": "1Minute"}]
    two = ["GroupInServiceInstances", "GroupDesiredCapacity"]
    scene.on("EnableMetricsCollection", Granularity="1Minute", Metrics=two)
    assert {one["Metric"]: one["Granularity"] for one in scene.group["EnabledMetrics"]} == dict.fromkeys(two, "1Minute")
    scene.on("DisableMetricsCollection", Metrics=two[:1])
    assert [one["Metric"] for one in scene.group["EnabledMetrics"]] == two[1:]
    scene.on("EnableMetricsCollection", Granularity="1Minute")
    assert [one["Metric"] for one in scene.group["EnabledMetrics"]] == every
    asked = {"AutoScalingGroupName": "web", "Granularity": "1Minute"}
    assert scene.refusal("EnableMetricsCollection", **asked, Metrics=["Load"]).code == "ValidationError"
    assert scene.refusal("EnableMetricsCollection", **{**asked, "Granularity": "5Minute"}).code == "ValidationError"
    scene.settle()
    metering = Metering(scene.database, lambda _: None, lambda _: TypeLimits(2, 1024))
    metering.step()
    scene.cloud.clock.forward(seconds=60)
    with scene.database.read() as tx:
        found = {metric.name: value for metric, value in told(tx, scene)}
    assert found["GroupInServiceInstances"] == found["GroupTotalCapacity"] == found["GroupDesiredCapacity"] == 2
    assert (found["GroupMinSize"], found["GroupMaxSize"], found["GroupPendingInstances"]) == (1, 4, 0)
    assert found.keys() == set(every)
    scene.on("DisableMetricsCollection")
    assert scene.group["EnabledMetrics"] == []


def told(tx: Tx, scene: Scene) -> list[tuple[Metric, float]]:
    now = int(scene.cloud.clock.now.timestamp())
    dimensions = (("AutoScalingGroupName", "web"),)
    found = []
    for name in METRICS:
        metric = Metric("AWS/AutoScaling", name, dimensions)
        found += [(metric, point.summary.sum) for point in summaries(tx, WantedMetric(metric, now - 600, now, 60))]
    return found


def test_what_a_group_does_where_nothing_was_said(scene: Scene) -> None:
    """https://github.com/cloud-custodian/cloud-custodian/tree/main/tests/data/placebo"""
    scene.create(0, 1, 0)
    assert scene.group["CapacityReservationSpecification"] == {"CapacityReservationPreference": "default"}
    assert scene.group["InstanceLifecyclePolicy"] == {"RetentionTriggers": {"TerminateHookAbandon": "terminate"}}


def test_the_version_of_a_template_is_shown_as_it_was_given(scene: Scene) -> None:
    """Terraform's acceptance test TestAccAutoScalingGroup_LaunchTemplate_update, run on AWS: a group whose template was
    named without a version has none; `$Latest` stays `$Latest`."""
    scene.create(1, 3, 1, LaunchTemplate={"LaunchTemplateName": "web"})
    assert scene.group["LaunchTemplate"] == {"LaunchTemplateId": scene.template, "LaunchTemplateName": "web"}
    scene.settle()
    assert scene.group["Instances"][0]["LaunchTemplate"]["Version"] == "1"
    scene.on("UpdateAutoScalingGroup", LaunchTemplate={"LaunchTemplateName": "web", "Version": "$Latest"})
    assert scene.group["LaunchTemplate"]["Version"] == "$Latest"


def test_the_type_of_the_capacity_is_shown_where_it_was_said(scene: Scene) -> None:
    """Recorded on AWS: of 69 answers in cloud-custodian's tests/data/placebo only test_asg_suspend_force has it.
    Terraform sets `desired_capacity_type` with each run until it reads it."""
    scene.create(0, 1)
    assert "DesiredCapacityType" not in scene.group
    scene.on("UpdateAutoScalingGroup", DesiredCapacityType="units")
    scene.on("UpdateAutoScalingGroup", MaxSize=2)
    assert scene.group["DesiredCapacityType"] == "units"


EMPTY = {
    "DescribeInstanceRefreshes": "InstanceRefreshes",
    "DescribeLoadBalancerTargetGroups": "LoadBalancerTargetGroups",
    "DescribeLoadBalancers": "LoadBalancers",
    "DescribeTrafficSources": "TrafficSources",
}


def test_a_group_has_none_of_what_is_not_here(scene: Scene) -> None:
    for operation in EMPTY:
        with pytest.raises(ServiceError, match="AutoScalingGroup name not found"):
            scene.on(operation)
    scene.create(0, 1)
    for operation, member in EMPTY.items():
        assert scene.on(operation) == {member: []}
        with pytest.raises(ServiceError, match="The number of records must be between"):
            scene.on(operation, MaxRecords=0)
    assert scene.call("DescribeNotificationConfigurations") == {"NotificationConfigurations": []}
    with pytest.raises(ServiceError, match="AutoScalingGroup name not found"):
        scene.call("DescribeNotificationConfigurations", AutoScalingGroupNames=["web", "none"])


def test_capacity_reservations_can_be_asked_for_by_default_only(scene: Scene) -> None:
    """What DescribeAutoScalingGroups shows can be sent back."""
    scene.create(0, 1, CapacityReservationSpecification={"CapacityReservationPreference": "default"})
    assert scene.group["CapacityReservationSpecification"] == {"CapacityReservationPreference": "default"}
    with pytest.raises(ServiceError, match="capacity-reservations-only"):
        wanted = {"CapacityReservationPreference": "capacity-reservations-only"}
        scene.on("UpdateAutoScalingGroup", CapacityReservationSpecification=wanted)
