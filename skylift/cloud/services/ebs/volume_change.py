"""Volumes that are changed: made larger or of another type, and their one attribute."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.volume import Modification, Volume
from skylift.cloud.services.api.ec2_operation import acts, shows
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import invalid, invalid_value, missing, refuse_other_values
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.ebs.volume import modification_view
from skylift.cloud.services.ebs.volume_type import refuse_size, speed
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

NEUTRAL: dict[str, tuple[object, ...]] = {"MultiAttachEnabled": (False,)}


def modify(tx: Tx, _caller: Caller, params: ec2.ModifyVolumeRequest) -> ec2.ModifyVolumeResult:
    """A volume that a server has grows while it is used, with the file system on it."""
    refuse_other_values(params, NEUTRAL)
    volume = require(tx, Volume, params["VolumeId"])
    if not any(params.get(name) is not None for name in ("Size", "VolumeType", "Iops", "Throughput")):
        raise missing("Size")
    if volume.state not in ("available", "in-use"):
        raise ServiceError("IncorrectState", f"The volume '{volume.id}' is '{volume.state}'.")
    if volume.modification is not None and volume.modification.state == "modifying":
        raise ServiceError(
            "IncorrectModificationState",
            f"Volume {volume.id} is currently being modified; wait until its modification is completed.",
        )
    size = params.get("Size", volume.size_gib)
    if size < volume.size_gib:
        raise invalid("New size cannot be smaller than existing size")
    kind = params.get("VolumeType", volume.type)
    refuse_size(kind, size)
    same = kind == volume.type
    settable = same and kind in ("gp3", "io1", "io2")
    iops, throughput = speed(
        kind,
        size,
        params.get("Iops", volume.iops if settable else None),
        params.get("Throughput", volume.throughput if same else None),
    )
    change = Modification(
        size_gib=size,
        type=kind,
        iops=iops,
        throughput=throughput,
        original_size_gib=volume.size_gib,
        original_type=volume.type,
        original_iops=volume.iops,
        original_throughput=volume.throughput,
        started=tx.now,
    )
    tx.save(replace(volume, modification=change))
    return {"VolumeModification": modification_view(volume, change)}


def describe_attribute(
    tx: Tx, _caller: Caller, params: ec2.DescribeVolumeAttributeRequest
) -> ec2.DescribeVolumeAttributeResult:
    volume = require(tx, Volume, params["VolumeId"])
    values: dict[str, ec2.DescribeVolumeAttributeResult] = {
        "autoEnableIO": {"AutoEnableIO": {"Value": volume.auto_enable_io}},
        "productCodes": {"ProductCodes": []},
    }
    if params["Attribute"] not in values:
        raise invalid_value(params["Attribute"], "attribute", "Unknown attribute.")
    return {"VolumeId": volume.id, **values[params["Attribute"]]}


def modify_attribute(tx: Tx, _caller: Caller, params: ec2.ModifyVolumeAttributeRequest) -> Nothing:
    """AutoEnableIO says what follows once a volume's I/O is off, which this cloud never switches off."""
    volume = require(tx, Volume, params["VolumeId"])
    if "AutoEnableIO" not in params:
        raise missing("AutoEnableIO")
    tx.save(replace(volume, auto_enable_io=params["AutoEnableIO"].get("Value", False)))
    return {}


def enable_io(tx: Tx, _caller: Caller, params: ec2.EnableVolumeIORequest) -> Nothing:
    """The I/O of a volume is always on."""
    require(tx, Volume, params["VolumeId"])
    return {}


OPERATIONS = (
    acts("ModifyVolume", modify, "VolumeId Size VolumeType Iops Throughput " + " ".join(NEUTRAL), "VolumeId"),
    shows("DescribeVolumeAttribute", describe_attribute, "VolumeId Attribute", "VolumeId"),
    acts("ModifyVolumeAttribute", modify_attribute, "VolumeId AutoEnableIO", "VolumeId"),
    acts("EnableVolumeIO", enable_io, "VolumeId", "VolumeId"),
)
