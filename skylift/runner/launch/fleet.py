"""A spot job's servers: a fleet of one, which brings the next when EC2 has taken the last away.

EC2 keeps to it without any of us: the fleet lives until the job's deadline, starts servers from a launch template of
the job's, and is deleted by the server that has ended the job. Fleet and template carry the job's tags; both are found
by them.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.runner.errors import LaunchFailed, Refused, UsageError
from skylift.runner.job.job import Job, Spot
from skylift.runner.job.server import Server
from skylift.runner.job.tags import TAG_JOB, job_of, job_tags
from skylift.runner.launch.key import KeyPair
from skylift.runner.launch.network import Network
from skylift.runner.launch.role import JobRole
from skylift.runner.launch.server import is_unknown_profile, launch_request, live_servers
from skylift.runner.remote.api import Api

LAST = 120
"""Seconds before the deadline from which on no server is brought any more."""
_ACTIVE = ("submitted", "active", "modifying")
_CAPACITY_PATIENCE = 60.0
"""Seconds in which a fleet must have found room for its server; on AWS it looks for it every few seconds."""
_TROUBLE_PATIENCE = 10.0
"""Likewise, once the fleet has told of trouble: it may be that of one of several pools."""
_GONE = {"fleetIdDoesNotExist", "fleetNotInDeletableState"}
_NO_ROLE = "iamFleetRoleInvalid"
_REFUSALS = {
    "UnsupportedOperation",
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "VcpuLimitExceeded",
}


@dataclass(frozen=True)
class Fleet:
    id: str
    job: str


def template_name(job: str) -> str:
    return f"skylift-{job}"


def template_request(
    job: Job, network: Network, key: KeyPair, role: JobRole, image: str, user_data: str
) -> dict[str, Any]:
    """CreateLaunchTemplate's parameters, exactly: what RunInstances would be asked for, but for the place."""
    data = launch_request(job, "", network, "", key.name, role, image, user_data)
    for name in ("MinCount", "MaxCount", "ClientToken"):
        del data[name]
    data["NetworkInterfaces"] = [
        {name: value for name, value in each.items() if name != "SubnetId"} for each in data["NetworkInterfaces"]
    ]
    data["UserData"] = base64.b64encode(user_data.encode()).decode()
    # By them a server knows its fleet.
    data["MetadataOptions"] = {**data["MetadataOptions"], "InstanceMetadataTags": "enabled"}
    tags = job_tags(job.name)
    return {
        "LaunchTemplateName": template_name(job.name),
        "LaunchTemplateData": data,
        "TagSpecifications": [{"ResourceType": "launch-template", "Tags": tags}],
    }


def make_template(api: Api, request: dict[str, Any]) -> str:
    """Its id. One of the job's name that is there is what is left of a forgotten job."""
    try:
        made = api.call("ec2", "create_launch_template", **request)
    except Refused as error:
        if "AlreadyExists" not in error.code:
            raise
        remove_template(api, request["LaunchTemplateName"].removeprefix(template_name("")))
        made = api.call("ec2", "create_launch_template", **request)
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def remove_template(api: Api, job: str) -> None:
    """Whatever there is of a job's. It is looked for first: a missing one has no tags by which one may delete it."""
    for each in _templates(api, {"Name": f"tag:{TAG_JOB}", "Values": [job]}):
        try:
            api.call("ec2", "delete_launch_template", LaunchTemplateId=each["LaunchTemplateId"])
        except Refused as error:
            if "NotFound" not in error.code:
                raise


def job_templates(api: Api) -> dict[str, float]:
    """The jobs that have one, and when each was made."""
    return {
        job: each["CreateTime"].timestamp()
        for each in _templates(api, {"Name": "tag-key", "Values": [TAG_JOB]})
        if (job := job_of(each.get("Tags", [])))
    }


def _templates(api: Api, wanted: dict[str, Any]) -> list[Any]:
    return api.pages("ec2", "describe_launch_templates", "LaunchTemplates", Filters=[wanted])


def fleet_request(
    job: Job, spot: Spot, template: str, network: Network, token: str, deadline: int, *, on_demand: bool = False
) -> dict[str, Any]:
    """CreateFleet's parameters, exactly: one server of any of the types in any of the zones."""
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
            {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
                "Overrides": overrides,
            }
        ],
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": 1,
            "OnDemandTargetCapacity": int(on_demand),
            "SpotTargetCapacity": int(not on_demand),
            "DefaultTargetCapacityType": "on-demand" if on_demand else "spot",
        },
        "ValidUntil": datetime.fromtimestamp(deadline - LAST, UTC),
        "TerminateInstancesWithExpiration": False,
        "ReplaceUnhealthyInstances": True,
        "TagSpecifications": [{"ResourceType": "fleet", "Tags": tags}],
        **options,
    }


def check_price(api: Api, spot: Spot | None) -> None:
    """Raises UsageError for a price that is below every offer: no server would come until it changes."""
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


def start_fleet(api: Api, request: dict[str, Any]) -> Fleet:
    job = next(each["Value"] for each in request["TagSpecifications"][0]["Tags"] if each["Key"] == TAG_JOB)
    return Fleet(api.call("ec2", "create_fleet", **request)["FleetId"], job)


def active_fleets(api: Api, job: str | None = None) -> list[Fleet]:
    """Those of one job, or of all, that may still bring a server."""
    filters = [{"Name": "fleet-state", "Values": list(_ACTIVE)}]
    found = []
    for each in api.pages("ec2", "describe_fleets", "Fleets", Filters=filters):
        tagged = job_of(each.get("Tags", []))
        if tagged and job in (None, tagged):
            found.append(Fleet(each["FleetId"], tagged))
    return found


def delete_fleets(api: Api, fleets: Sequence[Fleet], *, servers_too: bool) -> None:
    if fleets:
        ids = [each.id for each in fleets]
        answer = api.call("ec2", "delete_fleets", FleetIds=ids, TerminateInstances=servers_too)
        # The call as a whole succeeds all the same.
        for each in answer.get("UnsuccessfulFleetDeletions", []):
            error = each["Error"]
            if error["Code"] not in _GONE:
                raise Refused(error["Code"], f"{each['FleetId']}: {error['Message']}", "delete_fleets")


def put_away(api: Api, job: str) -> None:
    """What would bring servers, and was left by a job that has ended; safe to repeat."""
    delete_fleets(api, active_fleets(api, job), servers_too=False)
    remove_template(api, job)


def await_server(api: Api, fleet: Fleet) -> Server:
    """The first server that the fleet brings. Raises LaunchFailed, with the fleet's words, when it finds no room."""
    began, pause = time.monotonic(), 0.05
    while True:
        # One of a fleet that was taken back may still be on its way down.
        servers = [each for each in live_servers(api, fleet.job) if not each.gone]
        if servers:
            return servers[0]
        waited = time.monotonic() - began
        trouble, passes = _trouble_of(api, fleet) if waited > 1 else ("", True)
        if waited > (_CAPACITY_PATIENCE if passes else _TROUBLE_PATIENCE):
            raise LaunchFailed(
                f"No server could be had: {trouble or 'EC2 has found no room for it'}.",
                "Try other types (--cpu, --memory instead of --type), a higher --max-price, or --or-on-demand.",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 2)


def _trouble_of(api: Api, fleet: Fleet) -> tuple[str, bool]:
    """The last that a fleet tells of what stands in its way, and whether that is nothing, or passes by itself: EC2 has
    not heard yet of the profile, or of the role that it keeps fleets in."""
    start = datetime.fromtimestamp(time.time() - 3600, UTC)
    answer = api.call("ec2", "describe_fleet_history", FleetId=fleet.id, EventType="service-error", StartTime=start)
    told = [each["EventInformation"] for each in answer["HistoryRecords"]]
    if not told:
        return "", True
    words = str(told[-1].get("EventDescription", "")).rstrip(".")
    passes = is_unknown_profile("InvalidParameterValue", words) or told[-1].get("EventSubType") == _NO_ROLE
    return words, passes or not words


def is_refused_for_now(error: Refused) -> bool:
    """Whether a fleet of spot servers was refused where one at the full price need not be."""
    return error.code in _REFUSALS or "Spot" in error.code
