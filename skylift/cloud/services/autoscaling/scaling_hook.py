"""Lifecycle hooks: instances wait when they are launched or terminated, until a request completes the hook or a time
has passed.

There are no notifications: clients poll (DescribeAutoScalingInstances, or the instance's own metadata).
https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.scaling_group import LAUNCHING, TERMINATING, HookWait, LifecycleHook, ScalingMember
from skylift.cloud.services.api.operation import Params
from skylift.cloud.services.autoscaling.operation import GROUP, reads, writes
from skylift.cloud.services.autoscaling.scaling_rules import changeable_group, invalid, require_group
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import autoscaling

MOST_HOOKS = 50
RESULTS = ("CONTINUE", "ABANDON")
TRANSITIONS = (LAUNCHING, TERMINATING)
SPEC = "LifecycleHookName LifecycleTransition NotificationMetadata HeartbeatTimeout DefaultResult"


def put(tx: Tx, _caller: Caller, params: autoscaling.PutLifecycleHookType) -> autoscaling.PutLifecycleHookAnswer:
    group = changeable_group(tx, params["AutoScalingGroupName"])
    put_hook(tx, group.name, params)
    return {}


def put_hook(
    tx: Tx, group: str, params: autoscaling.PutLifecycleHookType | autoscaling.LifecycleHookSpecification
) -> None:
    """Make a hook as described, or change an existing one, which keeps the values that are not given."""
    before = tx.get(LifecycleHook, group=group, name=params["LifecycleHookName"])
    transition = params.get("LifecycleTransition") or (before.transition if before else None)
    if transition not in TRANSITIONS:
        raise invalid(f"LifecycleTransition has to be one of {', '.join(TRANSITIONS)}.")
    if before is not None and transition != before.transition:
        raise invalid("The transition of a lifecycle hook cannot be changed.")
    hook = before or LifecycleHook(group, params["LifecycleHookName"], transition)
    changed = replace(
        hook,
        heartbeat=params.get("HeartbeatTimeout", hook.heartbeat),
        default=params.get("DefaultResult", hook.default),
        metadata=params.get("NotificationMetadata", hook.metadata),
    )
    if not 30 <= changed.heartbeat <= 7200:
        raise invalid("HeartbeatTimeout has to be between 30 and 7200 seconds.")
    if changed.default not in RESULTS:
        raise invalid(f"DefaultResult has to be one of {', '.join(RESULTS)}.")
    if before is not None:
        tx.save(changed)
        return
    if len(tx.find(LifecycleHook, group=group)) >= MOST_HOOKS:
        raise ServiceError("LimitExceeded", f"A group can have at most {MOST_HOOKS} lifecycle hooks.")
    tx.add(changed)


def describe(
    tx: Tx, _caller: Caller, params: autoscaling.DescribeLifecycleHooksType
) -> autoscaling.DescribeLifecycleHooksAnswer:
    group = require_group(tx, params["AutoScalingGroupName"])
    names = params.get("LifecycleHookNames") or []
    hooks = tx.find(LifecycleHook, group=group.name)
    return {"LifecycleHooks": [_view(hook) for hook in hooks if not names or hook.name in names]}


def types(_tx: Tx, _caller: Caller, _params: Params) -> autoscaling.DescribeLifecycleHookTypesAnswer:
    return {"LifecycleHookTypes": list(TRANSITIONS)}


def delete(
    tx: Tx, _caller: Caller, params: autoscaling.DeleteLifecycleHookType
) -> autoscaling.DeleteLifecycleHookAnswer:
    """Instances that wait for it go on, as its default says."""
    group = changeable_group(tx, params["AutoScalingGroupName"])
    hook = tx.get(LifecycleHook, group=group.name, name=params["LifecycleHookName"])
    if hook is None:
        raise invalid(f"No Lifecycle Hook found with name: {params['LifecycleHookName']}")
    tx.remove(hook)
    for member in tx.find(ScalingMember, group=group.name):
        if any(wait.hook == hook.name for wait in member.waits):
            tx.save(replace(member, waits=tuple(_over(wait, hook.name) for wait in member.waits)))
    return {}


def heartbeat(
    tx: Tx, _caller: Caller, params: autoscaling.RecordLifecycleActionHeartbeatType
) -> autoscaling.RecordLifecycleActionHeartbeatAnswer:
    member, wait = _waiting(tx, params)
    later = min(tx.now + timedelta(seconds=wait.heartbeat), wait.last)
    _replace(tx, member, wait, replace(wait, deadline=later))
    return {}


def complete(
    tx: Tx, _caller: Caller, params: autoscaling.CompleteLifecycleActionType
) -> autoscaling.CompleteLifecycleActionAnswer:
    result = params["LifecycleActionResult"]
    if result not in RESULTS:
        raise invalid(f"LifecycleActionResult has to be one of {', '.join(RESULTS)}.")
    member, wait = _waiting(tx, params)
    _replace(tx, member, wait, replace(wait, result=result))
    return {}


def _waiting(
    tx: Tx, params: autoscaling.CompleteLifecycleActionType | autoscaling.RecordLifecycleActionHeartbeatType
) -> tuple[ScalingMember, HookWait]:
    """The wait that belongs to a token or to an instance's id."""
    group = require_group(tx, params["AutoScalingGroupName"])
    name, token, instance_id = (params.get(key) for key in ("LifecycleHookName", "LifecycleActionToken", "InstanceId"))
    if not token and not instance_id:
        raise invalid("Either LifecycleActionToken or InstanceId has to be given.")
    for member in tx.find(ScalingMember, group=group.name):
        for wait in member.waits:
            if wait.hook != name or wait.result:
                continue
            if (token is None or token == wait.token) and instance_id in (None, member.instance_id):
                return member, wait
    raise invalid(
        f"No active Lifecycle Action found with {f'token {token}' if token else f'instance ID {instance_id}'}"
    )


def _replace(tx: Tx, member: ScalingMember, wait: HookWait, changed: HookWait) -> None:
    tx.save(replace(member, waits=tuple(changed if one is wait else one for one in member.waits)))


def _over(wait: HookWait, name: str) -> HookWait:
    return replace(wait, result=wait.result or wait.default) if wait.hook == name else wait


def _view(hook: LifecycleHook) -> autoscaling.LifecycleHook:
    return {
        "LifecycleHookName": hook.name,
        "AutoScalingGroupName": hook.group,
        "LifecycleTransition": hook.transition,
        **({"NotificationMetadata": hook.metadata} if hook.metadata else {}),
        "HeartbeatTimeout": hook.heartbeat,
        "GlobalTimeout": hook.longest,
        "DefaultResult": hook.default,
    }


_ACTION = f"LifecycleHookName {GROUP} LifecycleActionToken InstanceId"


OPERATIONS = (
    writes("PutLifecycleHook", put, f"{GROUP} {SPEC}"),
    reads("DescribeLifecycleHooks", describe, f"{GROUP} LifecycleHookNames"),
    reads("DescribeLifecycleHookTypes", types),
    writes("DeleteLifecycleHook", delete, f"{GROUP} LifecycleHookName"),
    writes("RecordLifecycleActionHeartbeat", heartbeat, _ACTION),
    writes("CompleteLifecycleAction", complete, f"{_ACTION} LifecycleActionResult"),
)
