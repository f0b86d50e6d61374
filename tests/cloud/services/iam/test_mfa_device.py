"""Virtual MFA devices, the codes that authenticator apps make of them, and what policies see of both."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import ACCOUNT, START, Account, allow, deny, policy, refused, trust

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, MfaDevice
from skylift.cloud.services.iam.one_time_code import STEP, code

RFC_SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
WITH_MFA = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}


class Device:
    """An authenticator app: it knows a seed and what time it is."""

    def __init__(self, account: Account, name: str = "phone") -> None:
        made = account.iam("CreateVirtualMFADevice", VirtualMFADeviceName=name)["VirtualMFADevice"]
        self.serial = made["SerialNumber"]
        self._account = account
        self._seed = made["Base32StringSeed"].decode()

    def code(self, ahead: int = 0) -> str:
        return code(self._seed, int(self._account.now.timestamp()) // STEP + ahead)

    def give_to(self, user: str, **more: Any) -> None:
        codes = {"AuthenticationCode1": self.code(-1), "AuthenticationCode2": self.code(), **more}
        self._account.iam("EnableMFADevice", UserName=user, SerialNumber=self.serial, **codes)

    def proof(self) -> dict[str, str]:
        return {"SerialNumber": self.serial, "TokenCode": self.code()}


@pytest.fixture
def ann(account: Account) -> Caller:
    return account.user("ann", allow("iam:GetUser"), allow("ec2:*", Condition=WITH_MFA))


@pytest.fixture
def device(account: Account, ann: Caller) -> Device:
    """Given to ann, with a code of the next step to come."""
    made = Device(account)
    made.give_to("ann")
    account.pass_time(seconds=STEP)
    return made


def session(account: Account, caller: Caller, **proof: str) -> Caller:
    made = account.call("sts", "GetSessionToken", caller=caller, **proof)["Credentials"]
    return account.caller(made["AccessKeyId"], made["SessionToken"])


@pytest.mark.parametrize(("seconds", "digits"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_codes_are_those_of_rfc_6238(seconds: int, digits: str) -> None:
    assert code(RFC_SEED, seconds // STEP) == digits


def test_a_device_from_its_seed_to_its_end(account: Account, ann: Caller) -> None:
    device = Device(account)
    assert device.serial == f"arn:aws:iam::{ACCOUNT}:mfa/phone"
    with refused("EntityAlreadyExists", status=409):
        Device(account)
    assert account.iam("ListVirtualMFADevices", AssignmentStatus="Unassigned")["VirtualMFADevices"] == [
        {"SerialNumber": device.serial}
    ]
    device.give_to("ann")
    (own,) = account.iam("ListMFADevices", UserName="ann")["MFADevices"]
    assert own == {"UserName": "ann", "SerialNumber": device.serial, "EnableDate": START}
    (assigned,) = account.iam("ListVirtualMFADevices", AssignmentStatus="Assigned")["VirtualMFADevices"]
    assert assigned["User"]["UserName"] == "ann"
    assert account.iam("GetMFADevice", SerialNumber=device.serial)["UserName"] == "ann"
    with refused("EntityAlreadyExists"):
        device.give_to("ann")
    with refused("DeleteConflict", "Must deactivate first"):
        account.iam("DeleteVirtualMFADevice", SerialNumber=device.serial)
    summary = account.iam("GetAccountSummary")["SummaryMap"]
    assert (summary["MFADevices"], summary["MFADevicesInUse"]) == (1, 1)
    account.iam("UpdateUser", UserName="ann", NewUserName="anna")
    assert account.iam("ListMFADevices", UserName="anna")["MFADevices"][0]["UserName"] == "anna"
    account.iam("DeactivateMFADevice", UserName="anna", SerialNumber=device.serial)
    with refused("NoSuchEntity"):
        account.iam("DeactivateMFADevice", UserName="anna", SerialNumber=device.serial)
    account.iam("DeleteVirtualMFADevice", SerialNumber=device.serial)
    with refused("NoSuchEntity"):
        account.iam("GetMFADevice", SerialNumber=device.serial)


def test_the_seed_is_told_once(account: Account, device: Device) -> None:
    with account.database.read() as tx:
        (kept,) = tx.find(MfaDevice)
    assert kept.seed not in repr(kept)
    assert set(account.iam("ListVirtualMFADevices")["VirtualMFADevices"][0]) == {"SerialNumber", "User", "EnableDate"}


def test_two_codes_in_a_row_give_a_device_to_a_user(account: Account, ann: Caller) -> None:
    device = Device(account)
    for wrong in (
        {"AuthenticationCode1": device.code()},
        {"AuthenticationCode2": device.code(1)},
        {"AuthenticationCode1": device.code(-40), "AuthenticationCode2": device.code(-39)},
    ):
        with refused("InvalidAuthenticationCode", status=403):
            device.give_to("ann", **wrong)
    with refused("ValidationError", "authenticationCode1"):
        device.give_to("ann", AuthenticationCode1="abcdef")
    device.give_to("ann")
    account.pass_time(seconds=2 * STEP)
    codes = {"AuthenticationCode1": device.code(-1), "AuthenticationCode2": device.code()}
    account.iam("ResyncMFADevice", UserName="ann", SerialNumber=device.serial, **codes)
    with refused("InvalidAuthenticationCode"):
        account.iam("ResyncMFADevice", UserName="ann", SerialNumber=device.serial, **codes)


def test_a_user_with_a_device_is_not_deleted(account: Account) -> None:
    account.iam("CreateUser", UserName="bob")
    Device(account).give_to("bob")
    with refused("DeleteConflict", "MFA device"):
        account.iam("DeleteUser", UserName="bob")


def test_a_session_with_a_code_is_one_with_mfa(account: Account, ann: Caller, device: Device) -> None:
    plain, sure = session(account, ann), session(account, ann, **device.proof())
    assert (plain.mfa, sure.mfa) == (None, account.now)
    for caller, decision in ((ann, False), (plain, False), (sure, True)):
        assert account.may(caller, "ec2:RunInstances") is decision
    account.iam("GetUser", caller=sure)


def test_a_code_is_good_once_and_for_its_owner(account: Account, ann: Caller, device: Device) -> None:
    proof = device.proof()
    session(account, ann, **proof)
    with refused("AccessDenied", "invalid MFA one time pass code", status=403):
        session(account, ann, **proof)
    account.pass_time(seconds=STEP)
    with refused("AccessDenied", "MultiFactorAuthentication failed"):
        session(account, account.user("bob"), **device.proof())
    with refused("ValidationError", "Must specify both"):
        session(account, ann, TokenCode=device.code())
    session(account, ann, **device.proof())


def test_a_role_that_asks_for_mfa(account: Account, ann: Caller, device: Device) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/careful"
    account.iam("CreateRole", RoleName="careful", AssumeRolePolicyDocument=trust({"AWS": ann.arn}, Condition=WITH_MFA))
    asked = {"RoleArn": role, "RoleSessionName": "test"}
    with refused("AccessDenied"):
        account.call("sts", "AssumeRole", caller=ann, **asked)
    made = account.call("sts", "AssumeRole", caller=ann, **asked, **device.proof())["Credentials"]
    assert account.caller(made["AccessKeyId"], made["SessionToken"]).mfa == account.now
    account.pass_time(seconds=STEP)
    account.call("sts", "AssumeRole", caller=session(account, ann, **device.proof()), **asked)


def test_how_long_ago_it_was(account: Account, device: Device) -> None:
    recent = {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}
    document = policy(allow("s3:*", Condition=recent))
    account.iam("PutUserPolicy", UserName="ann", PolicyName="recent", PolicyDocument=document)
    key = account.iam("CreateAccessKey", UserName="ann")["AccessKey"]["AccessKeyId"]
    sure = session(account, account.caller(key), **device.proof())
    assert account.may(sure, "s3:ListAllMyBuckets")
    account.pass_time(hours=1)
    assert not account.may(sure, "s3:ListAllMyBuckets")


def test_who_may_handle_devices(account: Account) -> None:
    own = allow("iam:CreateVirtualMFADevice", f"arn:aws:iam::{ACCOUNT}:mfa/bob*")
    bob = account.user("bob", own, deny("iam:DeleteVirtualMFADevice"))
    account.iam("CreateVirtualMFADevice", caller=bob, VirtualMFADeviceName="bobs")
    tags = [{"Key": "team", "Value": "blue"}]
    with refused("AccessDenied", "iam:TagMFADevice"):
        account.iam("CreateVirtualMFADevice", caller=bob, VirtualMFADeviceName="bobs-other", Tags=tags)
    with refused("AccessDenied", "iam:CreateVirtualMFADevice"):
        account.iam("CreateVirtualMFADevice", caller=bob, VirtualMFADeviceName="anns")
    with refused("AccessDenied", "iam:DeleteVirtualMFADevice"):
        account.iam("DeleteVirtualMFADevice", caller=bob, SerialNumber=f"arn:aws:iam::{ACCOUNT}:mfa/bobs")
    account.iam("TagMFADevice", SerialNumber=f"arn:aws:iam::{ACCOUNT}:mfa/bobs", Tags=[{"Key": "k", "Value": "v"}])
    assert account.iam("ListMFADeviceTags", SerialNumber=f"arn:aws:iam::{ACCOUNT}:mfa/bobs")["Tags"] == [
        {"Key": "k", "Value": "v"}
    ]
    account.iam("UntagMFADevice", SerialNumber=f"arn:aws:iam::{ACCOUNT}:mfa/bobs", TagKeys=["k"])


def test_a_device_is_looked_at_as_its_user(account: Account, ann: Caller, device: Device) -> None:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html"""
    own = account.user("own", allow("iam:GetMFADevice", f"arn:aws:iam::{ACCOUNT}:user/ann"))
    assert account.iam("GetMFADevice", caller=own, SerialNumber=device.serial)["UserName"] == "ann"
    other = account.user("other", allow("iam:*"), deny("iam:GetMFADevice", f"arn:aws:iam::{ACCOUNT}:user/ann"))
    for named in ({}, {"UserName": "other"}):
        with refused("AccessDenied", "iam:GetMFADevice"):
            account.iam("GetMFADevice", caller=other, SerialNumber=device.serial, **named)


def wrong_code(account: Account, caller: Caller, device: Device) -> None:
    with refused("AccessDenied"):
        session(account, caller, SerialNumber=device.serial, TokenCode=device.code(500))


def test_wrong_codes_are_counted_and_make_the_device_wait(account: Account, ann: Caller, device: Device) -> None:
    for _ in range(5):
        wrong_code(account, ann, device)
    with refused("AccessDenied", "5 wrong codes in a row", "30 s"):
        session(account, ann, **device.proof())
    account.pass_time(seconds=STEP)
    wrong_code(account, ann, device)
    account.pass_time(seconds=STEP)
    with refused("AccessDenied", "6 wrong codes in a row", "30 s"):
        session(account, ann, **device.proof())
    account.pass_time(seconds=STEP)
    session(account, ann, **device.proof())
    wrong_code(account, ann, device)
    account.pass_time(seconds=STEP)
    session(account, ann, **device.proof())


def test_whoever_goes_on_trying_has_a_code_an_hour(account: Account, ann: Caller, device: Device) -> None:
    looked_at = 0
    for _ in range(2 * 24 * 60):
        try:
            session(account, ann, SerialNumber=device.serial, TokenCode=device.code(500))
        except ServiceError as error:
            looked_at += "in a row" not in error.message
        account.pass_time(minutes=1)
    assert looked_at < 65


def test_nobody_makes_the_device_of_somebody_else_wait(account: Account, ann: Caller, device: Device) -> None:
    bob = account.user("bob", allow("sts:*"))
    for _ in range(20):
        wrong_code(account, bob, device)
    session(account, ann, **device.proof())


def test_nobody_makes_it_wait_by_an_operation_on_devices(account: Account, ann: Caller, device: Device) -> None:
    """A user may often resync a device: what that names is not looked at before it is the user's own."""
    own = f"arn:aws:iam::{ACCOUNT}:user/bob"
    bob = account.user("bob", allow(["iam:ResyncMFADevice", "iam:EnableMFADevice"], own))
    codes = {"AuthenticationCode1": "000000", "AuthenticationCode2": "000000"}
    for name, answer in (("ResyncMFADevice", "NoSuchEntity"), ("EnableMFADevice", "EntityAlreadyExists")):
        for _ in range(5):
            with refused(answer):
                account.iam(name, caller=bob, UserName="bob", SerialNumber=device.serial, **codes)
    session(account, ann, **device.proof())
