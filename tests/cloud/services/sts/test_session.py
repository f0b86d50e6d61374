"""Temporary credentials: GetSessionToken, and sessions that carry tags."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from identity_fixtures import ACCOUNT, START, Account, allow, deny, policy, refused, trust

from skylift.cloud.domain.identity import Caller

TAGGING_TRUST = policy(
    {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
)


def tags(**pairs: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def session_of(account: Account, caller: Caller, **params: Any) -> tuple[Caller, dict[str, Any]]:
    made = account.call("sts", "GetSessionToken", caller=caller, **params)["Credentials"]
    return account.caller(made["AccessKeyId"], made["SessionToken"]), made


def test_a_users_session_is_the_user(account: Account) -> None:
    ann = account.user("ann", allow("s3:GetObject"))
    caller, made = session_of(account, ann)
    assert made["AccessKeyId"].startswith("ASIA")
    assert made["Expiration"] == START.replace(microsecond=0) + timedelta(hours=12)
    assert (caller.kind, caller.user, caller.arn, caller.user_id) == ("user", "ann", ann.arn, ann.user_id)
    assert account.may(caller) and not account.may(caller, "s3:PutObject")
    account.iam("UpdateUser", UserName="ann", NewUserName="anna")
    assert account.caller(made["AccessKeyId"], made["SessionToken"]).user == "anna"
    account.pass_time(hours=12)
    with refused("ExpiredToken"):
        account.caller(made["AccessKeyId"], made["SessionToken"])


def test_a_session_ends_with_its_user(account: Account) -> None:
    ann = account.user("ann")
    _, made = session_of(account, ann)
    account.iam("DeleteAccessKey", UserName="ann", AccessKeyId=ann.access_key_id)
    account.iam("DeleteUser", UserName="ann")
    with refused("InvalidAccessKeyId"):
        account.caller(made["AccessKeyId"], made["SessionToken"])
    account.iam("CreateUser", UserName="ann")
    with refused("InvalidAccessKeyId"):
        account.caller(made["AccessKeyId"], made["SessionToken"])


def test_a_root_session_lasts_an_hour(account: Account) -> None:
    caller, made = session_of(account, account.root, DurationSeconds=129600)
    assert made["Expiration"] == START.replace(microsecond=0) + timedelta(hours=1)
    assert caller.kind == "root" and account.may(caller)


def test_a_session_of_more_than_36_hours(account: Account) -> None:
    with refused("ValidationError", "durationSeconds"):
        session_of(account, account.user("ann"), DurationSeconds=129601)


def test_what_a_session_may_not_do(account: Account) -> None:
    ann = account.user("ann", allow("*"))
    caller, made = session_of(account, ann)
    with refused("AccessDenied", "Cannot call GetSessionToken with session credentials"):
        session_of(account, caller)
    with refused("InvalidToken"):
        account.caller(made["AccessKeyId"], made["SessionToken"], service="iam")
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust({"AWS": ann.arn}))
    arn = f"arn:aws:iam::{ACCOUNT}:role/r"
    account.call("sts", "AssumeRole", caller=caller, RoleArn=arn, RoleSessionName="chained")
    with refused("AccessDenied", "GetSessionToken"):
        session_of(account, account.role("other"))


def test_condition_keys_of_sessions(account: Account) -> None:
    ann = account.user("ann", allow("s3:*"))
    condition = {"DateLessThan": {"aws:TokenIssueTime": "2026-03-01T12:30:00Z"}}
    account.iam(
        "PutUserPolicy", UserName="ann", PolicyName="revoked", PolicyDocument=policy(deny("*", Condition=condition))
    )
    early, _ = session_of(account, ann)
    account.pass_time(hours=1)
    late, _ = session_of(account, ann)
    assert not account.may(early)
    assert account.may(late) and account.may(ann)
    account.iam(
        "PutUserPolicy",
        UserName="ann",
        PolicyName="mfa",
        PolicyDocument=policy(deny("*", Condition={"Bool": {"aws:MultiFactorAuthPresent": "false"}})),
    )
    assert not account.may(late) and account.may(ann)


def test_whose_key_is_it(account: Account) -> None:
    ann = account.user("ann", allow("sts:GetAccessKeyInfo"))
    answer = account.call("sts", "GetAccessKeyInfo", caller=ann, AccessKeyId=ann.access_key_id)
    assert answer == {"Account": ACCOUNT}
    with refused("ValidationError"):
        account.call("sts", "GetAccessKeyInfo", AccessKeyId="AKIAAAAAAAAAAAAAAAAA")
    with refused("AccessDenied"):
        account.call("sts", "GetAccessKeyInfo", caller=account.user("bob"), AccessKeyId=ann.access_key_id)


def tagged_role(account: Account, name: str, *statements: dict[str, Any]) -> None:
    account.iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=TAGGING_TRUST, Tags=tags(team="role", kind="r"))
    account.iam("PutRolePolicy", RoleName=name, PolicyName="own", PolicyDocument=policy(*statements))


def test_session_tags_go_over_the_roles(account: Account) -> None:
    tagged_role(account, "r", allow("s3:GetObject", Condition={"StringEquals": {"aws:PrincipalTag/team": "red"}}))
    assert not account.may(account.assume("r"))
    assert account.may(account.assume("r", Tags=tags(team="red")))
    tagged_role(account, "k", allow("s3:GetObject", Condition={"StringEquals": {"aws:PrincipalTag/kind": "r"}}))
    assert account.may(account.assume("k", Tags=tags(team="red")))


def test_tagging_a_session_needs_permission_from_both_sides(account: Account) -> None:
    account.role("plain")
    arn = f"arn:aws:iam::{ACCOUNT}:role/plain"
    with refused("AccessDenied", "sts:TagSession", "role trust policy does not allow"):
        account.assume("plain", Tags=tags(team="red"))
    tagged_role(account, "r", allow("s3:*"))
    arn = f"arn:aws:iam::{ACCOUNT}:role/r"
    ann = account.user("ann", allow("sts:AssumeRole"))
    with refused("AccessDenied", "sts:TagSession", "identity-based policy"):
        account.call("sts", "AssumeRole", caller=ann, RoleArn=arn, RoleSessionName="name", Tags=tags(team="red"))
    only_red = allow("sts:TagSession", Condition={"StringEquals": {"aws:RequestTag/team": "red"}})
    account.iam("PutUserPolicy", UserName="ann", PolicyName="tag", PolicyDocument=policy(only_red))
    account.call("sts", "AssumeRole", caller=ann, RoleArn=arn, RoleSessionName="name", Tags=tags(team="red"))
    with refused("AccessDenied"):
        account.call("sts", "AssumeRole", caller=ann, RoleArn=arn, RoleSessionName="name", Tags=tags(team="blue"))


def test_tags_of_a_session_are_refused_by_the_code_of_sts(account: Account) -> None:
    """Recorded on AWS: `test_assume_role_tag_validation` in LocalStack's tests/aws/services/sts/test_sts.snapshot.json;
    IAM answers InvalidInput to the same tags."""
    tagged_role(account, "r", allow("s3:GetObject"))
    words = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    with refused("InvalidParameterValue", words, status=400):
        account.assume("r", Tags=tags(team="red", TEAM="blue"))
    with refused("InvalidParameterValue", "reserved", status=400):
        account.assume("r", Tags=tags(**{"aws:team": "red"}))


def test_transitive_tags_pass_through_a_chain(account: Account) -> None:
    tagged_role(account, "one", allow("sts:*"))
    tagged_role(account, "two", allow("s3:GetObject", Condition={"StringEquals": {"aws:PrincipalTag/team": "red"}}))
    first = account.assume("one", Tags=tags(team="red", job="1"), TransitiveTagKeys=["team"])
    assert (first.session_tags, first.transitive) == ({"team": "red", "job": "1"}, ("team",))
    arn = f"arn:aws:iam::{ACCOUNT}:role/two"

    def chained(**params: Any) -> Caller:
        made = account.call("sts", "AssumeRole", caller=first, RoleArn=arn, RoleSessionName="chained", **params)
        return account.caller(made["Credentials"]["AccessKeyId"], made["Credentials"]["SessionToken"])

    second = chained(Tags=tags(job="2"))
    assert (second.session_tags, second.transitive) == ({"team": "red", "job": "2"}, ("team",))
    assert account.may(second)
    with refused("InvalidParameterValue", "conflicts with a transitive tag key", "team"):
        chained(Tags=tags(team="blue"))
    with refused("InvalidParameterValue", "must be included in the requested tags"):
        chained(TransitiveTagKeys=["other"])
