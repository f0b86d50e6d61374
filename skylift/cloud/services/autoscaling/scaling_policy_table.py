"""Every operation on scaling policies that this cloud carries out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.scaling_policy import ScalingPolicy
from skylift.cloud.services.api.check import Checks
from skylift.cloud.services.api.operation import Check, Handler, Operation
from skylift.cloud.services.autoscaling import scaling_policy
from skylift.cloud.services.autoscaling.scaling_rules import anything, check_of, on_group
from skylift.cloud.store.database import Tx

_CONFIG = "TargetTrackingConfiguration"
_OWN = f"{_CONFIG}.CustomizedMetricSpecification"
_TRACKING = " ".join(
    [
        f"{_CONFIG}.TargetValue {_CONFIG}.DisableScaleIn",
        f"{_CONFIG}.PredefinedMetricSpecification.PredefinedMetricType",
        *(f"{_OWN}.{name}" for name in ("MetricName", "Namespace", "Statistic", "Unit", "Period")),
        f"{_OWN}.Dimensions.Name {_OWN}.Dimensions.Value",
    ]
)
_STEPS = " ".join(
    f"StepAdjustments.{name}" for name in ("MetricIntervalLowerBound", "MetricIntervalUpperBound", "ScalingAdjustment")
)


def _operation(name: str, handler: Handler, takes: str, checks: Checks, *, writes: bool) -> Operation:
    return Operation("autoscaling", name, handler, frozenset(takes.split()), checks, writes)


def _on_policys_group(action: str) -> Checks:
    """A policy may be named by its ARN alone."""

    def checks(tx: Tx, caller: Caller, params: Any) -> Iterator[Check]:
        policy = tx.get(ScalingPolicy, arn=params["PolicyName"])
        yield check_of(tx, caller, action, policy.group if policy else params.get("AutoScalingGroupName", "*"))

    return checks


SCALING_POLICY_OPERATIONS: tuple[Operation, ...] = (
    _operation(
        "PutScalingPolicy",
        scaling_policy.put,
        "AutoScalingGroupName PolicyName PolicyType AdjustmentType MinAdjustmentMagnitude ScalingAdjustment Cooldown "
        f"MetricAggregationType EstimatedInstanceWarmup Enabled {_STEPS} {_TRACKING}",
        on_group("PutScalingPolicy"),
        writes=True,
    ),
    _operation(
        "DescribePolicies",
        scaling_policy.describe,
        "AutoScalingGroupName PolicyNames PolicyTypes MaxRecords NextToken",
        anything("DescribePolicies"),
        writes=False,
    ),
    _operation(
        "ExecutePolicy",
        scaling_policy.execute,
        "AutoScalingGroupName PolicyName HonorCooldown MetricValue BreachThreshold",
        _on_policys_group("ExecutePolicy"),
        writes=True,
    ),
    _operation(
        "DeletePolicy",
        scaling_policy.delete,
        "AutoScalingGroupName PolicyName",
        _on_policys_group("DeletePolicy"),
        writes=True,
    ),
    _operation(
        "DescribeAdjustmentTypes",
        scaling_policy.adjustment_types,
        "",
        anything("DescribeAdjustmentTypes"),
        writes=False,
    ),
)
