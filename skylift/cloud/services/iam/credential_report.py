"""The credential report: which passwords and keys there are, how old they are and when they were last used.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
"""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.account import CredentialReport, PasswordPolicy
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import AccessKey, Caller, LoginProfile, MfaDevice, User
from skylift.cloud.services.api.operation import Params
from skylift.cloud.services.iam.operation import reads, writes
from skylift.cloud.store.account import account_of
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

VALID = timedelta(hours=4)
"""A report is valid for this long; until then a request for another one changes nothing."""

NONE, NOT_HERE = "N/A", "not_supported"
_KEYS = 2

COLUMNS = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    *(
        f"access_key_{number}_{what}"
        for number in range(1, _KEYS + 1)
        for what in ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
    ),
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)


def generate(tx: Tx, caller: Caller, _params: Params) -> iam.GenerateCredentialReportResponse:
    """Make the report at once, so that there is no state in between."""
    known = tx.get(CredentialReport, account=caller.account)
    if known is None or _is_old(known, tx):
        if known is not None:
            tx.remove(known)
        tx.add(CredentialReport(caller.account, _text(tx, caller), tx.now))
    return {"State": "COMPLETE"}


def get(tx: Tx, caller: Caller, _params: Params) -> iam.GetCredentialReportResponse:
    report = tx.get(CredentialReport, account=caller.account)
    if report is None:
        raise ServiceError("ReportNotPresent", "No report exists. Generate one first.", status=410)
    if _is_old(report, tx):
        raise ServiceError("ReportExpired", "The report is older than four hours. Generate another.", status=410)
    return {"Content": report.text.encode(), "ReportFormat": "text/csv", "GeneratedTime": report.generated}


def _is_old(report: CredentialReport, tx: Tx) -> bool:
    return report.generated + VALID <= tx.now


def _text(tx: Tx, caller: Caller) -> str:
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerow(_root(tx, caller))
    policy = account_of(tx, caller.account).passwords
    for user in sorted(tx.find(User), key=lambda one: one.name):
        lines.writerow(_user(tx, user, policy))
    return written.getvalue()


def _root(tx: Tx, caller: Caller) -> list[str]:
    """Its password is AWS's console's; when its keys are used is not noted here."""
    keys = tx.find(AccessKey, user=None)
    created = _time(min(key.created for key in keys)) if keys else NONE
    password = [NOT_HERE, NONE, NOT_HERE, NOT_HERE]
    return [
        "<root_account>",
        f"arn:aws:iam::{caller.account}:root",
        created,
        *password,
        "false",
        *_keys(keys),
        *_certs(),
    ]


def _user(tx: Tx, user: User, policy: PasswordPolicy | None) -> list[str]:
    profile = tx.get(LoginProfile, user=user.name)
    password = ["false", NONE, NONE, NONE] if profile is None else _password(profile, policy)
    keys = tx.find(AccessKey, user=user.name)
    mfa = "true" if tx.find(MfaDevice, user_id=user.id) else "false"
    return [user.name, user.arn, _time(user.created), *password, mfa, *_keys(keys), *_certs()]


def _password(profile: LoginProfile, policy: PasswordPolicy | None) -> list[str]:
    """There is no console here, so no password was ever used to sign in."""
    age = policy.max_age_days if policy else None
    rotation = _time(profile.changed + timedelta(days=age)) if age is not None else NONE
    return ["true", "no_information", _time(profile.changed), rotation]


def _keys(keys: list[AccessKey]) -> list[str]:
    shown: list[str] = []
    for number in range(_KEYS):
        if number >= len(keys):
            shown += ["false", NONE, NONE, NONE, NONE]
            continue
        key = keys[number]
        used = [_time(key.used), key.used_region or NONE, key.used_service or NONE] if key.used else [NONE] * 3
        shown += ["true" if key.active else "false", _time(key.created), *used]
    return shown


def _certs() -> list[str]:
    return ["false", NONE, "false", NONE]


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S+00:00")


OPERATIONS = (writes("GenerateCredentialReport", generate), reads("GetCredentialReport", get))
