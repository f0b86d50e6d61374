"""Virtual MFA devices: made, given to a user with two codes, asked for codes, and taken away.

There is no picture of the seed (`QRCodePNG`): authenticator apps take the seed itself as well.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_enable_virtual.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, MfaDevice, User
from skylift.cloud.services.api import iam_rules
from skylift.cloud.services.api.operation import Check, Handler, Nothing, Params, Prepare
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.one_time_code import STEP, new_seed, step_of, step_of_two
from skylift.cloud.services.iam.operation import PAGES, checks_to_make, on_arn, reads, writes
from skylift.cloud.services.iam.tagging import Tags
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam, sts

MAX_OF_USER = 8
LONGEST_NAME = 226
FREE = 5
"""So many wrong codes in a row may be given at once. After each further one none is looked at for a time, which is
twice as long each time: of a million codes three are good at any moment.
"""
LONGEST_PAUSE = 3600
MOST_COUNTED = 20

_CODE = re.compile(r"\d{6}", re.ASCII)
_STATUSES = ("Assigned", "Unassigned", "Any")


def create(tx: Tx, caller: Caller, params: iam.CreateVirtualMFADeviceRequest) -> iam.CreateVirtualMFADeviceResponse:
    """The only answer that ever contains the seed."""
    name, path = iam_rules.checked_name(params, "VirtualMFADeviceName", LONGEST_NAME), iam_rules.checked_path(params)
    serial = _arn(caller, name, path)
    if tx.get(MfaDevice, serial=serial) is not None:
        raise iam_rules.exists(f"MFADevice entity at the same path and name {name}")
    made = MfaDevice(serial, new_seed(), tx.now, tags=iam_rules.checked_tags(params))
    tx.add(made)
    return {"VirtualMFADevice": {**_view(tx, made), "Base32StringSeed": made.seed.encode()}}


def delete(tx: Tx, _caller: Caller, params: iam.DeleteVirtualMFADeviceRequest) -> Nothing:
    device = _existing(tx, params["SerialNumber"])
    if device.user_id is not None:
        raise ServiceError("DeleteConflict", "MFA VirtualDevice in use. Must deactivate first.", status=409)
    tx.remove(device)
    return {}


def enable(tx: Tx, _caller: Caller, params: iam.EnableMFADeviceRequest) -> Nothing:
    user, device = users.existing(tx, params["UserName"]), _existing(tx, params["SerialNumber"])
    if device.user_id is not None:
        raise iam_rules.exists(f"MFA device {device.serial} is in use; it")
    if len(tx.find(MfaDevice, user_id=user.id)) >= MAX_OF_USER:
        raise iam_rules.over_quota("MfaDevicesPerUser", MAX_OF_USER)
    tx.save(replace(device, user_id=user.id, enabled=tx.now, last_step=_step_of_two(tx, device, params), wrong=0))
    return {}


def deactivate(tx: Tx, caller: Caller, params: iam.DeactivateMFADeviceRequest) -> Nothing:
    device = _of_user(tx, users.existing(tx, users.named_or_own(caller, params)), params["SerialNumber"])
    tx.save(replace(device, user_id=None, enabled=None, wrong=0))
    return {}


def resync(tx: Tx, _caller: Caller, params: iam.ResyncMFADeviceRequest) -> Nothing:
    device = _of_user(tx, users.existing(tx, params["UserName"]), params["SerialNumber"])
    tx.save(replace(device, last_step=_step_of_two(tx, device, params), wrong=0))
    return {}


def get(tx: Tx, _caller: Caller, params: iam.GetMFADeviceRequest) -> iam.GetMFADeviceResponse:
    device = _existing(tx, params["SerialNumber"])
    user = tx.get(User, id=device.user_id) if device.user_id else None
    if params.get("UserName") and (user is None or user.name != params["UserName"]):
        raise iam_rules.no_such(f"MFA Device with serial number {device.serial}")
    shown: iam.GetMFADeviceResponse = {"SerialNumber": device.serial}
    if user is not None:
        shown["UserName"] = user.name
    if device.enabled is not None:
        shown["EnableDate"] = device.enabled
    return shown


def list_of_user(tx: Tx, caller: Caller, params: iam.ListMFADevicesRequest) -> iam.ListMFADevicesResponse:
    """Without a name: the caller's own; the account's root has none."""
    if caller.kind == "root" and "UserName" not in params:
        return {"MFADevices": [], "IsTruncated": False}
    user = users.existing(tx, users.named_or_own(caller, params))
    found, more = iam_rules.page_of(params, tx.find(MfaDevice, user_id=user.id), lambda one: one.serial)
    return {"MFADevices": [_of(user, one) for one in found], **more}


def list_all(tx: Tx, _caller: Caller, params: iam.ListVirtualMFADevicesRequest) -> iam.ListVirtualMFADevicesResponse:
    status = params.get("AssignmentStatus", "Any")
    if status not in _STATUSES:
        raise iam_rules.invalid_value(status, "assignmentStatus", f"satisfy enum value set: [{', '.join(_STATUSES)}]")
    wanted = [one for one in tx.find(MfaDevice) if status == "Any" or (one.user_id is None) == (status == "Unassigned")]
    found, more = iam_rules.page_of(params, wanted, lambda one: one.serial)
    return {"VirtualMFADevices": [_view(tx, one) for one in found], **more}


def authenticated(tx: Tx, caller: Caller, params: sts.AssumeRoleRequest | sts.GetSessionTokenRequest) -> bool:
    """Whether a request to STS comes with a code of the caller's own device; raises where it is a wrong one."""
    serial, given = params.get("SerialNumber"), params.get("TokenCode")
    if serial is None and given is None:
        return False
    if serial is None or given is None:
        raise ServiceError("ValidationError", "Must specify both MFA serial number and MFA token code", status=400)
    device = _own(tx, caller, serial)
    step = step_of(device.seed, given, tx.now, device.last_step) if device is not None else None
    if device is None or step is None:
        raise _failed("with invalid MFA one time pass code.")
    tx.save(replace(device, last_step=step, wrong=0))
    return True


def counting(handler: Handler) -> Prepare:
    """For an operation that one code opens: a wrong one is counted in a transaction of its own, as its refusal changes
    nothing. Two codes in a row, as EnableMFADevice takes them, are twelve digits and open nothing."""
    return lambda _tx, _caller, params: (_count, handler) if "TokenCode" in params else handler


def _count(tx: Tx, caller: Caller, params: Params) -> Nothing:
    """Raises AccessDenied while no code is looked at, so that trying all of a device's takes 38 years."""
    device = _own(tx, caller, params.get("SerialNumber", ""))
    if device is None:
        return {}
    if device.tried is not None and device.wrong >= FREE:
        pause = timedelta(seconds=min(STEP << (device.wrong - FREE), LONGEST_PAUSE))
        if (left := device.tried + pause - tx.now) > timedelta():
            seconds = math.ceil(left.total_seconds())
            raise _failed(f"after {device.wrong} wrong codes in a row. Try again in {seconds} s.")
    if step_of(device.seed, params["TokenCode"], tx.now, device.last_step) is None:
        tx.save(replace(device, wrong=min(device.wrong + 1, MOST_COUNTED), tried=tx.now))
    return {}


def _own(tx: Tx, caller: Caller, serial: str) -> MfaDevice | None:
    """The caller's own device: nobody else's codes are looked at, nor counted as wrong."""
    device, user = tx.get(MfaDevice, serial=serial), tx.get(User, name=caller.user) if caller.user else None
    return device if device is not None and user is not None and device.user_id == user.id else None


def _failed(why: str) -> ServiceError:
    return ServiceError("AccessDenied", f"MultiFactorAuthentication failed {why}", status=403)


def check_create(_tx: Tx, caller: Caller, params: iam.CreateVirtualMFADeviceRequest) -> Iterable[Check]:
    arn = _arn(caller, params["VirtualMFADeviceName"], params.get("Path", "/"))
    return checks_to_make("VirtualMFADevice", arn, params, tag="iam:TagMFADevice")


def check_get(tx: Tx, caller: Caller, params: iam.GetMFADeviceRequest) -> Iterable[Check]:
    """Authorised against the user whose device it is."""
    device = tx.get(MfaDevice, serial=params["SerialNumber"])
    user = tx.get(User, id=device.user_id) if device and device.user_id else None
    return [Check("iam:GetMFADevice", user.arn if user else users.arn_of(caller, params.get("UserName", "*")))]


def _existing(tx: Tx, serial: str) -> MfaDevice:
    device = tx.get(MfaDevice, serial=serial)
    if device is None:
        raise iam_rules.no_such(f"VirtualMFADevice with serial number {serial}")
    return device


def _of_user(tx: Tx, user: User, serial: str) -> MfaDevice:
    device = tx.get(MfaDevice, serial=serial)
    if device is None or device.user_id != user.id:
        raise iam_rules.no_such(f"MFA Device of user {user.name} with serial number {serial}")
    return device


def _step_of_two(tx: Tx, device: MfaDevice, params: iam.EnableMFADeviceRequest | iam.ResyncMFADeviceRequest) -> int:
    first = _code(params["AuthenticationCode1"], "authenticationCode1")
    second = _code(params["AuthenticationCode2"], "authenticationCode2")
    step = step_of_two(device.seed, first, second, tx.now, device.last_step)
    if step is None:
        raise ServiceError("InvalidAuthenticationCode", "Authentication code for device is not valid.", status=403)
    return step


def _code(given: str, member: str) -> str:
    """`member` is the parameter as AWS's messages spell it."""
    if not _CODE.fullmatch(given):
        raise iam_rules.invalid_value(given, member, r"satisfy regular expression pattern: [\d]+")
    return given


def _of(user: User, device: MfaDevice) -> iam.MFADevice:
    shown: iam.MFADevice = {"UserName": user.name, "SerialNumber": device.serial}
    return {**shown, "EnableDate": device.enabled} if device.enabled else shown


def _view(tx: Tx, device: MfaDevice) -> iam.VirtualMFADevice:
    shown: iam.VirtualMFADevice = {"SerialNumber": device.serial}
    user = tx.get(User, id=device.user_id) if device.user_id else None
    if user is not None:
        shown["User"] = users.summary(user)
    if device.enabled is not None:
        shown["EnableDate"] = device.enabled
    if device.tags:
        shown["Tags"] = iam_rules.tag_list(device.tags)
    return shown


def _arn(caller: Caller, name: str, path: str) -> str:
    return f"arn:aws:iam::{caller.account}:mfa{path}{name}"


ON_DEVICE = on_arn("SerialNumber")
TAGS = Tags("TagsPerMFADevice", "SerialNumber", _existing, _existing)

OPERATIONS = (
    ON_USER.reads("ListMFADevices", list_of_user, PAGES),
    writes("CreateVirtualMFADevice", create, "Path VirtualMFADeviceName Tags", check_create),
    ON_DEVICE.writes("DeleteVirtualMFADevice", delete),
    ON_USER.writes("EnableMFADevice", enable, "SerialNumber AuthenticationCode1 AuthenticationCode2"),
    ON_USER.writes("DeactivateMFADevice", deactivate, "SerialNumber"),
    ON_USER.writes("ResyncMFADevice", resync, "SerialNumber AuthenticationCode1 AuthenticationCode2"),
    reads("GetMFADevice", get, "SerialNumber UserName", check_get),
    ON_DEVICE.writes("TagMFADevice", TAGS.tag, "Tags"),
    ON_DEVICE.writes("UntagMFADevice", TAGS.untag, "TagKeys"),
    ON_DEVICE.reads("ListMFADeviceTags", TAGS.list_all, PAGES),
    reads("ListVirtualMFADevices", list_all, f"AssignmentStatus {PAGES}"),
)
