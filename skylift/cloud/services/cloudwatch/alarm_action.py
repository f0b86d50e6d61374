"""The actions that alarms may have: on the instance of their metric, or on a group by a scaling policy.

Actions that this cloud cannot carry out are refused by name. The services that an action belongs to carry it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skylift.cloud.domain.alarm import Alarm, DueAction
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.metric import Metric
from skylift.cloud.domain.scaling_policy import ScalingPolicy
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.scaling_check import check_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import cloudwatch

_OF_SCALING = "arn:aws:autoscaling:"
_TO_INSTANCE = re.compile("arn:aws:automate:([a-z0-9-]+):ec2:(stop|terminate|reboot)")
_OPERATIONS = {"stop": "StopInstances", "terminate": "TerminateInstances", "reboot": "RebootInstances"}


def check_action(tx: Tx, caller: Caller, arn: str, metric: Metric) -> None:
    if is_of_scaling(arn):
        if tx.get(ScalingPolicy, arn=arn) is None:
            raise ServiceError("ValidationError", f"There is no scaling policy {arn}.")
        return
    found = _TO_INSTANCE.fullmatch(arn)
    if found is None:
        raise ServiceError(
            "ValidationError",
            f"Invalid arn syntax, or an action that this cloud has not: {arn}. "
            "It has arn:aws:automate:REGION:ec2:stop, terminate and reboot, and the ARNs of scaling policies.",
        )
    if found[1] != caller.region:
        raise ServiceError(
            "ValidationError", f"Invalid region {found[1]} specified. Only {caller.region} is supported."
        )
    if "InstanceId" not in metric.as_dict:
        raise ServiceError("ValidationError", f"The action {arn} needs a metric with the dimension InstanceId.")


def due_operation(action: DueAction, alarm: Alarm) -> tuple[str, str]:
    """EC2's operation and the instance that it is on. Raises ServiceError where the alarm's metric is of none."""
    found = _TO_INSTANCE.fullmatch(action.arn)
    instance_id = alarm.metric.as_dict.get("InstanceId", "")
    if found is None or not instance_id:
        raise ServiceError("ValidationError", f"The alarm's metric is of no instance, and the action is {action.arn}.")
    return _OPERATIONS[found[2]], instance_id


def is_of_scaling(arn: str) -> bool:
    return arn.startswith(_OF_SCALING)


def needed_for(tx: Tx, caller: Caller, arn: str, params: cloudwatch.PutMetricAlarmInput) -> Iterator[Check]:
    policy = tx.get(ScalingPolicy, arn=arn)
    if policy is not None:
        yield check_of(tx, caller, "ExecutePolicy", policy.group)
    found = _TO_INSTANCE.fullmatch(arn)
    named = {each["Name"]: each["Value"] for each in params.get("Dimensions", [])}
    if found and "InstanceId" in named:
        on = f"arn:aws:ec2:{caller.region}:{caller.account}:instance/{named['InstanceId']}"
        yield Check(f"ec2:{_OPERATIONS[found[2]]}", on)
