"""What makes a schedule in an account, as values: the exact requests and policies.

A schedule has a launch template, a role of its servers, a role of EventBridge Scheduler, and the schedule itself, which
calls RunInstances with the template and a tag that says which run it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from skylift.client.errors import LaunchFailed
from skylift.client.job.job import Job
from skylift.client.job.policy import allow, policy
from skylift.client.job.record import SCHEDULES, JobKeys
from skylift.client.job.scheduled import RUN_PATTERNS, run_tag
from skylift.client.job.tags import TAG_JOB, TAG_WORKER
from skylift.client.launch.network import Network
from skylift.client.launch.role import JobRole, keeping_its_disk
from skylift.client.launch.scheduler import GROUP
from skylift.client.launch.server import launch_request
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.text.s3_glob import literal
from skylift.contract.record import Overlap

TAG_SCHEDULE = "skylift:schedule"
"""This tag is on a schedule's launch template and roles. It is not the tag of jobs: these things belong to none."""
TAG_REGION = "skylift:region"
"""This tag is on a schedule's roles, which are not in a region as the schedule is."""
TARGET = "arn:aws:scheduler:::aws-sdk:ec2:runInstances"
DUE = "<aws.scheduler.scheduled-time>"


def template_name(schedule: str) -> str:
    return f"skylift-schedule.{schedule}"


def server_role_name(schedule: str) -> str:
    """A name that no job's role has: a job's name has no dot."""
    return f"skylift-schedule.{schedule}"


def scheduler_role_name(schedule: str) -> str:
    return f"skylift-scheduler.{schedule}"


def schedule_tags(schedule: str) -> list[dict[str, str]]:
    return [{"Key": "Name", "Value": f"skylift {schedule}"}, {"Key": TAG_SCHEDULE, "Value": schedule}]


def role_tags(schedule: str, region: str) -> list[dict[str, str]]:
    return [*schedule_tags(schedule), {"Key": TAG_REGION, "Value": region}]


def run_tags(schedule: str, tag: str) -> list[dict[str, Any]]:
    """TagSpecifications of RunInstances. `tag` is SCHEDULE/TIME."""
    tags = [{"Key": "Name", "Value": f"skylift {schedule}"}, {"Key": TAG_JOB, "Value": tag}]
    return [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")]


def template_request(job: Job, network: Network, key: str, role: JobRole, image: str, user_data: str) -> dict[str, Any]:
    """CreateLaunchTemplate: all of RunInstances but the tags, which are a run's own. Raises LaunchFailed."""
    if not network.subnets:
        raise LaunchFailed(f"skylift's network {network.vpc} has no subnet.")
    data = launch_request(job, "", network, network.subnets[0][1], key, role, image, user_data)
    for name in ("MinCount", "MaxCount", "ClientToken", "TagSpecifications"):
        del data[name]
    data["UserData"] = base64.b64encode(user_data.encode()).decode()
    if job.spot is not None:
        # Of a schedule's runs each has one server: when EC2 takes it back, no other one follows.
        most = {} if job.spot.max_price is None else {"MaxPrice": f"{job.spot.max_price:.6f}"}
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate", **most}
        data["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    # A server learns from its tags which run it is.
    data["MetadataOptions"] = {**data["MetadataOptions"], "InstanceMetadataTags": "enabled"}
    return {
        "LaunchTemplateName": template_name(job.name),
        "LaunchTemplateData": data,
        "TagSpecifications": [{"ResourceType": "launch-template", "Tags": schedule_tags(job.name)}],
    }


def run_request(schedule: str, template: str, token: str, tag: str) -> dict[str, Any]:
    """RunInstances for one run."""
    return {
        "LaunchTemplate": {"LaunchTemplateId": template, "Version": "1"},
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": token,
        "TagSpecifications": run_tags(schedule, tag),
    }


def schedule_request(
    schedule: str, recurrence: Recurrence, template: str, role: str, overlap: Overlap, what: str
) -> dict[str, Any]:
    """CreateSchedule. `role` is an ARN, `what` the words for what runs. A call that is tried again has the same client
    token, so that a lost answer starts no second server. An earlier schedule of the name had other tokens, as it had
    another template."""
    request = run_request(schedule, template, f"{template}-{DUE}", f"{schedule}/{DUE}")
    return {
        "GroupName": GROUP,
        "Name": schedule,
        "Description": f"skylift: {what} (--overlap {overlap})"[:512],
        "ScheduleExpression": recurrence.expression,
        "ScheduleExpressionTimezone": recurrence.timezone,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": TARGET, "RoleArn": role, "Input": json.dumps(request)},
    }


def run_now_request(schedule: str, template: str, now: datetime) -> dict[str, Any]:
    return run_request(schedule, template, f"{template}-{now:%Y-%m-%dT%H:%M:%SZ}", run_tag(schedule, now))


def scheduler_policy(
    schedule: str, template: str, role: str, account: str, region: str, *, spot: bool = False
) -> dict[str, Any]:
    """What EventBridge Scheduler may do: start servers from this template as it is, tagged as this schedule's runs, and
    pass them their role. `template` is the template's id, `role` the ARN of that role. With `spot`, the template asks
    for spot servers."""
    ours = f"arn:aws:ec2:{region}:{account}"
    as_it_is = {
        "ArnEquals": {"ec2:LaunchTemplate": f"{ours}:launch-template/{template}"},
        "Bool": {"ec2:IsLaunchTemplateResource": "true"},
    }
    made = [f"{ours}:{kind}/*" for kind in ("instance", "volume", "network-interface")]
    used = [f"{ours}:{kind}/*" for kind in ("subnet", "security-group", "key-pair")]
    tagged = {"StringLike": {f"aws:RequestTag/{TAG_JOB}": f"{schedule}/*"}}
    return policy(
        allow("StartRuns", "ec2:RunInstances", made, {**as_it_is, **tagged}),
        allow(
            "FromTheTemplate",
            "ec2:RunInstances",
            [*used, f"arn:aws:ec2:{region}::image/*", f"{ours}:launch-template/{template}"],
            as_it_is,
        ),
        # The request that EC2 makes of a spot server. It starts nothing without the other statements.
        *([allow("AskForSpot", "ec2:RunInstances", f"{ours}:spot-instances-request/*")] if spot else ()),
        allow("TagThem", "ec2:CreateTags", made, {"StringEquals": {"ec2:CreateAction": "RunInstances"}}),
        allow("PassTheirRole", "iam:PassRole", role, {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
    )


def looking_up(listed: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """To list what there is below these beginnings of keys, each of a bucket, and nothing else of it."""
    return [
        allow(
            f"LookUp{number}",
            "s3:ListBucket",
            f"arn:aws:s3:::{bucket}",
            {"StringEquals": {"s3:prefix": literal(fixed)}},
        )
        for number, (bucket, fixed) in enumerate(listed)
    ]


def keeping_disks(schedule: str, account: str, region: str) -> dict[str, Any]:
    """To say of a run's own server that results are on its disk. A map's other servers have none: what is tagged so is
    not terminated after its deadline, and those on spot cannot be stopped instead."""
    own = {"Null": {f"aws:ResourceTag/{TAG_WORKER}": "true"}, **_of_runs(schedule)}
    return keeping_its_disk(f"arn:aws:ec2:{region}:{account}:instance/*", own)


def _of_runs(schedule: str) -> dict[str, Any]:
    return {"StringLike": {f"aws:ResourceTag/{TAG_JOB}": f"{schedule}/*"}}


def runs_policy(
    schedule: str,
    bucket: str,
    account: str,
    region: str,
    inputs: Sequence[str] = (),
    more: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """What the servers of a schedule may do: one role for all of its runs. They read what the schedule has, write below
    `server/` of its runs, and end its servers. `inputs` are the ARNs of further objects that they read, `more` are
    statements besides."""
    root = f"arn:aws:s3:::{bucket}"
    own = f"{root}/{JobKeys(schedule, SCHEDULES).base}"
    runs = [f"{root}/{JobKeys(f'{schedule}-{pattern}').base}" for pattern in RUN_PATTERNS]
    instances = f"arn:aws:ec2:{region}:{account}:instance/*"
    return policy(
        allow(
            "ReadInputs",
            "s3:GetObject",
            [
                f"{own}/record.json",
                f"{own}/in/*",
                f"{own}/running.json",
                *(f"{run}/{part}/*" for run in runs for part in ("in", "server")),
                f"{root}/tools/*",
                *inputs,
            ],
        ),
        allow(
            "WriteOutputs",
            ["s3:PutObject", "s3:AbortMultipartUpload"],
            [f"{own}/running.json", *(f"{run}/server/*" for run in runs)],
        ),
        allow(
            "CutLogs",
            "s3:DeleteObject",
            [f"{run}/server/{stream}/*" for run in runs for stream in ("stdout", "stderr")],
        ),
        allow(
            "EndRuns",
            ["ec2:StopInstances", "ec2:TerminateInstances"],
            instances,
            {**_of_runs(schedule), "ArnLike": {"ec2:SourceInstanceARN": instances}},
        ),
        *more,
    )
