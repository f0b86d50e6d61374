"""The roles of a schedule: that of its servers, and that of EventBridge Scheduler, which starts them. A schedule of
maps on several servers has a third, that of the servers which only run inputs.

All are under skylift's path and have permissions boundaries, as jobs' roles do (launch/role.py). IAM has them once
for an account, and a schedule is in one region: a tag says in which.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from skylift.runner.errors import Refused, UsageError
from skylift.runner.job.policy import allow, policy
from skylift.runner.job.record import workers_of_schedule
from skylift.runner.job.settings import REGION_FORM
from skylift.runner.job.tags import TAG_JOB
from skylift.runner.launch.role import (
    ANSWERED,
    PATH,
    TRUST,
    JobRole,
    Kind,
    add_to_profile,
    describe_own,
    ensure_boundary,
    ensure_policy,
    make_own,
)
from skylift.runner.launch.scheduler import trust_in_scheduler
from skylift.runner.remote.api import Api
from skylift.runner.remote.repeatable import end_unless_gone
from skylift.runner.schedule.requests import (
    GROUP,
    TAG_REGION,
    TAG_SCHEDULE,
    role_tags,
    runs_policy,
    scheduler_policy,
    scheduler_role_name,
    server_role_name,
)

SCHEDULER_BOUNDARY = "skylift-boundary-scheduler-2"
"""The number is the version of the document, as with BOUNDARY."""
_SERVERS_MAY, _SCHEDULER_MAY = "job", "run"
"""The names of the roles' policies."""
_CALLED: dict[Kind, str] = {"role": "a role", "instance_profile": "an instance profile"}


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
            f"arn:aws:iam::{account}:role{PATH}{server_role_name('*')}",
            {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
    )


def make_server_role(
    api: Api, schedule: str, account: str, buckets: Sequence[str] = (), listed: Sequence[str] = ()
) -> None:
    """The role of the servers, without any permissions, under the boundary for these buckets (see ensure_boundary).
    Raises UsageError when there is one. `remove_server_role` is the undo."""
    boundary = ensure_boundary(api, account, buckets, listed)
    why = f"The servers of skylift schedule {schedule}"
    _make_role(api, schedule, server_role_name(schedule), TRUST, boundary, why)


def make_worker_role(
    api: Api, schedule: str, account: str, buckets: Sequence[str] = (), listed: Sequence[str] = ()
) -> None:
    """The same of the other servers of a map's runs, and their instance profile. `remove_worker_role` is the undo. It
    goes by the same boundary, so that there is none more."""
    boundary = ensure_boundary(api, account, buckets, listed)
    why = f"Servers of skylift schedule {schedule} that only run inputs"
    _make_role(api, schedule, workers_of_schedule(schedule), TRUST, boundary, why)


def equip_workers(api: Api, schedule: str, policy: dict[str, Any]) -> JobRole:
    """Give this role its policy, and make its instance profile. The role's undo undoes this, too."""
    name = workers_of_schedule(schedule)
    profile = _make_profile(api, schedule, name)
    _equip(api, name, policy)
    return profile


def remove_worker_role(api: Api, schedule: str) -> None:
    """With its profile, as far as they exist and are of this region's schedule."""
    _remove_own(api, schedule, workers_of_schedule(schedule))


def make_profile(api: Api, schedule: str) -> JobRole:
    """The instance profile of the servers, without its role. Raises UsageError when there is one. `remove_profile` is
    the undo."""
    return _make_profile(api, schedule, server_role_name(schedule))


def _make_profile(api: Api, schedule: str, name: str) -> JobRole:
    return JobRole(name, _make(api, schedule, "instance_profile", {"InstanceProfileName": name}))


def equip_servers(
    api: Api, schedule: str, bucket: str, account: str, inputs: Sequence[str], more: Sequence[dict[str, Any]] = ()
) -> None:
    """Give the role of the servers its policy, and their profile this role. The undos of the two undo this, too."""
    _equip(api, server_role_name(schedule), runs_policy(schedule, bucket, account, api.region, inputs, more))


def _equip(api: Api, name: str, policy: dict[str, Any]) -> None:
    text = json.dumps(policy)
    api.retry_not_found("iam", "put_role_policy", RoleName=name, PolicyName=_SERVERS_MAY, PolicyDocument=text)
    add_to_profile(api, name)


def make_scheduler_role(api: Api, schedule: str, account: str) -> str:
    """The role of EventBridge Scheduler, without any permissions; its ARN. Raises UsageError when there is one.
    `remove_scheduler_role` is the undo."""
    trust = trust_in_scheduler(account, api.region, GROUP)
    boundary = ensure_policy(
        api, account, SCHEDULER_BOUNDARY, scheduler_boundary(account), "scheduler of skylift's schedules"
    )
    why = f"Starts the servers of skylift schedule {schedule}"
    return _make_role(api, schedule, scheduler_role_name(schedule), trust, boundary, why)


def equip_scheduler(api: Api, schedule: str, template: str, account: str, *, spot: bool = False) -> None:
    """Give the role of EventBridge Scheduler its policy, for a launch template. The role's undo undoes this, too."""
    servers = f"arn:aws:iam::{account}:role{PATH}{server_role_name(schedule)}"
    policy = json.dumps(scheduler_policy(schedule, template, servers, account, api.region, spot=spot))
    name = scheduler_role_name(schedule)
    api.retry_not_found("iam", "put_role_policy", RoleName=name, PolicyName=_SCHEDULER_MAY, PolicyDocument=policy)


def remove_roles(api: Api, schedule: str) -> None:
    """All, and the instance profiles, as far as they exist and are of this region's schedule. Their names are the
    account's: they may be of a schedule in another region."""
    for name in (server_role_name(schedule), scheduler_role_name(schedule), workers_of_schedule(schedule)):
        _remove_own(api, schedule, name)


def _remove_own(api: Api, schedule: str, name: str) -> None:
    kinds: tuple[Kind, ...] = ("instance_profile", "role")
    for kind in kinds:
        if _region(api, schedule, kind, name) == api.region:
            _remove(api, kind, name)


def remove_profile(api: Api, schedule: str) -> None:
    _remove(api, "instance_profile", server_role_name(schedule))


def remove_server_role(api: Api, schedule: str) -> None:
    _remove(api, "role", server_role_name(schedule))


def remove_scheduler_role(api: Api, schedule: str) -> None:
    _remove(api, "role", scheduler_role_name(schedule))


def _remove(api: Api, kind: Kind, name: str) -> None:
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


def _make(api: Api, schedule: str, kind: Kind, request: dict[str, Any]) -> str:
    """Make a role or profile; its ARN. One that an undo has failed to remove in this region is removed first, a role
    with its profile: this client has claimed the name there."""
    make = partial(make_own, api, kind, api.retry_not_found, request, role_tags(schedule, api.region))
    try:
        return str(make()["Arn"])
    except Refused as error:
        if error.code != "EntityAlreadyExists":
            raise
    name = request[f"{ANSWERED[kind]}Name"]
    region = _region(api, schedule, kind, name)
    if region != api.region:
        raise _taken(schedule, region, kind, name)
    if kind == "role":
        _remove_own(api, schedule, name)
    else:
        _remove(api, kind, name)
    return str(make()["Arn"])


def _taken(schedule: str, region: str, kind: Kind, name: str) -> UsageError:
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


def _region(api: Api, schedule: str, kind: Kind, name: str) -> str:
    """The region of the schedule that a role or profile is of; empty when there is none, or it is no schedule's."""
    found = describe_own(api, kind, name)
    tags = {each["Key"]: each["Value"] for each in found.get("Tags", ())}
    region = tags.get(TAG_REGION, "")
    return region if tags.get(TAG_SCHEDULE) == schedule and REGION_FORM.fullmatch(region) else ""
