"""Root volumes: made and removed with their instance."""

from __future__ import annotations

from typing import Any

from skylift.cloud.identity import Caller
from skylift.cloud.instance import Volume
from skylift.cloud.services.image import VOLUME_TYPE
from skylift.cloud.services.listing import Listing
from skylift.cloud.services.page import Limits
from skylift.cloud.services.tag import tag_list
from skylift.cloud.services.zone import zone_id
from skylift.cloud.store.database import Tx

LISTING = Listing(
    Volume,
    ids="VolumeIds",
    member="Volumes",
    key="VolumeId",
    limits=Limits(not_with=("VolumeIds", "volumeIds")),
    filters={
        "attachment.attach-time": "Attachments.AttachTime",
        "attachment.delete-on-termination": "Attachments.DeleteOnTermination",
        "attachment.device": "Attachments.Device",
        "attachment.instance-id": "Attachments.InstanceId",
        "attachment.status": "Attachments.State",
        "availability-zone": "AvailabilityZone",
        "availability-zone-id": "AvailabilityZoneId",
        "create-time": "CreateTime",
        "encrypted": "Encrypted",
        "multi-attach-enabled": "MultiAttachEnabled",
        "size": "Size",
        "snapshot-id": "SnapshotId",
        "status": "State",
        "volume-id": "VolumeId",
        "volume-type": "VolumeType",
    },
)


def view(volume: Volume) -> dict[str, Any]:
    return {
        "VolumeId": volume.id,
        "VolumeType": VOLUME_TYPE,
        "Size": volume.size_gib,
        "State": "in-use",
        "AvailabilityZone": volume.zone,
        "AvailabilityZoneId": zone_id(volume.zone),
        "CreateTime": volume.created,
        "Encrypted": False,
        "MultiAttachEnabled": False,
        "Attachments": [
            {
                "VolumeId": volume.id,
                "InstanceId": volume.instance_id,
                "Device": volume.device,
                "State": "attached",
                "AttachTime": volume.created,
                "DeleteOnTermination": True,
            }
        ],
        "Tags": tag_list(volume.tags),
    }


def describe(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    return LISTING.describe(tx, params, view)
