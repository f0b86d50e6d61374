"""Single attributes of images: the description, and who may start servers from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.services.api.ec2_operation import acts, shows
from skylift.cloud.services.api.filter import spelled
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import combination, invalid_value, missing
from skylift.cloud.services.api.sharing import Change, change_of, shared
from skylift.cloud.services.ec2.image import existing_image, view
from skylift.cloud.services.ec2.image_making import checked_description, own_image
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


def describe(tx: Tx, caller: Caller, params: ec2.DescribeImageAttributeRequest) -> ec2.ImageAttribute:
    image = existing_image(tx, params["ImageId"])
    attribute, launched = params["Attribute"], image.last_launched
    values: dict[str, ec2.ImageAttribute] = {
        "description": {"Description": {"Value": image.description} if image.description else {}},
        "kernel": {"KernelId": {}},
        "ramdisk": {"RamdiskId": {}},
        "sriovNetSupport": {"SriovNetSupport": {}},
        "productCodes": {"ProductCodes": []},
        "launchPermission": {"LaunchPermissions": _permissions(image)},
        "blockDeviceMapping": {
            "BlockDeviceMappings": view(image, caller.account, caller.region)["BlockDeviceMappings"]
        },
        "imdsSupport": {"ImdsSupport": {"Value": "v2.0"}},
        "bootMode": {"BootMode": {}},
        "tpmSupport": {"TpmSupport": {}},
        "uefiData": {"UefiData": {}},
        "lastLaunchedTime": {"LastLaunchedTime": {"Value": spelled(launched)} if launched else {}},
        "deregistrationProtection": {"DeregistrationProtection": {"Value": image.protection}},
    }
    if attribute not in values:
        raise invalid_value(attribute, "attribute", "Unknown attribute.")
    if attribute in ("launchPermission", "lastLaunchedTime", "deregistrationProtection"):
        own_image(tx, image.id)
    return {"ImageId": image.id, **values[attribute]}


def modify(tx: Tx, _caller: Caller, params: ec2.ModifyImageAttributeRequest) -> Nothing:
    """One attribute, in its own parameter or, as older tools send it, named by `Attribute`."""
    image = own_image(tx, params["ImageId"])
    asked = _asked(params)
    if isinstance(asked, str):
        tx.save(replace(image, description=checked_description(asked)))
        return {}
    if image.state == "disabled" and asked.get("Add"):
        raise ServiceError("IncorrectState", f"The image '{image.id}' is disabled; it cannot be shared.")
    users, public = shared(asked, image.launch_users, image.public, _wrong)
    tx.save(replace(image, launch_users=users, public=public))
    return {}


def reset(tx: Tx, _caller: Caller, params: ec2.ResetImageAttributeRequest) -> Nothing:
    if params["Attribute"] != "launchPermission":
        raise invalid_value(params["Attribute"], "attribute", "launchPermission alone can be reset.")
    tx.save(replace(own_image(tx, params["ImageId"]), launch_users=(), public=False))
    return {}


def _asked(params: ec2.ModifyImageAttributeRequest) -> str | Change:
    """The new description, or the change to the launch permissions."""
    named = params.get("Attribute")
    asked: dict[str, str | Change] = {}
    if "Description" in params:
        asked["Description"] = params["Description"].get("Value", "")
    if "LaunchPermission" in params:
        asked["LaunchPermission"] = params["LaunchPermission"]
    if not asked and named == "description":
        asked["Description"] = params.get("Value", "")
    elif not asked and named == "launchPermission":
        asked["LaunchPermission"] = change_of(params, "LaunchPermission")
    elif named is not None and named not in ("description", "launchPermission"):
        raise invalid_value(named, "attribute", "description and launchPermission can be changed.")
    if not asked:
        raise missing("attribute")
    if len(asked) > 1:
        raise combination(f"Fields for multiple attribute types specified: {', '.join(asked)}")
    return next(iter(asked.values()))


def _wrong(value: str, kind: str) -> ServiceError:
    return ServiceError("InvalidAMIAttributeItemValue", f'Invalid attribute item value "{value}" for {kind}')


def _permissions(image: Image) -> list[ec2.LaunchPermission]:
    users: list[ec2.LaunchPermission] = [{"UserId": user} for user in image.launch_users]
    everyone: list[ec2.LaunchPermission] = [{"Group": "all"}] if image.public else []
    return [*everyone, *users]


OPERATIONS = (
    shows("DescribeImageAttribute", describe, "ImageId Attribute", "ImageId"),
    acts(
        "ModifyImageAttribute",
        modify,
        "ImageId Attribute Description Value OperationType UserIds UserGroups LaunchPermission.Add.Group "
        "LaunchPermission.Add.UserId LaunchPermission.Remove.Group LaunchPermission.Remove.UserId",
        "ImageId",
    ),
    acts("ResetImageAttribute", reset, "ImageId Attribute", "ImageId"),
)
