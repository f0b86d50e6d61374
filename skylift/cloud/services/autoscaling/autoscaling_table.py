"""Every operation of Auto Scaling that this cloud carries out."""

from __future__ import annotations

from skylift.cloud.services.api.check import Checks
from skylift.cloud.services.api.operation import Handler, Operation
from skylift.cloud.services.autoscaling import (
    scaling_activity,
    scaling_group,
    scaling_hook,
    scaling_instance,
    scaling_mixed,
    scaling_schedule,
    scaling_tag,
)
from skylift.cloud.services.autoscaling.scaling_rules import anything, on_group, on_instances_group

_PAGES = "MaxRecords NextToken"
_GROUP = "AutoScalingGroupName"
_TEMPLATE = "LaunchTemplate.LaunchTemplateId LaunchTemplate.LaunchTemplateName LaunchTemplate.Version"
_SETTINGS = (
    f"{_GROUP} {_TEMPLATE} MinSize MaxSize DesiredCapacity DefaultCooldown AvailabilityZones AvailabilityZoneIds "
    "VPCZoneIdentifier HealthCheckGracePeriod TerminationPolicies NewInstancesProtectedFromScaleIn "
    f"ServiceLinkedRoleARN Context DefaultInstanceWarmup CapacityRebalance {scaling_mixed.TAKES} "
    + " ".join(scaling_group.NEUTRAL)
)
_TAGS = "Tags.ResourceId Tags.ResourceType Tags.Key Tags.Value Tags.PropagateAtLaunch"
_HOOKS = " ".join(f"LifecycleHookSpecificationList.{name}" for name in scaling_hook.SPEC.split())
_ACTION = f"LifecycleHookName {_GROUP} LifecycleActionToken InstanceId"
_FILTERS = "Filters.Name Filters.Values"


def _operation(name: str, handler: Handler, takes: str, checks: Checks, *, writes: bool) -> Operation:
    return Operation("autoscaling", name, handler, frozenset(takes.split()), checks, writes)


def _reads(name: str, handler: Handler, takes: str = "") -> Operation:
    return _operation(name, handler, takes, anything(name), writes=False)


def _writes(name: str, handler: Handler, takes: str, checks: Checks | None = None) -> Operation:
    """Unless said otherwise, on the group that is named."""
    return _operation(name, handler, takes, checks or on_group(name), writes=True)


AUTOSCALING_OPERATIONS: tuple[Operation, ...] = (
    # Groups
    _writes(
        "CreateAutoScalingGroup",
        scaling_group.create,
        f"{_SETTINGS} {_TAGS} {_HOOKS}",
        scaling_group.check_create,
    ),
    _writes("UpdateAutoScalingGroup", scaling_group.update, _SETTINGS, scaling_group.check_update),
    _writes("DeleteAutoScalingGroup", scaling_group.delete, f"{_GROUP} ForceDelete"),
    _reads(
        "DescribeAutoScalingGroups",
        scaling_group.describe,
        f"AutoScalingGroupNames IncludeInstances {_FILTERS} {_PAGES}",
    ),
    _writes("SetDesiredCapacity", scaling_group.set_desired, f"{_GROUP} DesiredCapacity HonorCooldown"),
    _writes("SuspendProcesses", scaling_group.suspend, f"{_GROUP} ScalingProcesses"),
    _writes("ResumeProcesses", scaling_group.resume, f"{_GROUP} ScalingProcesses"),
    _reads("DescribeScalingProcessTypes", scaling_group.process_types),
    _reads("DescribeTerminationPolicyTypes", scaling_group.termination_policy_types),
    _reads("DescribeAccountLimits", scaling_group.account_limits),
    _reads(
        "DescribeScalingActivities",
        scaling_activity.describe,
        f"ActivityIds {_GROUP} IncludeDeletedGroups {_PAGES}",
    ),
    # Their instances
    _reads("DescribeAutoScalingInstances", scaling_instance.describe, f"InstanceIds {_PAGES}"),
    _writes(
        "TerminateInstanceInAutoScalingGroup",
        scaling_instance.terminate,
        "InstanceId ShouldDecrementDesiredCapacity",
        on_instances_group("TerminateInstanceInAutoScalingGroup"),
    ),
    _writes("AttachInstances", scaling_instance.attach, f"{_GROUP} InstanceIds"),
    _writes("DetachInstances", scaling_instance.detach, f"{_GROUP} InstanceIds ShouldDecrementDesiredCapacity"),
    _writes("EnterStandby", scaling_instance.enter_standby, f"{_GROUP} InstanceIds ShouldDecrementDesiredCapacity"),
    _writes("ExitStandby", scaling_instance.exit_standby, f"{_GROUP} InstanceIds"),
    _writes("SetInstanceProtection", scaling_instance.set_protection, f"{_GROUP} InstanceIds ProtectedFromScaleIn"),
    _writes(
        "SetInstanceHealth",
        scaling_instance.set_health,
        "InstanceId HealthStatus ShouldRespectGracePeriod",
        on_instances_group("SetInstanceHealth"),
    ),
    # Lifecycle hooks
    _writes("PutLifecycleHook", scaling_hook.put, f"{_GROUP} {scaling_hook.SPEC}"),
    _reads("DescribeLifecycleHooks", scaling_hook.describe, f"{_GROUP} LifecycleHookNames"),
    _reads("DescribeLifecycleHookTypes", scaling_hook.types),
    _writes("DeleteLifecycleHook", scaling_hook.delete, f"{_GROUP} LifecycleHookName"),
    _writes("RecordLifecycleActionHeartbeat", scaling_hook.heartbeat, _ACTION),
    _writes("CompleteLifecycleAction", scaling_hook.complete, f"{_ACTION} LifecycleActionResult"),
    # Scheduled actions
    _writes("PutScheduledUpdateGroupAction", scaling_schedule.put, f"{_GROUP} {scaling_schedule.ACTION}"),
    _writes(
        "BatchPutScheduledUpdateGroupAction",
        scaling_schedule.put_many,
        f"{_GROUP} " + " ".join(f"ScheduledUpdateGroupActions.{name}" for name in scaling_schedule.ACTION.split()),
    ),
    _reads(
        "DescribeScheduledActions",
        scaling_schedule.describe,
        f"{_GROUP} ScheduledActionNames StartTime EndTime {_PAGES}",
    ),
    _writes("DeleteScheduledAction", scaling_schedule.delete, f"{_GROUP} ScheduledActionName"),
    _writes("BatchDeleteScheduledAction", scaling_schedule.delete_many, f"{_GROUP} ScheduledActionNames"),
    # Tags
    _writes("CreateOrUpdateTags", scaling_tag.create_or_update, _TAGS, scaling_tag.checks("CreateOrUpdateTags")),
    _writes("DeleteTags", scaling_tag.delete, _TAGS, scaling_tag.checks("DeleteTags")),
    _reads("DescribeTags", scaling_tag.describe, f"{_FILTERS} {_PAGES}"),
)
