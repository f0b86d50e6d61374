"""Volumes and the instances that they are attached to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.volume import Volume
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.ec2_operation import acts, writes
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.refusal import invalid, invalid_value, refuse_other_values
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.ebs.image_device import ROOT_DEVICE
from skylift.cloud.services.ebs.volume import attachment_view
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

NEUTRAL: dict[str, tuple[object, ...]] = {"EbsCardIndex": (0,)}

_DEVICE = re.compile(r"/dev/(sd[a-z]([1-9]|1[0-5])?|xvd[a-z]{1,2}([1-9]|1[0-5])?)")


def attach(tx: Tx, _caller: Caller, params: ec2.AttachVolumeRequest) -> ec2.VolumeAttachment:
    refuse_other_values(params, NEUTRAL)
    volume = require(tx, Volume, params["VolumeId"])
    instance = require(tx, Instance, params["InstanceId"])
    device = checked_device(params["Device"])
    if volume.instance_id:
        raise ServiceError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume.state != "available":
        raise ServiceError("IncorrectState", f"{volume.id} is not 'available'.")
    if instance.state not in ("running", "stopped"):
        raise ServiceError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.zone != instance.zone:
        raise ServiceError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
        )
    if device == ROOT_DEVICE or tx.find(Volume, instance_id=instance.id, device=device):
        raise invalid(f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use")
    attached = replace(
        volume, state="in-use", instance_id=instance.id, device=device, attachment="attaching", attached=tx.now
    )
    tx.save(attached)
    return attachment_view(attached)


def detach(tx: Tx, _caller: Caller, params: ec2.DetachVolumeRequest) -> ec2.VolumeAttachment:
    """Detache a volume. It is `busy` until the server's programs have closed its files, unless it is forced."""
    volume = require(tx, Volume, params["VolumeId"])
    if params.get("InstanceId"):
        require(tx, Instance, params["InstanceId"])
    if volume.instance_id is None or volume.state != "in-use":
        raise ServiceError("IncorrectState", f"Volume '{volume.id}' is in the '{volume.state}' state.")
    if params.get("InstanceId") not in (None, volume.instance_id):
        raise ServiceError("InvalidAttachment.NotFound", f"'{volume.id}' is not attached to '{params['InstanceId']}'")
    if params.get("Device") not in (None, volume.device):
        raise ServiceError(
            "InvalidAttachment.NotFound", f"'{volume.id}' is not attached to device '{params['Device']}'"
        )
    if volume.root:
        raise _root(tx, volume)
    detaching = replace(
        volume,
        attachment=volume.attachment if volume.attachment == "busy" else "detaching",
        forced=volume.forced or params.get("Force", False),
    )
    tx.save(detaching)
    return attachment_view(detaching)


def check_detach(tx: Tx, caller: Caller, params: ec2.DetachVolumeRequest) -> Iterator[Check]:
    """The volume, and the instance that it is attached to whether that is named or not."""
    volume = tx.get(Volume, id=params["VolumeId"])
    yield on_row(tx, caller, "ec2:DetachVolume", Volume, params["VolumeId"])
    instance_id = params.get("InstanceId") or (volume.instance_id if volume else None)
    if instance_id:
        yield on_row(tx, caller, "ec2:DetachVolume", Instance, instance_id)


def checked_device(name: str) -> str:
    """The name of an attachment point; its last part is the directory below /mnt where a server finds the volume."""
    if _DEVICE.fullmatch(name) is None:
        raise invalid_value(name, "device", f"{name} is not a valid EBS device name.")
    return name


def _root(tx: Tx, volume: Volume) -> ServiceError:
    instance = tx.get(Instance, id=volume.instance_id)
    if instance is not None and instance.state == "stopped":
        return ServiceError(
            "UnsupportedOperation",
            f"This cloud keeps a root volume with its instance: '{volume.id}' cannot be detached from "
            f"'{volume.instance_id}'. A snapshot of it can be attached to another one as a volume.",
        )
    return ServiceError(
        "OperationNotPermitted", f"Unable to detach root volume '{volume.device}' from instance '{volume.instance_id}'"
    )


OPERATIONS = (
    acts("AttachVolume", attach, "Device InstanceId VolumeId " + " ".join(NEUTRAL), "VolumeId", "InstanceId"),
    writes("DetachVolume", detach, "Device Force InstanceId VolumeId", check_detach),
)
