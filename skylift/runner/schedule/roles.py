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

from skylift.runner.errors import Refused, UsageError
from skylift.runner.job.policy import allow, policy
from skylift.runner.job.record import workers_of_schedule
from skylift.runner.job.settings import REGION_FORM
from skylift.runner.job.tags import TAG_JOB
from skylift.runner.launch.role import (
    ANSWERED,
    MAKES,
    PATH,
    TRUST,
    JobRole,
    Kind,
    describe_own,
    ensure_boundary,
    ensure_policy,
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
    why = f"The servers of skylift schedule {schedule}"
    boundary = ensure_boundary(api, account, buckets, listed)
    request = _role_request(api, schedule, server_role_name(schedule), TRUST, boundary, why)

    def clear() -> None:
        if _is_own(api, schedule, "instance_profile", server_role_name(schedule)):
            remove_profile(api, schedule)
        remove_server_role(api, schedule)

    _make(api, schedule, "role", request, clear)


def make_worker_role(
    api: Api, schedule: str, account: str, buckets: Sequence[str] = (), listed: Sequence[str] = ()
) -> None:
    """The same of the other servers of a map's runs, and their instance profile. `remove_worker_role` is the undo. It
    goes by the same boundary, so that there is none more."""
    name = workers_of_schedule(schedule)
    boundary = ensure_boundary(api, account, buckets, listed)
    why = f"Servers of skylift schedule {schedule} that only run inputs"
    clear = partial(remove_worker_role, api, schedule)
    _make(api, schedule, "role", _role_request(api, schedule, name, TRUST, boundary, why), clear)


def equip_workers(api: Api, schedule: str, policy: dict[str, Any]) -> JobRole:
    """Give this role its policy, and make its instance profile. The role's undo undoes this, too."""
    name = workers_of_schedule(schedule)
    text = json.dumps(policy)
    api.retry_not_found("iam", "put_role_policy", RoleName=name, PolicyName=_SERVERS_MAY, PolicyDocument=text)
    request = {"InstanceProfileName": name, "Path": PATH, "Tags": role_tags(schedule, api.region)}
    made = _make(api, schedule, "instance_profile", request, partial(_remove_profile, api, name))
    api.retry_not_found("iam", "add_role_to_instance_profile", InstanceProfileName=name, RoleName=name)
    return JobRole(name, made)


def remove_worker_role(api: Api, schedule: str) -> None:
    """With its profile, as far as they exist and are of this region's schedule."""
    name = workers_of_schedule(schedule)
    kinds: list[tuple[Kind, Callable[[Api, str], None]]] = [
        ("instance_profile", _remove_profile),
        ("role", _remove_role),
    ]
    for kind, remove in kinds:
        if _is_own(api, schedule, kind, name):
            remove(api, name)


def make_profile(api: Api, schedule: str) -> JobRole:
    """The instance profile of the servers, without its role. Raises UsageError when there is one. `remove_profile` is
    the undo."""
    name = server_role_name(schedule)
    request = {"InstanceProfileName": name, "Path": PATH, "Tags": role_tags(schedule, api.region)}
    return JobRole(name, _make(api, schedule, "instance_profile", request, partial(remove_profile, api, schedule)))


def equip_servers(
    api: Api, schedule: str, bucket: str, account: str, inputs: Sequence[str], more: Sequence[dict[str, Any]] = ()
) -> None:
    """Give the role of the servers its policy, and their profile this role. The undos of the two undo this, too."""
    name = server_role_name(schedule)
    policy = json.dumps(runs_policy(schedule, bucket, account, api.region, inputs, more))
    api.retry_not_found("iam", "put_role_policy", RoleName=name, PolicyName=_SERVERS_MAY, PolicyDocument=policy)
    api.retry_not_found("iam", "add_role_to_instance_profile", InstanceProfileName=name, RoleName=name)


def make_scheduler_role(api: Api, schedule: str, account: str) -> str:
    """The role of EventBridge Scheduler, without any permissions; its ARN. Raises UsageError when there is one.
    `remove_scheduler_role` is the undo."""
    trust = trust_in_scheduler(account, api.region, GROUP)
    boundary = ensure_policy(
        api, account, SCHEDULER_BOUNDARY, scheduler_boundary(account), "scheduler of skylift's schedules"
    )
    why = f"Starts the servers of skylift schedule {schedule}"
    request = _role_request(api, schedule, scheduler_role_name(schedule), trust, boundary, why)
    return _make(api, schedule, "role", request, partial(remove_scheduler_role, api, schedule))


def equip_scheduler(api: Api, schedule: str, template: str, account: str, *, spot: bool = False) -> None:
    """Give the role of EventBridge Scheduler its policy, for a launch template. The role's undo undoes this, too."""
    servers = f"arn:aws:iam::{account}:role{PATH}{server_role_name(schedule)}"
    policy = json.dumps(scheduler_policy(schedule, template, servers, account, api.region, spot=spot))
    name = scheduler_role_name(schedule)
    api.retry_not_found("iam", "put_role_policy", RoleName=name, PolicyName=_SCHEDULER_MAY, PolicyDocument=policy)


def remove_roles(api: Api, schedule: str) -> None:
    """All, and the instance profiles, as far as they exist and are of this region's schedule. Their names are the
    account's: they may be of a schedule in another region."""
    kinds: list[tuple[Kind, str, Callable[[Api, str], None]]] = [
        ("instance_profile", server_role_name(schedule), remove_profile),
        ("role", server_role_name(schedule), remove_server_role),
        ("role", scheduler_role_name(schedule), remove_scheduler_role),
    ]
    for kind, name, remove in kinds:
        if _is_own(api, schedule, kind, name):
            remove(api, schedule)
    remove_worker_role(api, schedule)


def remove_profile(api: Api, schedule: str) -> None:
    _remove_profile(api, server_role_name(schedule))


def remove_server_role(api: Api, schedule: str) -> None:
    _remove_role(api, server_role_name(schedule))


def _remove_profile(api: Api, name: str) -> None:
    end_unless_gone(
        api, "NoSuchEntity", "iam", "remove_role_from_instance_profile", InstanceProfileName=name, RoleName=name
    )
    _end(api, "delete_instance_profile", InstanceProfileName=name)


def _remove_role(api: Api, name: str) -> None:
    """That of servers."""
    _end(api, "delete_role_policy", RoleName=name, PolicyName=_SERVERS_MAY)
    _end(api, "delete_role", RoleName=name)


def remove_scheduler_role(api: Api, schedule: str) -> None:
    end_unless_gone(
        api,
        "NoSuchEntity",
        "iam",
        "delete_role_policy",
        RoleName=scheduler_role_name(schedule),
        PolicyName=_SCHEDULER_MAY,
    )
    _end(api, "delete_role", RoleName=scheduler_role_name(schedule))


def _role_request(api: Api, schedule: str, name: str, trust: dict[str, Any], boundary: str, why: str) -> dict[str, Any]:
    return {
        "RoleName": name,
        "Path": PATH,
        "AssumeRolePolicyDocument": json.dumps(trust),
        "Description": why,
        "PermissionsBoundary": boundary,
        "Tags": role_tags(schedule, api.region),
    }


def _make(api: Api, schedule: str, kind: Kind, request: dict[str, Any], clear: Callable[[], None]) -> str:
    """Make a role or profile; its ARN. `clear` removes one that is there already and is of this region: an undo that
    failed left it, or this call made it and its answer was lost, as this client has claimed the name in the region."""
    try:
        made = api.retry_not_found("iam", MAKES[kind], **request)
    except Refused as error:
        if error.code != "EntityAlreadyExists":
            raise
        name = request[f"{ANSWERED[kind]}Name"]
        region = _region(api, schedule, kind, name)
        if region != api.region:
            raise _taken(schedule, region, kind, name) from None
        clear()
        made = api.retry_not_found("iam", MAKES[kind], **request)
    return str(made[ANSWERED[kind]]["Arn"])


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


def _is_own(api: Api, schedule: str, kind: Kind, name: str) -> bool:
    return _region(api, schedule, kind, name) == api.region


def _region(api: Api, schedule: str, kind: Kind, name: str) -> str:
    """The region of the schedule that a role or profile is of; empty when there is none, or it is no schedule's."""
    found = describe_own(api, kind, name)
    tags = {each["Key"]: each["Value"] for each in found.get("Tags", ())}
    region = tags.get(TAG_REGION, "")
    return region if tags.get(TAG_SCHEDULE) == schedule and REGION_FORM.fullmatch(region) else ""


def _end(api: Api, operation: str, **which: str) -> None:
    end_unless_gone(api, "NoSuchEntity", "iam", operation, **which)
