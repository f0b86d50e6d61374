"""The roles of a schedule: that of its servers, and that of EventBridge Scheduler, which starts them. A schedule of
maps on several servers has a third, that of the servers which only run inputs.

All are under skylift's path and have permissions boundaries, as jobs' roles do (launch/role.py). IAM has them once
for an account, and a schedule is in one region: a tag says in which.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from skylift.client.errors import Refused, UsageError
from skylift.client.job.policy import allow, policy
from skylift.client.job.record import workers_of_schedule
from skylift.client.job.settings import REGION_FORM
from skylift.client.job.tags import TAG_JOB
from skylift.client.launch import role as launch_role
from skylift.client.launch.cap import ensure_cap_boundary, run_cap_policy
from skylift.client.launch.scheduler import GROUP, trust_in_scheduler
from skylift.client.launch.undo import Undo
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone
from skylift.client.schedule.requests import (
    TAG_REGION,
    TAG_SCHEDULE,
    role_tags,
    scheduler_policy,
    scheduler_role_name,
    server_role_name,
)
from skylift.client.steps import in_thread

SCHEDULER_BOUNDARY = "skylift-boundary-scheduler-2"
"""The number is the version of the document, as with BOUNDARY."""
_SERVERS_MAY, _SCHEDULER_MAY = "job", "run"
"""The names of the roles' policies."""
_CALLED: dict[launch_role.Kind, str] = {"role": "a role", "instance_profile": "an instance profile"}


def scheduler_boundary(account: str) -> dict[str, Any]:
    """The most that EventBridge Scheduler can ever do: start servers of runs, and pass servers' roles to EC2."""
    made = [f"arn:aws:ec2:*:{account}:{kind}/*" for kind in ("instance", "volume", "network-interface")]
    kinds = ("subnet", "security-group", "key-pair", "launch-template", "spot-instances-request")
    used = [f"arn:aws:ec2:*:{account}:{kind}/*" for kind in kinds]
    return policy(
        allow("StartRuns", "ec2:RunInstances", made, {"Null": {f"aws:RequestTag/{TAG_JOB}": "false"}}),
        allow("FromTemplates", "ec2:RunInstances", [*used, "arn:aws:ec2:*::image/*"]),
        allow("TagThem", "ec2:CreateTags", made, {"StringEquals": {"ec2:CreateAction": "RunInstances"}}),
        allow(
            "PassTheirRoles",
            "iam:PassRole",
            f"arn:aws:iam::{account}:role{launch_role.PATH}{server_role_name('*')}",
            {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
    )


async def make_server_role(
    undo: Undo, api: Api, schedule: str, name: str, account: str, opened: Sequence[Sequence[str]]
) -> launch_role.JobRole:
    """A role of servers, without any permissions, and its instance profile, without the role. `opened` are the buckets
    of its boundary (see ensure_boundary). Raises UsageError when there is one of them."""
    make = partial(_make_server_role, api, schedule, name, account, opened)
    await undo.make(make, lambda _: _remove(api, "role", name))
    profile = partial(_make, api, schedule, "instance_profile", {"InstanceProfileName": name})
    return launch_role.JobRole(name, await undo.make(profile, lambda _: _remove(api, "instance_profile", name)))


def _make_server_role(api: Api, schedule: str, name: str, account: str, opened: Sequence[Sequence[str]]) -> None:
    boundary = launch_role.ensure_boundary(api, account, *opened)
    _make_role(api, schedule, name, launch_role.TRUST, boundary, f"Servers of skylift schedule {schedule}")


def equip_servers(api: Api, name: str, policy: dict[str, Any]) -> None:
    """Give a role of servers its policy, and its profile this role. The undo of both undoes this, too."""
    _equip(api, name, _SERVERS_MAY, policy)
    launch_role.add_to_profile(api, name)


async def make_scheduler_roles(
    undo: Undo, api: Api, schedule: str, template: str, account: str, *, spot: bool = False
) -> str:
    """The roles in which EventBridge Scheduler ends servers of runs after their deadline, and starts them from a launch
    template; the ARN of the latter. Raises UsageError when there is one of them."""
    servers, role = f"arn:aws:iam::{account}:role{launch_role.PATH}{server_role_name(schedule)}", ""
    for name, boundary, document in (
        (launch_role.cap_role_name(schedule), ensure_cap_boundary, run_cap_policy(account, schedule)),
        (
            scheduler_role_name(schedule),
            _ensure_boundary,
            scheduler_policy(schedule, template, servers, account, api.region, spot=spot),
        ),
    ):
        make = partial(_make_scheduler_role, api, schedule, name, account, boundary)
        role = await undo.make(make, lambda made: _remove(api, "role", made.rpartition("/")[2]))
        await in_thread(_equip, api, name, _SCHEDULER_MAY, document)
    return role


def _make_scheduler_role(
    api: Api, schedule: str, name: str, account: str, ensure_boundary_of: Callable[[Api, str], str]
) -> str:
    trust, boundary = trust_in_scheduler(account, api.region, GROUP), ensure_boundary_of(api, account)
    return _make_role(api, schedule, name, trust, boundary, f"EventBridge Scheduler for skylift's {schedule}")


def _ensure_boundary(api: Api, account: str) -> str:
    what = "scheduler of skylift's schedules"
    return launch_role.ensure_policy(api, account, SCHEDULER_BOUNDARY, scheduler_boundary(account), what)


def _equip(api: Api, role: str, name: str, policy: dict[str, Any]) -> None:
    text = json.dumps(policy)
    api.retry_not_found("iam", "put_role_policy", RoleName=role, PolicyName=name, PolicyDocument=text)


def remove_roles(api: Api, schedule: str) -> None:
    """All, and the instance profiles, as far as they exist and are of this region's schedule. Their names are the
    account's: they may be of a schedule in another region."""
    for name in (server_role_name, workers_of_schedule, scheduler_role_name, launch_role.cap_role_name):
        _remove_own(api, schedule, name(schedule))


def _remove_own(api: Api, schedule: str, name: str) -> None:
    kinds: tuple[launch_role.Kind, ...] = ("instance_profile", "role")
    for kind in kinds:
        if _region(api, schedule, kind, name) == api.region:
            _remove(api, kind, name)


def _remove(api: Api, kind: launch_role.Kind, name: str) -> None:
    """A role with its policy, or a profile, as far as it exists."""
    role, profile = {"RoleName": name}, {"InstanceProfileName": name}
    steps = [("remove_role_from_instance_profile", {**profile, **role}), ("delete_instance_profile", profile)]
    if kind == "role":
        policies = [("delete_role_policy", {**role, "PolicyName": each}) for each in (_SERVERS_MAY, _SCHEDULER_MAY)]
        steps = [*policies, ("delete_role", role)]
    for operation, which in steps:
        end_unless_gone(api, "NoSuchEntity", "iam", operation, **which)


def _make_role(api: Api, schedule: str, name: str, trust: dict[str, Any], boundary: str, why: str) -> str:
    request = {
        "RoleName": name,
        "AssumeRolePolicyDocument": json.dumps(trust),
        "Description": why,
        "PermissionsBoundary": boundary,
    }
    return _make(api, schedule, "role", request)


def _make(api: Api, schedule: str, kind: launch_role.Kind, request: dict[str, Any]) -> str:
    """Make a role or profile; its ARN. One that an undo has failed to remove in this region is removed first, a role
    with its profile: this client has claimed the name there."""
    make = partial(launch_role.make_own, api, kind, api.retry_not_found, request, role_tags(schedule, api.region))
    try:
        return str(make()["Arn"])
    except Refused as error:
        if error.code != "EntityAlreadyExists":
            raise
    name = request[f"{launch_role.ANSWERED[kind]}Name"]
    region = _region(api, schedule, kind, name)
    if region != api.region:
        raise _taken(schedule, region, kind, name)
    if kind == "role":
        _remove_own(api, schedule, name)
    else:
        _remove(api, kind, name)
    return str(make()["Arn"])


def _taken(schedule: str, region: str, kind: launch_role.Kind, name: str) -> UsageError:
    if not region:
        return UsageError(
            f"There is {_CALLED[kind]} called {name} already, and it is not of a schedule.",
            "Choose another name (--name).",
        )
    return UsageError(
        f"There is a schedule called {schedule} already, in {region}. An account has each name once.",
        "Choose another name (--name), or remove that one: "
        f"AWS_DEFAULT_REGION={region} skylift schedule rm {schedule} --on aws",
    )


def _region(api: Api, schedule: str, kind: launch_role.Kind, name: str) -> str:
    """The region of the schedule that a role or profile is of; empty when there is none, or it is no schedule's."""
    found = launch_role.describe_own(api, kind, name)
    tags = {each["Key"]: each["Value"] for each in found.get("Tags", ())}
    region = tags.get(TAG_REGION, "")
    return region if tags.get(TAG_SCHEDULE) == schedule and REGION_FORM.fullmatch(region) else ""
