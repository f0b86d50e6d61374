"""The cap from outside: one-time schedules of EventBridge Scheduler end what of a job still runs after its deadline.

A server turns itself off at its deadline. A program that has become root can prevent that, and then the cloud ends the
server. No job's role can make, change or delete these schedules, nor assume their role. The servers of a schedule's
runs, which no client starts, make theirs themselves, before anything of the job runs there (server/cap.py).

A server that keeps undelivered results on its disk has tagged itself (TAG_UNDELIVERED) and is not terminated. A program
can set that tag, too: so what does not run in a fleet is stopped as well, as it might have stopped itself at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from skylift.client.errors import NotPermitted, Refused, SkyliftError
from skylift.client.job.policy import allow, policy
from skylift.client.job.tags import TAG_JOB, TAG_UNDELIVERED
from skylift.client.launch.role import PATH, cap_role_name, ensure_policy
from skylift.client.launch.scheduler import GROUP as SCHEDULES
from skylift.client.launch.scheduler import create_schedule, delete_schedule, ensure_group, trust_in_scheduler
from skylift.client.remote.account import Account
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone, make_unless_there
from skylift.client.waiting import Threads
from skylift.contract.document import FOREVER

GROUP = "skylift-caps"
ROLE = "skylift-cap-1.scheduler"
"""One for the account. No job's role has a dot. The number is the version of its policy: a role is not changed that
schedules of another version have."""
BOUNDARY = "skylift-boundary-cap-1"
"""The same policy, and the same number."""
MARGIN = 120
"""Seconds after the deadline. At that the server's own timer turns it off, and a shutdown may wait 90 seconds for a
process that does not end."""
_TARGET = "arn:aws:scheduler:::aws-sdk"
_OF_SERVERS = {"terminate": "terminateInstances", "stop": "stopInstances"}


def cap_policy(account: str) -> dict[str, Any]:
    """What EventBridge Scheduler may do: end jobs' servers, and delete groups with all the servers in them."""
    instances, tagged = f"arn:aws:ec2:*:{account}:instance/*", {f"aws:ResourceTag/{TAG_JOB}": "false"}
    groups = f"arn:aws:autoscaling:*:{account}:autoScalingGroup:*:autoScalingGroupName/skylift-workers.*"
    kept = {f"aws:ResourceTag/{TAG_UNDELIVERED}": "true"}
    rows = (
        ("TerminateServers", "ec2:TerminateInstances", instances, {**tagged, **kept}),
        ("StopServers", "ec2:StopInstances", instances, tagged),
        ("DeleteGroups", "autoscaling:DeleteAutoScalingGroup", groups, tagged),
    )
    return policy(*[allow(sid, action, resource, {"Null": null}) for sid, action, resource, null in rows])


def run_cap_policy(account: str, schedule: str) -> dict[str, Any]:
    """The same of a schedule's role: end the servers of its runs."""
    own = {"StringLike": {f"aws:ResourceTag/{TAG_JOB}": f"{schedule}/*"}}
    terminate, stop, _ = cap_policy(account)["Statement"]
    return policy(*({**each, "Condition": {**each["Condition"], **own}} for each in (terminate, stop)))


def caps_of_runs(account: str, schedule: str) -> tuple[dict[str, Any], ...]:
    """CreateSchedule, for the servers of a schedule's runs: each adds a name, its time and itself."""
    return tuple(_begun(SCHEDULES, account, cap_role_name(schedule), f"ec2:{each}") for each in _OF_SERVERS.values())


def server_requests(account: str, instance: str, deadline: float, *, fleet: bool = False) -> list[dict[str, Any]]:
    """CreateSchedule, for a server. One of a fleet is not stopped: it would be replaced, and cannot keep its disk."""
    return [
        _request(account, f"{instance}.{name}", f"ec2:{operation}", {"InstanceIds": [instance]}, deadline)
        for name, operation in _OF_SERVERS.items()
        if not (fleet and name == "stop")
    ]


def group_request(account: str, group: str, deadline: float) -> dict[str, Any]:
    """CreateSchedule, for an Auto Scaling group."""
    params = {"AutoScalingGroupName": group, "ForceDelete": True}
    return _request(account, cap_of_group(group), "autoscaling:deleteAutoScalingGroup", params, deadline)


def caps_of_server(instance: str) -> list[str]:
    """The names of its schedules."""
    return [f"{instance}.{name}" for name in _OF_SERVERS]


def cap_of_group(group: str) -> str:
    """The same of a group. A name has 64 characters at the most."""
    return group.removeprefix("skylift-")


def _request(account: str, name: str, operation: str, params: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Times of schedules count in minutes: it comes in the next one that is whole."""
    minutes = min(-(-(int(deadline) + MARGIN) // 60), int(FOREVER) // 60)
    found = _begun(GROUP, account, ROLE, operation)
    found["Target"]["Input"] = json.dumps(params)
    when = f"at({datetime.fromtimestamp(60 * minutes, UTC):%Y-%m-%dT%H:%M:%S})"
    return {**found, "Name": name, "ScheduleExpression": when}


def _begun(group: str, account: str, role: str, operation: str) -> dict[str, Any]:
    target = {"Arn": f"{_TARGET}:{operation}", "RoleArn": f"arn:aws:iam::{account}:role{PATH}{role}"}
    once = {"ScheduleExpressionTimezone": "UTC", "FlexibleTimeWindow": {"Mode": "OFF"}}
    return {"GroupName": group, **once, "ActionAfterCompletion": "DELETE", "Target": target}


def cap_server(account: Account, instance: str, deadline: float, *, fleet: bool = False) -> None:
    """Have the cloud end a server after its deadline, in seconds since the epoch. A cap that it has stays as it is.
    Raises SkyliftError."""
    _in_parallel(partial(_create, account), server_requests(account.number, instance, deadline, fleet=fleet))


def cap_group(account: Account, group: str, deadline: float) -> None:
    """The same of a group."""
    _create(account, group_request(account.number, group, deadline))


def move_cap(account: Account, instance: str, deadline: float) -> None:
    """Give a kept server the deadline of its next job. Raises SkyliftError: then it may have that of its last one."""
    _in_parallel(partial(_update, account), server_requests(account.number, instance, deadline))


def _in_parallel(call: Callable[[dict[str, Any]], None], requests: Sequence[dict[str, Any]]) -> None:
    with Threads(2) as pool:
        list(pool.map(call, requests))


def _update(account: Account, request: dict[str, Any]) -> None:
    if not end_unless_gone(account.api, "ResourceNotFoundException", "scheduler", "update_schedule", **request):
        _create(account, request)


def _create(account: Account, request: dict[str, Any]) -> None:
    try:
        create_schedule(account.api, request, partial(_prepare, account))
    except Refused as error:
        if error.code != "ConflictException":
            raise


def _prepare(account: Account) -> None:
    """Make the role, and the group of schedules: the first job of an account and region finds none. Two clients may do
    this at the same time."""
    api, boundary = account.api, ensure_cap_boundary(account.api, account.number)
    trust = json.dumps(trust_in_scheduler(account.number, "*", GROUP))
    role = {"RoleName": ROLE, "Path": PATH, "PermissionsBoundary": boundary, "AssumeRolePolicyDocument": trust}
    role["Description"] = "Ends servers of jobs after their deadline"
    make_unless_there(api, "EntityAlreadyExists", "iam", "create_role", **role)
    document = json.dumps(cap_policy(account.number))
    api.retry_not_found("iam", "put_role_policy", RoleName=ROLE, PolicyName="end", PolicyDocument=document)
    ensure_group(api, GROUP)


def ensure_cap_boundary(api: Api, account: str) -> str:
    """The ARN of the boundary of all roles for caps."""
    return ensure_policy(api, account, BOUNDARY, cap_policy(account), "scheduler that ends skylift's servers")


def no_cap(instance: str, error: SkyliftError) -> str:
    """A note for the user."""
    why = error.advice if isinstance(error, NotPermitted) and error.advice else error.message
    return f"Nothing but {instance} itself ends it at its deadline: the cloud could not be told to. {why}"


def uncap_server(api: Api, instance: str) -> None:
    """For a server that is ending. What is not permitted is left: the schedules go by themselves when they are due."""
    for name in caps_of_server(instance):
        delete_cap(api, name)


def delete_cap(api: Api, name: str) -> None:
    with suppress(SkyliftError):
        delete_schedule(api, GROUP, name)


def has_cap(api: Api, instance: str) -> bool:
    """Where this cannot be known, it may have one. Who may not ask is not told of any."""
    try:
        return not capped(api).keys().isdisjoint(caps_of_server(instance))
    except SkyliftError:
        return True


def capped(api: Api) -> dict[str, float]:
    """What has a schedule: instances and groups by its name, and when it was made, in seconds since the epoch. Empty
    where there is no group of schedules, or it may not be listed."""
    try:
        found = api.pages("scheduler", "list_schedules", "Schedules", GroupName=GROUP)
    except Refused as error:
        if error.code != "ResourceNotFoundException" and not isinstance(error, NotPermitted):
            raise
        return {}
    return {str(each["Name"]): each["CreationDate"].timestamp() for each in found}
