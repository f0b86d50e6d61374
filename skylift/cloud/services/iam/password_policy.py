"""What the account asks of its users' passwords.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html
"""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

from skylift.cloud.domain.account import PasswordPolicy
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.iam_rules import checked_number, no_such
from skylift.cloud.services.iam.operation import on_account, reads, writes
from skylift.cloud.store.account import account_of, keep
from skylift.cloud.store.database import Tx

FIELDS = {
    "MinimumPasswordLength": "length",
    "RequireSymbols": "symbols",
    "RequireNumbers": "numbers",
    "RequireUppercaseCharacters": "uppercase",
    "RequireLowercaseCharacters": "lowercase",
    "AllowUsersToChangePassword": "users_may_change",
    "MaxPasswordAge": "max_age_days",
    "PasswordReusePrevention": "reuse_prevented",
    "HardExpiry": "hard_expiry",
}
_NUMBERS = {"MinimumPasswordLength": (6, 128), "MaxPasswordAge": (1, 1095), "PasswordReusePrevention": (1, 24)}

SYMBOLS = "!@#$%^&*()_+-=[]{}|'"
"""Those that AWS counts."""

_LEAST_LENGTH, _LEAST_KINDS = 8, 3
"""What AWS asks where the account has no policy of its own."""


def update(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """What is not given is as in a policy that says nothing: nothing of the one before stays."""
    asked = {FIELDS[name]: _checked(params, name) for name in FIELDS if name in params}
    keep(tx, replace(account_of(tx, caller.account), passwords=PasswordPolicy(**asked)))
    return {}


def get(tx: Tx, caller: Caller, _params: Any) -> dict[str, Any]:
    policy = _existing(tx, caller)
    shown = {name: getattr(policy, field) for name, field in FIELDS.items()}
    shown["ExpirePasswords"] = policy.max_age_days is not None
    return {"PasswordPolicy": {name: value for name, value in shown.items() if value is not None}}


def delete(tx: Tx, caller: Caller, _params: Any) -> dict[str, Any]:
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


def _checked(params: Any, name: str) -> Any:
    if name not in _NUMBERS:
        return params[name]
    least, most = _NUMBERS[name]
    return checked_number(params, name, least, most, least)


OPERATIONS = (
    writes(
        "UpdateAccountPasswordPolicy",
        update,
        " ".join(FIELDS),
        on_account("UpdateAccountPasswordPolicy"),
    ),
    reads("GetAccountPasswordPolicy", get, "", on_account("GetAccountPasswordPolicy")),
    writes(
        "DeleteAccountPasswordPolicy",
        delete,
        "",
        on_account("DeleteAccountPasswordPolicy"),
    ),
)
