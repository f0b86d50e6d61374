"""Images that the account makes: out of a server's disk, as a copy of another image; and the end of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.instance import Image, Instance
from skylift.cloud.services.check import creates, making
from skylift.cloud.services.client_token import remember, result_of
from skylift.cloud.services.image import existing_image, usable_image
from skylift.cloud.services.operation import Check
from skylift.cloud.services.refusal import invalid, refuse_other_values
from skylift.cloud.services.resource import new_id, require
from skylift.cloud.services.tag import Tags, tags_for
from skylift.cloud.store.database import Tx

MAX_DESCRIPTION = 255

COPY_NEUTRAL: dict[str, tuple[Any, ...]] = {"Encrypted": (False,)}
DEREGISTER_NEUTRAL: dict[str, tuple[Any, ...]] = {"DeleteAssociatedSnapshots": (False,)}


def check_create(tx: Tx, caller: Caller, params: Any) -> Iterator[Check]:
    """An image comes with a snapshot of the disk, which needs the permission as well."""
    yield from creates("CreateImage", "image", "InstanceId")(tx, caller, params)
    yield from making(caller, "CreateImage", "snapshot", params)


def check_copy(tx: Tx, caller: Caller, params: Any) -> Iterator[Check]:
    yield from creates("CopyImage", "image", "SourceImageId")(tx, caller, params)
    yield from making(caller, "CopyImage", "snapshot", params)


def create(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """A server that runs is shut down for its disk to be copied, then started again; not so with `NoReboot`."""
    instance = require(tx, Instance, params["InstanceId"])
    if instance.state not in ("running", "stopped"):
        raise ServiceError(
            "IncorrectState",
            f"The instance '{instance.id}' is {instance.state}; an image is made of one that is running or stopped.",
        )
    source = tx.get(Image, id=instance.image_id)
    assert source is not None, "an image stays as long as a server's disk is based on it"
    image = _own(
        tx,
        params,
        source,
        tags=tags_for(params, "image"),
        root="",
        size_gib=instance.root_gib,
        state="pending",
        source_instance_id=instance.id,
        no_reboot=params.get("NoReboot", False),
    )
    if instance.state == "running" and not image.no_reboot:
        tx.save(replace(instance, rebooting=True))
    return {"ImageId": image.id}


def copy(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """Images never change, so a copy shares its source's root directory and is there at once."""
    made_before = result_of(tx, "CopyImage", params)
    if made_before:
        return {"ImageId": made_before}
    refuse_other_values(params, COPY_NEUTRAL)
    if params["SourceRegion"] != caller.region:
        raise ServiceError(
            "InvalidRequest", f"This cloud has one region, {caller.region}; images cannot be copied from another."
        )
    source = usable_image(tx, params["SourceImageId"])
    kept = source.tags if params.get("CopyImageTags") else {}
    image = _own(
        tx,
        {"Description": source.description, **params},
        source,
        tags={**kept, **tags_for(params, "image")},
        root=source.root,
        size_gib=source.size_gib,
        source_image_id=source.id,
    )
    remember(tx, "CopyImage", params, image.id)
    return {"ImageId": image.id}


def deregister(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    """Servers that were started from it go on, and can be stopped and started again."""
    refuse_other_values(params, DEREGISTER_NEUTRAL)
    image = own_image(tx, params["ImageId"])
    tx.save(replace(image, state="deregistered", tags={}))
    return {"Return": True}


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


def _own(tx: Tx, params: Any, source: Image, *, tags: Tags, **fields: Any) -> Image:
    image = Image(
        id=new_id("ami"),
        name=free_name(tx, params["Name"]),
        description=checked_description(params.get("Description", "")),
        created=tx.now,
        architecture=source.architecture,
        owner="self",
        public=False,
        tags=tags,
        **fields,
    )
    tx.add(image)
    return image


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
