"""Volumes that the account makes, and the end of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.volume import Snapshot, Volume
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.client_token import remember, result_of
from skylift.cloud.services.api.condition_key import of_asked_zone
from skylift.cloud.services.api.ec2_operation import acts, writes
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.api.refusal import invalid, missing, refuse_other_values
from skylift.cloud.services.api.resource import arn, new_id, require
from skylift.cloud.services.api.tag import tags_for
from skylift.cloud.services.api.zone import require_zone, zones
from skylift.cloud.services.ebs.volume import view
from skylift.cloud.services.ebs.volume_type import refuse_size, speed
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

DEFAULT_TYPE = "gp2"
"""CreateVolume's default. Launches use the image's type."""

NEUTRAL: dict[str, tuple[object, ...]] = {"Encrypted": (False,), "MultiAttachEnabled": (False,)}


def create(tx: Tx, caller: Caller, params: ec2.CreateVolumeRequest) -> ec2.Volume:
    made_before = result_of(tx, "CreateVolume", params)
    if made_before:
        return view(require(tx, Volume, made_before))
    refuse_other_values(params, NEUTRAL)
    if not params.get("SnapshotId") and params.get("Size") is None:
        raise missing("size/snapshot")
    asked = params.get("AvailabilityZone")
    if asked is not None and asked not in zones(caller.region):
        raise ServiceError("InvalidZone.NotFound", f"The zone '{asked}' does not exist.")
    zone = require_zone(caller.region, asked, params.get("AvailabilityZoneId"))
    if zone is None:
        raise missing("zone")
    kind = params.get("VolumeType", DEFAULT_TYPE)
    size = wanted_size(tx, params.get("SnapshotId"), params.get("Size"))
    refuse_size(kind, size)
    iops, throughput = speed(kind, size, params.get("Iops"), params.get("Throughput"))
    volume = Volume(
        id=new_id("vol"),
        size_gib=size,
        zone=zone,
        created=tx.now,
        type=kind,
        iops=iops,
        throughput=throughput,
        snapshot_id=params.get("SnapshotId"),
        tags=tags_for(params, "volume"),
    )
    tx.add(volume)
    remember(tx, "CreateVolume", params, volume.id)
    return view(volume)


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteVolumeRequest) -> Nothing:
    volume = require(tx, Volume, params["VolumeId"])
    if volume.instance_id:
        raise ServiceError("VolumeInUse", f"Volume {volume.id} is currently attached to {volume.instance_id}")
    if volume.state == "creating":
        raise ServiceError("IncorrectState", f"The volume '{volume.id}' is 'creating'.")
    tx.save(replace(volume, state="deleting"))
    return {}


def wanted_size(tx: Tx, snapshot_id: str | None, size: int | None) -> int:
    """The requested size in GiB, which is at least the snapshot's."""
    if not snapshot_id:
        if size is None:
            raise missing("size/snapshot")
        return size
    snapshot = usable_snapshot(tx, snapshot_id)
    if size is None:
        return snapshot.size_gib
    refuse_smaller(size, snapshot.id, snapshot.size_gib)
    return size


def refuse_smaller(size: int, snapshot_id: str, least: int) -> None:
    if size < least:
        raise invalid(f"Volume of size {size}GB is smaller than snapshot '{snapshot_id}', expect size >= {least}GB")


def usable_snapshot(tx: Tx, snapshot_id: str) -> Snapshot:
    """A snapshot that volumes can be made from."""
    snapshot = require(tx, Snapshot, snapshot_id)
    if snapshot.state != "completed":
        raise ServiceError("IncorrectState", f"Snapshot is not in completed state: {snapshot.id} is {snapshot.state}")
    return snapshot


def checks(tx: Tx, caller: Caller, params: ec2.CreateVolumeRequest) -> Iterator[Check]:
    """May the volume be made, like this, and of this snapshot?"""
    context = condition_keys(
        kind=params.get("VolumeType", DEFAULT_TYPE),
        size=params.get("Size") or _size_of(tx, params.get("SnapshotId")),
        iops=params.get("Iops"),
        throughput=params.get("Throughput"),
        parent=arn_of_snapshot(caller, params.get("SnapshotId")),
    )
    yield from making(caller, "CreateVolume", "volume", params, more=context | of_asked_zone(caller, params))
    if params.get("SnapshotId"):
        yield on_row(tx, caller, "ec2:CreateVolume", Snapshot, params["SnapshotId"])


def condition_keys(
    *, kind: str, size: int | None, iops: int | None, throughput: int | None, parent: str | None
) -> dict[str, str]:
    """The condition keys of policies for a volume that is about to be made."""
    return {
        "ec2:VolumeType": kind,
        "ec2:Encrypted": "false",
        **({"ec2:VolumeSize": str(size)} if size else {}),
        **({"ec2:VolumeIops": str(iops)} if iops else {}),
        **({"ec2:VolumeThroughput": str(throughput)} if throughput else {}),
        **({"ec2:ParentSnapshot": parent} if parent else {}),
    }


def arn_of_snapshot(caller: Caller, snapshot_id: str | None) -> str | None:
    return arn(caller, "snapshot", snapshot_id) if snapshot_id else None


def _size_of(tx: Tx, snapshot_id: str | None) -> int | None:
    snapshot = tx.get(Snapshot, id=snapshot_id) if snapshot_id else None
    return snapshot.size_gib if snapshot else None


OPERATIONS = (
    writes(
        "CreateVolume",
        create,
        "AvailabilityZone AvailabilityZoneId Size SnapshotId VolumeType Iops Throughput ClientToken TagSpecifications "
        + " ".join(NEUTRAL),
        checks,
    ),
    acts("DeleteVolume", delete, "VolumeId", "VolumeId"),
)
