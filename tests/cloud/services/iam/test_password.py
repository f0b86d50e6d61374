"""Users' passwords and what the account asks of them."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import START, Account, allow, refused

from skylift.cloud.domain.identity import LoginProfile

FIRST, SECOND = "Correct-Horse-1", "Battery-Staple-2"


def give(account: Account, password: str = FIRST, **params: Any) -> dict[str, Any]:
    made: dict[str, Any] = account.iam("CreateLoginProfile", UserName="ann", Password=password, **params)
    return made["LoginProfile"]


@pytest.fixture
def ann(account: Account) -> Any:
    return account.user("ann", allow("iam:ChangePassword", "arn:aws:iam::*:user/${aws:username}"))


def test_a_login_profile_lives_and_ends(account: Account, ann: Any) -> None:
    with refused("NoSuchEntity", "Login Profile for User ann", status=404):
        account.iam("GetLoginProfile", UserName="ann")
    made = give(account, PasswordResetRequired=True)
    assert made == {"UserName": "ann", "CreateDate": START, "PasswordResetRequired": True}
    with refused("EntityAlreadyExists", status=409):
        give(account)
    account.iam("UpdateLoginProfile", UserName="ann", Password=SECOND, PasswordResetRequired=False)
    assert not account.iam("GetLoginProfile", UserName="ann")["LoginProfile"]["PasswordResetRequired"]
    for key in account.iam("ListAccessKeys", UserName="ann")["AccessKeyMetadata"]:
        account.iam("DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])
    account.iam("DeleteUserPolicy", UserName="ann", PolicyName="own")
    with refused("DeleteConflict", "login profile"):
        account.iam("DeleteUser", UserName="ann")
    account.iam("DeleteLoginProfile", UserName="ann")
    account.iam("DeleteUser", UserName="ann")


def test_a_user_changes_its_own(account: Account, ann: Any) -> None:
    give(account, PasswordResetRequired=True)
    with refused("AccessDenied", "old password"):
        account.iam("ChangePassword", caller=ann, OldPassword=SECOND, NewPassword=SECOND)
    account.iam("ChangePassword", caller=ann, OldPassword=FIRST, NewPassword=SECOND)
    account.iam("ChangePassword", caller=ann, OldPassword=SECOND, NewPassword=FIRST)
    assert not account.iam("GetLoginProfile", UserName="ann")["LoginProfile"]["PasswordResetRequired"]
    with refused("InvalidUserType"):
        account.iam("ChangePassword", OldPassword=FIRST, NewPassword=SECOND)
    with refused("AccessDenied", "iam:ChangePassword"):
        account.iam("ChangePassword", caller=account.user("bob"), OldPassword=FIRST, NewPassword=SECOND)


def test_it_stays_with_a_user_who_is_renamed(account: Account, ann: Any) -> None:
    give(account)
    account.iam("UpdateUser", UserName="ann", NewUserName="anna")
    assert account.iam("GetLoginProfile", UserName="anna")["LoginProfile"]["UserName"] == "anna"


def test_nobody_reads_a_password(account: Account, ann: Any) -> None:
    give(account)
    with account.database.read() as tx:
        (profile,) = tx.find(LoginProfile)
    assert FIRST not in repr(profile) + profile.password
    with refused("ValidationError", "'***'"):
        account.iam("UpdateLoginProfile", UserName="ann", Password="\u20ac")


@pytest.mark.parametrize("password", ["Ab1-", "alllowercase", "ANN", "lower1234"])
def test_what_aws_asks_of_a_password_without_a_policy(account: Account, ann: Any, password: str) -> None:
    with refused("PasswordPolicyViolation", status=400):
        give(account, password)


def test_a_policy_of_the_account(account: Account, ann: Any) -> None:
    with refused("NoSuchEntity", "Password Policy"):
        account.iam("GetAccountPasswordPolicy")
    account.iam("UpdateAccountPasswordPolicy", MinimumPasswordLength=12, RequireSymbols=True, MaxPasswordAge=90)
    assert account.iam("GetAccountPasswordPolicy")["PasswordPolicy"] == {
        "MinimumPasswordLength": 12,
        "RequireSymbols": True,
        "RequireNumbers": False,
        "RequireUppercaseCharacters": False,
        "RequireLowercaseCharacters": False,
        "AllowUsersToChangePassword": False,
        "ExpirePasswords": True,
        "MaxPasswordAge": 90,
        "HardExpiry": False,
    }
    with refused("PasswordPolicyViolation", "symbols", "12"):
        give(account, "short")
    give(account, "long-enough-by-far")
    account.iam("UpdateAccountPasswordPolicy", RequireNumbers=True)
    found = account.iam("GetAccountPasswordPolicy")["PasswordPolicy"]
    assert (found["MinimumPasswordLength"], found["RequireSymbols"], found["ExpirePasswords"]) == (6, False, False)
    with refused("PasswordPolicyViolation", "numbers"):
        account.iam("UpdateLoginProfile", UserName="ann", Password="without")
    with refused("ValidationError", "minimumPasswordLength"):
        account.iam("UpdateAccountPasswordPolicy", MinimumPasswordLength=129)
    account.iam("DeleteAccountPasswordPolicy")
    with refused("NoSuchEntity"):
        account.iam("DeleteAccountPasswordPolicy")


def test_earlier_passwords_and_expired_ones(account: Account, ann: Any) -> None:
    account.iam("UpdateAccountPasswordPolicy", PasswordReusePrevention=2, MaxPasswordAge=1, HardExpiry=True)
    give(account)
    for before, after in ((FIRST, SECOND), (SECOND, "third-One-3")):
        account.iam("ChangePassword", caller=ann, OldPassword=before, NewPassword=after)
    with refused("PasswordPolicyViolation", "used before"):
        account.iam("ChangePassword", caller=ann, OldPassword="third-One-3", NewPassword=SECOND)
    account.iam("ChangePassword", caller=ann, OldPassword="third-One-3", NewPassword=FIRST)
    account.pass_time(days=1)
    with refused("AccessDenied", "expired"):
        account.iam("ChangePassword", caller=ann, OldPassword=FIRST, NewPassword="fourth-One-4")
    account.iam("UpdateLoginProfile", UserName="ann", Password="fourth-One-4")
    account.iam("ChangePassword", caller=ann, OldPassword="fourth-One-4", NewPassword="fifth-One-5")


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        ("ListSSHPublicKeys", "SSHPublicKeys"),
        ("ListSigningCertificates", "Certificates"),
        ("ListServiceSpecificCredentials", "ServiceSpecificCredentials"),
    ],
)
def test_what_a_user_has_none_of(account: Account, ann: Any, operation: str, member: str) -> None:
    assert account.iam(operation, UserName="ann") == {member: [], "IsTruncated": False}
    with refused("NoSuchEntity"):
        account.iam(operation, UserName="bob")


def test_what_the_account_has_none_of(account: Account) -> None:
    assert account.iam("ListServerCertificates")["ServerCertificateMetadataList"] == []
    assert account.iam("ListOpenIDConnectProviders") == {"OpenIDConnectProviderList": []}
    assert account.iam("ListSAMLProviders") == {"SAMLProviderList": []}
