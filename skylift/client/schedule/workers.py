"""The other servers of a scheduled map's runs: an empty Auto Scaling group, which is made with the schedule and removed
with it.

All runs have the same one, one after the other, so that a run's server need not make groups, launch templates or
security groups, nor pass a role: it may resize this one group, end its servers, and say by a tag which run the next
ones are of. So they are found as servers of that run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from skylift.client.errors import UsageError
from skylift.client.job.job import Job
from skylift.client.job.record import SCHEDULES, SETUP_ALLOWANCE, JobKeys, on_demand_of, workers_of_schedule
from skylift.client.job.scheduled import RUN_PATTERNS, TAG_PATTERN
from skylift.client.job.tags import TAG_JOB, TAG_WORKER
from skylift.client.launch import fleet
from skylift.client.launch.job_group import make_security_group, remove_job_group
from skylift.client.launch.key import LocalKeyPair
from skylift.client.launch.network import Network
from skylift.client.launch.role import SEEING_SERVERS, JobRole, having_servers, naming_servers
from skylift.client.launch.stages import Checked
from skylift.client.launch.undo import Undo
from skylift.client.launch.worker_group import (
    delete_group,
    make_group,
    policy_of_workers,
    reading_no_key,
    requests_of_groups,
    suspend,
)
from skylift.client.remote.api import Api
from skylift.client.schedule.requests import TAG_SCHEDULE, schedule_tags
from skylift.client.schedule.roles import equip_servers, make_server_role
from skylift.client.schedule.template import make_template, remove_templates
from skylift.client.ship.archive import boot_script
from skylift.client.steps import in_thread


def workers_tags(schedule: str) -> list[dict[str, str]]:
    """The tag of jobs names no run: a server that has it from here knows that nobody wants it."""
    return [*schedule_tags(schedule), {"Key": TAG_JOB, "Value": f"{schedule}/"}]


def runs_of(schedule: str) -> list[str]:
    """The beginnings of the keys of all its runs, in the form of a policy."""
    return [JobKeys(f"{schedule}-{pattern}").base for pattern in RUN_PATTERNS]


def statements_of_runs(schedule: str, bucket: str, account: str, region: str) -> list[dict[str, Any]]:
    """What the servers of runs may do besides, which have others."""
    name, instances = workers_of_schedule(schedule), f"arn:aws:ec2:{region}:{account}:instance/*"
    group = f"arn:aws:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName"
    groups = [f"{group}/{each}" for each in (name, on_demand_of(name))]
    own = {"StringEquals": {f"aws:ResourceTag/{TAG_SCHEDULE}": schedule}}
    return [
        having_servers(groups, instances, own, for_good=True),
        naming_servers(groups, instances, {"StringLike": {f"aws:RequestTag/{TAG_JOB}": f"{schedule}/{TAG_PATTERN}"}}),
        SEEING_SERVERS,
        reading_no_key(bucket, runs_of(schedule)),
    ]


def template_request(
    job: Job, network: Network, key: LocalKeyPair, role: JobRole, image: str, user_data: str
) -> dict[str, Any]:
    """CreateLaunchTemplate. A server gets the tag of its run from the group."""
    data = fleet.template_request(job, network, key, role, image, user_data)["LaunchTemplateData"]
    tags, mark = workers_tags(job.name), {"Key": TAG_WORKER, "Value": "yes"}
    kinds = [each["ResourceType"] for each in data["TagSpecifications"]]
    data["TagSpecifications"] = [
        {"ResourceType": kind, "Tags": [*tags, *([mark] if kind == "instance" else ())]} for kind in kinds
    ]
    return {
        "LaunchTemplateName": workers_of_schedule(job.name),
        "LaunchTemplateData": data,
        "TagSpecifications": [{"ResourceType": "launch-template", "Tags": schedule_tags(job.name)}],
    }


def group_requests(job: Job, network: Network, template: str) -> list[dict[str, Any]]:
    tags = [{"PropagateAtLaunch": each["Key"] == TAG_JOB, **each} for each in workers_tags(job.name)]
    return requests_of_groups(job, network, template, workers_of_schedule(job.name), job.most_servers - 1, tags)


class MakeWorkers:
    """In the order in which they need each other. `undo` undoes what has been made."""

    def __init__(self, checked: Checked, undo: Undo) -> None:
        self._checked, self._undo = checked, undo
        self._job, self._account, self._api = checked.job, checked.account, checked.account.api

    async def join(self, network: Network) -> Network:
        """With the security group in which all servers of a run are: each other only. Undone last of all."""
        api, name = self._api, self._job.name
        make = partial(_make_security_group, api, name, network.vpc)
        group = await self._undo.make(make, lambda _: remove_security_groups(api, name))
        return replace(network, groups=(*network.groups, group))

    async def make(
        self, network: Network, key: LocalKeyPair, listed: Sequence[str], more: Sequence[dict[str, Any]]
    ) -> None:
        """`listed` is as for the role of the runs; `more` are statements for the role of these servers."""
        api, job, account, upload = self._api, self._job, self._account, self._checked.shipment.upload
        name, bucket = job.name, account.bucket
        source = JobKeys(name, SCHEDULES).base
        policy = policy_of_workers(bucket, source, runs_of(name), upload.arns(bucket), more)
        opened, others = (upload.buckets(bucket), listed), workers_of_schedule(name)
        role = await make_server_role(self._undo, api, name, others, account.number, opened)
        await in_thread(equip_servers, api, others, policy)
        # Such a server comes when the program of a run goes already, so that it need not last as long as that one.
        script = boot_script(account, source, None, "--worker", lasts=job.max_time + SETUP_ALLOWANCE)
        request = template_request(job, network, key, role, self._checked.image, script)
        self._undo.add(partial(remove_templates, api, name))
        template = await in_thread(make_template, api, request)
        for each in group_requests(job, network, template):
            await self._undo.make(partial(make_group, api, each), lambda _: delete_groups(api, name))
            await in_thread(suspend, api, each["AutoScalingGroupName"])


def _make_security_group(api: Api, schedule: str, vpc: str) -> str:
    """Its id; no group is left by an error. One that is there is of a schedule that was not removed whole."""
    remove_security_groups(api, schedule)
    name = workers_of_schedule(schedule)
    made = make_security_group(api, name, f"schedule {schedule}", vpc, workers_tags(schedule))
    if made is None:
        raise UsageError(f"There is a security group called {name} already.", "Choose another name (--name).")
    return made


def remove_security_groups(api: Api, schedule: str) -> None:
    wanted = [
        {"Name": f"tag:{TAG_SCHEDULE}", "Values": [schedule]},
        {"Name": "group-name", "Values": [workers_of_schedule(schedule)]},
    ]
    for each in api.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=wanted):
        remove_job_group(api, each["GroupId"])


def delete_groups(api: Api, schedule: str) -> None:
    """With all their servers, as far as they exist and are the schedule's."""
    wanted, name = [{"Name": f"tag:{TAG_SCHEDULE}", "Values": [schedule]}], workers_of_schedule(schedule)
    for each in api.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", Filters=wanted):
        if each["AutoScalingGroupName"] in (name, on_demand_of(name)):
            delete_group(api, each["AutoScalingGroupName"])


def remove_workers(api: Api, schedule: str) -> None:
    """All but the role and the templates. Safe to repeat. The security group goes when the servers have left it."""
    delete_groups(api, schedule)
    remove_security_groups(api, schedule)
