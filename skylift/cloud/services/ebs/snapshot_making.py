"""Snapshots that the account makes: of a volume, of all volumes of an instance, as a copy; and the end of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.volume import Snapshot, Volume
from skylift.cloud.services.api.check import making, on_row
from skylift.cloud.services.api.ec2_operation import acts, writes
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.api.refusal import invalid, invalid_value, refuse_other_values
from skylift.cloud.services.api.resource import arn, new_id, require
from skylift.cloud.services.api.tag import Tags, tag_list, tags_for
from skylift.cloud.services.ebs.image_device import devices_of
from skylift.cloud.services.ebs.snapshot import view
from skylift.cloud.services.ebs.volume_making import usable_snapshot
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

MAX_DESCRIPTION = 255

NEUTRAL: dict[str, tuple[object, ...]] = {"Location": ("regional",)}
COPY_NEUTRAL: dict[str, tuple[object, ...]] = {"Encrypted": (False,)}


def create(tx: Tx, caller: Caller, params: ec2.CreateSnapshotRequest) -> ec2.Snapshot:
    """Of the moment at which it is made, soon after the answer: what a server writes later is not in it."""
    refuse_other_values(params, NEUTRAL)
    volume = require(tx, Volume, params["VolumeId"])
    snapshot = new_snapshot(tx, volume, _description(params), tags_for(params, "snapshot"))
    return view(snapshot, caller.account)


def create_many(tx: Tx, caller: Caller, params: ec2.CreateSnapshotsRequest) -> ec2.CreateSnapshotsResult:
    """Make snapshots of all volumes of an instance at one moment, the root volume first."""
    refuse_other_values(params, NEUTRAL)
    wanted = params["InstanceSpecification"]
    instance = require(tx, Instance, wanted["InstanceId"])
    if instance.state not in ("running", "stopped"):
        raise ServiceError("IncorrectState", f"The instance '{instance.id}' is {instance.state}.")
    left_out = set(wanted.get("ExcludeDataVolumeIds", []))
    volumes = sorted(tx.find(Volume, instance_id=instance.id), key=lambda volume: not volume.root)
    for volume_id in left_out - {volume.id for volume in volumes if not volume.root}:
        raise invalid_value(volume_id, "excludeDataVolumeIds", f"It is no data volume of '{instance.id}'.")
    chosen = [
        volume
        for volume in volumes
        if volume.id not in left_out and not (volume.root and wanted.get("ExcludeBootVolume"))
    ]
    if not chosen:
        raise invalid("There is no volume left to make a snapshot of.")
    tags, description = tags_for(params, "snapshot"), _description(params)
    made, moment = [], new_id("set")
    for volume in chosen:
        copied = _copied(volume.tags) if params.get("CopyTagsFromSource") == "volume" else {}
        made.append(new_snapshot(tx, volume, description, {**copied, **tags}, moment))
    return {"Snapshots": [_of_several(view(snapshot, caller.account)) for snapshot in made]}


def _of_several(shown: ec2.Snapshot) -> ec2.SnapshotInfo:
    """The model has less of a snapshot that was made together with others."""
    return cast("ec2.SnapshotInfo", {name: value for name, value in shown.items() if name not in _ONLY_OF_ONE})


_ONLY_OF_ONE = ("StorageTier", "CompletionTime", "StateMessage")


def copy(tx: Tx, caller: Caller, params: ec2.CopySnapshotRequest) -> ec2.CopySnapshotResult:
    """Snapshots never change, so a copy shares what its source holds."""
    refuse_other_values(params, COPY_NEUTRAL)
    for name in ("SourceRegion", "DestinationRegion"):
        if params.get(name, caller.region) != caller.region:
            raise ServiceError(
                "InvalidRequest", f"This cloud has one region, {caller.region}; {name} is {params[name]}."
            )
    source = usable_snapshot(tx, params["SourceSnapshotId"])
    made = Snapshot(
        id=new_id("snap"),
        volume_id="vol-ffffffff",
        size_gib=source.size_gib,
        started=tx.now,
        description=_description(params, f"[Copied {source.id} from {caller.region}] {source.description}".strip()),
        state="completed" if source.of_root else "pending",
        completed=tx.now if source.of_root else None,
        of_root=source.of_root,
        root=source.root,
        source_id=source.id,
        tags=tags_for(params, "snapshot"),
    )
    tx.add(made)
    return {"SnapshotId": made.id, "Tags": tag_list(made.tags)}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteSnapshotRequest) -> Nothing:
    """Volumes made from it stay."""
    snapshot = require(tx, Snapshot, params["SnapshotId"])
    for image in tx.find(Image):
        named = {device.snapshot_id for device in devices_of(image)}
        if snapshot.id in named and image.state not in ("deregistered", "failed"):
            raise ServiceError("InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {image.id}")
    tx.remove(snapshot)
    return {}


def new_snapshot(
    tx: Tx, volume: Volume, description: str, tags: Tags, set_id: str | None = None, image_id: str | None = None
) -> Snapshot:
    if volume.state not in ("available", "in-use"):
        raise ServiceError("IncorrectState", f"The volume '{volume.id}' is '{volume.state}'.")
    snapshot = Snapshot(
        id=new_id("snap"),
        volume_id=volume.id,
        size_gib=volume.size_gib,
        started=tx.now,
        description=description,
        of_root=volume.root,
        image_id=image_id,
        tags=tags,
        set_id=set_id,
    )
    tx.add(snapshot)
    return snapshot


def check_create(tx: Tx, caller: Caller, params: ec2.CreateSnapshotRequest) -> Iterator[Check]:
    """May this volume be read, and may such a snapshot be made?"""
    volume_id = params["VolumeId"]
    yield on_row(tx, caller, "ec2:CreateSnapshot", Volume, volume_id)
    volume = tx.get(Volume, id=volume_id)
    size = {"ec2:VolumeSize": str(volume.size_gib)} if volume else {}
    more = {"ec2:ParentVolume": arn(caller, "volume", volume_id), **size}
    yield from making(caller, "CreateSnapshot", "snapshot", params, more=more)


def check_create_many(tx: Tx, caller: Caller, params: ec2.CreateSnapshotsRequest) -> Iterator[Check]:
    instance_id = params["InstanceSpecification"]["InstanceId"]
    yield on_row(tx, caller, "ec2:CreateSnapshots", Instance, instance_id)
    for volume in tx.find(Volume, instance_id=instance_id):
        yield on_row(tx, caller, "ec2:CreateSnapshots", Volume, volume.id)
    yield from making(caller, "CreateSnapshots", "snapshot", params)


def check_copy(tx: Tx, caller: Caller, params: ec2.CopySnapshotRequest) -> Iterator[Check]:
    yield on_row(tx, caller, "ec2:CopySnapshot", Snapshot, params["SourceSnapshotId"])
    yield from making(caller, "CopySnapshot", "snapshot", params)


def _description(
    params: ec2.CopySnapshotRequest | ec2.CreateSnapshotRequest | ec2.CreateSnapshotsRequest, default: str = ""
) -> str:
    text: str = params.get("Description", default)
    if len(text) > MAX_DESCRIPTION:
        raise invalid(f"The description of a snapshot has at most {MAX_DESCRIPTION} characters.")
    return text


def _copied(tags: Tags) -> Tags:
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}


OPERATIONS = (
    writes("CreateSnapshot", create, "VolumeId Description TagSpecifications " + " ".join(NEUTRAL), check_create),
    writes(
        "CreateSnapshots",
        create_many,
        "InstanceSpecification Description CopyTagsFromSource TagSpecifications " + " ".join(NEUTRAL),
        check_create_many,
    ),
    writes(
        "CopySnapshot",
        copy,
        "SourceRegion SourceSnapshotId DestinationRegion PresignedUrl Description TagSpecifications "
        + " ".join(COPY_NEUTRAL),
        check_copy,
    ),
    acts("DeleteSnapshot", delete, "SnapshotId", "SnapshotId"),
)
