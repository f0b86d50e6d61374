"""Volumes as they are described: themselves, their health, and what became of their modifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.volume import Modification, Volume
from skylift.cloud.services.api.ec2_operation import PAGES, reads
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.page import Limits
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.api.transition import in_transition
from skylift.cloud.services.api.zone import zone_id
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

LIMITS = Limits(not_with=("VolumeIds", "volumeIds"))

LISTING = Listing(
    Volume,
    ids="VolumeIds",
    key="VolumeId",
    limits=LIMITS,
    filters={
        **same_named(
            "availability-zone availability-zone-id create-time encrypted fast-restored "
            "multi-attach-enabled size snapshot-id volume-id volume-type"
        ),
        **same_named("attach-time delete-on-termination device instance-id", "attachment", "Attachments"),
        "attachment.status": "Attachments.State",
        "status": "State",
    },
)

STATUSES = Listing(
    Volume,
    ids="VolumeIds",
    key="VolumeId",
    tags="",
    limits=LIMITS,
    filters={
        **same_named("availability-zone availability-zone-id volume-status.status"),
        **same_named("description event-id event-type not-after not-before", "event", "Events"),
        **same_named("code description event-id", "action", "Actions"),
        "volume-status.details-name": "VolumeStatus.Details.Name",
        "volume-status.details-status": "VolumeStatus.Details.Status",
    },
)

MODIFICATIONS = Listing(
    Volume,
    ids="VolumeIds",
    key="VolumeId",
    tags="",
    limits=LIMITS,
    filters={
        **same_named(
            "modification-state original-iops original-size original-volume-type start-time target-iops target-size "
            "target-volume-type volume-id"
        ),
        "originalMultiAttachEnabled": "OriginalMultiAttachEnabled",
        "targetMultiAttachEnabled": "TargetMultiAttachEnabled",
    },
)


def view(volume: Volume) -> ec2.Volume:
    return {
        "VolumeId": volume.id,
        "VolumeType": volume.type,
        "Size": volume.size_gib,
        **({} if volume.iops is None else {"Iops": volume.iops}),
        **({} if volume.throughput is None else {"Throughput": volume.throughput}),
        "SnapshotId": volume.snapshot_id or "",
        "State": volume.state,
        "AvailabilityZone": volume.zone,
        "AvailabilityZoneId": zone_id(volume.zone),
        "CreateTime": volume.created,
        "Encrypted": False,
        "MultiAttachEnabled": False,
        "Operator": {"Managed": False},
        # A volume that is still being made for a launch is attached once it is there.
        "Attachments": [attachment_view(volume)] if volume.instance_id and volume.state == "in-use" else [],
        "Tags": tag_list(volume.tags),
    }


def attachment_view(volume: Volume) -> ec2.VolumeAttachment:
    return {
        "VolumeId": volume.id,
        **({"InstanceId": volume.instance_id} if volume.instance_id else {}),
        **({"Device": volume.device} if volume.device else {}),
        **({"State": volume.attachment} if volume.attachment else {}),
        **({"AttachTime": volume.attached} if volume.attached else {}),
        "DeleteOnTermination": volume.delete_on_termination,
    }


def describe(tx: Tx, _caller: Caller, params: ec2.DescribeVolumesRequest) -> ec2.DescribeVolumesResult:
    shown = LISTING.describe(tx, params, view)
    return {"Volumes": shown.items, **shown.next}


def describe_status(tx: Tx, _caller: Caller, params: ec2.DescribeVolumeStatusRequest) -> ec2.DescribeVolumeStatusResult:
    shown = STATUSES.describe(tx, params, _status)
    return {"VolumeStatuses": shown.items, **shown.next}


def describe_modifications(
    tx: Tx, _caller: Caller, params: ec2.DescribeVolumesModificationsRequest
) -> ec2.DescribeVolumesModificationsResult:
    """The last modification of each volume that has been modified."""
    rows = MODIFICATIONS.rows(tx, params)
    if params.get("VolumeIds"):
        for row in rows:
            if row.modification is None:
                raise ServiceError(
                    "InvalidVolumeModification.NotFound", f"Modification for volume '{row.id}' does not exist."
                )
    changed = [modification_view(row, row.modification) for row in rows if row.modification is not None]
    shown = MODIFICATIONS.page(params, changed)
    return {"VolumesModifications": shown.items, **shown.next}


def modification_view(volume: Volume, change: Modification) -> ec2.VolumeModification:
    return {
        "VolumeId": volume.id,
        "ModificationState": change.state,
        **({"StatusMessage": change.message} if change.message else {}),
        "TargetSize": change.size_gib,
        "TargetVolumeType": change.type,
        **({} if change.iops is None else {"TargetIops": change.iops}),
        **({} if change.throughput is None else {"TargetThroughput": change.throughput}),
        "TargetMultiAttachEnabled": False,
        "OriginalSize": change.original_size_gib,
        "OriginalVolumeType": change.original_type,
        **({} if change.original_iops is None else {"OriginalIops": change.original_iops}),
        **({} if change.original_throughput is None else {"OriginalThroughput": change.original_throughput}),
        "OriginalMultiAttachEnabled": False,
        "Progress": 100 if change.state == "completed" else 0,
        "StartTime": change.started,
        **({"EndTime": change.ended} if change.ended else {}),
    }


def _status(volume: Volume) -> ec2.VolumeStatusItem:
    """A volume that could be made is a file on a disk that answers; one that could not has failed."""
    known = {"creating": "insufficient-data", "error": "impaired"}.get(volume.state, "ok")
    enabled = {"ok": "passed", "impaired": "failed"}.get(known, "insufficient-data")
    return {
        "VolumeId": volume.id,
        "AvailabilityZone": volume.zone,
        "AvailabilityZoneId": zone_id(volume.zone),
        "VolumeStatus": {
            "Status": known,
            "Details": [
                {"Name": "io-enabled", "Status": enabled},
                {"Name": "io-performance", "Status": "not-applicable"},
            ],
        },
        "Actions": [],
        "Events": [],
        "AttachmentStatuses": [],
    }


def encryption_by_default(
    _tx: Tx, _caller: Caller, _params: ec2.GetEbsEncryptionByDefaultRequest
) -> ec2.GetEbsEncryptionByDefaultResult:
    """Off, as in a new account; nothing here is encrypted."""
    return {"EbsEncryptionByDefault": False, "SseType": "none"}


OPERATIONS = (
    reads("GetEbsEncryptionByDefault", encryption_by_default, ""),
    reads(
        "DescribeVolumes",
        describe,
        f"VolumeIds IncludeManagedResources {PAGES}",
        unsettled=in_transition(
            "VolumeIds",
            ("Volumes.State", "creating", "deleting"),
            ("Volumes.Attachments.State", "attaching", "detaching"),
        ),
    ),
    reads("DescribeVolumeStatus", describe_status, f"VolumeIds IncludeManagedResources {PAGES}"),
    reads("DescribeVolumesModifications", describe_modifications, f"VolumeIds IncludeManagedResources {PAGES}"),
)
