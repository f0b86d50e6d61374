"""The credential report, as CSV that scripts read by its columns."""

from __future__ import annotations

import csv

from identity_fixtures import ACCOUNT, Account, refused


def rows(account: Account) -> dict[str, dict[str, str]]:
    content = account.iam("GetCredentialReport")["Content"].decode()
    return {row["user"]: row for row in csv.DictReader(content.splitlines())}


def test_root_and_users_with_their_passwords_and_keys(account: Account) -> None:
    with refused("ReportNotPresent", status=410):
        account.iam("GetCredentialReport")
    account.iam("UpdateAccountPasswordPolicy", MaxPasswordAge=30)
    account.user("ann")
    account.iam("CreateLoginProfile", UserName="ann", Password="Correct-Horse-1")
    (key,) = account.iam("ListAccessKeys", UserName="ann")["AccessKeyMetadata"]
    account.iam("UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    account.iam("CreateUser", UserName="bob")
    assert account.iam("GenerateCredentialReport") == {"State": "COMPLETE"}
    found = rows(account)
    assert list(found) == ["<root_account>", "ann", "bob"]
    root, ann, bob = found.values()
    assert (root["arn"], root["access_key_1_active"]) == (f"arn:aws:iam::{ACCOUNT}:root", "true")
    assert (ann["password_enabled"], ann["password_next_rotation"]) == ("true", "2026-03-31T12:00:00+00:00")
    assert (ann["access_key_1_active"], ann["access_key_1_last_used_date"]) == ("false", "N/A")
    assert (bob["password_enabled"], bob["mfa_active"], bob["access_key_1_last_rotated"]) == ("false", "false", "N/A")


def test_a_report_counts_for_four_hours(account: Account) -> None:
    account.iam("GenerateCredentialReport")
    account.iam("CreateUser", UserName="ann")
    account.pass_time(hours=3)
    account.iam("GenerateCredentialReport")
    assert "ann" not in rows(account)
    account.pass_time(hours=1)
    with refused("ReportExpired", status=410):
        account.iam("GetCredentialReport")
    account.iam("GenerateCredentialReport")
    assert "ann" in rows(account)
