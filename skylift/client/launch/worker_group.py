"""The other servers of a map, or of a job with a Dask cluster: an Auto Scaling group that the job's own server has grow
and shrink. That is the coordinator's in a map.

The client makes the group empty, before the job's own server starts; that may resize it, end its servers and delete it,
and nothing more. Group, launch template, role and security group carry the job's tags and are found by
them. ReplaceUnhealthy is suspended: a server comes only because it was asked for, so that a group
without the job's own server does not grow. Protected from scale-in, a server is ended only by name.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from skylift.client.errors import NotPermitted, Refused, SkyliftError
from skylift.client.job.job import Job
from skylift.client.job.policy import allow, deny, policy
from skylift.client.job.record import JobKeys, on_demand_of, workers_name, workers_on_demand
from skylift.client.job.tags import TAG_JOB, TAG_WORKER, job_of, job_tags
from skylift.client.launch import fleet, role
from skylift.client.launch.cap import cap_group, cap_of_group, delete_cap
from skylift.client.launch.job_group import Kind, make_job_group, remove_job_groups
from skylift.client.launch.network import Network
from skylift.client.launch.server import is_of_profile
from skylift.client.launch.stages import Checked, Provisioned
from skylift.client.launch.undo import Undo
from skylift.client.remote.account import Account
from skylift.client.remote.api import Api
from skylift.client.ship.archive import boot_script
from skylift.client.ship.prebuilt import EnvironmentPlace, environment_statements
from skylift.client.steps import Clock, in_thread
from skylift.client.waiting import pauses
from skylift.client.watcher import Watcher

_SUSPENDED = ["ReplaceUnhealthy", "AZRebalance"]
_SETTLING = 60.0
"""Seconds in which Auto Scaling must learn of a new instance profile."""


def worker_policy(
    job: str, bucket: str, inputs: Sequence[str] = (), more: Sequence[dict[str, Any]] = (), *, runs: bool = True
) -> dict[str, Any]:
    """What another server of a job may do; one of a map writes what its `runs` leave."""
    base = JobKeys(job).base
    return policy_of_workers(bucket, base, [base], inputs, more, runs=runs)


def policy_of_workers(
    bucket: str,
    source: str,
    jobs: Sequence[str],
    inputs: Sequence[str] = (),
    more: Sequence[dict[str, Any]] = (),
    *,
    runs: bool = True,
) -> dict[str, Any]:
    """Read what the program needs, and in a map write what its `runs` leave. Such a server reads its own key, and no
    other server's, and removes it. It may do nothing to any server; it turns itself off. `source` has the record and
    the inputs of all of these `jobs`: the beginnings of keys."""
    objects, root = f"arn:aws:s3:::{bucket}/{source}", f"arn:aws:s3:::{bucket}"
    given = ["supervisor.pyz", "env.json", "s3.json", "map/*"]
    write_runs = allow(
        "WriteRuns", ["s3:PutObject", "s3:AbortMultipartUpload"], [f"{root}/{each}/server/map/runs/*" for each in jobs]
    )
    return policy(
        allow(
            "ReadInputs",
            "s3:GetObject",
            [f"{objects}/record.json", *(f"{objects}/in/{each}" for each in given), *inputs],
        ),
        allow("ReadTools", "s3:GetObject", f"arn:aws:s3:::{bucket}/tools/*"),
        *([write_runs] if runs else ()),
        # The variable is the ARN of the instance whose credentials sign the request.
        allow(
            "TakeItsKey",
            ["s3:GetObject", "s3:DeleteObject"],
            [f"{root}/{each}/server/map/keys/${{ec2:SourceInstanceARN}}" for each in jobs],
        ),
        *more,
    )


def coordinator_statements(job: str, bucket: str, account: str, region: str) -> list[dict[str, Any]]:
    """What the server that has others may do besides: resize its own group, end its servers, and remove its secrets.
    The keys of the other servers are in its prefix while these start. It writes them and never reads one, nor may its
    programs, which have the same role."""
    group = f"arn:aws:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName"
    groups = [f"{group}/{each}" for each in (workers_name(job), workers_on_demand(job))]
    return [
        role.having_servers(groups, f"arn:aws:ec2:{region}:{account}:instance/*", {"StringEquals": _tagged(job)}),
        role.SEEING_SERVERS,
        allow("ForgetKeys", "s3:DeleteObject", f"arn:aws:s3:::{bucket}/{JobKeys(job).dask}"),
        reading_no_key(bucket, [JobKeys(job).base]),
    ]


def reading_no_key(bucket: str, jobs: Sequence[str]) -> dict[str, Any]:
    """`jobs` are the beginnings of keys."""
    return deny(
        "ReadNoKeyOfOthers", "s3:GetObject", [f"arn:aws:s3:::{bucket}/{each}/server/map/keys/*" for each in jobs]
    )


def _tagged(job: str) -> dict[str, str]:
    return {f"aws:ResourceTag/{TAG_JOB}": job}


def template_request(request: dict[str, Any], job: str) -> dict[str, Any]:
    """The launch template of a map's other servers, from the one that a fleet of the job would have."""
    data = request["LaunchTemplateData"]
    mark = {"Key": TAG_WORKER, "Value": "yes"}
    tags = [
        {**each, "Tags": [*each["Tags"], mark]} if each["ResourceType"] == "instance" else each
        for each in data["TagSpecifications"]
    ]
    return {
        **request,
        "LaunchTemplateName": workers_name(job),
        "LaunchTemplateData": {**data, "TagSpecifications": tags},
    }


def group_requests(job: Job, network: Network, template: str, most: int) -> list[dict[str, Any]]:
    """The exact parameters of CreateAutoScalingGroup."""
    tags = [{"PropagateAtLaunch": False, **each} for each in job_tags(job.name)]
    return requests_of_groups(job, network, template, workers_name(job.name), most, tags)


def requests_of_groups(
    job: Job, network: Network, template: str, name: str, most: int, tags: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The same for a group of any name. A map that may fall back to servers on demand has a group for these besides: to
    change how one group buys would take the right to pass a role."""
    found = [_group_request(job, network, template, most, name, tags, on_demand=job.spot is None)]
    if job.spot is not None and job.spot.or_on_demand:
        found.append(_group_request(job, network, template, most, on_demand_of(name), tags, on_demand=True))
    return found


def _group_request(
    job: Job, network: Network, template: str, most: int, name: str, tags: Sequence[dict[str, Any]], *, on_demand: bool
) -> dict[str, Any]:
    spec = {"LaunchTemplateId": template, "Version": "1"}
    launched: dict[str, Any] = {"LaunchTemplate": spec}
    if job.spot is not None and not on_demand:
        price = {} if job.spot.max_price is None else {"SpotMaxPrice": f"{job.spot.max_price:.6f}"}
        launched = {
            "MixedInstancesPolicy": {
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": spec,
                    "Overrides": [{"InstanceType": each} for each in job.spot.types or (job.instance_type,)],
                },
                "InstancesDistribution": {
                    "OnDemandBaseCapacity": 0,
                    "OnDemandPercentageAboveBaseCapacity": 0,
                    "SpotAllocationStrategy": "price-capacity-optimized",
                    **price,
                },
            }
        }
    return {
        "AutoScalingGroupName": name,
        "MinSize": 0,
        "MaxSize": most,
        "DesiredCapacity": 0,
        "VPCZoneIdentifier": ",".join(subnet for _, subnet in network.subnets),
        "NewInstancesProtectedFromScaleIn": True,
        "Tags": [{"ResourceId": name, "ResourceType": "auto-scaling-group", **each} for each in tags],
        **launched,
    }


async def make_workers(
    checked: Checked, provisioned: Provisioned, undo: Undo, clock: Clock, watcher: Watcher
) -> Provisioned:
    """The group, without servers, for a job that may have several. The job's own server is in the same security group
    as the others. A map for which nobody has asked for several servers goes on with one where there can be no group.
    Raises SkyliftError; what had been made is then undone by `undo`."""
    job = checked.job
    if not job.has_workers:
        return provisioned
    with clock.step("group") as step:
        now = time.time()
        # The map's own server waits for them in any case.
        await in_thread(_send_keys, checked, now)
        try:
            async with undo.part() as part:
                provisioned = await _make_group_of(checked, provisioned, part, now)
        except Refused as error:
            if job.map is None or not job.map.may_do_with_one:
                raise
            why = error.advice if isinstance(error, NotPermitted) and error.advice else error.message
            watcher.note(f"The map has one server, as a group of others cannot be made. {why}")
            step.detail = "none"
            return provisioned
        most = job.most_servers - 1
        step.detail = f"{workers_name(job.name)}, up to {most} more server{'s' * (most != 1)}"
    return provisioned


async def _make_group_of(checked: Checked, provisioned: Provisioned, undo: Undo, now: float) -> Provisioned:
    job, account = checked.job, checked.account
    kind: Kind = "job" if job.map is None else "map"
    api, name, network = account.api, job.name, provisioned.network
    # The last that can be removed, as servers must have left it.
    security = await undo.make(
        partial(make_job_group, api, name, network.vpc, now, kind), lambda _: remove_job_groups(api, name)
    )
    network = replace(network, groups=(*network.groups, security))
    make_role = partial(_make_role, checked)
    await undo.make(make_role, lambda _: role.remove_role(api, role.worker_of(name)))
    worker = await in_thread(_equip_role, checked)
    # Servers may be started later, when an image with the environment is gone.
    script = boot_script(account, checked.prefix.base, checked.shipment.deadline, "--worker")
    request = fleet.template_request(job, network, provisioned.key, worker, checked.base, script)
    template = await undo.make(
        partial(fleet.make_template, api, template_request(request, name)), lambda _: fleet.remove_template(api, name)
    )
    for request in group_requests(job, network, template, job.most_servers - 1):
        await undo.make(partial(make_group, api, request), lambda _: delete_groups(api, name))
        await in_thread(suspend, api, request["AutoScalingGroupName"])
        with contextlib.suppress(SkyliftError):
            # That nothing could be told to the cloud is said when the job's own server has no cap either.
            await in_thread(cap_group, account, request["AutoScalingGroupName"], checked.shipment.deadline)
    return replace(provisioned, network=network)


def _make_role(checked: Checked) -> None:
    account, job = checked.account, checked.job.name
    buckets = checked.shipment.upload.buckets(account.bucket)
    role.create_role(account.api, role.worker_of(job), account.number, buckets, owner=job)


def _equip_role(checked: Checked) -> role.JobRole:
    account, job, shipment = checked.account, checked.job, checked.shipment
    bucket = account.bucket
    tools = checked.tools.building_statements(bucket) if checked.tools is not None else []
    more = [*environment_statements(_followed(shipment.prebuilt), bucket), *tools]
    policy = worker_policy(job.name, bucket, shipment.upload.arns(bucket), more, runs=job.map is not None)
    return role.equip_with(account.api, role.worker_of(job.name), policy, owner=job.name)


def _followed(prebuilt: EnvironmentPlace | None) -> EnvironmentPlace | None:
    """An environment that the coordinator's server builds and shares is taken from there."""
    if prebuilt is None or prebuilt.sha256 or not prebuilt.shared:
        return prebuilt
    return replace(prebuilt, sha256="-")


def _send_keys(checked: Checked, now: float) -> None:
    names = ("scheduler", "worker", *(("client",) if checked.job.cluster is not None else ()))
    send_keys(checked.account, checked.job.name, now, checked.shipment.deadline, names)


def send_keys(
    account: Account, name: str, now: float, deadline: float, names: tuple[str, ...] = ("scheduler", "worker")
) -> None:
    """Issue new keys for the parts of Dask on a job's servers, valid until the deadline."""
    # Every run imports this file, and few make a group: importing certificates takes a tenth of a short command.
    from skylift.client.dask.authority import issue  # noqa: PLC0415

    parts = issue(name, names, now, deadline)
    secrets = json.dumps({part: identity.encode() for part, identity in parts.items()})
    account.api.put(account.bucket, JobKeys(name).dask, secrets.encode())


def make_group(api: Api, request: dict[str, Any]) -> None:
    """Make the group. One of the same name is left from a job that was removed."""
    for more in pauses(_SETTLING, 5):
        try:
            api.call("autoscaling", "create_auto_scaling_group", **request)
            return
        except Refused as error:
            # The profile, the template and the job's security group were made a moment ago.
            late = is_of_profile(error.reason) or "does not exist" in error.reason
            is_new = error.code == "ValidationError" and late
            if not more or not (error.code == "AlreadyExists" or is_new):
                raise
            if error.code == "AlreadyExists":
                delete_group(api, request["AutoScalingGroupName"])


def suspend(api: Api, group: str) -> None:
    """No server of the group is replaced by itself."""
    api.retry_not_found("autoscaling", "suspend_processes", AutoScalingGroupName=group, ScalingProcesses=_SUSPENDED)


def worker_groups(api: Api, job: str | None = None) -> dict[str, tuple[str, float]]:
    """The groups of one job, or of all, by their names: the job, and when it was made, in seconds since the epoch. A
    tag proves nothing without the name that goes with it."""
    wanted = {"Name": "tag-key", "Values": [TAG_JOB]} if job is None else {"Name": f"tag:{TAG_JOB}", "Values": [job]}
    found = {}
    for each in api.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", Filters=[wanted]):
        owner = job_of(each.get("Tags", []))
        if owner and each["AutoScalingGroupName"] in (workers_name(owner), workers_on_demand(owner)):
            found[str(each["AutoScalingGroupName"])] = (owner, each["CreatedTime"].timestamp())
    return found


def delete_groups(api: Api, job: str) -> None:
    """Delete the groups with all their servers."""
    for each in worker_groups(api, job):
        delete_group(api, each)


def delete_group(api: Api, name: str) -> None:
    """With all its servers. It may be gone already."""
    try:
        api.call("autoscaling", "delete_auto_scaling_group", AutoScalingGroupName=name, ForceDelete=True)
    except Refused as error:
        gone = "not found" in error.reason or error.code == "ScalingActivityInProgress"
        if not gone:
            raise
    delete_cap(api, cap_of_group(name))


def remove_workers(api: Api, job: str) -> None:
    """All that was made for a job's other servers, but the security group: group, template and role. Safe to repeat."""
    delete_groups(api, job)
    fleet.remove_template(api, job)
    role.remove_role_of(api, role.role_name(role.worker_of(job)), {job})
