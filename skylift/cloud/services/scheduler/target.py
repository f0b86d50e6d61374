"""The targets that a schedule may invoke: operations of this cloud, as universal targets
(`arn:aws:scheduler:::aws-sdk:...`).

https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller, Role
from skylift.cloud.domain.schedule import Invocation, Schedule, ScheduleGroup, Target, max_age, most_retries
from skylift.cloud.services.api.trust import trust_in_service
from skylift.cloud.services.scheduler.operation import invalid
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import scheduler

PRINCIPAL = "scheduler.amazonaws.com"
UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"

TARGETS = {
    "autoscaling:deleteAutoScalingGroup": ("autoscaling", "DeleteAutoScalingGroup"),
    "autoscaling:setDesiredCapacity": ("autoscaling", "SetDesiredCapacity"),
    "autoscaling:updateAutoScalingGroup": ("autoscaling", "UpdateAutoScalingGroup"),
    "cloudwatch:putMetricData": ("cloudwatch", "PutMetricData"),
    "ec2:createImage": ("ec2", "CreateImage"),
    "ec2:createSnapshot": ("ec2", "CreateSnapshot"),
    "ec2:createTags": ("ec2", "CreateTags"),
    "ec2:deleteSnapshot": ("ec2", "DeleteSnapshot"),
    "ec2:rebootInstances": ("ec2", "RebootInstances"),
    "ec2:runInstances": ("ec2", "RunInstances"),
    "ec2:startInstances": ("ec2", "StartInstances"),
    "ec2:stopInstances": ("ec2", "StopInstances"),
    "ec2:terminateInstances": ("ec2", "TerminateInstances"),
    "ssm:putParameter": ("ssm", "PutParameter"),
    "ssm:sendCommand": ("ssm", "SendCommand"),
}
"""The service and the operation, by their spelling in a target's ARN. All others are refused by name."""


def operation_of(target: Target) -> tuple[str, str]:
    return TARGETS[target.arn.removeprefix(UNIVERSAL)]


def checked_target(tx: Tx, caller: Caller, params: scheduler.Target, group: str) -> Target:
    """Raises ValidationException: also where the role cannot be assumed for a schedule of the group."""
    arn, role_arn, retry = params["Arn"], params["RoleArn"], params.get("RetryPolicy") or {}
    if not arn.startswith(UNIVERSAL) or arn.removeprefix(UNIVERSAL) not in TARGETS:
        raise invalid(
            f"Provided Arn is not in correct format, or is of a target that this cloud does not have: {arn}. "
            f"It has {UNIVERSAL} with {', '.join(TARGETS)}."
        )
    text = params.get("Input")
    if text is not None:
        request_of(text)
    role = tx.get(Role, arn=role_arn)
    if role is None or not trusts_scheduler(role, caller.account, group):
        raise invalid("The execution role you provide must allow AWS EventBridge Scheduler to assume the role.")
    return Target(arn, role_arn, text, retry.get("MaximumEventAgeInSeconds"), retry.get("MaximumRetryAttempts"))


def trusts_scheduler(role: Role, account: str, group: str) -> bool:
    """`group` is the ARN of the schedule's group, which AWS says it acts for."""
    context = {"aws:SourceAccount": account, "aws:SourceArn": group}
    return trust_in_service(role, PRINCIPAL, context=context)


def role_of(tx: Tx, schedule: Schedule, account: str) -> Role | None:
    """The role of a schedule, if EventBridge Scheduler may assume it."""
    role, group = tx.get(Role, arn=schedule.target.role_arn), tx.get(ScheduleGroup, name=schedule.group)
    trusted = role is not None and group is not None and trusts_scheduler(role, account, group.arn)
    return role if trusted else None


def request_of(text: str) -> dict[str, object]:
    """The parameters that an `Input` says."""
    try:
        found = json.loads(text, parse_constant=lambda name: json.loads(f"<{name}>"))
    except (ValueError, RecursionError) as error:
        raise invalid(f"Input has to be a JSON object: {error}.") from error
    if not isinstance(found, dict):
        raise invalid("Input has to be a JSON object.")
    return found


def filled_in(text: str, schedule: Schedule, invocation: Invocation) -> str:
    """An `Input` with the context attributes of one invocation."""
    values = {
        "schedule-arn": schedule.arn,
        "scheduled-time": f"{invocation.scheduled:%Y-%m-%dT%H:%M:%SZ}",
        "execution-id": invocation.id,
        "attempt-number": str(invocation.attempt),
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def view(target: Target) -> scheduler.Target:
    """The target with AWS's defaults for values that were not given."""
    return {
        "Arn": target.arn,
        "RoleArn": target.role_arn,
        **({"Input": target.input} if target.input is not None else {}),
        "RetryPolicy": {"MaximumEventAgeInSeconds": max_age(target), "MaximumRetryAttempts": most_retries(target)},
    }
