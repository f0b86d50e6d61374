"""Images. Those that the cloud provides stand where Amazon's own do on AWS, and say so in their description."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import BlockDevice
from skylift.cloud.services.api.ec2_operation import PAGES, reads
from skylift.cloud.services.api.filter import same_named, spelled
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.page import Limits
from skylift.cloud.services.api.resource import require_all
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.api.transition import in_transition
from skylift.cloud.services.ebs.image_device import ROOT_DEVICE, devices_of
from skylift.cloud.services.ec2.image_aliases import AMAZON, OWNERS, by_name
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

LISTING = Listing(
    Image,
    ids="ImageIds",
    key="ImageId",
    limits=Limits(least=1),
    filters={
        **same_named(
            "architecture boot-mode creation-date description ena-support free-tier-eligible "
            "hypervisor image-id image-type kernel-id name owner-id platform platform-details "
            "public-ssm-parameter-name ramdisk-id root-device-name root-device-type source-image-id "
            "source-image-region source-instance-id sriov-net-support state usage-operation "
            "virtualization-type"
        ),
        **same_named(
            "delete-on-termination encrypted snapshot-id volume-size volume-type",
            "block-device-mapping",
            "BlockDeviceMappings.Ebs",
        ),
        "block-device-mapping.device-name": "BlockDeviceMappings.DeviceName",
        "is-public": "Public",
        "manifest-location": "ImageLocation",
        "owner-alias": "ImageOwnerAlias",
        "product-code": "ProductCodes.ProductCodeId",
        "product-code.type": "ProductCodes.ProductCodeType",
        "state-reason-code": "StateReason.Code",
        "state-reason-message": "StateReason.Message",
    },
)


def image_id(name: str) -> str:
    """The id of a provided image: the same name has the same id in every cloud, as public AMIs have in a region."""
    return f"ami-{hashlib.sha256(name.encode()).hexdigest()[:17]}"


def register_image(tx: Tx, image: Image) -> None:
    """Add an image, or update the row of one; its tags stay."""
    known = tx.get(Image, id=image.id)
    if known is None:
        tx.add(image)
    else:
        tx.save(replace(image, tags=known.tags))


def view(image: Image, owner: str, region: str) -> ec2.Image:
    """`owner` owns what this cloud made; what it provides stands for Amazon's own, also in whose it is."""
    provided, failed = image.owner == "amazon", image.state == "failed"
    launched = None if provided else image.last_launched
    return {
        "ImageId": image.id,
        "Name": image.name,
        "Description": image.description,
        "ImageLocation": f"{'amazon' if provided else owner}/{image.name}",
        "ImageType": "machine",
        "OwnerId": AMAZON if provided else owner,
        **({"ImageOwnerAlias": "amazon"} if provided else {}),
        "Public": image.public,
        "State": image.state,
        **({"StateReason": {"Code": "Server.InternalError", "Message": image.state_reason}} if failed else {}),
        **({"SourceInstanceId": image.source_instance_id} if image.source_instance_id else {}),
        **({"SourceImageId": image.source_image_id, "SourceImageRegion": region} if image.source_image_id else {}),
        "CreationDate": spelled(image.created),
        **({"DeprecationTime": spelled(image.deprecates)} if image.deprecates else {}),
        "DeregistrationProtection": image.protection,
        **({"LastLaunchedTime": spelled(launched)} if launched else {}),
        "Architecture": image.architecture,
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "VirtualizationType": "hvm",
        "Hypervisor": "xen",
        "EnaSupport": True,
        "ImdsSupport": "v2.0",
        "RootDeviceName": ROOT_DEVICE,
        "RootDeviceType": "ebs",
        "BlockDeviceMappings": [mapping_view(device) for device in devices_of(image)],
        "Tags": tag_list(image.tags),
    }


def mapping_view(device: BlockDevice) -> ec2.BlockDeviceMapping:
    """The mapping in the form of images."""
    return {
        "DeviceName": device.device,
        "Ebs": {
            "DeleteOnTermination": device.delete_on_termination,
            "Encrypted": False,
            **({"SnapshotId": device.snapshot_id} if device.snapshot_id else {}),
            "VolumeSize": device.size_gib,
            "VolumeType": device.type,
            **({"Iops": device.iops} if device.iops and device.type in ("io1", "io2") else {}),
        },
    }


def describe(tx: Tx, caller: Caller, params: ec2.DescribeImagesRequest) -> ec2.DescribeImagesResult:
    wanted = params.get("ImageIds")
    rows = existing_images(tx, wanted) if wanted else tx.find(Image)
    # The caller's own deprecated images are always included.
    rows = [image for image in rows if image.state != "deregistered"]
    if not params.get("IncludeDisabled"):
        rows = [image for image in rows if image.state != "disabled"]
    owners, users = params.get("Owners"), params.get("ExecutableUsers")
    if owners:
        rows = [image for image in rows if _owned(image, owners, caller.account)]
    if users:
        rows = [image for image in rows if _launchable(image, users, caller.account)]
    filters = params.get("Filters", [])
    named = [each for each in filters if each.get("Name") == "name"]
    params = {**params, "Filters": [each for each in filters if each not in named]}
    rows = by_name(rows, named)
    shown = LISTING.page(params, [view(image, caller.account, caller.region) for image in rows])
    return {"Images": shown.items, **shown.next}


def existing_image(tx: Tx, image_id: str) -> Image:
    """The image, unless it was deregistered."""
    return existing_images(tx, [image_id])[0]


def existing_images(tx: Tx, ids: list[str]) -> list[Image]:
    """Each once. Those that are not there, or were deregistered, are all named."""
    return require_all(tx, Image, ids, gone=lambda image: image.state == "deregistered")


def usable_image(tx: Tx, image_id: str) -> Image:
    """An image that servers can be started from, and copies made of."""
    image = existing_image(tx, image_id)
    if image.state != "available":
        raise ServiceError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is not available")
    return image


def _owned(image: Image, owners: list[str], account: str) -> bool:
    names = OWNERS if image.owner == "amazon" else ("self", account)
    return any(name in owners for name in names)


def _launchable(image: Image, users: list[str], account: str) -> bool:
    """`all` means public images, a number those that it was given permission for, `self` the caller's number."""
    numbers = {account if user == "self" else user for user in users}
    return (image.public and "all" in users) or bool(numbers & set(image.launch_users))


OPERATIONS = (
    reads(
        "DescribeImages",
        describe,
        f"ImageIds Owners ExecutableUsers IncludeDeprecated IncludeDisabled {PAGES}",
        unsettled=in_transition("ImageIds", ("Images.State", "pending")),
    ),
)
