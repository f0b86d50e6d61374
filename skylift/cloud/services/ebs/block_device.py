"""Block device mappings: which volumes a launch makes. The image says it first, the request over it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import BlockDevice, Snapshot
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.refusal import missing
from skylift.cloud.services.ebs.image_device import ROOT_DEVICE, devices_of
from skylift.cloud.services.ebs.volume_attachment import checked_device
from skylift.cloud.services.ebs.volume_making import (
    DEFAULT_TYPE,
    arn_of_snapshot,
    condition_keys,
    refuse_smaller,
    wanted_size,
)
from skylift.cloud.services.ebs.volume_type import Speed, refuse_size, speed
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


MOST = 28
"""How many volumes an instance may have, the root volume among them."""


class Mapped(TypedDict):
    """The part of a request that maps volumes to an instance."""

    BlockDeviceMappings: NotRequired[list[ec2.BlockDeviceMapping]]


def wanted_devices(tx: Tx, image: Image, mappings: Sequence[ec2.BlockDeviceMapping]) -> list[BlockDevice]:
    """The root volume first. Raises where a mapping cannot be carried out."""
    devices = {one.device: one for one in devices_of(image)}
    seen: set[str] = set()
    for mapping in mappings:
        name = mapping.get("DeviceName")
        if not name:
            raise missing("DeviceName")
        if name in seen:
            raise _wrong(f"Duplicate device name {name}")
        seen.add(name)
        if "VirtualName" in mapping and "Ebs" not in mapping and "NoDevice" not in mapping:
            # With Ebs it has no effect; alone it asks for a disk of the machine itself.
            raise ServiceError(
                "UnsupportedOperation",
                "This cloud does not carry out BlockDeviceMappings.VirtualName: its servers have no instance store.",
            )
        if "NoDevice" in mapping:
            if name == ROOT_DEVICE:
                raise _wrong(f"The root device {ROOT_DEVICE} cannot be left out.")
            devices.pop(name, None)
        elif name == ROOT_DEVICE:
            devices[name] = _root(image, devices[name], mapping.get("Ebs") or {})
        else:
            devices[checked_device(name)] = _data(tx, name, devices.get(name), mapping.get("Ebs") or {})
    if len(devices) > MOST:
        raise ServiceError("AttachmentLimitExceeded", f"An instance has at most {MOST} volumes.")
    return list(devices.values())


def checks(tx: Tx, caller: Caller, image: Image | None, zone: str | None, params: Mapped) -> Iterator[Check]:
    """The checks of each volume that a launch makes, and of its snapshot."""
    mappings = {one.get("DeviceName", ""): one for one in params.get("BlockDeviceMappings") or []}
    devices = {one.device: one for one in devices_of(image)} if image else {}
    for name in dict.fromkeys((*devices, *mappings)):
        mapping: ec2.BlockDeviceMapping = mappings.get(name, {})
        device = devices.get(name)
        if "NoDevice" in mapping:
            continue
        asked = mapping.get("Ebs") or {}
        snapshot_id = asked.get("SnapshotId") or (device.snapshot_id if device else None)
        snapshot = tx.get(Snapshot, id=snapshot_id) if snapshot_id else None
        context = condition_keys(
            kind=asked.get("VolumeType") or (device.type if device else DEFAULT_TYPE),
            size=asked.get("VolumeSize") or (device.size_gib if device else snapshot.size_gib if snapshot else None),
            iops=asked.get("Iops"),
            throughput=asked.get("Throughput"),
            parent=arn_of_snapshot(caller, snapshot_id),
        )
        if zone:
            context["ec2:AvailabilityZone"] = zone
        yield from making(caller, "RunInstances", "volume", params, more=context)
        if asked.get("SnapshotId"):
            yield on_row(tx, caller, "ec2:RunInstances", Snapshot, asked["SnapshotId"])


def _root(image: Image, below: BlockDevice, asked: ec2.EbsBlockDevice) -> BlockDevice:
    """A launch may change a root volume's size, type and deletion, not its snapshot."""
    size = asked.get("VolumeSize", below.size_gib)
    if size < image.size_gib:
        raise _wrong(f"Volume of size {size}GB is smaller than image '{image.id}', expect size >= {image.size_gib}GB")
    if asked.get("SnapshotId") not in (None, image.snapshot_id):
        raise _wrong(f"The snapshot of the root device is that of '{image.id}'; it cannot be changed.")
    kind = asked.get("VolumeType", below.type)
    if kind in ("st1", "sc1"):
        raise _wrong(f"A volume of type {kind} cannot be a root volume.")
    refuse_size(kind, max(size, 4) if kind in ("io1", "io2") else size)
    iops, throughput = _speed(kind, size, below, asked)
    ends = asked.get("DeleteOnTermination", below.delete_on_termination)
    bounded = below.bounded or "VolumeSize" in asked
    return BlockDevice(ROOT_DEVICE, size, kind, iops, throughput, image.snapshot_id, ends, bounded)


def _data(tx: Tx, name: str, below: BlockDevice | None, asked: ec2.EbsBlockDevice) -> BlockDevice:
    snapshot_id = asked.get("SnapshotId") or (below.snapshot_id if below else None)
    size = _size(tx, below, asked)
    kind = asked.get("VolumeType") or (below.type if below else DEFAULT_TYPE)
    refuse_size(kind, size)
    iops, throughput = _speed(kind, size, below, asked)
    ends = asked.get("DeleteOnTermination", below.delete_on_termination if below else True)
    return BlockDevice(name, size, kind, iops, throughput, snapshot_id, ends)


def _size(tx: Tx, below: BlockDevice | None, asked: ec2.EbsBlockDevice) -> int:
    if asked.get("SnapshotId") or below is None or below.snapshot_id is None:
        return wanted_size(tx, asked.get("SnapshotId"), asked.get("VolumeSize", below.size_gib if below else None))
    # Of an image that is being made, the snapshot is not there yet.
    size = asked.get("VolumeSize", below.size_gib)
    snapshot = tx.get(Snapshot, id=below.snapshot_id)
    refuse_smaller(size, below.snapshot_id, snapshot.size_gib if snapshot else below.size_gib)
    return size


def _speed(kind: str, size: int, below: BlockDevice | None, asked: ec2.EbsBlockDevice) -> Speed:
    same = below is not None and below.type == kind and kind != "gp2"
    return speed(
        kind,
        size,
        asked.get("Iops", below.iops if below and same else None),
        asked.get("Throughput", below.throughput if below and same else None),
    )


def _wrong(message: str) -> ServiceError:
    return ServiceError("InvalidBlockDeviceMapping", message)
