"""The account's rules for its users' passwords.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html
"""

from __future__ import annotations

import string
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.account import PasswordPolicy
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.iam_rules import checked_number, no_such
from skylift.cloud.services.api.operation import Nothing, Params
from skylift.cloud.services.iam.operation import reads, writes
from skylift.cloud.store.account import account_of, keep
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam


SYMBOLS = "!@#$%^&*()_+-=[]{}|'"
"""The characters that AWS counts as symbols."""

_LEAST_LENGTH, _LEAST_KINDS = 8, 3
"""AWS's requirements if the account has no policy of its own."""


def update(tx: Tx, caller: Caller, params: iam.UpdateAccountPasswordPolicyRequest) -> Nothing:
    """Replaces the policy as a whole: a parameter that is not given has its default, as on AWS."""
    asked = PasswordPolicy(
        length=checked_number(params, "MinimumPasswordLength", 6, 128, 6),
        symbols=params.get("RequireSymbols", False),
        numbers=params.get("RequireNumbers", False),
        uppercase=params.get("RequireUppercaseCharacters", False),
        lowercase=params.get("RequireLowercaseCharacters", False),
        users_may_change=params.get("AllowUsersToChangePassword", False),
        max_age_days=_checked(params, "MaxPasswordAge", 1095),
        reuse_prevented=_checked(params, "PasswordReusePrevention", 24),
        hard_expiry=params.get("HardExpiry", False),
    )
    keep(tx, replace(account_of(tx, caller.account), passwords=asked))
    return {}


def get(tx: Tx, caller: Caller, _params: Params) -> iam.GetAccountPasswordPolicyResponse:
    policy = _existing(tx, caller)
    shown: iam.PasswordPolicy = {
        "MinimumPasswordLength": policy.length,
        "RequireSymbols": policy.symbols,
        "RequireNumbers": policy.numbers,
        "RequireUppercaseCharacters": policy.uppercase,
        "RequireLowercaseCharacters": policy.lowercase,
        "AllowUsersToChangePassword": policy.users_may_change,
        "HardExpiry": policy.hard_expiry,
        "ExpirePasswords": policy.max_age_days is not None,
    }
    if policy.max_age_days is not None:
        shown["MaxPasswordAge"] = policy.max_age_days
    if policy.reuse_prevented is not None:
        shown["PasswordReusePrevention"] = policy.reuse_prevented
    return {"PasswordPolicy": shown}


def delete(tx: Tx, caller: Caller, _params: Params) -> Nothing:
    _existing(tx, caller)
    keep(tx, replace(account_of(tx, caller.account), passwords=None))
    return {}


def refuse_weak(policy: PasswordPolicy | None, password: str, user: str) -> None:
    """Raises where the account does not take this password of this user."""
    kinds = {
        "uppercase": any(one in string.ascii_uppercase for one in password),
        "lowercase": any(one in string.ascii_lowercase for one in password),
        "numbers": any(one in string.digits for one in password),
        "symbols": any(one in SYMBOLS for one in password),
    }
    if policy is None:
        length, lacking = _LEAST_LENGTH, []
        if sum(kinds.values()) < _LEAST_KINDS:
            lacking = [f"at least {_LEAST_KINDS} of uppercase, lowercase, numbers and symbols"]
        if password.lower() == user.lower():
            lacking.append("something else than the user's name")
    else:
        length = policy.length
        lacking = [kind for kind, there in kinds.items() if getattr(policy, kind) and not there]
    if len(password) < length:
        lacking.append(f"a minimum length of {length}")
    if lacking:
        raise violation(f"Password should have {', '.join(lacking)}")


def violation(why: str) -> ServiceError:
    return ServiceError("PasswordPolicyViolation", why, status=400)


def _existing(tx: Tx, caller: Caller) -> PasswordPolicy:
    policy = account_of(tx, caller.account).passwords
    if policy is None:
        raise no_such(f"Password Policy with domain name {caller.account}")
    return policy


def _checked(params: Params, name: str, most: int) -> int | None:
    """A number from 1; None where it is not given."""
    return checked_number(params, name, 1, most, 1) if name in params else None


OPERATIONS = (
    writes(
        "UpdateAccountPasswordPolicy",
        update,
        "MinimumPasswordLength RequireSymbols RequireNumbers RequireUppercaseCharacters RequireLowercaseCharacters "
        "AllowUsersToChangePassword MaxPasswordAge PasswordReusePrevention HardExpiry",
    ),
    reads("GetAccountPasswordPolicy", get),
    writes("DeleteAccountPasswordPolicy", delete, ""),
)
