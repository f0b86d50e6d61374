"""A security group for the servers that work together: it opens their ports to each other, and to nobody else.

It carries the tags of the job that it was made for. EC2 does not say when a group was made, so a tag does: a cluster
that is being started has a group before it has a record.
"""

from __future__ import annotations

import contextlib
import math
import re
from typing import Any, Literal

from skylift.client.errors import NameTaken, Refused, SkyliftError
from skylift.client.job.tags import TAG_JOB, job_of, job_tags, new_mark
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone, make_unless_there
from skylift.client.waiting import pauses

PORTS = (8786, 8799)
"""From the first to the last: what Dask's scheduler and workers listen on."""
TAG_MADE = "skylift:made"
TAG_KIND = "skylift:kind"
Kind = Literal["cluster", "map", "job"]
"""What works together in a group. `skylift cluster down` ends a cluster by its group; a map, and a job that has a
cluster of its own, are ended as any job is."""
_EMPTYING = 60.0
"""Seconds that the removal waits for the last server to have left the group."""
_LISTED = 30.0
"""Seconds in which EC2 must list a group that it says there is."""
_MADE = re.compile(r"[0-9]{1,12}")


def group_name(job: str) -> str:
    return f"skylift-{job}"


def make_job_group(api: Api, job: str, vpc: str, now: float, kind: Kind) -> str:
    """Make the group and return its id. Raises NameTaken; no group is left by an error. `remove_job_group` is the
    undo."""
    tags = [*job_tags(job), {"Key": TAG_MADE, "Value": str(math.floor(now))}, {"Key": TAG_KIND, "Value": kind}]
    made = make_security_group(api, group_name(job), f"{kind} {job}", vpc, tags)
    if made is None:
        raise NameTaken(job)
    return made


def make_security_group(api: Api, name: str, of: str, vpc: str, tags: list[dict[str, str]]) -> str | None:
    """The id of a new group of this name, whose servers reach each other. None when there is another one. No group is
    left by an error."""
    mark = new_mark()
    wanted: dict[str, Any] = {"GroupName": name, "VpcId": vpc}
    wanted["Description"] = f"Servers of the skylift {of}: each other only"
    wanted["TagSpecifications"] = [{"ResourceType": "security-group", "Tags": [*tags, mark]}]
    answer = make_unless_there(api, "InvalidGroup.Duplicate", "ec2", "create_security_group", **wanted)
    made = _made_before(api, name, vpc, mark) if answer is None else str(answer["GroupId"])
    if made is not None:
        _open_to_itself(api, made)
    return made


def _made_before(api: Api, name: str, vpc: str, mark: dict[str, str]) -> str | None:
    """The group that this client has made, if EC2's first answer was lost. None for another one's."""
    filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}]
    for _ in pauses(_LISTED):
        if found := api.call("ec2", "describe_security_groups", Filters=filters)["SecurityGroups"]:
            return str(found[0]["GroupId"]) if mark in found[0].get("Tags", []) else None
    return None


def _open_to_itself(api: Api, made: str) -> None:
    try:
        rules = {"GroupId": made, "IpPermissions": [ingress(made)]}
        make_unless_there(api, "InvalidPermission.Duplicate", "ec2", "authorize_security_group_ingress", **rules)
    except BaseException:
        # The caller does not know of it. What the group cannot be removed for is not what has gone wrong.
        with contextlib.suppress(SkyliftError):
            remove_job_group(api, made)
        raise


def ingress(group: str) -> dict[str, Any]:
    return {
        "IpProtocol": "tcp",
        "FromPort": PORTS[0],
        "ToPort": PORTS[1],
        "UserIdGroupPairs": [{"GroupId": group, "Description": "Servers of one cluster"}],
    }


def job_groups(api: Api, job: str | None = None, kind: Kind | None = None) -> dict[str, tuple[str, float]]:
    """The groups of one job, or of all, by their ids: the job, and when it was made, in seconds since the epoch. With
    `kind`, only those of that kind. A tag proves nothing without the name that goes with it."""
    wanted = [{"Name": "tag-key", "Values": [TAG_JOB]} if job is None else {"Name": f"tag:{TAG_JOB}", "Values": [job]}]
    if kind is not None:
        wanted.append({"Name": f"tag:{TAG_KIND}", "Values": [kind]})
    found = {}
    for each in api.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=wanted):
        tags = each.get("Tags", [])
        owner = job_of(tags)
        if owner and each["GroupName"] == group_name(owner):
            made = next((tag["Value"] for tag in tags if tag["Key"] == TAG_MADE), "")
            found[str(each["GroupId"])] = (owner, float(made) if _MADE.fullmatch(made) else 0.0)
    return found


def remove_job_groups(api: Api, job: str) -> None:
    for each in job_groups(api, job):
        remove_job_group(api, each)


def remove_job_group(api: Api, group: str, patience: float = _EMPTYING) -> None:
    """Delete it once nothing is in it: an interface outlives its server by seconds."""
    for more in pauses(patience):
        try:
            end_unless_gone(api, "InvalidGroup.NotFound", "ec2", "delete_security_group", GroupId=group)
            return
        except Refused as error:
            if not more or error.code != "DependencyViolation":
                raise
