"""Every operation of Systems Manager and EC2 Instance Connect that this cloud carries out."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Handler, Operation
from skylift.cloud.services.ec2 import connect
from skylift.cloud.services.ssm import parameter, parameter_put
from skylift.cloud.services.ssm.parameter import Checks, on_names

PAGES = "MaxResults NextToken"
_FILTERS = "ParameterFilters.Key ParameterFilters.Option ParameterFilters.Values"
_TAGGED = "ResourceType ResourceId"


def _ssm(name: str, handler: Handler, takes: str, checks: Checks, *, writes: bool) -> Operation:
    return Operation("ssm", name, handler, frozenset(takes.split()), checks, writes)


def _reads(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return _ssm(name, handler, takes, checks, writes=False)


def _writes(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return _ssm(name, handler, takes, checks, writes=True)


SSM_OPERATIONS: tuple[Operation, ...] = (
    # WithDecryption is for SecureStrings only; AWS ignores it for other parameters too.
    _reads("GetParameter", parameter.get, "Name WithDecryption", on_names("GetParameter", "Name")),
    _reads("GetParameters", parameter.get_many, "Names WithDecryption", on_names("GetParameters", "Names")),
    _reads(
        "GetParametersByPath",
        parameter.by_path,
        f"Path Recursive WithDecryption {_FILTERS} {PAGES}",
        parameter.on_path,
    ),
    _reads(
        "GetParameterHistory",
        parameter.history,
        f"Name WithDecryption {PAGES}",
        on_names("GetParameterHistory", "Name"),
    ),
    _reads("DescribeParameters", parameter_put.describe, f"Filters {_FILTERS} {PAGES}", parameter.on_all),
    _writes(
        "PutParameter",
        parameter_put.put,
        "Name Description Value Type Overwrite Tags Tier DataType",
        parameter_put.checks,
    ),
    _writes("DeleteParameter", parameter.delete, "Name", on_names("DeleteParameter", "Name")),
    _writes("DeleteParameters", parameter.delete_many, "Names", on_names("DeleteParameters", "Names")),
    _writes("AddTagsToResource", parameter.add_tags, f"{_TAGGED} Tags", on_names("AddTagsToResource", "ResourceId")),
    _writes(
        "RemoveTagsFromResource",
        parameter.remove_tags,
        f"{_TAGGED} TagKeys",
        on_names("RemoveTagsFromResource", "ResourceId"),
    ),
    _reads("ListTagsForResource", parameter.list_tags, _TAGGED, on_names("ListTagsForResource", "ResourceId")),
    Operation(
        "ec2-instance-connect",
        "SendSSHPublicKey",
        connect.send_ssh_public_key,
        frozenset(("InstanceId", "InstanceOSUser", "SSHPublicKey", "AvailabilityZone")),
        connect.checks,
        writes=True,
    ),
)
