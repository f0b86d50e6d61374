"""Block device mappings: which volumes a launch makes. The image says it first, the request over it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.launch_request import DeviceRequest, VolumeRequest
from skylift.cloud.domain.volume import BlockDevice, Snapshot
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.condition_key import of_zone
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.refusal import missing
from skylift.cloud.services.api.tag import Tagged
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
"""The most volumes of an instance, with its root volume."""


def device_requests(
    mappings: Iterable[ec2.BlockDeviceMapping | ec2.FleetBlockDeviceMappingRequest],
) -> tuple[DeviceRequest, ...]:
    """The BlockDeviceMappings of a request, parsed."""
    return tuple(
        DeviceRequest(
            device=one.get("DeviceName"),
            virtual_name=one.get("VirtualName"),
            left_out=True if "NoDevice" in one else None,
            volume=_volume_request(one["Ebs"]) if "Ebs" in one else None,
        )
        for one in mappings
    )


def _volume_request(asked: ec2.EbsBlockDevice | ec2.FleetEbsBlockDeviceRequest) -> VolumeRequest:
    return VolumeRequest(
        size_gib=asked.get("VolumeSize"),
        type=asked.get("VolumeType"),
        iops=asked.get("Iops"),
        throughput=asked.get("Throughput"),
        snapshot_id=asked.get("SnapshotId"),
        delete_on_termination=asked.get("DeleteOnTermination"),
        encrypted=asked.get("Encrypted"),
    )


def device_mapping(request: DeviceRequest) -> ec2.BlockDeviceMapping:
    """A request as EC2 answers it: what was asked for, and nothing else."""
    return {
        **({"DeviceName": request.device} if request.device is not None else {}),
        **({"VirtualName": request.virtual_name} if request.virtual_name is not None else {}),
        **({"NoDevice": ""} if request.left_out else {}),
        **({"Ebs": _volume_view(request.volume)} if request.volume is not None else {}),
    }


def _volume_view(asked: VolumeRequest) -> ec2.EbsBlockDevice:
    return {
        **({"VolumeSize": asked.size_gib} if asked.size_gib is not None else {}),
        **({"VolumeType": asked.type} if asked.type is not None else {}),
        **({"Iops": asked.iops} if asked.iops is not None else {}),
        **({"Throughput": asked.throughput} if asked.throughput is not None else {}),
        **({"SnapshotId": asked.snapshot_id} if asked.snapshot_id is not None else {}),
        **({"DeleteOnTermination": asked.delete_on_termination} if asked.delete_on_termination is not None else {}),
        **({"Encrypted": asked.encrypted} if asked.encrypted is not None else {}),
    }


def wanted_devices(tx: Tx, image: Image, requests: Sequence[DeviceRequest]) -> list[BlockDevice]:
    """The root volume first. Raises where one cannot be carried out."""
    devices = {one.device: one for one in devices_of(image)}
    seen: set[str] = set()
    for request in requests:
        name = request.device
        if not name:
            raise missing("DeviceName")
        if name in seen:
            raise _wrong(f"Duplicate device name {name}")
        seen.add(name)
        if request.virtual_name is not None and request.volume is None and not request.left_out:
            # With Ebs it has no effect; alone it asks for a disk of the machine itself.
            raise ServiceError(
                "UnsupportedOperation",
                "This cloud does not carry out BlockDeviceMappings.VirtualName: its servers have no instance store.",
            )
        asked = request.volume or VolumeRequest()
        if request.left_out:
            if name == ROOT_DEVICE:
                raise _wrong(f"The root device {ROOT_DEVICE} cannot be left out.")
            devices.pop(name, None)
        elif name == ROOT_DEVICE:
            devices[name] = _root(image, devices[name], asked)
        else:
            devices[checked_device(name)] = _data(tx, name, devices.get(name), asked)
    if len(devices) > MOST:
        raise ServiceError("AttachmentLimitExceeded", f"An instance has at most {MOST} volumes.")
    return list(devices.values())


def checks(
    tx: Tx, caller: Caller, image: Image | None, zone: str | None, requests: Sequence[DeviceRequest], tags: Tagged
) -> Iterator[Check]:
    """The checks of each volume that a launch makes, and of its snapshot."""
    named = {one.device or "": one for one in requests}
    devices = {one.device: one for one in devices_of(image)} if image else {}
    for name in dict.fromkeys((*devices, *named)):
        request = named.get(name, DeviceRequest())
        device = devices.get(name)
        if request.left_out:
            continue
        asked = request.volume or VolumeRequest()
        snapshot_id = asked.snapshot_id or (device.snapshot_id if device else None)
        snapshot = tx.get(Snapshot, id=snapshot_id) if snapshot_id else None
        context = condition_keys(
            kind=asked.type or (device.type if device else DEFAULT_TYPE),
            size=asked.size_gib or (device.size_gib if device else snapshot.size_gib if snapshot else None),
            iops=asked.iops,
            throughput=asked.throughput,
            parent=arn_of_snapshot(caller, snapshot_id),
        )
        more = {**context, **(of_zone(zone) if zone else {})}
        yield from making(caller, "RunInstances", "volume", tags, more=more)
        if asked.snapshot_id:
            yield on_row(tx, caller, "ec2:RunInstances", Snapshot, asked.snapshot_id)


def _root(image: Image, below: BlockDevice, asked: VolumeRequest) -> BlockDevice:
    """A launch may change a root volume's size, type and deletion, not its snapshot."""
    size = below.size_gib if asked.size_gib is None else asked.size_gib
    if size < image.size_gib:
        raise _wrong(f"Volume of size {size}GB is smaller than image '{image.id}', expect size >= {image.size_gib}GB")
    if asked.snapshot_id not in (None, image.snapshot_id):
        raise _wrong(f"The snapshot of the root device is that of '{image.id}'; it cannot be changed.")
    kind = below.type if asked.type is None else asked.type
    if kind in ("st1", "sc1"):
        raise _wrong(f"A volume of type {kind} cannot be a root volume.")
    refuse_size(kind, max(size, 4) if kind in ("io1", "io2") else size)
    iops, throughput = _speed(kind, size, below, asked)
    ends = below.delete_on_termination if asked.delete_on_termination is None else asked.delete_on_termination
    return BlockDevice(ROOT_DEVICE, size, kind, iops, throughput, image.snapshot_id, ends)


def _data(tx: Tx, name: str, below: BlockDevice | None, asked: VolumeRequest) -> BlockDevice:
    snapshot_id = asked.snapshot_id or (below.snapshot_id if below else None)
    size = _size(tx, below, asked)
    kind = asked.type or (below.type if below else DEFAULT_TYPE)
    refuse_size(kind, size)
    iops, throughput = _speed(kind, size, below, asked)
    ends = asked.delete_on_termination
    if ends is None:
        ends = below.delete_on_termination if below else True
    return BlockDevice(name, size, kind, iops, throughput, snapshot_id, ends)


def _size(tx: Tx, below: BlockDevice | None, asked: VolumeRequest) -> int:
    size = below.size_gib if below and asked.size_gib is None else asked.size_gib
    if asked.snapshot_id or below is None or below.snapshot_id is None or size is None:
        return wanted_size(tx, asked.snapshot_id, size)
    # Of an image that is being made, the snapshot is not there yet.
    snapshot = tx.get(Snapshot, id=below.snapshot_id)
    refuse_smaller(size, below.snapshot_id, snapshot.size_gib if snapshot else below.size_gib)
    return size


def _speed(kind: str, size: int, below: BlockDevice | None, asked: VolumeRequest) -> Speed:
    iops, throughput = asked.iops, asked.throughput
    if below is not None and below.type == kind and kind != "gp2":
        iops = below.iops if iops is None else iops
        throughput = below.throughput if throughput is None else throughput
    return speed(kind, size, iops, throughput)


def _wrong(message: str) -> ServiceError:
    return ServiceError("InvalidBlockDeviceMapping", message)
