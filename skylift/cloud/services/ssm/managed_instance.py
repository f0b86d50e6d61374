"""The servers that Systems Manager manages, as they are described.

On AWS that is each one whose agent may call Systems Manager with the server's role; AmazonSSMManagedInstanceCore is the
policy for it. Here the cloud does the agent's work, for the same servers.
https://docs.aws.amazon.com/systems-manager/latest/userguide/setup-instance-permissions.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import private_dns_name
from skylift.cloud.services.api.authorize import permits
from skylift.cloud.services.api.instance_role import instance_role
from skylift.cloud.services.api.operation import Check, Params
from skylift.cloud.services.api.page_token import after, leads_to
from skylift.cloud.services.api.trust import trust_in_service
from skylift.cloud.services.ssm.operation import PAGES, reads
from skylift.cloud.services.ssm.parameter_page import NOT_VALID
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import primary_interface

if TYPE_CHECKING:
    from aws_shapes import ssm

PAGE = 50
_REGISTERS = "ssm:UpdateInstanceInformation"
_HEARS = ("ssmmessages:CreateControlChannel", "ec2messages:GetMessages")
"""The agent gets its commands by one of these two calls."""
_KEYS = ("InstanceIds", "PingStatus", "PlatformTypes", "ResourceType", "tag-key")


def managed_instances(tx: Tx, caller: Caller) -> list[Instance]:
    """The instances that have run and whose role lets them be managed. A server that is off stays listed."""
    there = [each for each in tx.find(Instance) if each.booted and each.state not in ("shutting-down", "terminated")]
    return [each for each in there if is_managed(tx, caller, each)]


def is_managed(tx: Tx, caller: Caller, instance: Instance) -> bool:
    role = instance_role(tx, instance.id)
    if role is None or not trust_in_service(role, "ec2.amazonaws.com"):
        return False
    agent = role.in_session(
        instance.id,
        account=caller.account,
        region=caller.region,
        source_ip=caller.source_ip,
        request_id=caller.request_id,
        now=tx.now,
    )
    if not permits(tx, agent, Check(_REGISTERS, arn(caller, instance.id))).allowed:
        return False
    return any(permits(tx, agent, Check(action, "*")).allowed for action in _HEARS)


def arn(caller: Caller, instance_id: str) -> str:
    return f"arn:aws:ec2:{caller.region}:{caller.account}:instance/{instance_id}"


def describe(
    tx: Tx, caller: Caller, params: ssm.DescribeInstanceInformationRequest
) -> ssm.DescribeInstanceInformationResult:
    filters = list(_filters(params))
    start = after(params, NOT_VALID)
    found = [
        each
        for each in sorted(managed_instances(tx, caller), key=lambda each: each.id)
        if each.id > start and all(_matches(each, key, values) for key, values in filters)
    ]
    size = params.get("MaxResults", PAGE)
    token = leads_to(found[size - 1].id) if len(found) > size else {}
    return {"InstanceInformationList": [_view(tx, caller, each) for each in found[:size]], **token}


def _filters(params: ssm.DescribeInstanceInformationRequest) -> Iterator[tuple[str, list[str]]]:
    older = [(each["key"], each["valueSet"]) for each in params.get("InstanceInformationFilterList") or []]
    newer = [(each["Key"], each["Values"]) for each in params.get("Filters") or []]
    for key, values in older + newer:
        if key not in _KEYS and not key.startswith("tag:"):
            raise ServiceError(
                "InvalidFilterKey", f"The filter {key} is not supported here. There are {', '.join(_KEYS)} and tag:KEY."
            )
        yield key, values


def _matches(instance: Instance, key: str, values: list[str]) -> bool:
    match key:
        case "InstanceIds":
            return instance.id in values
        case "PingStatus":
            return _ping(instance) in values
        case "PlatformTypes":
            return "Linux" in values
        case "ResourceType":
            return "EC2Instance" in values
        case "tag-key":
            return any(value in instance.tags for value in values)
    return instance.tags.get(key.removeprefix("tag:")) in values


def _ping(instance: Instance) -> Literal["Online", "ConnectionLost"]:
    return "Online" if instance.state == "running" else "ConnectionLost"


def _view(tx: Tx, caller: Caller, instance: Instance) -> ssm.InstanceInformation:
    """The description without a version of the agent, because there is none."""
    interface = primary_interface(tx, instance.id)
    address = interface.private_ip if interface else ""
    return {
        "InstanceId": instance.id,
        "PingStatus": _ping(instance),
        "LastPingDateTime": tx.now if instance.state == "running" else instance.launched,
        "PlatformType": "Linux",
        "PlatformName": "Debian GNU/Linux",
        "PlatformVersion": "13",
        "ResourceType": "EC2Instance",
        "IPAddress": address,
        "ComputerName": private_dns_name(address, caller.region),
        "SourceId": instance.id,
        "SourceType": "AWS::EC2::Instance",
    }


def _checks(_tx: Tx, caller: Caller, _params: Params) -> Iterator[Check]:
    yield Check("ssm:DescribeInstanceInformation", f"arn:aws:ssm:{caller.region}:{caller.account}:*")


OPERATIONS = (
    reads(
        "DescribeInstanceInformation",
        describe,
        f"Filters.Key Filters.Values InstanceInformationFilterList.key InstanceInformationFilterList.valueSet {PAGES}",
        _checks,
    ),
)
