"""Single attributes of images: the description, and who may start servers from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.services.api.ec2_operation import acts, shows
from skylift.cloud.services.api.filter import spelled
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import combination, invalid_value, missing
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
    add, remove = asked.add, asked.remove
    if image.state == "disabled" and add:
        raise ServiceError("IncorrectState", f"The image '{image.id}' is disabled; it cannot be shared.")
    users = (set(image.launch_users) | set(_users(add))) - set(_users(remove))
    public = (image.public or _everyone(add)) and not _everyone(remove)
    tx.save(replace(image, launch_users=tuple(sorted(users)), public=public))
    return {}


def reset(tx: Tx, _caller: Caller, params: ec2.ResetImageAttributeRequest) -> Nothing:
    if params["Attribute"] != "launchPermission":
        raise invalid_value(params["Attribute"], "attribute", "launchPermission alone can be reset.")
    tx.save(replace(own_image(tx, params["ImageId"]), launch_users=(), public=False))
    return {}


@dataclass(frozen=True)
class _Permissions:
    """Accounts and groups to add to those that may launch an image, and to remove from them."""

    add: list[ec2.LaunchPermission]
    remove: list[ec2.LaunchPermission]


def _asked(params: ec2.ModifyImageAttributeRequest) -> str | _Permissions:
    """The new description, or the change to the launch permissions."""
    named = params.get("Attribute")
    asked: dict[str, str | _Permissions] = {}
    if "Description" in params:
        asked["Description"] = params["Description"].get("Value", "")
    if "LaunchPermission" in params:
        permission = params["LaunchPermission"]
        asked["LaunchPermission"] = _Permissions(permission.get("Add", []), permission.get("Remove", []))
    if not asked and named == "description":
        asked["Description"] = params.get("Value", "")
    elif not asked and named == "launchPermission":
        asked["LaunchPermission"] = _by_operation(params)
    elif named is not None and named not in ("description", "launchPermission"):
        raise invalid_value(named, "attribute", "description and launchPermission can be changed.")
    if not asked:
        raise missing("attribute")
    if len(asked) > 1:
        raise combination(f"Fields for multiple attribute types specified: {', '.join(asked)}")
    return next(iter(asked.values()))


def _by_operation(params: ec2.ModifyImageAttributeRequest) -> _Permissions:
    listed: list[ec2.LaunchPermission] = [{"UserId": user} for user in params.get("UserIds", [])]
    listed += [{"Group": group} for group in params.get("UserGroups", [])]
    operation = params.get("OperationType")
    if operation == "add":
        return _Permissions(listed, [])
    if operation == "remove":
        return _Permissions([], listed)
    raise invalid_value(operation, "operationType", "It has to be add or remove.")


def _users(permissions: Iterable[ec2.LaunchPermission]) -> list[str]:
    users = [one["UserId"] for one in permissions if one.get("UserId")]
    for user in users:
        if re.fullmatch(r"\d{12}", user) is None:
            raise ServiceError("InvalidAMIAttributeItemValue", f'Invalid attribute item value "{user}" for userId')
    return users


def _everyone(permissions: Iterable[ec2.LaunchPermission]) -> bool:
    groups = [one["Group"] for one in permissions if one.get("Group")]
    for group in groups:
        if group != "all":
            raise ServiceError("InvalidAMIAttributeItemValue", f'Invalid attribute item value "{group}" for group')
    return bool(groups)


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
