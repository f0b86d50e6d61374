"""The operations that round trips are tried on, and random values for their shapes."""

from __future__ import annotations

import importlib.util
import math
import random
import string
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from skylift.cloud.wire.limits import violations

# The wire knows no service: these cover what the protocols can express, whether or not the cloud carries them out yet.
BROAD = {
    "cloudwatch": """
        DeleteAlarms DescribeAlarmHistory DescribeAlarms DescribeAlarmsForMetric DisableAlarmActions EnableAlarmActions
        GetMetricData GetMetricStatistics GetMetricWidgetImage ListMetrics ListTagsForResource PutMetricAlarm
        PutMetricData SetAlarmState TagResource
    """,
    "ec2": """
        AllocateAddress AssociateRouteTable AttachInternetGateway AuthorizeSecurityGroupEgress
        AuthorizeSecurityGroupIngress CancelSpotInstanceRequests CreateFleet CreateImage CreateInternetGateway
        CreateKeyPair CreateLaunchTemplate CreateNatGateway CreateNetworkAcl CreateRoute CreateRouteTable
        CreateSecurityGroup CreateSubnet CreateTags CreateVolume CreateVpc DeleteInternetGateway DeleteKeyPair
        DeleteRoute DeleteRouteTable DeleteSecurityGroup DeleteSubnet DeleteTags DeleteVpc DescribeAddresses
        DescribeAvailabilityZones DescribeFleets DescribeImages DescribeInstanceAttribute
        DescribeInstanceCreditSpecifications DescribeInstanceStatus DescribeInstanceTypes
        DescribeInstanceTypeOfferings DescribeInstances DescribeInternetGateways DescribeKeyPairs
        DescribeNetworkInterfaces DescribeRegions DescribeRouteTables DescribeSecurityGroupRules
        DescribeSecurityGroups DescribeSpotInstanceRequests DescribeSpotPriceHistory DescribeSubnets DescribeTags
        DescribeVolumes DescribeVpcAttribute DescribeVpcs DetachInternetGateway DisassociateRouteTable GetConsoleOutput
        ImportKeyPair ModifyInstanceAttribute ModifySubnetAttribute ModifyVpcAttribute RebootInstances ReplaceRoute
        RevokeSecurityGroupEgress RevokeSecurityGroupIngress RunInstances StartInstances StopInstances
        TerminateInstances
    """,
    "iam": """
        AddRoleToInstanceProfile AttachRolePolicy CreateInstanceProfile CreatePolicy CreateRole CreateUser
        DeleteInstanceProfile DeletePolicy DeleteRole DeleteRolePolicy DetachRolePolicy GetInstanceProfile GetPolicy
        GetPolicyVersion GetRole GetRolePolicy GetUser ListAttachedRolePolicies ListInstanceProfiles
        ListInstanceProfilesForRole ListPolicies ListRolePolicies ListRoles PutRolePermissionsBoundary PutRolePolicy
        RemoveRoleFromInstanceProfile SimulateCustomPolicy TagRole UntagRole UpdateAssumeRolePolicy UpdateRole
    """,
    "ssm": """
        DeleteParameter DeleteParameters DescribeParameters
        GetInventorySchema GetParameter GetParameters GetParametersByPath ListDocuments ListTagsForResource
        PutInventory PutParameter SendCommand
    """,
    "ec2-instance-connect": "SendSSHPublicKey SendSerialConsoleSSHPublicKey",
    "sts": "AssumeRole AssumeRoleWithWebIdentity GetCallerIdentity GetSessionToken",
    "s3": """
        AbortMultipartUpload CompleteMultipartUpload CopyObject CreateBucket CreateMultipartUpload DeleteBucket
        DeleteObject DeleteObjectTagging DeleteObjects GetBucketAcl GetBucketLocation GetBucketTagging
        GetBucketVersioning GetObject GetObjectAttributes GetObjectTagging HeadBucket HeadObject ListBuckets
        ListMultipartUploads ListObjectVersions ListObjects ListObjectsV2 ListParts PutBucketAcl
        PutBucketLifecycleConfiguration PutBucketPolicy PutBucketTagging PutObject PutObjectTagging
        PutPublicAccessBlock UploadPart UploadPartCopy
    """,
}


def _operations() -> list[tuple[str, str]]:
    found = {(service, name) for service, names in BROAD.items() for name in names.split()}
    if importlib.util.find_spec("skylift.cloud.services.table"):
        found.update(import_module("skylift.cloud.services.table").TABLE)
    return sorted(found)


OPERATIONS = _operations()
"""(service, operation): a broad choice, and every operation that this cloud carries out."""


# What is hard to carry comes as often as what is easy: markup, what URLs, forms and headers are made of, white space of
# all kinds, marks of direction and composition, the ends of planes.
HARD = (
    "<>&\"'%+ =;/?#\\|,:@[]{}~^`\u00a0\u0085\u2028\u2029\u200b\u0301\u202e\ufeff\ufffd\ud7ff\ue000\U00010000\U0010ffff"
)
PLAIN = string.ascii_letters + string.digits
CONTROLS = "".join(map(chr, range(32))) + "\x7f\x80\x9f"
# Header values lose white space at their ends, and commas separate items.
HEADER = "".join(chr(each) for each in range(33, 127) if chr(each) not in '",')
NAME = string.ascii_lowercase + string.digits + "-"


class Chance(random.Random):
    """Small values, each made again by the same seed."""

    def text(self, more: str = "", least: int = 0) -> str:
        """Up to twelve characters. Control characters are in it only where `more` says so: XML 1.0 cannot carry most of
        them, and parsers read a bare carriage return as a line feed."""
        return "".join(self._character(more) for _ in range(self.randint(least, 12)))

    def _character(self, more: str) -> str:
        pools = [PLAIN, HARD, more] if more else [PLAIN, HARD]
        if self.random() < 0.7:
            found = self.choice(self.choice(pools))
        else:
            found = chr(self.choice([self.randrange(0x100), self.randrange(0x10000), self.randrange(0x110000)]))
        if unicodedata.category(found) == "Cs" or found in "\ufffe\uffff":
            return "a"
        return "a" if unicodedata.category(found) == "Cc" and not more else found

    def header(self) -> str:
        return "".join(self.choices(HEADER, k=self.randint(1, 12)))

    def name(self, least: int = 0) -> str:
        return self.choice(string.ascii_lowercase) + "".join(self.choices(NAME, k=self.randint(least, 8)))

    def number(self, least: int, most: int) -> int:
        ends = [each for each in (least, most, 0, 1, -1, most // 2) if least <= each <= most]
        return self.choice(ends) if self.random() < 0.5 else self.randint(least, most)

    def fraction(self, least: float | None, most: float | None, end: float) -> float:
        low, high = -end if least is None else float(least), end if most is None else float(most)
        tiny, largest = sys.float_info.min, sys.float_info.max
        ends = (low, high, 0.0, -0.0, 1.0, 0.1, 1 / 3, tiny / 2**52, tiny, largest, -1e16, 1e22)
        found = self.choice([*ends, self.uniform(-1000, 1000), self.lognormvariate(0, 50)])
        return min(max(found, low), high)

    def second(self) -> datetime:
        """A whole one."""
        ends = (
            datetime(1971, 1, 1),
            datetime(2024, 2, 29, 23, 59, 59),
            datetime(2038, 1, 19, 3, 14, 8),
            datetime(2100, 1, 1),
        )
        found = self.choice(
            [*ends, *(datetime(1971, 1, 1) + timedelta(self.randrange(47000), self.randrange(86400)),) * 4]
        )
        return found.replace(tzinfo=UTC)

    def millisecond(self) -> datetime:
        return self.second().replace(microsecond=1000 * self.choice([0, 1, 10, 500, 999, self.randrange(1000)]))


Moment = Callable[[Chance], datetime]


@dataclass(frozen=True)
class Values:
    """Makes values of a shape, in botocore's member names.

    `moment` makes timestamps of the precision that the protocol carries; `empties` says whether an empty list, map or
    structure survives the trip, and `infinities` whether those numbers do; members with one of the traits in `without`
    are left out. `turn` is the number of the example: the first has what it must have, and those after it come by all
    members of the shape in turn.
    """

    chance: Chance
    turn: int
    moment: Moment
    empties: bool
    without: str = ""
    infinities: bool = True

    def make(self, shape: Any, depth: int = 0) -> Any:
        if shape is None:
            return {}
        if shape.serialization.get("location") in ("header", "headers", "querystring"):
            return self._in_head(shape)
        match shape.type_name:
            case "structure":
                return self._structure(shape, depth)
            case "list":
                return [self.make(shape.member, depth + 1) for _ in range(self._how_many(shape))]
            case "map":
                keys = [self.chance.text() + "k" for _ in range(self._how_many(shape))]
                return {key: self.make(shape.value, depth + 1) for key in keys}
            case "timestamp":
                whole = shape.serialization.get("timestampFormat") == "rfc822"
                return self.chance.second() if whole else self.moment(self.chance)
            case _:
                return self._scalar(shape)

    def _how_many(self, shape: Any) -> int:
        wanted = self.chance.randint(0 if self.empties else 1, 2)
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 2)
        return int(min(max(wanted, least), most))

    def _structure(self, shape: Any, depth: int) -> dict[str, Any]:
        required = [name for name in shape.metadata.get("required", []) if name in shape.members]
        optional = [
            name
            for name, member in shape.members.items()
            if name not in required
            and not (self.without and member.serialization.get(self.without))
            and (depth < 4 or member.type_name not in ("structure", "list", "map"))
        ]
        if shape.metadata.get("union"):
            names = [optional[self.turn % len(optional)]]
        else:
            names = required + self._some(optional) or ([] if self.empties else optional[:1])
        params = {name: self._member(name, shape.members[name], depth) for name in names}
        # What is required and empty is as good as missing where emptiness is not carried.
        hollow = [name for name in required if params[name] == [] or params[name] == ""]
        return params | {name: self._something(shape.members[name], depth) for name in hollow}

    def _some(self, optional: list[str]) -> list[str]:
        """Up to four, from another place in the list with each turn."""
        if not optional or self.turn == 0:
            return []
        first = 3 * (self.turn - 1) % len(optional)
        ahead = (optional[first:] + optional[:first])[: self.chance.randint(0, 3) if self.turn % 4 == 0 else 3]
        other = self.chance.choice(optional)
        return ahead if other in ahead else [*ahead, other]

    def _something(self, shape: Any, depth: int) -> Any:
        return [self.make(shape.member, depth + 1)] if shape.type_name == "list" else "something"

    def _member(self, name: str, shape: Any, depth: int) -> Any:
        if shape.serialization.get("location") == "uri":
            if "pattern" in shape.metadata:
                return sample(shape)
            return self.chance.name(2) if name == "Bucket" else self.chance.text(CONTROLS, 1)
        return self.make(shape, depth + 1)

    def _in_head(self, shape: Any) -> Any:
        match shape.type_name:
            case "timestamp":
                return self.chance.second()
            case "map":
                return {self.chance.name(): self.chance.header()}
            case "list":
                return [self.chance.header() for _ in range(self.chance.randint(1, 2))]
            case "string" if not shape.metadata.keys() & {"enum", "pattern"}:
                return self.chance.header()
            case _:
                return self._scalar(shape)

    def _scalar(self, shape: Any) -> Any:
        metadata = shape.metadata
        least, most = metadata.get("min"), metadata.get("max")
        match shape.type_name:
            case "boolean":
                return self.chance.random() < 0.5
            case "integer" | "long":
                bits = 31 if shape.type_name == "integer" else 63
                lowest = -(2**bits) if least is None else int(least)
                highest = 2**bits - 1 if most is None else min(int(most), 2**bits - 1)
                return self.chance.number(lowest, highest)
            case "float" | "double":
                return self.chance.fraction(least, most, math.inf if self.infinities else sys.float_info.max)
            case "blob":
                return self.chance.randbytes(self.chance.randint(0, 12))
        if metadata.get("enum"):
            return self.chance.choice(metadata["enum"])
        if "pattern" in metadata:
            return sample(shape)
        return self.chance.text()[: int(most or 12) - int(least or 0)] + "x" * int(least or 0)


def patterned(shape: Any, seen: set[str]) -> Iterator[Any]:
    """The strings in it that have a pattern, each once; what is in `seen` has been looked at."""
    if shape is None or shape.name in seen:
        return
    seen.add(shape.name)
    match shape.type_name:
        case "structure":
            inner = list(shape.members.values())
        case "list":
            inner = [shape.member]
        case "map":
            inner = [shape.key, shape.value]
        case _:
            inner = []
            if "pattern" in shape.metadata and not shape.metadata.get("enum"):
                yield shape
    for each in inner:
        yield from patterned(each, seen)


def sample(shape: Any) -> str:
    """A text that a string with a pattern may be."""
    metadata = shape.metadata
    return _matching(metadata["pattern"], int(metadata.get("min") or 0), int(metadata.get("max") or 2048))


@cache
def _matching(pattern: str, least: int, most: int) -> str:
    """One text that a pattern and bounds allow: what is carried is not the point where so little may be sent."""
    for text in (
        "a" * max(least, 1),
        "/a/",
        "/",
        "AKIA" + "A" * 16,
        "v1",
        "1.2.3",
        "01234567-89ab-cdef-0123-456789abcdef",
        "123456",
        "123456789012",
        "us-east-1a",
        "i-01234567",
        "ami-01234567",
        "Name",
        "Sum",
        "AWS:Software",
        "1.0",
        "1.0.0",
        "2026-11-25T08:30:00Z",
        "01234567-89ab-cdef-0123-456789abcdef",
        "arn:aws:iam::123456789012:role/a",
        "arn:aws:s3:::a",
        "arn:aws:s3:us-east-1:123456789012:a",
        "arn:aws:kms:us-east-1:123456789012:key/a",
        "arn:aws:scheduler:us-east-1:123456789012:schedule/a/a",
        "arn:aws:scheduler:us-east-1:123456789012:schedule-group/a",
        "arn:aws:sqs:us-east-1:123456789012:a",
        "arn:aws:outposts:us-east-1:123456789012:outpost/op-0123456789abcdef0",
        "",
    ):
        if least <= len(text) <= most and not list(_string(text, pattern)):
            return text
    if "/^" in pattern:
        # A beginning in the middle: a slip of the model's, which no text matches.
        return "a"
    raise AssertionError(f"no sample for {pattern}")


def _string(text: str, pattern: str) -> list[str]:
    shape = SimpleNamespace(type_name="string", metadata={"pattern": pattern})
    return list(violations(text, shape))
