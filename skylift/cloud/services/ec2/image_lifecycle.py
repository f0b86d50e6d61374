"""The life of an image: it is disabled and enabled again, deprecated, protected, and deregistered.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-lifecycle.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import Snapshot
from skylift.cloud.services.api.authorize import permits
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.ec2_operation import acts
from skylift.cloud.services.api.refusal import invalid_value
from skylift.cloud.services.ebs.image_device import devices_of
from skylift.cloud.services.ec2.image_making import own_image
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


class Done(TypedDict):
    Return: bool


DONE: Done = {"Return": True}
COOLDOWN = timedelta(hours=24)
YEAR = timedelta(days=365)


def deregister(tx: Tx, caller: Caller, params: ec2.DeregisterImageRequest) -> ec2.DeregisterImageResult:
    """Servers that were started from it go on, and can be stopped and started again."""
    image = own_image(tx, params["ImageId"])
    cooling = image.protected_until is not None and tx.now < image.protected_until
    if image.protection != "disabled" or cooling:
        why = f"its protection ends at {image.protected_until:%Y-%m-%dT%H:%M:%SZ}." if cooling else "it is protected."
        raise ServiceError("OperationNotPermitted", f"The image '{image.id}' cannot be deregistered: {why}")
    tx.save(replace(image, state="deregistered", tags={}))
    if not params.get("DeleteAssociatedSnapshots"):
        return {**DONE}
    return {**DONE, "DeleteSnapshotResults": list(_delete_snapshots(tx, caller, image))}


def _delete_snapshots(tx: Tx, caller: Caller, image: Image) -> Iterator[ec2.DeleteSnapshotReturnCode]:
    """Delete an image's snapshots, without those that another image has as well and those that the caller may not
    delete."""
    others = {
        device.snapshot_id
        for other in tx.find(Image)
        if other.id != image.id and other.state not in ("deregistered", "failed")
        for device in devices_of(other)
    }
    for device in devices_of(image):
        snapshot = tx.get(Snapshot, id=device.snapshot_id) if device.snapshot_id else None
        if snapshot is None:
            continue
        code = "skipped" if snapshot.id in others else _may_delete(tx, caller, snapshot)
        if code == "success":
            tx.remove(snapshot)
        yield {"SnapshotId": snapshot.id, "ReturnCode": code}


def _may_delete(tx: Tx, caller: Caller, snapshot: Snapshot) -> str:
    allowed = permits(tx, caller, on_row(tx, caller, "ec2:DeleteSnapshot", Snapshot, snapshot.id)).allowed
    return "success" if allowed else "missing-permissions"


def disable(tx: Tx, _caller: Caller, params: ec2.DisableImageRequest) -> ec2.DisableImageResult:
    """No servers start from it any more, and only its owner sees it."""
    image = own_image(tx, params["ImageId"])
    _require(image, "available", "disabled")
    tx.save(replace(image, state="disabled", public=False, launch_users=()))
    return {**DONE}


def enable(tx: Tx, _caller: Caller, params: ec2.EnableImageRequest) -> ec2.EnableImageResult:
    image = own_image(tx, params["ImageId"])
    _require(image, "disabled", "available")
    tx.save(replace(image, state="available"))
    return {**DONE}


def deprecate(tx: Tx, _caller: Caller, params: ec2.EnableImageDeprecationRequest) -> ec2.EnableImageDeprecationResult:
    """From that minute on it is missing from others' lists. It can still be used by its id."""
    image = own_image(tx, params["ImageId"])
    at = _nearest_minute(params["DeprecateAt"])
    if at < tx.now:
        raise invalid_value(f"{at:%Y-%m-%dT%H:%M:%SZ}", "deprecateAt", "It has to be in the future.")
    latest = image.created + 2 * YEAR if image.public else tx.now + 10 * YEAR
    if at > latest:
        raise invalid_value(f"{at:%Y-%m-%dT%H:%M:%SZ}", "deprecateAt", f"The latest is {latest:%Y-%m-%dT%H:%M:%SZ}.")
    tx.save(replace(image, deprecates=at))
    return {**DONE}


def undeprecate(
    tx: Tx, _caller: Caller, params: ec2.DisableImageDeprecationRequest
) -> ec2.DisableImageDeprecationResult:
    tx.save(replace(own_image(tx, params["ImageId"]), deprecates=None))
    return {**DONE}


def protect(
    tx: Tx, _caller: Caller, params: ec2.EnableImageDeregistrationProtectionRequest
) -> ec2.EnableImageDeregistrationProtectionResult:
    image = own_image(tx, params["ImageId"])
    if params.get("WithCooldown"):
        tx.save(replace(image, protection="enabled-with-cooldown", protected_until=None))
    else:
        tx.save(replace(image, protection="enabled-without-cooldown", protected_until=None))
    return {"Return": "true"}


def unprotect(
    tx: Tx, _caller: Caller, params: ec2.DisableImageDeregistrationProtectionRequest
) -> ec2.DisableImageDeregistrationProtectionResult:
    """One that was protected with a cooldown can be deregistered a day after that."""
    image = own_image(tx, params["ImageId"])
    until = tx.now + COOLDOWN if image.protection == "enabled-with-cooldown" else image.protected_until
    tx.save(replace(image, protection="disabled", protected_until=until))
    return {"Return": "true"}


def _require(image: Image, *states: str) -> None:
    if image.state not in states:
        raise ServiceError("IncorrectState", f"The image '{image.id}' is '{image.state}'.")


def _nearest_minute(moment: datetime) -> datetime:
    return (moment + timedelta(seconds=30)).replace(second=0, microsecond=0)


OPERATIONS = (
    acts("DeregisterImage", deregister, "ImageId DeleteAssociatedSnapshots", "ImageId"),
    acts("DisableImage", disable, "ImageId", "ImageId"),
    acts("EnableImage", enable, "ImageId", "ImageId"),
    acts("EnableImageDeprecation", deprecate, "ImageId DeprecateAt", "ImageId"),
    acts("DisableImageDeprecation", undeprecate, "ImageId", "ImageId"),
    acts("EnableImageDeregistrationProtection", protect, "ImageId WithCooldown", "ImageId"),
    acts("DisableImageDeregistrationProtection", unprotect, "ImageId", "ImageId"),
)
