"""Carries out the actions of alarms: through EC2 and Auto Scaling."""

from __future__ import annotations

from skylift.cloud.domain.alarm import Alarm, DueAction
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.identity import Caller, assumed_arn
from skylift.cloud.domain.scaling_policy import ScalingPolicy
from skylift.cloud.services.autoscaling import scaling_policy
from skylift.cloud.services.cloudwatch.alarm_action import due_operation, is_of_scaling
from skylift.cloud.services.ec2 import instance
from skylift.cloud.store.database import Tx

ROLE = "AWSServiceRoleForCloudWatchEvents"

_HANDLERS = {
    "StopInstances": instance.stop,
    "TerminateInstances": instance.terminate,
    "RebootInstances": instance.reboot,
}


def carry_out(tx: Tx, alarm: Alarm, action: DueAction) -> str:
    """Carry out the action and return it in words. Raises ServiceError if it fails."""
    if is_of_scaling(action.arn):
        policy = tx.get(ScalingPolicy, arn=action.arn)
        if policy is None:
            raise ServiceError("ValidationError", "The scaling policy no longer exists.")
        return scaling_policy.alarmed(tx, policy, alarm, action)
    name, instance_id = due_operation(action, alarm)
    _HANDLERS[name](tx, _service(tx), {"InstanceIds": [instance_id]})
    return f"{name} of {instance_id}"


def _service(tx: Tx) -> Caller:
    """CloudWatch itself, in the role that it has in the account."""
    (facts,) = tx.find(CloudFacts)
    return Caller(
        kind="role",
        account=facts.account,
        region=facts.region,
        arn=assumed_arn(facts.account, ROLE, "CloudWatch"),
        user_id=ROLE,
        access_key_id="",
        source_ip="",
        request_id="",
        role=ROLE,
    )
