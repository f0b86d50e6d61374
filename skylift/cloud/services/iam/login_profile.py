"""Users' passwords. There is no console here to sign in to: a user changes its own, and what the account asks of
passwords is held."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.account import PasswordPolicy
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, LoginProfile
from skylift.cloud.services.api.iam_rules import exists, invalid_value, no_such
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.operation import writes
from skylift.cloud.services.iam.password_policy import refuse_weak, violation
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.account import account_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

REMEMBERED = 24
"""The number of old passwords that are kept, which is the most that a policy can forbid."""

_TEXT = re.compile(r"[\t\n\r -\xff]{1,128}")
_COST = 1 << 12


def create(tx: Tx, caller: Caller, params: iam.CreateLoginProfileRequest) -> iam.CreateLoginProfileResponse:
    user = users.existing(tx, users.named_or_own(caller, params))
    password = _checked(params["Password"], "password")
    if tx.get(LoginProfile, user=user.name) is not None:
        raise exists(f"Login Profile for user {user.name}")
    refuse_weak(account_of(tx, caller.account).passwords, password, user.name)
    made = LoginProfile(
        user.name, tx.now, tx.now, digest(password), reset_required=params.get("PasswordResetRequired", False)
    )
    tx.add(made)
    return {"LoginProfile": _view(made)}


def get(tx: Tx, caller: Caller, params: iam.GetLoginProfileRequest) -> iam.GetLoginProfileResponse:
    return {"LoginProfile": _view(_existing(tx, users.named_or_own(caller, params)))}


def update(tx: Tx, caller: Caller, params: iam.UpdateLoginProfileRequest) -> Nothing:
    profile = _existing(tx, params["UserName"])
    if "Password" in params:
        profile = _with(tx, profile, account_of(tx, caller.account).passwords, _checked(params["Password"], "password"))
    tx.save(replace(profile, reset_required=params.get("PasswordResetRequired", profile.reset_required)))
    return {}


def delete(tx: Tx, caller: Caller, params: iam.DeleteLoginProfileRequest) -> Nothing:
    tx.remove(_existing(tx, users.named_or_own(caller, params)))
    return {}


def change(tx: Tx, caller: Caller, params: iam.ChangePasswordRequest) -> Nothing:
    """A user changes its own password, and gives the old one."""
    if caller.kind != "user" or caller.user is None:
        raise ServiceError("InvalidUserType", "Only IAM Users can change their own password", status=400)
    profile = _existing(tx, caller.user)
    policy = account_of(tx, caller.account).passwords
    if not _matches(profile.password, _checked(params["OldPassword"], "oldPassword")):
        raise ServiceError("AccessDenied", "The old password was incorrect.", status=403)
    if policy is not None and policy.hard_expiry and expires(profile, policy, tx):
        raise ServiceError("AccessDenied", "The password has expired; an administrator has to set another.", status=403)
    tx.save(replace(_with(tx, profile, policy, _checked(params["NewPassword"], "newPassword")), reset_required=False))
    return {}


def digest(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_derived(password, salt).hex()}"


def expires(profile: LoginProfile, policy: PasswordPolicy, tx: Tx) -> bool:
    """Whether the password is older than the account lets it become."""
    age = policy.max_age_days
    return age is not None and profile.changed + timedelta(days=age) <= tx.now


def _with(tx: Tx, profile: LoginProfile, policy: PasswordPolicy | None, password: str) -> LoginProfile:
    refuse_weak(policy, password, profile.user)
    known = (profile.password, *profile.earlier)
    barred = policy.reuse_prevented if policy and policy.reuse_prevented else 0
    if any(_matches(one, password) for one in known[:barred]):
        raise violation("Password has been used before")
    return replace(profile, changed=tx.now, password=digest(password), earlier=known[:REMEMBERED])


def _matches(kept: str, password: str) -> bool:
    salt, _, derived = kept.partition("$")
    return hmac.compare_digest(_derived(password, bytes.fromhex(salt)), bytes.fromhex(derived))


def _derived(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=8, p=1)


def _checked(password: str, member: str) -> str:
    """The value stays out of the message; `member` is the parameter as AWS's messages spell it."""
    if not _TEXT.fullmatch(password):
        raise invalid_value("***", member, r"satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+")
    return password


def _existing(tx: Tx, user: str) -> LoginProfile:
    users.existing(tx, user)
    profile = tx.get(LoginProfile, user=user)
    if profile is None:
        raise no_such(f"Login Profile for User {user}")
    return profile


def _view(profile: LoginProfile) -> iam.LoginProfile:
    return {"UserName": profile.user, "CreateDate": profile.created, "PasswordResetRequired": profile.reset_required}


OPERATIONS = (
    ON_USER.writes("CreateLoginProfile", create, "Password PasswordResetRequired"),
    ON_USER.reads("GetLoginProfile", get),
    ON_USER.writes("UpdateLoginProfile", update, "Password PasswordResetRequired"),
    ON_USER.writes("DeleteLoginProfile", delete),
    writes("ChangePassword", change, "OldPassword NewPassword", users.check("ChangePassword")),
)
