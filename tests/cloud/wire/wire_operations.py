"""The operations that round trips are tried on, and random values for their shapes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

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


# XML 1.0 has no way to carry most control characters, and parsers read a bare carriage return as a line feed.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=12
)
# Header values lose white space at their ends, and commas separate items.
HEADER_TEXT = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='",'), min_size=1, max_size=12
)
HEADER_NAME = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
LABELS = {
    "Bucket": st.from_regex(r"[a-z][a-z0-9-]{2,8}", fullmatch=True),
    "Key": st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12),
}
BOOLEAN = st.booleans()
BYTES = st.binary(max_size=12)
COUNT = st.integers(0, 2)


@dataclass(frozen=True)
class Values:
    """Draws values of a shape, in botocore's member names.

    `moment` makes timestamps of the precision that the protocol carries; `empties` says whether an empty list, map or
    structure survives the trip; members with one of the traits in `without` are left out.
    """

    moment: st.SearchStrategy[datetime]
    empties: bool
    without: str = ""

    def draw(self, data: st.DataObject, shape: Any, depth: int = 0) -> Any:
        if shape is None:
            return {}
        if shape.serialization.get("location") in ("header", "headers", "querystring"):
            return self._in_head(data, shape)
        match shape.type_name:
            case "structure":
                return self._structure(data, shape, depth)
            case "list":
                return [self.draw(data, shape.member, depth + 1) for _ in range(self._how_many(data, shape))]
            case "map":
                keys = [data.draw(TEXT) + "k" for _ in range(self._how_many(data, shape))]
                return {key: self.draw(data, shape.value, depth + 1) for key in keys}
            case "timestamp":
                whole = shape.serialization.get("timestampFormat") == "rfc822"
                return self._whole_second(data) if whole else data.draw(self.moment)
            case _:
                return self._scalar(data, shape)

    def _how_many(self, data: st.DataObject, shape: Any) -> int:
        wanted = data.draw(COUNT) if self.empties else max(1, data.draw(COUNT))
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 2)
        return int(min(max(wanted, least), most))

    def _structure(self, data: st.DataObject, shape: Any, depth: int) -> dict[str, Any]:
        required = [name for name in shape.metadata.get("required", []) if name in shape.members]
        optional = [
            name
            for name, member in shape.members.items()
            if name not in required
            and not (self.without and member.serialization.get(self.without))
            and (depth < 4 or member.type_name not in ("structure", "list", "map"))
        ]
        if shape.metadata.get("union"):
            names = [data.draw(st.sampled_from(optional))]
        else:
            some = data.draw(st.lists(st.sampled_from(optional), max_size=4, unique=True)) if optional else []
            names = required + some or ([] if self.empties else optional[:1])
        params = {name: self._member(data, name, shape.members[name], depth) for name in names}
        # What is required and empty is as good as missing where emptiness is not carried.
        hollow = [name for name in required if params[name] == [] or params[name] == ""]
        return params | {name: self._something(data, shape.members[name], depth) for name in hollow}

    def _something(self, data: st.DataObject, shape: Any, depth: int) -> Any:
        return [self.draw(data, shape.member, depth + 1)] if shape.type_name == "list" else "something"

    def _member(self, data: st.DataObject, name: str, shape: Any, depth: int) -> Any:
        if shape.serialization.get("location") == "uri":
            return data.draw(LABELS[name])
        return self.draw(data, shape, depth + 1)

    def _in_head(self, data: st.DataObject, shape: Any) -> Any:
        match shape.type_name:
            case "timestamp":
                return self._whole_second(data)
            case "map":
                return {data.draw(HEADER_NAME): data.draw(HEADER_TEXT)}
            case "list":
                return [data.draw(HEADER_TEXT) for _ in range(max(1, data.draw(COUNT)))]
            case "string" if "enum" not in shape.metadata:
                return data.draw(HEADER_TEXT)
            case _:
                return self._scalar(data, shape)

    def _whole_second(self, data: st.DataObject) -> datetime:
        return data.draw(self.moment).replace(microsecond=0)

    def _scalar(self, data: st.DataObject, shape: Any) -> Any:
        metadata = shape.metadata
        least, most = metadata.get("min"), metadata.get("max")
        match shape.type_name:
            case "boolean":
                return data.draw(BOOLEAN)
            case "integer" | "long":
                bits = 31 if shape.type_name == "integer" else 63
                lowest = -(2**bits) if least is None else int(least)
                highest = 2**bits - 1 if most is None else min(int(most), 2**bits - 1)
                return data.draw(st.integers(lowest, highest))
            case "float" | "double":
                return data.draw(st.floats(min_value=least, max_value=most, allow_nan=False))
            case "blob":
                return data.draw(BYTES)
        if metadata.get("enum"):
            return data.draw(st.sampled_from(metadata["enum"]))
        if "pattern" in metadata:
            return sample(shape)
        return data.draw(TEXT)[: int(most or 12) - int(least or 0)] + "x" * int(least or 0)


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
        "123456",
        "123456789012",
        "us-east-1a",
        "i-01234567",
        "ami-01234567",
        "Name",
        "AWS:Software",
        "1.0",
        "2026-11-25T08:30:00Z",
        "arn:aws:iam::123456789012:role/a",
        "arn:aws:s3:::a",
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
