"""RegisterImage: an image out of the snapshot of a root volume, also of one that has outlived its server, with the data
volumes that its servers are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import Snapshot
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.ec2_operation import writes
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.refusal import missing, refuse_other_values
from skylift.cloud.services.api.resource import new_id
from skylift.cloud.services.api.tag import tags_for
from skylift.cloud.services.ebs.block_device import device_requests, wanted_devices
from skylift.cloud.services.ebs.image_device import ROOT_DEVICE
from skylift.cloud.services.ebs.volume_making import usable_snapshot
from skylift.cloud.services.ec2.image_making import checked_description, free_name
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

NEUTRAL: dict[str, tuple[object, ...]] = {
    "RootDeviceName": (ROOT_DEVICE,),
    "VirtualizationType": ("hvm",),
    "EnaSupport": (True,),
    "ImdsSupport": ("v2.0",),
    "BlockDeviceMappings.Ebs.Encrypted": (False,),
}


def register(tx: Tx, _caller: Caller, params: ec2.RegisterImageRequest) -> ec2.RegisterImageResult:
    """Of a root volume's snapshot it is there at once: neither ever changes, so that it shares what that holds. Of
    another one the file system has to be unpacked first."""
    refuse_other_values(params, NEUTRAL)
    mappings = params.get("BlockDeviceMappings") or []
    named = {one.get("DeviceName"): one.get("Ebs") or {} for one in mappings}
    root = named.get(ROOT_DEVICE, {})
    if not root.get("SnapshotId"):
        raise missing("BlockDeviceMappings.Ebs.SnapshotId")
    snapshot = usable_snapshot(tx, root["SnapshotId"])
    image = Image(
        id=new_id("ami"),
        name=free_name(tx, params["Name"]),
        description=checked_description(params.get("Description", "")),
        root=snapshot.root,
        size_gib=snapshot.size_gib,
        created=tx.now,
        architecture=_architecture(params),
        owner="self",
        public=False,
        state="available" if snapshot.of_root else "pending",
        tags=tags_for(params, "image"),
        snapshot_id=snapshot.id,
    )
    devices = wanted_devices(tx, image, device_requests(mappings))
    tx.add(replace(image, devices=tuple(devices)))
    return {"ImageId": image.id}


def checks(tx: Tx, caller: Caller, params: ec2.RegisterImageRequest) -> Iterator[Check]:
    yield from making(caller, "RegisterImage", "image", params)
    for mapping in params.get("BlockDeviceMappings") or []:
        snapshot_id = (mapping.get("Ebs") or {}).get("SnapshotId")
        if snapshot_id:
            yield on_row(tx, caller, "ec2:RegisterImage", Snapshot, snapshot_id)


def _architecture(params: ec2.RegisterImageRequest) -> Literal["x86_64", "arm64"]:
    """EC2's default is i386, which no type here has."""
    asked = params.get("Architecture", "i386")
    if asked == "x86_64":
        return "x86_64"
    if asked == "arm64":
        return "arm64"
    raise ServiceError("UnsupportedOperation", f"This cloud has no instance types of Architecture={asked}.")


OPERATIONS = (
    writes(
        "RegisterImage",
        register,
        "Name Description Architecture TagSpecifications BlockDeviceMappings.DeviceName "
        "BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeSize BlockDeviceMappings.Ebs.VolumeType "
        "BlockDeviceMappings.Ebs.Iops BlockDeviceMappings.Ebs.Throughput BlockDeviceMappings.Ebs.DeleteOnTermination "
        + " ".join(NEUTRAL),
        checks,
    ),
)
