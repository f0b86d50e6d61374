"""What alarms may have done: to the instance that their metric is of, or by a scaling policy to a group.

Refused by name is what this cloud cannot do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from skylift.cloud.alarm import Alarm, DueAction
from skylift.cloud.error import ServiceError
from skylift.cloud.facts import CloudFacts
from skylift.cloud.identity import Caller
from skylift.cloud.metric import Metric
from skylift.cloud.scaling_policy import ScalingPolicy
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.autoscaling import scaling_policy
from skylift.cloud.services.autoscaling.scaling_rules import check_of
from skylift.cloud.services.ec2 import instance
from skylift.cloud.store.database import Tx

ROLE = "AWSServiceRoleForCloudWatchEvents"
_OF_SCALING = "arn:aws:autoscaling:"
_TO_INSTANCE = re.compile("arn:aws:automate:([a-z0-9-]+):ec2:(stop|terminate|reboot)")
_OPERATIONS: dict[str, tuple[str, Callable[[Tx, Caller, Any], dict[str, Any]]]] = {
    "stop": ("StopInstances", instance.stop),
    "terminate": ("TerminateInstances", instance.terminate),
    "reboot": ("RebootInstances", instance.reboot),
}


def check_action(tx: Tx, caller: Caller, arn: str, metric: Metric) -> None:
    if arn.startswith(_OF_SCALING):
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


def needed_for(tx: Tx, caller: Caller, arn: str, params: Any) -> Iterator[Check]:
    policy = tx.get(ScalingPolicy, arn=arn)
    if policy is not None:
        yield check_of(tx, caller, "ExecutePolicy", policy.group)
    found = _TO_INSTANCE.fullmatch(arn)
    named = {each["Name"]: each["Value"] for each in params.get("Dimensions", [])}
    if found and "InstanceId" in named:
        on = f"arn:aws:ec2:{caller.region}:{caller.account}:instance/{named['InstanceId']}"
        yield Check(f"ec2:{_OPERATIONS[found[2]][0]}", on)


def carry_out(tx: Tx, alarm: Alarm, action: DueAction) -> str:
    """What was done, in words. Raises ServiceError where it cannot be."""
    if action.arn.startswith(_OF_SCALING):
        policy = tx.get(ScalingPolicy, arn=action.arn)
        if policy is None:
            raise ServiceError("ValidationError", "The scaling policy is not there any more.")
        return scaling_policy.alarmed(tx, policy, alarm, action)
    found = _TO_INSTANCE.fullmatch(action.arn)
    instance_id = alarm.metric.as_dict.get("InstanceId", "")
    if found is None or not instance_id:
        raise ServiceError("ValidationError", f"The alarm's metric is of no instance, and the action is {action.arn}.")
    name, handler = _OPERATIONS[found[2]]
    handler(tx, _service(tx), {"InstanceIds": [instance_id]})
    return f"{name} of {instance_id}"


def _service(tx: Tx) -> Caller:
    """CloudWatch itself, in the role that it has in the account."""
    (facts,) = tx.find(CloudFacts)
    return Caller(
        kind="role",
        account=facts.account,
        region=facts.region,
        arn=f"arn:aws:sts::{facts.account}:assumed-role/{ROLE}/CloudWatch",
        user_id=ROLE,
        access_key_id="",
        source_ip="",
        request_id="",
        role=ROLE,
    )
