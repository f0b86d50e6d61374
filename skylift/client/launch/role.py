"""The IAM role of a job's server: it may read the job's inputs, write the job's prefix, and stop or end the server.

All roles are under one path and have permissions boundaries, so that an administrator can see and limit them together.
A job that reads other buckets than skylift's has a boundary that names these buckets. So a user who may start jobs, but
may not make policies, can read only buckets that somebody with that permission has opened to jobs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skylift.client.errors import NameTaken, Refused
from skylift.client.job.job import NAME_FORM
from skylift.client.job.policy import allow, policy
from skylift.client.job.record import SCHEDULES, JobKeys, workers_of_schedule
from skylift.client.job.tags import TAG_JOB, TAG_UNDELIVERED, job_of, job_tags, new_mark
from skylift.client.launch.scheduler import GROUP
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone, make_unless_there
from skylift.client.ship.prebuilt import ENVIRONMENTS, EnvironmentPlace, environment_statements
from skylift.client.waiting import Threads

PATH = "/skylift/"
BOUNDARY = "skylift-boundary-8"
"""The number is the version of the document. A change makes a new policy; a policy that roles use is never changed."""

Kind = Literal["role", "instance_profile"]
MAKES: dict[Kind, str] = {"role": "create_role", "instance_profile": "create_instance_profile"}
DESCRIBES: dict[Kind, str] = {"role": "get_role", "instance_profile": "get_instance_profile"}
ANSWERED: dict[Kind, str] = {"role": "Role", "instance_profile": "InstanceProfile"}
TRUST = policy({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})


@dataclass(frozen=True)
class JobRole:
    """A role and an instance profile of the same name."""

    name: str
    profile_arn: str


def role_name(job: str) -> str:
    return f"skylift-{job}"


def worker_of(job: str) -> str:
    """What the role of a map's other servers is named after."""
    return f"{job}-w"


def job_policy(
    job: str,
    bucket: str,
    account: str,
    region: str,
    prebuilt: EnvironmentPlace | None = None,
    inputs: Sequence[str] = (),
    last: str = "",
    *,
    spot: bool = False,
    more: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """What one job's server may do. It may end only instances with the job's tag, and only from one of the account's
    instances. `inputs` are the ARNs of objects that it may read besides the job's prefix. `last` is the job after which
    the server was kept, if it was. The server of a `spot` job may delete the fleet that would start another one. `more`
    are statements besides."""
    objects = f"arn:aws:s3:::{bucket}/{JobKeys(job).base}"
    next_of_last = allow("GoOnOrOff", ["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/{JobKeys(last).next}")
    instances = f"arn:aws:ec2:{region}:{account}:instance/*"
    tag = {f"aws:ResourceTag/{TAG_JOB}": job}
    return policy(
        allow(
            "ReadInputs", "s3:GetObject", [f"{objects}/record.json", f"{objects}/in/*", f"{objects}/server/*", *inputs]
        ),
        allow("ReadTools", "s3:GetObject", f"arn:aws:s3:::{bucket}/tools/*"),
        allow("WriteOutputs", ["s3:PutObject", "s3:AbortMultipartUpload"], f"{objects}/server/*"),
        allow(
            "ForgetSecretsAndCutLogs",
            "s3:DeleteObject",
            [
                f"{objects}/in/env.json",
                *(f"{objects}/server/{each}/*" for each in ("stdout", "stderr", *(["checkpoint"] if spot else []))),
            ],
        ),
        allow(
            "EndItself",
            ["ec2:StopInstances", "ec2:TerminateInstances"],
            instances,
            {"StringEquals": tag, "ArnLike": {"ec2:SourceInstanceARN": instances}},
        ),
        # Its disk is lost with a spot server in any case.
        _ending_fleets(f"arn:aws:ec2:{region}:{account}", {"StringEquals": tag})
        if spot
        else keeping_its_disk(instances, {"StringEquals": tag}),
        *([next_of_last] if last else ()),
        *environment_statements(prebuilt, bucket),
        *more,
    )


SEEING_SERVERS = allow(
    "SeeServers", ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities"], "*"
)
"""The permission to describe groups, which AWS does not restrict to some."""


def having_servers(
    groups: str | Sequence[str], instances: str, tagged: dict[str, Any], *, for_good: bool = False
) -> dict[str, Any]:
    """To resize Auto Scaling groups, to end their servers, and to delete them, from one of the account's instances.
    Groups that stay `for_good` are not deleted."""
    return allow(
        "HaveServers",
        [
            *(() if for_good else ("autoscaling:DeleteAutoScalingGroup",)),
            "autoscaling:SetDesiredCapacity",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
        ],
        groups,
        {**tagged, "ArnLike": {"ec2:SourceInstanceARN": instances}},
    )


def naming_servers(groups: str | Sequence[str], instances: str, tagged: dict[str, Any]) -> dict[str, Any]:
    """To say by the tag of a group which run of a schedule its next servers are of, and to give it no other tag."""
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": [TAG_JOB]}, "ArnLike": {"ec2:SourceInstanceARN": instances}}
    return allow("NameServers", "autoscaling:CreateOrUpdateTags", groups, {**tagged, **only})


def cap_role_name(schedule: str) -> str:
    """The role in which EventBridge Scheduler ends the servers of a schedule's runs."""
    return f"skylift-cap.{schedule}"


def capping_itself(schedule: str, account: str, region: str) -> list[dict[str, Any]]:
    """To have EventBridge Scheduler end this server later, and not to change or delete that. A program may ask for it,
    too: so the names are so few that it can have some thousand such schedules at the most."""
    from_servers = {"ArnLike": {"ec2:SourceInstanceARN": f"arn:aws:ec2:{region}:{account}:instance/*"}}
    to_scheduler = {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    names = f"arn:aws:scheduler:{region}:{account}:schedule/{GROUP}/{schedule}.??"
    role = f"arn:aws:iam::{account}:role{PATH}{cap_role_name(schedule)}"
    return [
        allow("CapItself", "scheduler:CreateSchedule", names, from_servers),
        allow("PassTheRoleOfCaps", "iam:PassRole", role, {**to_scheduler, **from_servers}),
    ]


def keeping_its_disk(instances: str, tagged: dict[str, Any]) -> dict[str, Any]:
    """To say by a tag of the server that its results are on its disk, and to give it no other tag."""
    only = {
        "ForAllValues:StringEquals": {"aws:TagKeys": [TAG_UNDELIVERED]},
        "ArnLike": {"ec2:SourceInstanceARN": instances},
    }
    return allow("KeepItsDisk", "ec2:CreateTags", instances, {**tagged, **only})


def _ending_fleets(ours: str, tagged: dict[str, Any]) -> dict[str, Any]:
    """`ours` is the beginning of the ARNs of the account's EC2 resources."""
    return allow(
        "EndItsFleet",
        "ec2:DeleteFleets",
        f"{ours}:fleet/*",
        {**tagged, "ArnLike": {"ec2:SourceInstanceARN": f"{ours}:instance/*"}},
    )


def boundary_policy(account: str, buckets: Sequence[str] = (), listed: Sequence[str] = ()) -> dict[str, Any]:
    """The most that any job's role can ever do, whatever is attached to it. `buckets` are the user's own buckets that
    the job may read, and `listed` those in which it may look up what there is."""
    opened = [allow("OtherBuckets", "s3:GetObject", [f"arn:aws:s3:::{bucket}/*" for bucket in buckets])]
    shown = [allow("ListOtherBuckets", "s3:ListBucket", [f"arn:aws:s3:::{bucket}" for bucket in listed])]
    return policy(
        allow(
            "JobPrefixes",
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            f"arn:aws:s3:::skylift-{account}-*/jobs/*",
        ),
        allow(
            "SharedFiles",
            "s3:GetObject",
            [f"arn:aws:s3:::skylift-{account}-*/{folder}/*" for folder in ("inputs", "tools", SCHEDULES)],
        ),
        allow("TurnsOfSchedules", "s3:PutObject", f"arn:aws:s3:::skylift-{account}-*/{SCHEDULES}/*/running.json"),
        allow(
            "Environments",
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
            f"arn:aws:s3:::skylift-{account}-*/{ENVIRONMENTS}/*",
        ),
        allow(
            "EndItself",
            ["ec2:StopInstances", "ec2:TerminateInstances"],
            f"arn:aws:ec2:*:{account}:instance/*",
            {
                "Null": {f"aws:ResourceTag/{TAG_JOB}": "false"},
                "ArnLike": {"ec2:SourceInstanceARN": f"arn:aws:ec2:*:{account}:instance/*"},
            },
        ),
        _ending_fleets(f"arn:aws:ec2:*:{account}", {"Null": {f"aws:ResourceTag/{TAG_JOB}": "false"}}),
        keeping_its_disk(f"arn:aws:ec2:*:{account}:instance/*", {"Null": {f"aws:ResourceTag/{TAG_JOB}": "false"}}),
        having_servers(
            f"arn:aws:autoscaling:*:{account}:autoScalingGroup:*:autoScalingGroupName/skylift-*",
            f"arn:aws:ec2:*:{account}:instance/*",
            {"Null": {f"aws:ResourceTag/{TAG_JOB}": "false"}},
        ),
        naming_servers(
            f"arn:aws:autoscaling:*:{account}:autoScalingGroup:*:autoScalingGroupName/{workers_of_schedule('*')}",
            f"arn:aws:ec2:*:{account}:instance/*",
            {"StringLike": {f"aws:RequestTag/{TAG_JOB}": "*/*"}},
        ),
        SEEING_SERVERS,
        *capping_itself("*", account, "*"),
        *(opened if buckets else ()),
        *(shown if listed else ()),
    )


def boundary_arn(account: str, buckets: Sequence[str] = (), listed: Sequence[str] = ()) -> str:
    return policy_arn(account, _boundary_name(buckets, listed))


def policy_arn(account: str, name: str) -> str:
    return f"arn:aws:iam::{account}:policy{PATH}{name}"


def _boundary_name(buckets: Sequence[str], listed: Sequence[str] = ()) -> str:
    # No bucket is called `+`.
    text = " ".join((*buckets, *(["+", *listed] if listed else ())))
    return f"{BOUNDARY}-{hashlib.sha256(text.encode()).hexdigest()[:16]}" if text else BOUNDARY


def ensure_boundary(api: Api, account: str, buckets: Sequence[str] = (), listed: Sequence[str] = ()) -> str:
    """The ARN of the boundary for these `buckets` and `listed` ones, which are sorted. It is made when there is
    none."""
    return ensure_policy(api, account, _boundary_name(buckets, listed), boundary_policy(account, buckets, listed))


def ensure_policy(
    api: Api, account: str, name: str, document: dict[str, Any], what: str = "server of a skylift job"
) -> str:
    """The ARN of a boundary, which is made when there is none. `what` may do the most that it allows."""
    arn = policy_arn(account, name)
    try:
        api.call("iam", "get_policy", PolicyArn=arn)
    except Refused as error:
        if error.code != "NoSuchEntity":
            raise
        make_unless_there(
            api,
            "EntityAlreadyExists",
            "iam",
            "create_policy",
            PolicyName=name,
            Path=PATH,
            PolicyDocument=json.dumps(document),
            Description=f"The most that the {what} may do",
        )
    return arn


def create_role(
    api: Api,
    job: str,
    account: str,
    buckets: Sequence[str] = (),
    *,
    owner: str = "",
    more: Sequence[dict[str, str]] = (),
) -> None:
    """Make the role, without any permissions, under the boundary for `buckets`. `owner` is the job that it belongs to,
    where it is not named after that, and `more` are tags besides those of the job. Raises NameTaken when another job
    has a role of this name. `remove_role` is the undo."""
    with Threads(1) as pool:
        # Ensured at the same time: after the first run the boundary always exists, and the role can be made at once.
        boundary = pool.submit(ensure_boundary, api, account, buckets)
        wanted = {
            "RoleName": role_name(job),
            "AssumeRolePolicyDocument": json.dumps(TRUST),
            "Description": f"The server of skylift job {owner or job}",
        }
        tags = [*job_tags(owner or job), *more]
        try:
            try:
                wanted["PermissionsBoundary"] = boundary_arn(account, buckets)
                make_own(api, "role", api.retry_concurrent, wanted, tags)
            except Refused as error:
                if error.code != "NoSuchEntity":
                    raise
                wanted["PermissionsBoundary"] = boundary.result()
                make_own(api, "role", api.retry_not_found, wanted, tags)
        except Refused as error:
            if error.code == "EntityAlreadyExists":
                raise NameTaken(job) from None
            raise


def make_own(api: Api, kind: Kind, call: Callable[..., Any], wanted: dict[str, Any], tags: Sequence[Any]) -> Any:
    """Make one under skylift's path. That there is one already may be said of the one that this call has made, if IAM's
    first answer was lost."""
    mark = new_mark()
    try:
        return call("iam", MAKES[kind], **wanted, Path=PATH, Tags=[*tags, mark])[ANSWERED[kind]]
    except Refused as error:
        if error.code != "EntityAlreadyExists":
            raise
        name = f"{ANSWERED[kind]}Name"
        found = api.retry_not_found("iam", DESCRIBES[kind], **{name: wanted[name]})[ANSWERED[kind]]
        if mark not in found.get("Tags", []):
            raise
        return found


def equip_role(
    api: Api,
    job: str,
    bucket: str,
    account: str,
    prebuilt: EnvironmentPlace | None = None,
    inputs: Sequence[str] = (),
    *,
    spot: bool = False,
    more: Sequence[dict[str, Any]] = (),
) -> JobRole:
    """Give the role its policy, and make its instance profile. `remove_role` is the undo of both."""
    return equip_with(api, job, job_policy(job, bucket, account, api.region, prebuilt, inputs, spot=spot, more=more))


def equip_with(api: Api, job: str, policy: dict[str, Any], *, owner: str = "") -> JobRole:
    """The same with any policy. `owner` is as in create_role."""
    name, text = role_name(job), json.dumps(policy)
    with Threads(1) as pool:
        put = pool.submit(
            api.retry_not_found, "iam", "put_role_policy", RoleName=name, PolicyName="job", PolicyDocument=text
        )
        wanted = {"InstanceProfileName": name}
        made = make_own(api, "instance_profile", api.retry_concurrent, wanted, job_tags(owner or job))
        add_to_profile(api, name)
        put.result()
    return JobRole(name, made["Arn"])


def add_to_profile(api: Api, name: str) -> None:
    """Put a role into the instance profile of the same name."""
    try:
        api.retry_not_found("iam", "add_role_to_instance_profile", InstanceProfileName=name, RoleName=name)
    except Refused as error:
        # A profile has one role. It has ours, if the first answer was lost.
        if error.code != "LimitExceeded" or not _has_role(describe_own(api, "instance_profile", name), name):
            raise


def remove_role(api: Api, job: str) -> None:
    """Remove the role, policy and profile that this client has just made for a job, as far as they exist. IAM may not
    list them yet, so it is not asked whose they are."""
    _remove(api, role_name(job), role=True, profile=True)


def remove_role_of(api: Api, name: str, jobs: Collection[str]) -> None:
    """Remove the role, policy and profile of this name, as far as they belong to one of these jobs. They do when they
    are under skylift's path and carry the job's tag in IAM. The name itself proves nothing: it may come from a program
    that wants another role to be removed."""
    if not is_role_name(name):
        return
    with Threads(1) as pool:
        describing = pool.submit(describe_own, api, "instance_profile", name)
        role = _owner(describe_own(api, "role", name))
        profile = describing.result()
    owners = set(jobs) - {""}
    # A client that was killed while it handed over a kept server has tagged the role, and not the profile yet.
    has_role = role in owners and _has_role(profile, name)
    _remove(api, name, role=role in owners, profile=has_role or _owner(profile) in owners)


def is_role_name(name: str) -> bool:
    prefix = role_name("")
    return name.startswith(prefix) and NAME_FORM.fullmatch(name.removeprefix(prefix)) is not None


def owner_of(api: Api, name: str) -> str:
    """The job that a role is tagged with, or else the instance profile of the same name. Empty when there is neither,
    or they are not skylift's."""
    return _owner(describe_own(api, "role", name)) or _owner(describe_own(api, "instance_profile", name))


def tags_of(api: Api, job: str) -> dict[str, str]:
    """The tags of a job's role; empty when there is none, or it is not this job's."""
    found = describe_own(api, "role", role_name(job))
    return {each["Key"]: each["Value"] for each in found.get("Tags", [])} if _owner(found) == job else {}


def profile_of(job: str, account: str) -> JobRole:
    """A job's role that has been made already."""
    name = role_name(job)
    return JobRole(name, f"arn:aws:iam::{account}:instance-profile{PATH}{name}")


def _has_role(profile: dict[str, Any], name: str) -> bool:
    return [each["RoleName"] for each in profile.get("Roles", ())] == [name]


def describe_own(api: Api, kind: Kind, name: str) -> dict[str, Any]:
    """IAM's description of a role or profile; empty when there is none, or it is not under skylift's path."""
    try:
        found: dict[str, Any] = api.call("iam", DESCRIBES[kind], **{f"{ANSWERED[kind]}Name": name})[ANSWERED[kind]]
    except Refused as error:
        if error.code != "NoSuchEntity":
            raise
        return {}
    return found if found["Path"] == PATH else {}


def _owner(found: dict[str, Any]) -> str:
    return job_of(found.get("Tags", []))


def _remove(api: Api, name: str, *, role: bool, profile: bool) -> None:
    """First the two steps that the other two depend on, then these; both of a pair at the same time."""
    profile_steps: list[tuple[str, dict[str, str]]] = [
        ("remove_role_from_instance_profile", {"InstanceProfileName": name, "RoleName": name}),
        ("delete_instance_profile", {"InstanceProfileName": name}),
    ]
    role_steps: list[tuple[str, dict[str, str]]] = [
        ("delete_role_policy", {"RoleName": name, "PolicyName": "job"}),
        ("delete_role", {"RoleName": name}),
    ]
    with Threads(2) as pool:
        for number in range(2):
            steps = [*(profile_steps[number : number + 1] if profile else ())]
            steps += role_steps[number : number + 1] if role else ()
            list(pool.map(lambda each: end_unless_gone(api, "NoSuchEntity", "iam", each[0], **each[1]), steps))
