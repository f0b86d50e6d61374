"""Images that the account makes: out of a server's volumes, or as a copy of another image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.volume import BlockDevice, Snapshot, Volume
from skylift.cloud.services.api.check import creates, making, on_row
from skylift.cloud.services.api.client_token import remember, result_of
from skylift.cloud.services.api.ec2_operation import writes
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.refusal import invalid, refuse_other_values
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.api.tag import Tags, specified
from skylift.cloud.services.ebs.block_device import device_requests, wanted_devices
from skylift.cloud.services.ebs.image_device import ROOT_DEVICE, devices_of
from skylift.cloud.services.ebs.snapshot_making import new_snapshot
from skylift.cloud.services.ec2.image import existing_image, usable_image
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

MAX_DESCRIPTION = 255

CREATE_NEUTRAL: dict[str, tuple[object, ...]] = {
    "BlockDeviceMappings.Ebs.Encrypted": (False,),
    "SnapshotLocation": ("regional",),
}
COPY_NEUTRAL: dict[str, tuple[object, ...]] = {"Encrypted": (False,)}


def check_create(tx: Tx, caller: Caller, params: ec2.CreateImageRequest) -> Iterator[Check]:
    """An image comes with snapshots of the volumes, which need the permission as well."""
    yield from creates("CreateImage", "image", "InstanceId")(tx, caller, params)
    yield from making(caller, "CreateImage", "snapshot", params)
    for mapping in params.get("BlockDeviceMappings") or []:
        snapshot_id = (mapping.get("Ebs") or {}).get("SnapshotId")
        if snapshot_id:
            yield on_row(tx, caller, "ec2:CreateImage", Snapshot, snapshot_id)


def check_copy(tx: Tx, caller: Caller, params: ec2.CopyImageRequest) -> Iterator[Check]:
    yield from creates("CopyImage", "image", "SourceImageId")(tx, caller, params)
    yield from making(caller, "CopyImage", "snapshot", params)


def create(tx: Tx, _caller: Caller, params: ec2.CreateImageRequest) -> ec2.CreateImageResult:
    """A server that runs is shut down for its volumes to be copied, then started again; not so with `NoReboot`."""
    refuse_other_values(params, CREATE_NEUTRAL)
    instance = require(tx, Instance, params["InstanceId"])
    if instance.state not in ("running", "stopped"):
        raise ServiceError(
            "IncorrectState",
            f"The instance '{instance.id}' is {instance.state}; an image is made of one that is running or stopped.",
        )
    tags = specified(params, "image", "snapshot")
    volumes = [one for one in tx.find(Volume, instance_id=instance.id) if one.attachment in ("attaching", "attached")]
    (root,) = [one for one in volumes if one.root]
    image = replace(
        _own(tx, params["Name"], params.get("Description", ""), _source(tx, instance)),
        tags=tags.get("image", {}),
        root="",
        size_gib=root.size_gib,
        devices=tuple(_as_device(one) for one in volumes),
        state="pending",
        source_instance_id=instance.id,
        no_reboot=params.get("NoReboot", False),
    )
    of_device = {one.device: one for one in volumes}
    devices = [
        _captured(tx, device, of_device.get(device.device), image, tags.get("snapshot", {}))
        for device in wanted_devices(tx, image, device_requests(params.get("BlockDeviceMappings") or []))
    ]
    tx.add(replace(image, snapshot_id=devices[0].snapshot_id, devices=tuple(devices)))
    if instance.state == "running" and not image.no_reboot:
        tx.save(replace(instance, rebooting=True))
    return {"ImageId": image.id}


def copy(tx: Tx, caller: Caller, params: ec2.CopyImageRequest) -> ec2.CopyImageResult:
    """Images and snapshots never change, so a copy shares what its source holds."""
    made_before = result_of(tx, "CopyImage", params)
    if made_before:
        return {"ImageId": made_before}
    refuse_other_values(params, COPY_NEUTRAL)
    if params["SourceRegion"] != caller.region:
        raise ServiceError(
            "InvalidRequest", f"This cloud has one region, {caller.region}; images cannot be copied from another."
        )
    source = usable_image(tx, params["SourceImageId"])
    tags = specified(params, "image", "snapshot")
    image = replace(
        _own(tx, params["Name"], params.get("Description", source.description), source),
        tags={**(source.tags if params.get("CopyImageTags") else {}), **tags.get("image", {})},
        source_image_id=source.id,
    )
    devices = [_copied(tx, device, source, image, tags.get("snapshot", {})) for device in devices_of(source)]
    image = replace(image, snapshot_id=devices[0].snapshot_id, devices=tuple(devices))
    waits = tx.find(Snapshot, image_id=image.id, state="pending")
    tx.add(replace(image, state="pending") if waits else image)
    remember(tx, "CopyImage", params, image.id)
    return {"ImageId": image.id}


def _captured(tx: Tx, device: BlockDevice, volume: Volume | None, image: Image, tags: Tags) -> BlockDevice:
    """The device with a snapshot of the server's volume, unless it is to be another one."""
    if volume is None or device.snapshot_id is not None:
        return device
    if device.size_gib < volume.size_gib:
        raise ServiceError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {device.size_gib}GB is smaller than '{volume.id}', expect size >= {volume.size_gib}GB",
        )
    text = f"Created by CreateImage({image.source_instance_id}) for {image.id}"
    return replace(device, snapshot_id=new_snapshot(tx, volume, text, tags, image.id, image.id).id)


def _copied(tx: Tx, device: BlockDevice, source: Image, image: Image, tags: Tags) -> BlockDevice:
    """The root is there already; of a data volume the file has to be given another name."""
    of_root = device.device == ROOT_DEVICE
    if device.snapshot_id is None and not of_root:
        return device
    found = tx.get(Snapshot, id=device.snapshot_id) if device.snapshot_id else None
    snapshot = Snapshot(
        id=new_id("snap"),
        volume_id="vol-ffffffff",
        size_gib=found.size_gib if found else source.size_gib if of_root else device.size_gib,
        started=tx.now,
        description=f"Copied for DestinationAmi {image.id} from SourceAmi {source.id}"
        + (f" for SourceSnapshot {device.snapshot_id}." if device.snapshot_id else "."),
        state="completed" if of_root else "pending",
        completed=tx.now if of_root else None,
        of_root=of_root,
        root=source.root if of_root else "",
        source_id=device.snapshot_id,
        image_id=image.id,
        tags=tags,
    )
    tx.add(snapshot)
    return replace(device, snapshot_id=snapshot.id)


def _source(tx: Tx, instance: Instance) -> Image:
    source = tx.get(Image, id=instance.image_id)
    assert source is not None, "an image stays as long as a server's disk is based on it"
    return source


def _as_device(volume: Volume) -> BlockDevice:
    """How the image's instances are to be given a volume like this one."""
    assert volume.device is not None
    return BlockDevice(
        volume.device,
        volume.size_gib,
        volume.type,
        volume.iops,
        volume.throughput,
        delete_on_termination=volume.delete_on_termination,
    )


def own_image(tx: Tx, image_id: str) -> Image:
    """An image that the account may change: one that it made."""
    image = existing_image(tx, image_id)
    if image.owner != "self":
        raise ServiceError("AuthFailure", f"Not authorized for image:{image_id}", status=403)
    return image


def checked_description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION:
        raise invalid(f"The description of an image has at most {MAX_DESCRIPTION} characters.")
    return text


def _own(tx: Tx, name: str, description: str, source: Image) -> Image:
    """An image of the account's with the name that is asked for, otherwise like its source."""
    return Image(
        id=new_id("ami"),
        name=free_name(tx, name),
        description=checked_description(description),
        root=source.root,
        size_gib=source.size_gib,
        created=tx.now,
        architecture=source.architecture,
        owner="self",
        public=False,
    )


def free_name(tx: Tx, name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}", name) is None:
        raise ServiceError(
            "InvalidAMIName.Malformed",
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', "
            "'-', '/', '_', \"'\", '@', '[', ']' and spaces",
        )
    for other in tx.find(Image, owner="self", name=name):
        if other.state != "deregistered":
            raise ServiceError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {other.id}")
    return name


OPERATIONS = (
    writes(
        "CreateImage",
        create,
        "InstanceId Name Description NoReboot TagSpecifications BlockDeviceMappings.DeviceName "
        "BlockDeviceMappings.NoDevice BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeSize "
        "BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.Ebs.Iops BlockDeviceMappings.Ebs.Throughput "
        "BlockDeviceMappings.Ebs.DeleteOnTermination " + " ".join(CREATE_NEUTRAL),
        check_create,
    ),
    writes(
        "CopyImage",
        copy,
        "Name SourceImageId SourceRegion Description ClientToken CopyImageTags TagSpecifications "
        + " ".join(COPY_NEUTRAL),
        check_copy,
    ),
)
