"""Scaling policies: made, described, and carried out by hand or for an alarm.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, cast, get_args

from skylift.cloud.domain.alarm import Alarm, DueAction
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.scaling_group import COUNTED, ScalingGroup, ScalingMember, units
from skylift.cloud.domain.scaling_policy import ADJUSTMENTS, PolicyKind, ScalingPolicy, Step, TargetTracking
from skylift.cloud.services.api.operation import Check, Checks, Nothing, Params, below
from skylift.cloud.services.api.scaling_check import check_of
from skylift.cloud.services.autoscaling import scaling_tracking
from skylift.cloud.services.autoscaling.operation import reads, writes
from skylift.cloud.services.autoscaling.scaling_adjustment import adjusted, step_for, tracked
from skylift.cloud.services.autoscaling.scaling_rules import changeable_group, invalid, page, require_group
from skylift.cloud.store.database import Tx
from skylift.cloud.store.scaling_group import in_cooldown

if TYPE_CHECKING:
    from aws_shapes import autoscaling

MOST_POLICIES = 50
AGGREGATIONS = ("Average", "Minimum", "Maximum")
OF_KIND: dict[str, tuple[str, ...]] = {
    "SimpleScaling": ("AdjustmentType", "ScalingAdjustment", "Cooldown", "MinAdjustmentMagnitude"),
    "StepScaling": (
        "AdjustmentType",
        "StepAdjustments",
        "MetricAggregationType",
        "MinAdjustmentMagnitude",
        "EstimatedInstanceWarmup",
    ),
    "TargetTrackingScaling": ("TargetTrackingConfiguration", "EstimatedInstanceWarmup"),
}


def put(tx: Tx, caller: Caller, params: autoscaling.PutScalingPolicyType) -> autoscaling.PolicyARNType:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    kind = _checked(params)
    before = tx.get(ScalingPolicy, group=group.name, name=params["PolicyName"])
    if before is None and len(tx.find(ScalingPolicy, group=group.name)) >= MOST_POLICIES:
        raise ServiceError("LimitExceeded", f"A group may have at most {MOST_POLICIES} scaling policies.")
    policy = ScalingPolicy(
        group=group.name,
        name=params["PolicyName"],
        arn=before.arn if before else _new_arn(caller, group.name, params["PolicyName"]),
        kind=kind,
        enabled=params.get("Enabled", True),
        adjustment_type=params.get("AdjustmentType"),
        adjustment=params.get("ScalingAdjustment"),
        min_magnitude=params.get("MinAdjustmentMagnitude"),
        cooldown=params.get("Cooldown"),
        steps=tuple(_steps(params)),
        aggregation=params.get("MetricAggregationType", "Average") if kind == "StepScaling" else None,
        warmup=params.get("EstimatedInstanceWarmup"),
        # The operation takes no members that the row has not.
        tracking=cast(TargetTracking, params["TargetTrackingConfiguration"]) if kind == "TargetTrackingScaling" else {},
    )
    if before is None:
        tx.add(policy)
    else:
        tx.save(policy)
    if kind == "TargetTrackingScaling":
        scaling_tracking.make_alarms(tx, policy)
    else:
        for alarm in tx.find(Alarm, policy=policy.arn):
            tx.remove(alarm)
    return {"PolicyARN": policy.arn, "Alarms": _alarms(tx, caller, policy)}


def _checked(params: autoscaling.PutScalingPolicyType) -> PolicyKind:
    kinds: tuple[PolicyKind, ...] = get_args(PolicyKind)
    asked = params.get("PolicyType", "SimpleScaling")
    kind = next((one for one in kinds if one == asked), None)
    if kind is None:
        raise invalid(f"PolicyType must be one of {', '.join(kinds)}.")
    every = {name for names in OF_KIND.values() for name in names}
    for name in sorted(every - set(OF_KIND[kind])):
        if name in params:
            raise invalid(f"{name} is not supported by policies of type {kind}.")
    numbers = {
        "Cooldown": params.get("Cooldown", 0),
        "EstimatedInstanceWarmup": params.get("EstimatedInstanceWarmup", 0),
        "MinAdjustmentMagnitude": params.get("MinAdjustmentMagnitude", 0),
    }
    for name, number in numbers.items():
        if number < 0:
            raise invalid(f"{name} must be greater than or equal to 0.")
    if kind == "TargetTrackingScaling":
        if "TargetTrackingConfiguration" not in params:
            raise invalid("TargetTrackingConfiguration is required for policies of type TargetTrackingScaling.")
        scaling_tracking.check(params["TargetTrackingConfiguration"])
        return kind
    adjustment = params.get("AdjustmentType")
    if adjustment not in ADJUSTMENTS:
        raise invalid(f"AdjustmentType must be one of {', '.join(ADJUSTMENTS)}.")
    if "MinAdjustmentMagnitude" in params and adjustment != "PercentChangeInCapacity":
        raise invalid("MinAdjustmentMagnitude is only supported with PercentChangeInCapacity.")
    if kind == "SimpleScaling" and "ScalingAdjustment" not in params:
        raise invalid("ScalingAdjustment is required for policies of type SimpleScaling.")
    if adjustment == "ExactCapacity" and params.get("ScalingAdjustment", 0) < 0:
        raise invalid("ScalingAdjustment must be greater than or equal to 0 with ExactCapacity.")
    if kind == "StepScaling" and not params.get("StepAdjustments"):
        raise invalid("StepAdjustments are required for policies of type StepScaling.")
    if params.get("MetricAggregationType", "Average") not in AGGREGATIONS:
        raise invalid(f"MetricAggregationType must be one of {', '.join(AGGREGATIONS)}.")
    return kind


def _steps(params: autoscaling.PutScalingPolicyType) -> list[Step]:
    """The steps from the lowest to the highest. Raises if two overlap, or leave a gap between them."""
    steps = [
        Step(one.get("MetricIntervalLowerBound"), one.get("MetricIntervalUpperBound"), one["ScalingAdjustment"])
        for one in params.get("StepAdjustments", [])
    ]
    if not all(math.isfinite(bound) for step in steps for bound in (step.lower, step.upper) if bound is not None):
        raise invalid("The bounds of a step adjustment must be numbers.")
    if any(step.lower is None and step.upper is None for step in steps) and len(steps) > 1:
        raise invalid("At least one of the upper and lower bound must be specified for each step adjustment.")
    steps.sort(key=lambda step: -math.inf if step.lower is None else step.lower)
    for step, following in pairwise(steps):
        if step.upper is None or following.lower is None or step.upper != following.lower:
            raise invalid("Step adjustments must neither overlap nor leave a gap between them.")
    for step in steps:
        if step.lower is not None and step.upper is not None and step.lower >= step.upper:
            raise invalid("The lower bound of a step adjustment must be less than its upper bound.")
        if params.get("AdjustmentType") == "ExactCapacity" and step.adjustment < 0:
            raise invalid("ScalingAdjustment must be greater than or equal to 0 with ExactCapacity.")
    # Else the worst breaches would have no step.
    if steps and steps[0].lower is not None and steps[0].lower < 0:
        raise invalid("Beside a step adjustment with a negative lower bound there must be one without a lower bound.")
    if steps and steps[-1].upper is not None and steps[-1].upper > 0:
        raise invalid("Beside a step adjustment with a positive upper bound there must be one without an upper bound.")
    return steps


def describe(tx: Tx, caller: Caller, params: autoscaling.DescribePoliciesType) -> autoscaling.PoliciesType:
    name, names, types = params.get("AutoScalingGroupName"), params.get("PolicyNames"), params.get("PolicyTypes")
    if name is not None:
        require_group(tx, name)
    rows = tx.find(ScalingPolicy, group=name) if name is not None else tx.find(ScalingPolicy)
    found = [
        row for row in rows if (not names or row.name in names or row.arn in names) and (not types or row.kind in types)
    ]
    found.sort(key=lambda row: (row.group, row.name))
    chosen, more = page(params, found, lambda row: row.arn)
    return {"ScalingPolicies": [_view(tx, caller, row) for row in chosen], **more}


def delete(tx: Tx, _caller: Caller, params: autoscaling.DeletePolicyType) -> Nothing:
    """Delete a policy with the alarms that were made for it; those of the user stay."""
    tx.remove(_required(tx, params))
    return {}


def execute(tx: Tx, _caller: Caller, params: autoscaling.ExecutePolicyType) -> Nothing:
    policy = _required(tx, params)
    group = changeable_group(tx, policy.group)
    if not policy.enabled:
        raise invalid(f"The policy {policy.name} is disabled.")
    if policy.kind == "TargetTrackingScaling":
        raise invalid("Policies of type TargetTrackingScaling cannot be executed.")
    if policy.kind == "SimpleScaling":
        if "MetricValue" in params or "BreachThreshold" in params:
            raise invalid("MetricValue and BreachThreshold are only supported with policies of type StepScaling.")
        if params.get("HonorCooldown") and _in_cooldown(tx, group, policy):
            raise ServiceError("ScalingActivityInProgress", f"A cooldown of {group.name} has not ended.")
        wanted = adjusted(policy, group.desired, _adjustment(policy))
    else:
        if params.get("HonorCooldown"):
            raise invalid("HonorCooldown is only supported with policies of type SimpleScaling.")
        if "MetricValue" not in params or "BreachThreshold" not in params:
            raise invalid("MetricValue and BreachThreshold are required for policies of type StepScaling.")
        if not math.isfinite(params["MetricValue"] - params["BreachThreshold"]):
            raise invalid("MetricValue and BreachThreshold must be numbers.")
        step = step_for(policy, params["MetricValue"] - params["BreachThreshold"])
        if step is None:
            raise invalid(
                f"There is no step adjustment of {policy.name} for metric value {params['MetricValue']} and breach "
                f"threshold {params['BreachThreshold']}."
            )
        wanted = _by_step(tx, group, policy, step)
    _resize(tx, group, wanted, f"a user request executed policy {policy.name}")
    return {}


def adjustment_types(_tx: Tx, _caller: Caller, _params: Params) -> autoscaling.DescribeAdjustmentTypesAnswer:
    return {"AdjustmentTypes": [{"AdjustmentType": name} for name in ADJUSTMENTS]}


def alarmed(tx: Tx, policy: ScalingPolicy, alarm: Alarm, action: DueAction) -> str:
    """Do what an alarm asks a policy for, and say what came of it."""
    group = require_group(tx, policy.group)
    if group.deleting or not policy.enabled or not group.runs("AlarmNotification"):
        return f"Policy {policy.name} is not in effect."
    # An alarm that was set by hand has no value: the threshold itself counts.
    value = alarm.threshold if action.metric_value is None else action.metric_value
    match policy.kind:
        case "SimpleScaling":
            if _in_cooldown(tx, group, policy):
                return f"A cooldown of {group.name} has not ended."
            wanted = adjusted(policy, group.desired, _adjustment(policy))
        case "StepScaling":
            step = step_for(policy, value - alarm.threshold, low=alarm.comparison.startswith("LessThan"))
            wanted = group.desired if step is None else _by_step(tx, group, policy, step)
        case _:
            wanted = _by_target(tx, group, policy, alarm, value)
    why = f"a monitor alarm {alarm.name} in state {action.state} triggered policy {policy.name}"
    return _resize(tx, group, wanted, why)


def _resize(tx: Tx, group: ScalingGroup, wanted: int, why: str) -> str:
    desired = min(max(wanted, group.min_size), group.max_size)
    if desired == group.desired:
        return f"The capacity stays {desired}."
    tx.save(group.resized(desired, why, tx.now))
    return f"The capacity of {group.name} is changed from {group.desired} to {desired}."


def _by_step(tx: Tx, group: ScalingGroup, policy: ScalingPolicy, step: Step) -> int:
    """Instances that are warming up count as being there, so that one breach is not answered twice."""
    warming = _warming(tx, group, policy)
    wanted = adjusted(policy, group.desired - warming, step.adjustment)
    if wanted > group.desired - warming:
        return max(group.desired, wanted)
    return group.desired if _scales_out(tx, group, policy) else min(group.desired, wanted)


def _by_target(tx: Tx, group: ScalingGroup, policy: ScalingPolicy, alarm: Alarm, value: float) -> int:
    warming = _warming(tx, group, policy)
    wanted = tracked(policy, group.desired - warming, value)
    if value > policy.target:
        return max(group.desired, wanted)
    if _scales_out(tx, group, policy) or not all(
        _is_low(tx, one) for one in tx.find(ScalingPolicy, group=group.name) if one != policy
    ):
        return group.desired
    return min(group.desired, wanted)


def _is_low(tx: Tx, policy: ScalingPolicy) -> bool:
    """Whether another policy would not mind fewer: all that track a target have to agree."""
    if policy.kind != "TargetTrackingScaling" or not policy.enabled or not policy.scales_in:
        return True
    low = [alarm for alarm in tx.find(Alarm, policy=policy.arn) if alarm.comparison == "LessThanThreshold"]
    return all(alarm.state == "ALARM" for alarm in low)


def _warming(tx: Tx, group: ScalingGroup, policy: ScalingPolicy) -> int:
    """How much of what is wanted has not been in service for so long that they bear their share."""
    _, warm = _there_and_warm(tx, group, policy)
    return max(0, group.desired - warm)


def _scales_out(tx: Tx, group: ScalingGroup, policy: ScalingPolicy) -> bool:
    """Whether instances are warming up, or about to be launched, which scaling in waits for. Those that cannot be
    launched would be waited for in vain."""
    there, warm = _there_and_warm(tx, group, policy)
    coming = there < group.desired and group.runs("Launch") and not group.failures
    return warm < min(there, group.desired) or coming


def _there_and_warm(tx: Tx, group: ScalingGroup, policy: ScalingPolicy) -> tuple[int, int]:
    length = next(one for one in (policy.warmup, group.warmup, group.cooldown) if one is not None)
    before = tx.now - timedelta(seconds=length)
    members = [one for one in tx.find(ScalingMember, group=group.name) if one.state in COUNTED]
    warm = [one for one in members if one.state == "InService" and (one.in_service or one.since) <= before]
    return units(members), units(warm)


def _in_cooldown(tx: Tx, group: ScalingGroup, policy: ScalingPolicy) -> bool:
    return in_cooldown(tx, group, group.cooldown if policy.cooldown is None else policy.cooldown)


def _adjustment(policy: ScalingPolicy) -> int:
    assert policy.adjustment is not None, "a simple policy has one"
    return policy.adjustment


def _required(tx: Tx, params: autoscaling.DeletePolicyType | autoscaling.ExecutePolicyType) -> ScalingPolicy:
    """The policy with this name in a group, or with this ARN."""
    name, group = params["PolicyName"], params.get("AutoScalingGroupName")
    if name.startswith("arn:"):
        found = tx.get(ScalingPolicy, arn=name)
    elif group is None:
        raise invalid("AutoScalingGroupName is required where the policy is not named by its ARN.")
    else:
        require_group(tx, group)
        found = tx.get(ScalingPolicy, group=group, name=name)
    if found is None or group not in (None, found.group):
        raise invalid(f"PolicyName not found - no policy {name} found")
    return found


def _view(tx: Tx, caller: Caller, policy: ScalingPolicy) -> autoscaling.ScalingPolicy:
    return {
        "AutoScalingGroupName": policy.group,
        "PolicyName": policy.name,
        "PolicyARN": policy.arn,
        "PolicyType": policy.kind,
        "Enabled": policy.enabled,
        "StepAdjustments": [_step_view(step) for step in policy.steps],
        "Alarms": _alarms(tx, caller, policy),
        **({"AdjustmentType": policy.adjustment_type} if policy.adjustment_type is not None else {}),
        **({"MinAdjustmentMagnitude": policy.min_magnitude} if policy.min_magnitude is not None else {}),
        **({"ScalingAdjustment": policy.adjustment} if policy.adjustment is not None else {}),
        **({"Cooldown": policy.cooldown} if policy.cooldown is not None else {}),
        **({"MetricAggregationType": policy.aggregation} if policy.aggregation is not None else {}),
        **({"EstimatedInstanceWarmup": policy.warmup} if policy.warmup is not None else {}),
        **({"TargetTrackingConfiguration": _tracking_view(policy.tracking)} if policy.tracking else {}),
    }


def _tracking_view(tracking: TargetTracking) -> autoscaling.TargetTrackingConfiguration:
    return cast("autoscaling.TargetTrackingConfiguration", {"DisableScaleIn": False, **tracking})


def _step_view(step: Step) -> autoscaling.StepAdjustment:
    return {
        **({"MetricIntervalLowerBound": step.lower} if step.lower is not None else {}),
        **({"MetricIntervalUpperBound": step.upper} if step.upper is not None else {}),
        "ScalingAdjustment": step.adjustment,
    }


def _alarms(tx: Tx, caller: Caller, policy: ScalingPolicy) -> list[autoscaling.Alarm]:
    """The alarms that have the policy as an action, no matter who made them."""
    asking = [alarm.name for alarm in tx.find(Alarm) if policy.arn in (*alarm.alarm_actions, *alarm.ok_actions)]
    prefix = f"arn:aws:cloudwatch:{caller.region}:{caller.account}:alarm:"
    return [{"AlarmName": name, "AlarmARN": prefix + name} for name in sorted(asking)]


def _new_arn(caller: Caller, group: str, name: str) -> str:
    where = f"arn:aws:autoscaling:{caller.region}:{caller.account}:scalingPolicy:{uuid.uuid4()}"
    return f"{where}:autoScalingGroupName/{group}:policyName/{name}"


_OWN = below(
    "CustomizedMetricSpecification", "MetricName Namespace Statistic Unit Period Dimensions.Name Dimensions.Value"
)

_TRACKING = below(
    "TargetTrackingConfiguration",
    f"TargetValue DisableScaleIn PredefinedMetricSpecification.PredefinedMetricType {_OWN}",
)

_STEPS = below("StepAdjustments", "MetricIntervalLowerBound MetricIntervalUpperBound ScalingAdjustment")


def _on_policys_group(action: str) -> Checks:
    """A policy may be named by its ARN alone."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterator[Check]:
        policy = tx.get(ScalingPolicy, arn=params["PolicyName"])
        yield check_of(tx, caller, action, policy.group if policy else params.get("AutoScalingGroupName", "*"))

    return checks


OPERATIONS = (
    writes(
        "PutScalingPolicy",
        put,
        "AutoScalingGroupName PolicyName PolicyType AdjustmentType MinAdjustmentMagnitude ScalingAdjustment Cooldown "
        f"MetricAggregationType EstimatedInstanceWarmup Enabled {_STEPS} {_TRACKING}",
    ),
    reads("DescribePolicies", describe, "AutoScalingGroupName PolicyNames PolicyTypes MaxRecords NextToken"),
    writes(
        "ExecutePolicy",
        execute,
        "AutoScalingGroupName PolicyName HonorCooldown MetricValue BreachThreshold",
        _on_policys_group("ExecutePolicy"),
    ),
    writes("DeletePolicy", delete, "AutoScalingGroupName PolicyName", _on_policys_group("DeletePolicy")),
    reads("DescribeAdjustmentTypes", adjustment_types, ""),
)
