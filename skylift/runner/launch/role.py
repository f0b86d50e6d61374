"""The role that a job's server has: read the job's own inputs, write the job's own prefix, stop or end itself.

All roles stand under one path and permissions boundaries, so that an administrator can see and limit them as one. A job
that reads from other buckets than skylift's has a boundary that names them: whoever may start jobs cannot by that read
what nobody who may make policies has opened to jobs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from skylift.runner.errors import NameTaken, Refused
from skylift.runner.job.job import NAME_FORM
from skylift.runner.job.record import Prefix
from skylift.runner.job.tags import TAG_JOB, job_of, job_tags
from skylift.runner.remote.api import Api
from skylift.runner.ship.prebuilt import ENVIRONMENTS, Prebuilt, environment_statements

PATH = "/skylift/"
BOUNDARY = "skylift-boundary-4"
"""The number is the document's: a change of it makes a new policy, and never touches one that roles stand under."""

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@dataclass(frozen=True)
class JobRole:
    """A role and an instance profile of the same name."""

    name: str
    profile_arn: str


def role_name(job: str) -> str:
    return f"skylift-{job}"


def job_policy(
    job: str,
    bucket: str,
    account: str,
    region: str,
    prebuilt: Prebuilt | None = None,
    inputs: Sequence[str] = (),
    last: str = "",
    *,
    spot: bool = False,
) -> dict[str, Any]:
    """What one job's server may do. The tag names the instances that are the job's; the source, that one must ask.
    `inputs` are the ARNs of what it may read besides its own prefix, and `last` is the job after which it was kept. A
    `spot` job's server deletes the fleet that would bring another one."""
    objects = f"arn:aws:s3:::{bucket}/{Prefix(job).base}"
    going_on = {
        "Sid": "GoOnOrOff",
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": f"arn:aws:s3:::{bucket}/{Prefix(last).next}",
    }
    instances = f"arn:aws:ec2:{region}:{account}:instance/*"
    tag = {f"aws:ResourceTag/{TAG_JOB}": job}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ReadInputs",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": [
                    f"{objects}/record.json",
                    f"{objects}/in/*",
                    f"{objects}/server/*",
                    *inputs,
                ],
            },
            {
                "Sid": "ReadTools",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{bucket}/tools/*",
            },
            {
                "Sid": "WriteOutputs",
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
                "Resource": f"{objects}/server/*",
            },
            {
                "Sid": "ForgetSecretsAndCutLogs",
                "Effect": "Allow",
                "Action": "s3:DeleteObject",
                "Resource": [
                    f"{objects}/in/env.json",
                    *(f"{objects}/server/{each}/*" for each in ("stdout", "stderr", *(["checkpoint"] if spot else []))),
                ],
            },
            {
                "Sid": "EndItself",
                "Effect": "Allow",
                "Action": ["ec2:StopInstances", "ec2:TerminateInstances"],
                "Resource": instances,
                "Condition": {
                    "StringEquals": tag,
                    "ArnLike": {"ec2:SourceInstanceARN": instances},
                },
            },
            *([_ending_fleets(f"arn:aws:ec2:{region}:{account}", {"StringEquals": tag})] if spot else ()),
            *([going_on] if last else ()),
            *environment_statements(prebuilt, bucket),
        ],
    }


def _ending_fleets(ours: str, tagged: dict[str, Any]) -> dict[str, Any]:
    """`ours` is the beginning of ARNs of the account's own things in EC2."""
    return {
        "Sid": "EndItsFleet",
        "Effect": "Allow",
        "Action": "ec2:DeleteFleets",
        "Resource": f"{ours}:fleet/*",
        "Condition": {**tagged, "ArnLike": {"ec2:SourceInstanceARN": f"{ours}:instance/*"}},
    }


def boundary_policy(account: str, buckets: Sequence[str] = ()) -> dict[str, Any]:
    """The most that any job's role may ever have, whatever is attached to it. `buckets` are the user's own, to read."""
    opened = [
        {
            "Sid": "OtherBuckets",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": [f"arn:aws:s3:::{bucket}/*" for bucket in buckets],
        }
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "JobPrefixes",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                "Resource": f"arn:aws:s3:::skylift-{account}-*/jobs/*",
            },
            {
                "Sid": "SharedFiles",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": [f"arn:aws:s3:::skylift-{account}-*/{shelf}/*" for shelf in ("inputs", "tools")],
            },
            {
                "Sid": "Environments",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
                "Resource": f"arn:aws:s3:::skylift-{account}-*/{ENVIRONMENTS}/*",
            },
            {
                "Sid": "EndItself",
                "Effect": "Allow",
                "Action": ["ec2:StopInstances", "ec2:TerminateInstances"],
                "Resource": f"arn:aws:ec2:*:{account}:instance/*",
                "Condition": {
                    "Null": {f"aws:ResourceTag/{TAG_JOB}": "false"},
                    "ArnLike": {"ec2:SourceInstanceARN": f"arn:aws:ec2:*:{account}:instance/*"},
                },
            },
            _ending_fleets(f"arn:aws:ec2:*:{account}", {"Null": {f"aws:ResourceTag/{TAG_JOB}": "false"}}),
            *(opened if buckets else ()),
        ],
    }


def boundary_arn(account: str, buckets: Sequence[str] = ()) -> str:
    return f"arn:aws:iam::{account}:policy{PATH}{_boundary_name(buckets)}"


def _boundary_name(buckets: Sequence[str]) -> str:
    return f"{BOUNDARY}-{hashlib.sha256(' '.join(buckets).encode()).hexdigest()[:16]}" if buckets else BOUNDARY


def ensure_boundary(api: Api, account: str, buckets: Sequence[str] = ()) -> str:
    """Made once for each choice of `buckets`, which are sorted."""
    arn = boundary_arn(account, buckets)
    try:
        api.call("iam", "get_policy", PolicyArn=arn)
    except Refused as error:
        if error.code != "NoSuchEntity":
            raise
        _make_boundary(api, account, buckets)
    return arn


def _make_boundary(api: Api, account: str, buckets: Sequence[str]) -> None:
    try:
        api.call(
            "iam",
            "create_policy",
            PolicyName=_boundary_name(buckets),
            Path=PATH,
            PolicyDocument=json.dumps(boundary_policy(account, buckets)),
            Description="The most that the server of a skylift job may do",
        )
    except Refused as error:
        if error.code != "EntityAlreadyExists":
            raise


def create_role(api: Api, job: str, account: str, buckets: Sequence[str] = ()) -> None:
    """The role itself, so far without rights, under the boundary of a choice of `buckets`, which is made where there is
    none. Raises NameTaken when the role is another job's; `remove_role` is the undo."""
    with ThreadPoolExecutor(1) as pool:
        # Looked for at the same time: after the first run it is always there, and then a role that IAM makes has it.
        boundary = pool.submit(ensure_boundary, api, account, buckets)
        try:
            try:
                _create(api.undisturbed, job, boundary_arn(account, buckets))
            except Refused as error:
                if error.code != "NoSuchEntity":
                    raise
                _create(api.settled, job, boundary.result())
        except Refused as error:
            if error.code == "EntityAlreadyExists":
                raise NameTaken(job) from None
            raise


def _create(call: Callable[..., Any], job: str, boundary: str) -> None:
    call(
        "iam",
        "create_role",
        RoleName=role_name(job),
        Path=PATH,
        AssumeRolePolicyDocument=json.dumps(TRUST),
        Description=f"The server of skylift job {job}",
        PermissionsBoundary=boundary,
        Tags=job_tags(job),
    )


def equip_role(
    api: Api,
    job: str,
    bucket: str,
    account: str,
    prebuilt: Prebuilt | None = None,
    inputs: Sequence[str] = (),
    *,
    spot: bool = False,
) -> JobRole:
    """The role's policy, and the instance profile that hands it to a server; `remove_role` is the undo of these too."""
    name = role_name(job)
    policy = json.dumps(job_policy(job, bucket, account, api.region, prebuilt, inputs, spot=spot))
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(api.settled, "iam", "put_role_policy", RoleName=name, PolicyName="job", PolicyDocument=policy)
        made = api.undisturbed(
            "iam", "create_instance_profile", InstanceProfileName=name, Path=PATH, Tags=job_tags(job)
        )
        api.settled("iam", "add_role_to_instance_profile", InstanceProfileName=name, RoleName=name)
        put.result()
    return JobRole(name, made["InstanceProfile"]["Arn"])


def remove_role(api: Api, job: str) -> None:
    """The undo of what this client has made a moment ago: role, policy and profile of a job, whatever of them is there.
    IAM may not tell of them yet, so that it is not asked whose they are."""
    _remove(api, role_name(job), role=True, profile=True)


def remove_role_of(api: Api, name: str, jobs: Collection[str]) -> None:
    """Role, policy and profile of this name, whatever of them is there and is one of these jobs': it stands under
    skylift's path and carries the job's tag, which IAM is asked for each time. The name may come from anywhere, also
    from a program that would like to have another role gone: what is not these jobs' is left alone."""
    if not is_role_name(name):
        return
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(_ours, api, "get_instance_profile", "InstanceProfile", InstanceProfileName=name)
        role = _owner(_ours(api, "get_role", "Role", RoleName=name))
        profile = looking.result()
    theirs = set(jobs) - {""}
    # A client that was killed while it gave a kept server's role to the next job has left the profile to the last one.
    holds_role = role in theirs and [each["RoleName"] for each in profile.get("Roles", ())] == [name]
    _remove(api, name, role=role in theirs, profile=holds_role or _owner(profile) in theirs)


def is_role_name(name: str) -> bool:
    prefix = role_name("")
    return name.startswith(prefix) and NAME_FORM.fullmatch(name.removeprefix(prefix)) is not None


def owner_of(api: Api, name: str) -> str:
    """The job that a role is tagged with, or else the profile of this name; empty where there is none, or it is not
    skylift's."""
    return _owner(_ours(api, "get_role", "Role", RoleName=name)) or _owner(
        _ours(api, "get_instance_profile", "InstanceProfile", InstanceProfileName=name)
    )


def _ours(api: Api, operation: str, kind: str, **which: str) -> dict[str, Any]:
    """What IAM says of a role or profile; nothing where there is none, or it is not under skylift's path."""
    try:
        found: dict[str, Any] = api.call("iam", operation, **which)[kind]
    except Refused as error:
        if error.code != "NoSuchEntity":
            raise
        return {}
    return found if found["Path"] == PATH else {}


def _owner(found: dict[str, Any]) -> str:
    return job_of(found.get("Tags", []))


def _remove(api: Api, name: str, *, role: bool, profile: bool) -> None:
    """First what stands in the way of the other two, then these: a pair each that is done at the same time."""
    profile_steps: list[tuple[str, dict[str, str]]] = [
        ("remove_role_from_instance_profile", {"InstanceProfileName": name, "RoleName": name}),
        ("delete_instance_profile", {"InstanceProfileName": name}),
    ]
    role_steps: list[tuple[str, dict[str, str]]] = [
        ("delete_role_policy", {"RoleName": name, "PolicyName": "job"}),
        ("delete_role", {"RoleName": name}),
    ]
    with ThreadPoolExecutor(2) as pool:
        for number in range(2):
            steps = [*(profile_steps[number : number + 1] if profile else ())]
            steps += role_steps[number : number + 1] if role else ()
            list(pool.map(lambda each: _unless_gone(api, *each), steps))


def _unless_gone(api: Api, operation: str, params: dict[str, str]) -> None:
    try:
        api.undisturbed("iam", operation, **params)
    except Refused as error:
        if error.code != "NoSuchEntity":
            raise
