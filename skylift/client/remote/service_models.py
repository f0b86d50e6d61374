"""A cache of the parts of AWS's service models that skylift needs: reading whole models takes a quarter of a second.

`OPERATIONS` lists every call that a client of skylift may make, and those that botocore makes for it. The cache has
nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from skylift.client.job.cache import Cache

OPERATIONS = {
    "autoscaling": """
        CreateAutoScalingGroup DeleteAutoScalingGroup DescribeAutoScalingGroups SuspendProcesses
    """.split(),
    "cloudtrail": ["LookupEvents"],
    "ec2": """
        AttachInternetGateway AuthorizeSecurityGroupIngress CreateFleet CreateImage CreateInternetGateway
        CreateLaunchTemplate CreateRoute CreateSecurityGroup CreateSubnet CreateTags CreateVpc CreateVpcEndpoint
        DeleteFleets DeleteInternetGateway DeleteLaunchTemplate DeleteNetworkInterface DeleteSecurityGroup
        DeleteVolume DeleteVpc DeregisterImage DescribeAvailabilityZones DescribeFleetHistory DescribeFleets
        DescribeImages DescribeInstanceTypes DescribeInstances DescribeInternetGateways DescribeKeyPairs
        DescribeLaunchTemplates DescribeNetworkInterfaces DescribeRouteTables DescribeSecurityGroups
        DescribeSpotPriceHistory DescribeSubnets DescribeVolumes DescribeVpcEndpoints DescribeVpcs
        GetConsoleOutput ImportKeyPair RevokeSecurityGroupIngress RunInstances TerminateInstances
        UpdateSecurityGroupRuleDescriptionsIngress
    """.split(),
    "ec2-instance-connect": ["SendSSHPublicKey"],
    "iam": """
        AddRoleToInstanceProfile CreateInstanceProfile CreatePolicy CreateRole CreateServiceLinkedRole
        DeleteInstanceProfile DeleteRole DeleteRolePolicy GetInstanceProfile GetPolicy GetRole ListInstanceProfiles
        ListRoles PutRolePolicy RemoveRoleFromInstanceProfile TagInstanceProfile TagRole
    """.split(),
    "pricing": ["GetProducts"],
    "s3": """
        AbortMultipartUpload CompleteMultipartUpload CopyObject CreateBucket CreateMultipartUpload CreateSession
        DeleteObject DeleteObjects GetObject HeadBucket HeadObject ListMultipartUploads ListObjectsV2 ListParts
        PutObject UploadPart
    """.split(),
    "scheduler": """
        CreateSchedule CreateScheduleGroup DeleteSchedule GetSchedule ListSchedules UpdateSchedule
    """.split(),
    "service-quotas": ["GetServiceQuota"],
    "ssm": ["GetParameters"],
    "sts": ["AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"],
}
"""The operations by service, with AWS's names."""

_WORDS = {"documentation": "", "documentationUrl": "", "enum": []}
"""Parts of a model that a client does not use, and what replaces them."""


class KeptModels:
    """Models in a cache. `version` is the version of botocore that the models come from."""

    def __init__(self, cache: Cache, version: str) -> None:
        how = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        self._cache, self._made_from = cache, f"botocore-{version} {how}"

    def get(self, name: str, load: Callable[[], Any]) -> Any:
        """The model of this name; `load` returns the whole one. A service that `OPERATIONS` does not have is not
        cached."""
        if name.partition(".")[0] not in {*OPERATIONS, "endpoints", "partitions"}:
            return load()

        def make() -> bytes:
            return json.dumps(trim(name, load()), separators=(",", ":")).encode()

        return json.loads(self._cache.get(f"{name}.json", self._made_from, make))


def trim(name: str, model: Any) -> Any:
    """The part of a model that `OPERATIONS` needs. `name` is `endpoints`, `partitions`, or a service, a kind, and
    perhaps a version: `s3.service-2`."""
    service, kind = [*name.split("."), ""][:2]
    if service == "endpoints":
        partitions = [{**each, "services": _of(OPERATIONS, each["services"])} for each in model["partitions"]]
        return {**model, "partitions": partitions}
    if kind == "paginators-1":
        return {**model, "pagination": _of(OPERATIONS[service], model["pagination"])}
    if kind == "service-2":
        operations = _of(OPERATIONS[service], model["operations"])
        shapes: dict[str, Any] = {}
        _reach(operations, model["shapes"], shapes)
        return _wordless({**model, "operations": operations, "shapes": shapes})
    return _wordless(model)


def _of(names: Iterable[str], found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found}


def _reach(value: Any, shapes: dict[str, Any], found: dict[str, Any]) -> None:
    """Add each shape that a part of a model refers to, and what these refer to."""
    for name in _references(value):
        if name not in found:
            found[name] = shapes[name]
            _reach(shapes[name], shapes, found)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("shape"), str):
            yield value["shape"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _wordless(value: Any) -> Any:
    if isinstance(value, dict):
        # A member of a shape may have the same name; its value is of another type then.
        return {
            name: _WORDS[name] if name in _WORDS and type(each) is type(_WORDS[name]) else _wordless(each)
            for name, each in value.items()
        }
    return [_wordless(each) for each in value] if isinstance(value, list) else value
