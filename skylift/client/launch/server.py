"""A job's server on EC2: checking its type, starting it, describing it, ending it."""

from __future__ import annotations

import base64
import difflib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from skylift.client.errors import LaunchFailed, LaunchUnclear, Refused, Unreachable, UsageError
from skylift.client.job.job import Job
from skylift.client.job.server import Server, parse_server
from skylift.client.job.tags import TAG_CONFIGURATION, TAG_JOB, job_filter, job_tags
from skylift.client.launch.cap import uncap_server
from skylift.client.launch.key import LocalKeyPair
from skylift.client.launch.network import Network
from skylift.client.launch.role import JobRole
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone
from skylift.client.text.duration import moment

_IAM_PATIENCE = 90.0
"""Seconds in which EC2 must learn of a new instance profile. AWS's documentation says several seconds."""
_LISTED = 30.0
"""The same, of a new subnet, security group or key pair: one that the user has named may be none."""
_NOT_LISTED = re.compile(r"Invalid(Subnet|Group|SecurityGroup|KeyPair).*\.NotFound")
_SETTLING = 300.0
"""Seconds after its launch in which EC2 may not know a server yet. It takes a few."""
TAKEN = "IdempotentParameterMismatch"
_NEXT_ZONE = {"InsufficientInstanceCapacity", "Unsupported", "InsufficientFreeAddressesInSubnet"}
_NOTHING_STARTED = re.compile(
    "Invalid|Missing|Malformed|Unknown|Unsupported|Insufficient|Unauthorized|AuthFailure|AccessDenied|OptInRequired"
    "|PendingVerification|Blocked|(?!Request).*LimitExceeded$"
)
"""Codes by which EC2 refuses RunInstances before it starts anything. After its own errors, and where it refuses to
answer another call of the same token, there may be a server."""
_LIVE = ["pending", "running", "stopping", "stopped"]


def check_type(api: Api, name: str) -> tuple[str, ...]:
    """The processor architectures of a type (x86_64, arm64). Raises UsageError, with similar names, when the region
    does not have the type."""
    try:
        found = api.call("ec2", "describe_instance_types", InstanceTypes=[name])["InstanceTypes"][0]
    except Refused as error:
        if error.code not in {"InvalidInstanceType", "InvalidParameterValue"}:
            raise
    else:
        return tuple(found["ProcessorInfo"]["SupportedArchitectures"])
    known = [str(each["InstanceType"]) for each in api.pages("ec2", "describe_instance_types", "InstanceTypes")]
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    advice = f"Near it: {', '.join(near)}." if near else f"There are {len(known)} types, like t3.small."
    raise UsageError(f"There is no instance type {name!r} in {api.region}.", advice)


def types_there(api: Api, names: Sequence[str]) -> tuple[str, ...]:
    """The types among these that the region has, in the same order."""
    wanted = [{"Name": "instance-type", "Values": list(names)}]
    found = {
        each["InstanceType"] for each in api.pages("ec2", "describe_instance_types", "InstanceTypes", Filters=wanted)
    }
    return tuple(each for each in names if each in found)


def run_instance(
    api: Api,
    job: Job,
    token: str,
    network: Network,
    key: LocalKeyPair,
    role: JobRole,
    image: str,
    user_data: str,
    configuration: str = "",
    base: str = "",
) -> Server:
    """Start the job's server in the first zone that has room. `token` is EC2's client token: a repeated call starts no
    second server. `configuration` is what a later job must have in common with the server to take it over; it is empty
    for a server that is not kept. `base` is the image that is taken if the other one was removed meanwhile. Raises
    LaunchFailed, which is LaunchUnclear where there may be a server."""
    request = launch_request(job, "", network, "", key.name, role, image, user_data, configuration)
    try:
        return run_in_first_zone(api, request, network.subnets, token, base, _IAM_PATIENCE)
    except Unreachable as error:
        raise LaunchUnclear(f"Whether a server was started is not known: {error.message}", error.advice) from None


def run_in_first_zone(
    api: Api,
    request: dict[str, Any],
    subnets: Sequence[tuple[str, str]],
    token: str,
    base: str = "",
    patience: float = _LISTED,
) -> Server:
    """Start a server by this request, which lacks token and subnet; `subnets` are zones and theirs. `base` is as in
    run_instance. `patience` is how long EC2 may take to learn of the instance profile. Raises LaunchFailed, as
    run_instance does; Refused with the code TAKEN when the token was used for another request."""
    refusal: Refused | None = None
    full: list[str] = []
    for number, (zone, subnet) in enumerate(subnets):
        try:
            here = _in_subnet(request, subnet, f"{token}-{number}")
            answer = api.retry(_not_known_yet(), "ec2", "run_instances", patience, **here)
        except Refused as error:
            refusal = error
            if error.code in _NEXT_ZONE:
                full.append(zone)
                continue
            if error.code == TAKEN:
                raise
            if error.code.startswith("InvalidAMIID.") and base not in ("", request["ImageId"]):
                other = {**request, "ImageId": base}
                return run_in_first_zone(api, other, subnets, f"{token}-base", "", patience)
            break
        return parse_server(answer["Instances"][0])
    if refusal is None:
        raise LaunchFailed("skylift's network has no subnet.")
    tried = f" Tried in {', '.join(full)}." if len(full) > 1 else ""
    kind = LaunchFailed if _NOTHING_STARTED.match(refusal.code) else LaunchUnclear
    raise kind(f"No server could be started: {refusal.reason} ({refusal.code}){tried}", refusal.advice)


def _in_subnet(request: dict[str, Any], subnet: str, token: str) -> dict[str, Any]:
    interfaces = [{**each, "SubnetId": subnet} for each in request["NetworkInterfaces"]]
    return {**request, "NetworkInterfaces": interfaces, "ClientToken": token}


class Launchable(Protocol):
    """What the server is for."""

    @property
    def name(self) -> str: ...

    @property
    def instance_type(self) -> str: ...


def launch_request(
    job: Launchable,
    token: str,
    network: Network,
    subnet: str,
    key: str,
    role: JobRole,
    image: str,
    user_data: str,
    configuration: str = "",
) -> dict[str, Any]:
    """The exact parameters of RunInstances."""
    tags = job_tags(job.name)
    kept = [{"Key": TAG_CONFIGURATION, "Value": configuration}] if configuration else []
    return {
        "ImageId": image,
        "InstanceType": job.instance_type,
        "MinCount": 1,
        "MaxCount": 1,
        "KeyName": key,
        "ClientToken": token,
        "UserData": user_data,
        "IamInstanceProfile": {"Arn": role.profile_arn},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required"},
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": subnet,
                "Groups": list(network.groups),
                "AssociatePublicIpAddress": network.public,
            }
        ],
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [*tags, *kept]},
            *({"ResourceType": kind, "Tags": tags} for kind in ("volume", "network-interface")),
        ],
    }


def _not_known_yet() -> Callable[[Refused], bool]:
    """EC2 learns of what was made a moment ago within seconds. Until then RunInstances refuses it."""
    end = time.monotonic() + _LISTED

    def passes(error: Refused) -> bool:
        if _NOT_LISTED.fullmatch(error.code):
            return time.monotonic() < end
        return error.code == "InvalidParameterValue" and is_of_profile(error.reason)

    return passes


def is_of_profile(reason: str) -> bool:
    """Whether what EC2 says is wrong is an instance profile: it does not know yet what was made a moment ago."""
    return "instance profile" in reason.lower().replace("iaminstanceprofile", "iam instance profile")


def describe(api: Api, instance: str) -> Server | None:
    """None when EC2 does not know the instance: right after its launch, or long after its end."""
    try:
        found = api.call("ec2", "describe_instances", InstanceIds=[instance])["Reservations"]
    except Refused as error:
        if error.code == "InvalidInstanceID.NotFound":
            return None
        raise
    return parse_server(found[0]["Instances"][0]) if found else None


def started_by(api: Api, token: str, zones: int) -> Server | None:
    """The server that run_in_first_zone has started by this token, in one of so many zones. It may have ended."""
    tokens = [f"{each}-{number}" for each in (token, f"{token}-base") for number in range(zones)]
    found = api.pages("ec2", "describe_instances", "Reservations", Filters=[{"Name": "client-token", "Values": tokens}])
    servers = [parse_server(instance) for reservation in found for instance in reservation["Instances"]]
    return servers[0] if servers else None


def live_servers(api: Api, job: str | None = None) -> list[Server]:
    """The servers of one job, or of all jobs, that have not been terminated; of a map, the one that has the job."""
    return [each for each in _live(api, job) if not each.worker]


def live_workers(api: Api, job: str | None = None) -> list[Server]:
    """The other servers of one map, or of all maps."""
    return [each for each in _live(api, job) if each.worker]


def all_live(api: Api, job: str | None = None) -> tuple[list[Server], list[Server]]:
    """Jobs' own servers, and the other servers of maps, by one request."""
    found = _live(api, job)
    return [each for each in found if not each.worker], [each for each in found if each.worker]


def _live(api: Api, job: str | None) -> list[Server]:
    filters = [{"Name": "instance-state-name", "Values": _LIVE}]
    filters.append(job_filter(job) if job else {"Name": "tag-key", "Values": [TAG_JOB]})
    found = api.pages("ec2", "describe_instances", "Reservations", Filters=filters)
    return _of_jobs(found)


def describe_kept(api: Api) -> list[Server]:
    """Servers that were started with `--keep` and are running, whether or not they have a job now."""
    filters = [
        {"Name": "instance-state-name", "Values": ["running"]},
        {"Name": "tag-key", "Values": [TAG_CONFIGURATION]},
    ]
    return _of_jobs(api.pages("ec2", "describe_instances", "Reservations", Filters=filters))


def _of_jobs(reservations: list[Any]) -> list[Server]:
    """Servers whose tag is a valid job name. Anybody may write anything into a tag."""
    found = (parse_server(instance) for reservation in reservations for instance in reservation["Instances"])
    return [each for each in found if each.job]


def is_new(server: Server) -> bool:
    """Whether it was launched so short a time ago that EC2 may not know it yet. EC2 knows one that has ended for an
    hour, and then no more: this machine may have slept meanwhile."""
    return time.time() < moment(server.launched) + _SETTLING


def terminate(api: Api, instance: str, *, new: bool = False) -> None:
    """A `new` server may not be known yet to all of EC2. That another one is not known says that it is gone."""
    if new:
        api.retry_not_found("ec2", "terminate_instances", InstanceIds=[instance])
    else:
        end_unless_gone(api, "InvalidInstanceID.NotFound", "ec2", "terminate_instances", InstanceIds=[instance])
    uncap_server(api, instance)


def send_key(api: Api, server: Server, user: str, public: str) -> None:
    """Have a server accept one more public key for the next minute, by EC2 Instance Connect."""
    api.call(
        "ec2-instance-connect",
        "send_ssh_public_key",
        InstanceId=server.instance,
        InstanceOSUser=user,
        SSHPublicKey=public,
        AvailabilityZone=server.zone,
    )


def console_tail(api: Api, instance: str) -> str:
    """The last lines of the console, for a server that ended before it could report anything else."""
    answer = api.call("ec2", "get_console_output", InstanceId=instance)
    text = str(answer.get("Output", ""))
    # boto3 decodes the output, botocore alone does not.
    if text and "\n" not in text and " " not in text:
        text = base64.b64decode(text).decode(errors="replace")
    return "\n".join(text.strip().splitlines()[-15:])
