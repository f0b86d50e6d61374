"""Scaling policies: what may be asked for, and what alarms have them make of a group."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from ec2_fixtures import Cloud
from hypothesis import given
from hypothesis import strategies as st
from scaling_scene import Scene

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.metric import Metric, Point, Summary
from skylift.cloud.domain.scaling_policy import ScalingPolicy
from skylift.cloud.loops.cloudwatch.alarm import AlarmLoop
from skylift.cloud.services.autoscaling.scaling_adjustment import adjusted, tracked
from skylift.cloud.services.table import TABLE
from skylift.cloud.store.alarm import forget_history
from skylift.cloud.store.metric import record
from skylift.cloud.wiring import alarm_action

CPU = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 50.0}
OWN = {
    "CustomizedMetricSpecification": {
        "Namespace": "Shop",
        "MetricName": "Orders",
        "Dimensions": [{"Name": "Door", "Value": "east"}],
        "Statistic": "Sum",
        "Period": 10,
    },
    "TargetValue": 10.0,
}
BUSY = Metric("AWS/EC2", "CPUUtilization", (("AutoScalingGroupName", "web"),))


class Watched(Scene):
    """A group of two to ten servers, of which two are in service, with the loop of alarms."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.woken = 0
        self.alarms = AlarmLoop(self.database, alarm_action.carry_out, self._wake)
        self.create(2, 10, 2, DefaultCooldown=60)
        self.settle()
        self.forward(600)

    def _wake(self) -> None:
        self.woken += 1

    def forward(self, seconds: float) -> None:
        self.cloud.clock.forward(seconds=seconds)

    def cloudwatch(self, name: str, /, **params: Any) -> Any:
        operation = TABLE["cloudwatch", name]
        assert operation.unsupported(params) == []
        with self.database.write() if operation.writes else self.database.read() as tx:
            return operation.handler(tx, self.cloud.caller, params)

    def put(self, name: str, **params: Any) -> Any:
        return self.on("PutScalingPolicy", PolicyName=name, **params)

    def track(self, config: dict[str, Any] = CPU, name: str = "half", **more: Any) -> Any:
        return self.put(name, PolicyType="TargetTrackingScaling", TargetTrackingConfiguration=config, **more)

    def watch(self, policy: str, comparison: str = "GreaterThanThreshold", threshold: float = 50.0) -> None:
        """An alarm of a user's own, of one minute."""
        self.cloudwatch(
            "PutMetricAlarm",
            AlarmName="mine",
            Namespace="AWS/EC2",
            MetricName="CPUUtilization",
            Dimensions=[{"Name": "AutoScalingGroupName", "Value": "web"}],
            Statistic="Average",
            Period=60,
            EvaluationPeriods=1,
            Threshold=threshold,
            ComparisonOperator=comparison,
            AlarmActions=[policy],
        )

    def minutes(self, cpu: float, times: int = 1) -> list[int]:
        """So many minutes of this load; what was wanted after each. The group follows at once."""
        found = []
        for _ in range(times):
            at = int(self.cloud.clock.now.timestamp())
            with self.database.write() as tx:
                record(tx, [Point(BUSY, at - at % 60, Summary.of(cpu), "Percent")])
            self.forward(60)
            self.alarms.step()
            self.alarms.act()
            self.settle()
            found.append(self.desired)
        return found

    @property
    def desired(self) -> int:
        return int(self.group["DesiredCapacity"])

    def policies(self, **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("DescribePolicies", **params)["ScalingPolicies"]
        return found

    @property
    def alarm_names(self) -> list[str]:
        return [one["AlarmName"] for one in self.cloudwatch("DescribeAlarms")["MetricAlarms"]]


@pytest.fixture
def scene(cloud: Cloud) -> Watched:
    return Watched(cloud)


def test_a_policy_is_described_as_it_was_made(scene: Watched) -> None:
    made = scene.put("up", AdjustmentType="ChangeInCapacity", ScalingAdjustment=2, Cooldown=30)
    assert made["Alarms"] == []
    assert made["PolicyARN"].endswith(":autoScalingGroupName/web:policyName/up")
    assert scene.policies() == [
        {
            "AutoScalingGroupName": "web",
            "PolicyName": "up",
            "PolicyARN": made["PolicyARN"],
            "PolicyType": "SimpleScaling",
            "Enabled": True,
            "AdjustmentType": "ChangeInCapacity",
            "ScalingAdjustment": 2,
            "Cooldown": 30,
            "StepAdjustments": [],
            "Alarms": [],
        }
    ]
    again = scene.put("up", AdjustmentType="ExactCapacity", ScalingAdjustment=5)
    assert again["PolicyARN"] == made["PolicyARN"]
    assert scene.policies(AutoScalingGroupName="web", PolicyNames=["up"])[0]["ScalingAdjustment"] == 5
    assert scene.policies(PolicyTypes=["StepScaling"]) == []
    scene.on("DeletePolicy", PolicyName="up")
    assert scene.policies() == []
    assert "up" in scene.refusal("DeletePolicy", PolicyName=made["PolicyARN"]).message


def test_target_tracking_makes_two_alarms_and_takes_them_with_it(scene: Watched) -> None:
    made = scene.track()
    high, low = (one["AlarmName"] for one in made["Alarms"])
    assert high.startswith("TargetTracking-web-AlarmHigh-")
    assert low.startswith("TargetTracking-web-AlarmLow-")
    first, second = scene.cloudwatch("DescribeAlarms")["MetricAlarms"]
    assert (first["Threshold"], first["EvaluationPeriods"], first["ComparisonOperator"]) == (
        50.0,
        3,
        "GreaterThanThreshold",
    )
    assert (second["Threshold"], second["EvaluationPeriods"], second["ComparisonOperator"]) == (
        45.0,
        15,
        "LessThanThreshold",
    )
    assert first["AlarmActions"] == second["AlarmActions"] == [made["PolicyARN"]]
    changed = scene.track({**CPU, "TargetValue": 20.0})
    assert changed["Alarms"] == made["Alarms"]
    assert [one["Threshold"] for one in scene.cloudwatch("DescribeAlarms")["MetricAlarms"]] == [20.0, 18.0]
    scene.track({**CPU, "DisableScaleIn": True})
    assert scene.alarm_names == [high]
    scene.put("half", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1)
    assert scene.alarm_names == []
    scene.track()
    scene.on("DeleteAutoScalingGroup", ForceDelete=True)
    scene.settle()
    assert scene.alarm_names == []
    assert scene.policies() == []


def test_a_policy_that_tracks_says_whether_it_scales_in(scene: Watched) -> None:
    """As recorded on AWS by cloud-custodian: tests/data/placebo/**/autoscaling.DescribePolicies_1.json"""
    scene.track(CPU)
    (policy,) = scene.call("DescribePolicies")["ScalingPolicies"]
    assert policy["TargetTrackingConfiguration"] == {**CPU, "DisableScaleIn": False}


def test_a_metric_of_the_users_own_is_tracked(scene: Watched) -> None:
    scene.track(OWN)
    (alarm, _) = scene.cloudwatch("DescribeAlarms")["MetricAlarms"]
    assert (alarm["Namespace"], alarm["Dimensions"], alarm["Statistic"], alarm["Period"]) == (
        "Shop",
        [{"Name": "Door", "Value": "east"}],
        "Sum",
        10,
    )


def test_load_brings_servers_and_idleness_takes_them(scene: Watched) -> None:
    scene.track(EstimatedInstanceWarmup=120)
    assert scene.minutes(90, 2) == [2, 2]
    # 2 servers at 90 of 50 per cent want to be 4; those are warming up for two minutes, and are not asked for twice.
    assert scene.minutes(90, 2) == [4, 4]
    assert scene.minutes(50, 3) == [4, 4, 4]
    cause = scene.activities[0]["Cause"]
    assert "a monitor alarm TargetTracking-web-AlarmHigh-" in cause
    assert "in state ALARM triggered policy half changing the desired capacity from 2 to 4." in cause
    wanted = scene.minutes(5, 20)
    assert wanted[:10] == [4] * 10
    assert wanted[-1] == 2
    scene.check()


def test_scaling_in_waits_until_all_targets_agree(scene: Watched) -> None:
    scene.on("SetDesiredCapacity", DesiredCapacity=6)
    scene.settle()
    scene.forward(600)
    scene.track()
    scene.track(OWN, "orders")
    assert set(scene.minutes(5, 20)) == {6}
    scene.on("DeletePolicy", PolicyName="orders")
    assert scene.minutes(5, 3)[-1] == 2


def test_steps_are_chosen_by_how_far_it_is(scene: Watched) -> None:
    steps = [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 3},
    ]
    made = scene.put(
        "steps",
        PolicyType="StepScaling",
        AdjustmentType="ChangeInCapacity",
        StepAdjustments=steps[::-1],
        EstimatedInstanceWarmup=100,
    )
    assert scene.policies()[0]["StepAdjustments"] == steps
    scene.watch(made["PolicyARN"])
    assert scene.policies()[0]["Alarms"][0]["AlarmName"] == "mine"
    # The first step; again while that one is warming up, nothing; then the second step from what was there before it.
    assert scene.minutes(60, 2) == [3, 3]
    assert scene.minutes(80) == [6]
    scene.forward(600)
    scene.on("ExecutePolicy", PolicyName="steps", MetricValue=55.0, BreachThreshold=50.0)
    assert scene.desired == 7
    # "If you specify a metric value that doesn't correspond to a step adjustment for the policy, the call returns an
    # error." (API_ExecutePolicy)
    told = {"MetricValue": 40.0, "BreachThreshold": 50.0}
    error = scene.refusal("ExecutePolicy", AutoScalingGroupName="web", PolicyName="steps", **told)
    assert error.code == "ValidationError"
    assert "no step adjustment of steps for metric value 40.0" in error.message
    assert scene.desired == 7


EMPTY = [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 0}]
"""Nobody, where the queue is empty."""


@pytest.mark.parametrize("comparison", ["LessThanOrEqualToThreshold", "LessThanThreshold"])
def test_a_step_below_the_threshold_has_the_threshold_itself(scene: Watched, comparison: str) -> None:
    """`To trigger the adjustment when the metric is greater than 40 and less than or equal to 50, specify a lower bound
    of -10 and an upper bound of 0.` (API_StepAdjustment, of a threshold of 50)"""
    scene.on("UpdateAutoScalingGroup", MinSize=0)
    steps = {"PolicyType": "StepScaling", "AdjustmentType": "ExactCapacity", "StepAdjustments": EMPTY}
    made = scene.put("empty", **steps)
    scene.watch(made["PolicyARN"], comparison, threshold=0.0)
    # By hand, as `aws cloudwatch set-alarm-state` does it, there is no value: it is as near as can be.
    scene.cloudwatch("SetAlarmState", AlarmName="mine", StateValue="ALARM", StateReason="a test of mine")
    scene.alarms.act()
    assert scene.desired == 0


def test_a_queue_that_is_empty_ends_the_last_server(scene: Watched) -> None:
    scene.on("UpdateAutoScalingGroup", MinSize=0)
    steps = {"PolicyType": "StepScaling", "AdjustmentType": "ExactCapacity", "StepAdjustments": EMPTY}
    made = scene.put("empty", **steps)
    scene.watch(made["PolicyARN"], "LessThanOrEqualToThreshold", threshold=0.0)
    assert scene.minutes(1) == [2]
    assert scene.minutes(0) == [0]


def test_a_policy_that_is_executed_at_its_threshold_takes_the_step_that_has_it(scene: Watched) -> None:
    scene.on("UpdateAutoScalingGroup", MinSize=0)
    steps = {"PolicyType": "StepScaling", "AdjustmentType": "ExactCapacity"}
    scene.put("empty", **steps, StepAdjustments=EMPTY)
    both = [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 1}, {**STEP, "ScalingAdjustment": 5}]
    scene.put("both", **steps, StepAdjustments=both)
    told = {"MetricValue": 0.0, "BreachThreshold": 0.0}
    scene.on("ExecutePolicy", PolicyName="empty", **told)
    assert scene.desired == 0
    scene.on("ExecutePolicy", PolicyName="both", **told)
    assert scene.desired == 5


def test_a_step_down_waits_for_what_is_warming_up(scene: Watched) -> None:
    down = [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}]
    steps = {"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity", "StepAdjustments": down}
    made = scene.put("down", **steps, EstimatedInstanceWarmup=100)
    scene.watch(made["PolicyARN"], "LessThanThreshold")
    scene.on("SetDesiredCapacity", DesiredCapacity=4)
    scene.settle()
    assert scene.minutes(10, 2) == [4, 3]


@pytest.mark.parametrize("kind", ["step", "target"])
def test_what_cannot_be_launched_does_not_keep_a_group_from_becoming_smaller(scene: Watched, kind: str) -> None:
    """Scaling in waits for what warms up; a launch that came to nothing has nothing that warms up."""

    def full(*_: Any) -> Any:
        raise ServiceError("InsufficientInstanceCapacity", "There is no room.")

    if kind == "step":
        down = [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}]
        steps = {"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity", "StepAdjustments": down}
        scene.watch(scene.put("down", **steps, EstimatedInstanceWarmup=100)["PolicyARN"], "LessThanThreshold")
    else:
        scene.track(EstimatedInstanceWarmup=100)
    scene.on("UpdateAutoScalingGroup", MinSize=1)
    scene.launch = full
    scene.on("SetDesiredCapacity", DesiredCapacity=4)
    scene.settle()
    assert len(scene.ids) == 2
    assert scene.activities[0]["StatusCode"] == "Failed"
    assert scene.minutes(10, 20)[-1] == 1
    assert len(scene.ids) == 1


def test_a_step_is_not_chosen_by_what_is_no_number(scene: Watched) -> None:
    scene.put("up", PolicyType="StepScaling", AdjustmentType="ChangeInCapacity", StepAdjustments=[STEP])
    for value in (math.nan, math.inf):
        told = {"MetricValue": value, "BreachThreshold": 1.0}
        error = scene.refusal("ExecutePolicy", AutoScalingGroupName="web", PolicyName="up", **told)
        assert error.code == "ValidationError"


def test_an_alarm_that_lasts_asks_again_each_minute_however_long_looks_take(scene: Watched) -> None:
    made = scene.put("up", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=0)
    scene.watch(made["PolicyARN"])
    now = scene.cloud.clock.now
    scene.forward(60 - now.second - now.microsecond / 1e6)
    assert scene.minutes(90) == [3]
    # Each look is a little sooner after the full minute than the one before it was.
    for late, desired in ((0.9, 4), (0.5, 5), (0.1, 6)):
        at = scene.cloud.clock.now.replace(microsecond=0)
        with scene.database.write() as tx:
            record(tx, [Point(BUSY, int(at.timestamp()) - at.second, Summary.of(90), "Percent")])
        scene.cloud.clock.now = at + timedelta(seconds=60 + late)
        scene.alarms.step()
        scene.alarms.act()
        assert scene.desired == desired
        scene.settle()


def test_a_simple_policy_waits_for_its_cooldown(scene: Watched) -> None:
    made = scene.put("up", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=150)
    scene.watch(made["PolicyARN"])
    assert scene.minutes(90, 5) == [3, 3, 3, 4, 4]
    error = scene.refusal("ExecutePolicy", AutoScalingGroupName="web", PolicyName="up", HonorCooldown=True)
    assert error.code == "ScalingActivityInProgress"
    scene.call("ExecutePolicy", PolicyName=made["PolicyARN"])
    assert scene.desired == 5


def test_a_cooldown_begins_when_the_last_instance_is_there(scene: Watched) -> None:
    """`When multiple instances launch or terminate, the cooldown period takes effect starting when the last instance
    finishes launching or terminating.` (User Guide, Scaling cooldowns)"""
    made = scene.put("up", AdjustmentType="ChangeInCapacity", ScalingAdjustment=2, Cooldown=30)
    scene.watch(made["PolicyARN"])
    scene.on("ExecutePolicy", PolicyName="up", HonorCooldown=True)
    # Servers that take minutes to come up: more often than that the policy is asked for.
    for _ in range(4):
        scene.loop.step()
        scene.forward(60)
        error = scene.refusal("ExecutePolicy", AutoScalingGroupName="web", PolicyName="up", HonorCooldown=True)
        assert error.code == "ScalingActivityInProgress"
        held = scene.refusal("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=3, HonorCooldown=True)
        assert held.code == "ScalingActivityInProgress"
    assert scene.desired == 4
    scene.settle()
    scene.forward(29)
    assert scene.refusal("ExecutePolicy", AutoScalingGroupName="web", PolicyName="up", HonorCooldown=True)
    scene.forward(2)
    scene.on("ExecutePolicy", PolicyName="up", HonorCooldown=True)
    assert scene.desired == 6


def test_a_cooldown_begins_when_the_last_instance_is_gone(scene: Watched) -> None:
    scene.put("up", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=30)
    scene.on("UpdateAutoScalingGroup", MinSize=0)
    scene.on("SetDesiredCapacity", DesiredCapacity=1)
    scene.loop.step()
    scene.forward(600)
    asked = {"AutoScalingGroupName": "web", "PolicyName": "up", "HonorCooldown": True}
    assert scene.refusal("ExecutePolicy", **asked).code == "ScalingActivityInProgress"
    scene.settle()
    assert scene.refusal("ExecutePolicy", **asked).code == "ScalingActivityInProgress"
    scene.forward(31)
    scene.call("ExecutePolicy", **asked)
    assert scene.desired == 2


def test_no_policy_goes_beyond_the_bounds(scene: Watched) -> None:
    scene.put("more", AdjustmentType="ChangeInCapacity", ScalingAdjustment=100)
    scene.put("less", AdjustmentType="ExactCapacity", ScalingAdjustment=0)
    scene.on("ExecutePolicy", PolicyName="more")
    assert scene.desired == 10
    scene.on("ExecutePolicy", PolicyName="less")
    assert scene.desired == 2
    scene.check()


def test_a_group_that_hears_no_alarms_is_not_changed(scene: Watched) -> None:
    made = scene.put("up", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1)
    scene.watch(made["PolicyARN"])
    scene.on("SuspendProcesses", ScalingProcesses=["AlarmNotification"])
    assert scene.minutes(90, 2) == [2, 2]
    scene.on("ResumeProcesses", ScalingProcesses=["AlarmNotification"])
    assert scene.minutes(90) == [3]
    scene.put("up", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Enabled=False)
    scene.forward(600)
    assert scene.minutes(90, 2) == [3, 3]


def test_an_alarm_whose_policy_is_gone_says_so(scene: Watched) -> None:
    made = scene.put("up", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1)
    scene.watch(made["PolicyARN"])
    scene.on("DeletePolicy", PolicyName="up")
    assert scene.minutes(90) == [2]
    items = scene.cloudwatch("DescribeAlarmHistory", HistoryItemType="Action")["AlarmHistoryItems"]
    assert [one["HistorySummary"] for one in items] == [f"Failed to execute action {made['PolicyARN']}"]


def test_what_happened_is_forgotten_after_a_month(scene: Watched) -> None:
    scene.track()
    assert scene.cloudwatch("DescribeAlarmHistory")["AlarmHistoryItems"] == []
    scene.minutes(90, 3)
    assert scene.cloudwatch("DescribeAlarmHistory")["AlarmHistoryItems"]
    scene.forward(31 * 86400)
    with scene.database.write() as tx:
        forget_history(tx)
    assert scene.cloudwatch("DescribeAlarmHistory")["AlarmHistoryItems"] == []


STEP = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"PolicyType": "PredictiveScaling"}, "PolicyType"),
        ({"ScalingAdjustment": 1}, "AdjustmentType"),
        ({"AdjustmentType": "ChangeInCapacity"}, "ScalingAdjustment"),
        ({"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1, "StepAdjustments": [STEP]}, "StepAdjustments"),
        ({"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1, "Cooldown": -1}, "Cooldown"),
        ({"AdjustmentType": "ExactCapacity", "ScalingAdjustment": -1}, "ScalingAdjustment"),
        ({"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1, "MinAdjustmentMagnitude": 1}, "MinAdjustment"),
        ({"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity"}, "StepAdjustments"),
        (
            {"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity", "StepAdjustments": [STEP, STEP]},
            "overlap",
        ),
        ({"PolicyType": "TargetTrackingScaling"}, "TargetTrackingConfiguration"),
        ({"PolicyType": "TargetTrackingScaling", "TargetTrackingConfiguration": {"TargetValue": 1.0}}, "Exactly one"),
        *(
            (
                {"PolicyType": "TargetTrackingScaling", "TargetTrackingConfiguration": {**CPU, "TargetValue": to}},
                "TargetValue",
            )
            for to in (0.0, math.inf, math.nan)
        ),
        *(
            (
                {
                    "PolicyType": "StepScaling",
                    "AdjustmentType": "ChangeInCapacity",
                    "StepAdjustments": [{**STEP, **step}],
                },
                word,
            )
            for step, word in (
                ({"MetricIntervalUpperBound": 10.0}, "without an upper bound"),
                ({"MetricIntervalLowerBound": -10.0}, "without a lower bound"),
                ({"MetricIntervalLowerBound": math.nan}, "must be numbers"),
            )
        ),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingConfiguration": {
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"},
                    "TargetValue": 1.0,
                },
            },
            "load balancer",
        ),
    ],
)
def test_policies_that_there_are_not(scene: Watched, params: dict[str, Any], word: str) -> None:
    error = scene.refusal("PutScalingPolicy", AutoScalingGroupName="web", PolicyName="p", **params)
    assert error.code == "ValidationError"
    assert word in error.message
    assert scene.policies() == []


def policy(kind: str, **more: Any) -> ScalingPolicy:
    return ScalingPolicy("web", "p", "arn", "SimpleScaling", adjustment_type=kind, **more)


@pytest.mark.parametrize(
    ("adjustment", "capacity", "wanted"),
    [(10, 10, 11), (25, 10, 12), (7, 10, 11), (-7, 10, 9), (-25, 10, 8), (-99, 100, 1), (50, 0, 0), (100, 3, 6)],
)
def test_per_cents_are_rounded_towards_none_but_not_to_none(adjustment: int, capacity: int, wanted: int) -> None:
    assert adjusted(policy("PercentChangeInCapacity"), capacity, adjustment) == wanted


def test_per_cents_have_a_least_change() -> None:
    least = policy("PercentChangeInCapacity", min_magnitude=2)
    assert (adjusted(least, 10, 10), adjusted(least, 10, -10), adjusted(least, 10, 50)) == (12, 8, 15)
    assert adjusted(least, 10, 0) == 10


@given(capacity=st.integers(1, 100), value=st.floats(0, 1000), target=st.floats(0.1, 100))
def test_what_is_tracked_is_enough_and_no_more_than_that(capacity: int, value: float, target: float) -> None:
    half = ScalingPolicy("web", "p", "arn", "TargetTrackingScaling", tracking={"TargetValue": target})
    wanted = tracked(half, capacity, value)
    assert wanted * target >= capacity * value * 0.999 - 1e-6
    assert (wanted - 1) * target <= capacity * value * 1.001 + 1e-6
