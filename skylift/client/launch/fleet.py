"""A spot job's servers: a fleet of one, which starts the next server when EC2 has taken the last one away.

EC2 does this without any client. The server on which the job has ended deletes the fleet. One that is still there some
time after the job's deadline ends with its server: so the cloud also ends a server that no client has seen. Fleet and
template carry the job's tags and are found by them.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.client.errors import LaunchFailed, Refused, UsageError
from skylift.client.job.job import Job, Spot
from skylift.client.job.server import Server
from skylift.client.job.tags import TAG_JOB, job_of, job_tags
from skylift.client.launch.cap import MARGIN
from skylift.client.launch.key import LocalKeyPair
from skylift.client.launch.network import Network
from skylift.client.launch.role import JobRole
from skylift.client.launch.server import is_of_profile, launch_request, live_servers
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone
from skylift.client.waiting import pause

_ACTIVE = ("submitted", "active", "modifying")
_CAPACITY_PATIENCE = 60.0
"""Seconds in which a fleet must find room for its server. AWS's fleets try every few seconds."""
_TROUBLE_PATIENCE = 10.0
"""The same, once the fleet has reported that no capacity pool will do."""
_OF_ALL_POOLS = {"allLaunchSpecsTemporarilyBlacklisted", "spotInstanceCountLimitExceeded"}
"""Other errors may be of one pool: a zone that does not offer a type, for example. The fleet goes on with the rest. So
is spotFleetRequestConfigurationInvalid, by which it also says that one zone has no room for a type now."""
_GONE = {"fleetIdDoesNotExist", "fleetNotInDeletableState"}
_REFUSALS = {
    "UnsupportedOperation",
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "VcpuLimitExceeded",
}


@dataclass(frozen=True)
class JobFleet:
    id: str
    job: str


def template_name(job: str) -> str:
    return f"skylift-{job}"


def template_request(
    job: Job, network: Network, key: LocalKeyPair, role: JobRole, image: str, user_data: str
) -> dict[str, Any]:
    """The exact parameters of CreateLaunchTemplate: those of RunInstances, except for the subnet."""
    data = launch_request(job, "", network, "", key.name, role, image, user_data)
    for name in ("MinCount", "MaxCount", "ClientToken"):
        del data[name]
    data["NetworkInterfaces"] = [
        {name: value for name, value in each.items() if name != "SubnetId"} for each in data["NetworkInterfaces"]
    ]
    data["UserData"] = base64.b64encode(user_data.encode()).decode()
    # A server learns from its tags which fleet it belongs to.
    data["MetadataOptions"] = {**data["MetadataOptions"], "InstanceMetadataTags": "enabled"}
    tags = job_tags(job.name)
    return {
        "LaunchTemplateName": template_name(job.name),
        "LaunchTemplateData": data,
        "TagSpecifications": [{"ResourceType": "launch-template", "Tags": tags}],
    }


def make_template(api: Api, request: dict[str, Any]) -> str:
    """Make a job's launch template and return its id. A template of the same name is left from a job that was removed,
    and is replaced, if it is a job's of the same name."""
    try:
        made = api.call("ec2", "create_launch_template", **request)
    except Refused as error:
        if "AlreadyExists" not in error.code:
            raise
        job = job_of(request["TagSpecifications"][0]["Tags"])
        remove_template(api, job, {"Name": "launch-template-name", "Values": [request["LaunchTemplateName"]]})
        made = api.call("ec2", "create_launch_template", **request)
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def remove_template(api: Api, job: str, *only: dict[str, Any]) -> None:
    """Delete the job's launch templates, if there are any; only those that pass EC2's filters. Permissions depend on
    the tags of a template, so deleting one that does not exist would be denied."""
    for each in _templates(api, {"Name": f"tag:{TAG_JOB}", "Values": [job]}, *only):
        which = {"LaunchTemplateId": each["LaunchTemplateId"]}
        end_unless_gone(api, ".*NotFound.*", "ec2", "delete_launch_template", **which)


def job_templates(api: Api) -> dict[str, float]:
    """The jobs that have a launch template, and when it was made, in seconds since the epoch."""
    return {
        job: each["CreateTime"].timestamp()
        for each in _templates(api, {"Name": "tag-key", "Values": [TAG_JOB]})
        if (job := job_of(each.get("Tags", [])))
    }


def _templates(api: Api, *wanted: dict[str, Any]) -> list[Any]:
    return api.pages("ec2", "describe_launch_templates", "LaunchTemplates", Filters=list(wanted))


def fleet_request(
    job: Job, spot: Spot, template: str, network: Network, token: str, deadline: int, *, on_demand: bool = False
) -> dict[str, Any]:
    """The exact parameters of CreateFleet: one server, of any of the types, in any of the zones. No job's role may
    change until when it is valid."""
    most = {"MaxPrice": f"{spot.max_price:.6f}"} if spot.max_price is not None and not on_demand else {}
    overrides = [
        {"InstanceType": kind, "SubnetId": subnet, **most}
        for kind in spot.types or (job.instance_type,)
        for _, subnet in network.subnets
    ]
    options: dict[str, Any] = {"OnDemandOptions": {"AllocationStrategy": "lowest-price"}}
    if not on_demand:
        strategy = {"AllocationStrategy": "price-capacity-optimized", "InstanceInterruptionBehavior": "terminate"}
        options = {"SpotOptions": strategy}
    tags = job_tags(job.name)
    return {
        "Type": "maintain",
        "ClientToken": token,
        "LaunchTemplateConfigs": [
            {"LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"}, "Overrides": overrides}
        ],
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": 1,
            "OnDemandTargetCapacity": int(on_demand),
            "SpotTargetCapacity": int(not on_demand),
            "DefaultTargetCapacityType": "on-demand" if on_demand else "spot",
        },
        "ValidUntil": datetime.fromtimestamp(deadline + MARGIN, UTC),
        "TerminateInstancesWithExpiration": True,
        "ReplaceUnhealthyInstances": True,
        "TagSpecifications": [{"ResourceType": "fleet", "Tags": tags}],
        **options,
    }


def check_price(api: Api, spot: Spot | None) -> None:
    """Raises UsageError when --max-price is below every offer, because no server would start until that changes."""
    if spot is None or spot.max_price is None or spot.or_on_demand:
        return
    found = api.pages(
        "ec2",
        "describe_spot_price_history",
        "SpotPriceHistory",
        InstanceTypes=list(spot.types),
        ProductDescriptions=["Linux/UNIX"],
        StartTime=datetime.now(UTC),
    )
    offers = [(float(each["SpotPrice"]), each["InstanceType"], each["AvailabilityZone"]) for each in found]
    if offers and min(offers)[0] > spot.max_price:
        price, kind, zone = min(offers)
        raise UsageError(
            f"--max-price {spot.max_price:g} is below every offer: the lowest is {price:g} USD/h, {kind} in {zone}.",
            "Raise it, or leave it out: then it is the price on demand.",
        )


def start_fleet(api: Api, request: dict[str, Any]) -> JobFleet:
    job = next(each["Value"] for each in request["TagSpecifications"][0]["Tags"] if each["Key"] == TAG_JOB)
    return JobFleet(api.retry_not_found("ec2", "create_fleet", **request)["FleetId"], job)


def active_fleets(api: Api, job: str | None = None) -> list[JobFleet]:
    """The fleets of one job, or of all jobs, that may still start a server."""
    filters = [{"Name": "fleet-state", "Values": list(_ACTIVE)}]
    found = []
    for each in api.pages("ec2", "describe_fleets", "Fleets", Filters=filters):
        tagged = job_of(each.get("Tags", []))
        if tagged and job in (None, tagged):
            found.append(JobFleet(each["FleetId"], tagged))
    return found


def delete_fleets(api: Api, fleets: Sequence[JobFleet], *, servers_too: bool) -> None:
    if fleets:
        ids = [each.id for each in fleets]
        answer = api.call("ec2", "delete_fleets", FleetIds=ids, TerminateInstances=servers_too)
        # The call succeeds even when it could not delete some of them.
        for each in answer.get("UnsuccessfulFleetDeletions", []):
            error = each["Error"]
            if error["Code"] not in _GONE:
                raise Refused(error["Code"], f"{each['FleetId']}: {error['Message']}", "delete_fleets")


def remove_fleet(api: Api, job: str) -> None:
    """Delete the fleet and the launch template of a job that has ended. Safe to repeat."""
    delete_fleets(api, active_fleets(api, job), servers_too=False)
    remove_template(api, job)


def await_server(api: Api, fleet: JobFleet) -> Server:
    """The first server that the fleet starts. Raises LaunchFailed, with the fleet's own error, when it finds no
    room."""
    began, length = time.monotonic(), 0.05
    while True:
        # A server of an earlier fleet that was deleted may still be shutting down.
        servers = [each for each in live_servers(api, fleet.job) if not each.gone]
        if servers:
            return servers[0]
        waited = time.monotonic() - began
        problem, is_of_all = _last_error(api, fleet) if waited > 1 else ("", False)
        if waited > (_TROUBLE_PATIENCE if is_of_all else _CAPACITY_PATIENCE) or not pause(length):
            raise LaunchFailed(
                f"No server is available: {problem or 'EC2 has no capacity for it'}.",
                "Try other types (--cpu, --memory instead of --type), a higher --max-price, or --or-on-demand.",
            )
        length = min(length * 1.5, 2)


def _last_error(api: Api, fleet: JobFleet) -> tuple[str, bool]:
    """The last error in the fleet's history, and whether it leaves no capacity pool. What passes leaves all: EC2 may
    not know the instance profile yet."""
    start = datetime.fromtimestamp(time.time() - 3600, UTC)
    answer = api.call("ec2", "describe_fleet_history", FleetId=fleet.id, EventType="service-error", StartTime=start)
    errors = [each["EventInformation"] for each in answer["HistoryRecords"]]
    if not errors:
        return "", False
    words = str(errors[-1].get("EventDescription", "")).rstrip(".")
    passes = is_of_profile(words) or not words
    return words, errors[-1].get("EventSubType") in _OF_ALL_POOLS and not passes


def is_refused_for_now(error: Refused) -> bool:
    """Whether EC2 refused a spot fleet for a reason that does not hold for an on-demand one."""
    return error.code in _REFUSALS or "Spot" in error.code
