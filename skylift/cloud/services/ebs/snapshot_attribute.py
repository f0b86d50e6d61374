"""The other accounts that may make volumes of a snapshot."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.volume import Snapshot
from skylift.cloud.services.api.ec2_operation import acts, shows
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import combination, invalid_value, missing
from skylift.cloud.services.api.resource import require
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

PERMISSION = "createVolumePermission"


def describe(
    tx: Tx, _caller: Caller, params: ec2.DescribeSnapshotAttributeRequest
) -> ec2.DescribeSnapshotAttributeResult:
    snapshot = require(tx, Snapshot, params["SnapshotId"])
    permissions: list[ec2.CreateVolumePermission] = [{"UserId": user} for user in snapshot.users]
    if snapshot.public:
        permissions.insert(0, {"Group": "all"})
    values: dict[str, ec2.DescribeSnapshotAttributeResult] = {
        PERMISSION: {"CreateVolumePermissions": permissions},
        "productCodes": {"ProductCodes": []},
    }
    if params["Attribute"] not in values:
        raise invalid_value(params["Attribute"], "attribute", "Unknown attribute.")
    return {"SnapshotId": snapshot.id, **values[params["Attribute"]]}


def modify(tx: Tx, _caller: Caller, params: ec2.ModifySnapshotAttributeRequest) -> Nothing:
    """Takes CreateVolumePermission or, from older tools, OperationType with users and groups."""
    snapshot = require(tx, Snapshot, params["SnapshotId"])
    if params.get("Attribute", PERMISSION) != PERMISSION:
        raise invalid_value(params["Attribute"], "attribute", f"{PERMISSION} alone can be changed.")
    add, remove = _asked(params)
    users = (set(snapshot.users) | set(_users(add))) - set(_users(remove))
    public = (snapshot.public or _everyone(add)) and not _everyone(remove)
    tx.save(replace(snapshot, users=tuple(sorted(users)), public=public))
    return {}


def reset(tx: Tx, _caller: Caller, params: ec2.ResetSnapshotAttributeRequest) -> Nothing:
    if params["Attribute"] != PERMISSION:
        raise invalid_value(params["Attribute"], "attribute", f"{PERMISSION} alone can be reset.")
    tx.save(replace(require(tx, Snapshot, params["SnapshotId"]), users=(), public=False))
    return {}


def _asked(
    params: ec2.ModifySnapshotAttributeRequest,
) -> tuple[list[ec2.CreateVolumePermission], list[ec2.CreateVolumePermission]]:
    permission = params.get("CreateVolumePermission")
    listed: list[ec2.CreateVolumePermission] = [{"UserId": user} for user in params.get("UserIds", [])]
    listed += [{"Group": group} for group in params.get("GroupNames", [])]
    if permission and listed:
        raise combination("CreateVolumePermission cannot be combined with UserIds and GroupNames.")
    if permission:
        return permission.get("Add", []), permission.get("Remove", [])
    if not listed:
        raise missing("createVolumePermission")
    if params.get("OperationType") == "add":
        return listed, []
    if params.get("OperationType") == "remove":
        return [], listed
    raise invalid_value(params.get("OperationType"), "operationType", "It has to be add or remove.")


def _users(permissions: list[ec2.CreateVolumePermission]) -> list[str]:
    users = [one["UserId"] for one in permissions if one.get("UserId")]
    for user in users:
        if re.fullmatch(r"\d{12}", user) is None:
            raise invalid_value(user, "userId", "It has to be the number of an account.")
    return users


def _everyone(permissions: list[ec2.CreateVolumePermission]) -> bool:
    groups = [one["Group"] for one in permissions if one.get("Group")]
    for group in groups:
        if group != "all":
            raise invalid_value(group, "group", "It has to be all.")
    return bool(groups)


OPERATIONS = (
    shows("DescribeSnapshotAttribute", describe, "SnapshotId Attribute", "SnapshotId"),
    acts(
        "ModifySnapshotAttribute",
        modify,
        "SnapshotId Attribute OperationType UserIds GroupNames CreateVolumePermission.Add.Group "
        "CreateVolumePermission.Add.UserId CreateVolumePermission.Remove.Group CreateVolumePermission.Remove.UserId",
        "SnapshotId",
    ),
    acts("ResetSnapshotAttribute", reset, "SnapshotId Attribute", "SnapshotId"),
)
