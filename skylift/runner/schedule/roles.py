"""The two roles of a schedule: that of its servers, and that of EventBridge Scheduler, which starts them.

Both are under skylift's path and have permissions boundaries, as jobs' roles do (launch/role.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from skylift.runner.errors import Refused
from skylift.runner.job.tags import TAG_JOB
from skylift.runner.launch.role import PATH, TRUST, JobRole, ensure_boundary, ensure_policy
from skylift.runner.remote.api import Api
from skylift.runner.schedule.requests import (
    runs_policy,
    schedule_tags,
    scheduler_policy,
    scheduler_role_name,
    scheduler_trust,
    server_role_name,
)

SCHEDULER_BOUNDARY = "skylift-boundary-scheduler-1"
"""The number is the version of the document, as with BOUNDARY."""


def scheduler_boundary(account: str) -> dict[str, Any]:
    """The most that EventBridge Scheduler can ever do: start servers of runs, and pass servers' roles to EC2."""
    made = [f"arn:aws:ec2:*:{account}:{kind}/*" for kind in ("instance", "volume", "network-interface")]
    used = [f"arn:aws:ec2:*:{account}:{kind}/*" for kind in ("subnet", "security-group", "key-pair", "launch-template")]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "StartRuns",
                "Effect": "Allow",
                "Action": "ec2:RunInstances",
                "Resource": made,
                "Condition": {"Null": {f"aws:RequestTag/{TAG_JOB}": "false"}},
            },
            {
                "Sid": "FromTemplates",
                "Effect": "Allow",
                "Action": "ec2:RunInstances",
                "Resource": [*used, "arn:aws:ec2:*::image/*"],
            },
            {
                "Sid": "TagThem",
                "Effect": "Allow",
                "Action": "ec2:CreateTags",
                "Resource": made,
                "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
            },
            {
                "Sid": "PassTheirRoles",
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": f"arn:aws:iam::{account}:role{PATH}{server_role_name('*')}",
                "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            },
        ],
    }


def make_server_role(api: Api, schedule: str, bucket: str, account: str, inputs: Sequence[str]) -> JobRole:
    """The role of the servers, with its instance profile. `remove_roles` is the undo."""
    name, tags = server_role_name(schedule), schedule_tags(schedule)
    _make_role(api, name, TRUST, ensure_boundary(api, account), f"The servers of skylift schedule {schedule}", tags)
    policy = json.dumps(runs_policy(schedule, bucket, account, api.region, inputs))
    api.settled("iam", "put_role_policy", RoleName=name, PolicyName="job", PolicyDocument=policy)
    made = api.undisturbed("iam", "create_instance_profile", InstanceProfileName=name, Path=PATH, Tags=tags)
    api.settled("iam", "add_role_to_instance_profile", InstanceProfileName=name, RoleName=name)
    return JobRole(name, made["InstanceProfile"]["Arn"])


def make_scheduler_role(api: Api, schedule: str, template: str, account: str) -> str:
    """The role of EventBridge Scheduler for a launch template; its ARN. `remove_roles` is the undo."""
    name, trust = scheduler_role_name(schedule), scheduler_trust(account, api.region)
    boundary = ensure_policy(
        api, account, SCHEDULER_BOUNDARY, scheduler_boundary(account), "scheduler of skylift's schedules"
    )
    why, tags = f"Starts the servers of skylift schedule {schedule}", schedule_tags(schedule)
    arn = _make_role(api, name, trust, boundary, why, tags)
    servers = f"arn:aws:iam::{account}:role{PATH}{server_role_name(schedule)}"
    policy = json.dumps(scheduler_policy(schedule, template, servers, account, api.region))
    api.settled("iam", "put_role_policy", RoleName=name, PolicyName="run", PolicyDocument=policy)
    return arn


def _make_role(api: Api, name: str, trust: dict[str, Any], boundary: str, why: str, tags: list[dict[str, str]]) -> str:
    made = api.settled(
        "iam",
        "create_role",
        RoleName=name,
        Path=PATH,
        AssumeRolePolicyDocument=json.dumps(trust),
        Description=why,
        PermissionsBoundary=boundary,
        Tags=tags,
    )
    return str(made["Role"]["Arn"])


def remove_roles(api: Api, schedule: str) -> None:
    """Both, and the instance profile, as far as they exist. The names are only skylift's to give."""
    servers, scheduler = server_role_name(schedule), scheduler_role_name(schedule)
    for operation, params in (
        ("remove_role_from_instance_profile", {"InstanceProfileName": servers, "RoleName": servers}),
        ("delete_instance_profile", {"InstanceProfileName": servers}),
        ("delete_role_policy", {"RoleName": servers, "PolicyName": "job"}),
        ("delete_role", {"RoleName": servers}),
        ("delete_role_policy", {"RoleName": scheduler, "PolicyName": "run"}),
        ("delete_role", {"RoleName": scheduler}),
    ):
        try:
            api.undisturbed("iam", operation, **params)
        except Refused as error:
            if error.code != "NoSuchEntity":
                raise
