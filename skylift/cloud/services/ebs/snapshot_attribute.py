"""The other accounts that may make volumes of a snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.volume import Snapshot
from skylift.cloud.services.api.ec2_operation import acts, shows
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import combination, invalid_value, missing
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.api.sharing import Change, change_of, shared
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
    users, public = shared(_asked(params), snapshot.users, snapshot.public, _wrong)
    tx.save(replace(snapshot, users=users, public=public))
    return {}


def reset(tx: Tx, _caller: Caller, params: ec2.ResetSnapshotAttributeRequest) -> Nothing:
    if params["Attribute"] != PERMISSION:
        raise invalid_value(params["Attribute"], "attribute", f"{PERMISSION} alone can be reset.")
    tx.save(replace(require(tx, Snapshot, params["SnapshotId"]), users=(), public=False))
    return {}


def _asked(params: ec2.ModifySnapshotAttributeRequest) -> Change:
    listed = params.get("UserIds") or params.get("GroupNames")
    if params.get("CreateVolumePermission") and listed:
        raise combination("CreateVolumePermission cannot be combined with UserIds and GroupNames.")
    if not params.get("CreateVolumePermission") and not listed:
        raise missing("createVolumePermission")
    return change_of(params, "CreateVolumePermission")


def _wrong(value: str, kind: str) -> ServiceError:
    return invalid_value(
        value, kind, "It has to be all." if kind == "group" else "It has to be the number of an account."
    )


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
