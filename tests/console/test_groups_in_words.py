"""Auto Scaling in the console: what is typed as calls, and what AWS answers in words."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.client.errors import UsageError
from skylift.console.scaling import METRICS, GroupRow, read_capacity, read_policy, spell_policy

ROW = GroupRow("web", desired=1, least=0, most=4, running=1, state="active", template="", zones="", tags="")


def test_by_hand_it_is_the_desired_capacity_alone() -> None:
    call = read_capacity(ROW, "0", " 3 ", "4")
    assert call.operation == "set_desired_capacity"
    assert call.params == {"AutoScalingGroupName": "web", "DesiredCapacity": 3}
    changed = read_capacity(ROW, "1", "3", "4")
    assert changed.operation == "update_auto_scaling_group"
    assert changed.params["MinSize"] == 1


@pytest.mark.parametrize("typed", ["", "-1", "1.5", "x", "²", "٣", "99999", "1e3", "<b>"])
def test_what_is_no_number_of_instances_is_said(typed: str) -> None:
    for least, desired, most in ((typed, "1", "4"), ("0", typed, "4"), ("0", "1", typed)):
        with pytest.raises(UsageError) as refused:
            read_capacity(ROW, least, desired, most)
        assert repr(typed) in refused.value.message
        assert refused.value.advice


@pytest.mark.parametrize("sizes", [("0", "5", "4"), ("2", "1", "4")])
def test_the_desired_capacity_is_between_the_others(sizes: tuple[str, str, str]) -> None:
    with pytest.raises(UsageError, match="is not between"):
        read_capacity(ROW, *sizes)


@pytest.mark.parametrize(
    ("name", "target"), [(" ", "60"), *(("p", each) for each in ("", "0", "-1", "nan", "inf", "x"))]
)
def test_a_policy_has_a_name_and_a_value(name: str, target: str) -> None:
    with pytest.raises(UsageError):
        read_policy("web", name, next(iter(METRICS)), target)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingConfiguration": {
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
                    "TargetValue": 60.0,
                    "DisableScaleIn": True,
                },
            },
            "keeps ASGAverageCPUUtilization at 60, never takes away",
        ),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingConfiguration": {
                    "CustomizedMetricSpecification": {"MetricName": "Waiting"},
                    "TargetValue": 0.5,
                },
            },
            "keeps Waiting at 0.5",
        ),
        (
            {
                "PolicyType": "SimpleScaling",
                "AdjustmentType": "ChangeInCapacity",
                "ScalingAdjustment": -2,
                "Cooldown": 60,
            },
            "takes away 2, then waits 60 s",
        ),
        ({"PolicyType": "SimpleScaling", "AdjustmentType": "ExactCapacity", "ScalingAdjustment": 0}, "sets 0"),
        (
            {
                "PolicyType": "StepScaling",
                "AdjustmentType": "PercentChangeInCapacity",
                "StepAdjustments": [
                    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 10},
                    {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 30},
                ],
            },
            "from +0 to +20: adds 10%; from +20 to on: adds 30%",
        ),
        ({"PolicyType": "PredictiveScaling"}, "PredictiveScaling"),
    ],
)
def test_a_policy_is_told_in_words(policy: Any, words: str) -> None:
    assert spell_policy(policy) == words
