from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from identity_fixtures import ACCOUNT, EC2_TRUST, START, Account, allow, deny, policy, refused, trust

from skylift.cloud.domain.identity import Caller


def arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def assume(account: Account, name: str, caller: Caller | None = None, **params: Any) -> dict[str, Any]:
    params = {"RoleSessionName": "session", **params}
    return account.call("sts", "AssumeRole", caller=caller, RoleArn=arn(name), **params)


def make(account: Account, name: str, document: str, **params: Any) -> None:
    account.iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=document, **params)


def test_who_am_i(account: Account) -> None:
    answer = account.call("sts", "GetCallerIdentity")
    assert answer == {"UserId": ACCOUNT, "Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}
    caller = account.role("r")
    answer = account.call("sts", "GetCallerIdentity", caller=caller)
    assert answer["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/r/test"
    assert answer["UserId"].endswith(":test")


def test_assume_role(account: Account) -> None:
    make(account, "r", trust({"AWS": ACCOUNT}), MaxSessionDuration=7200)
    answer = assume(account, "r", DurationSeconds=7200)
    assert answer["Credentials"]["Expiration"] == START.replace(microsecond=0) + timedelta(hours=2)
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/r/session"
    assert "PackedPolicySize" not in answer
    assert assume(account, "r")["Credentials"]["Expiration"] == START.replace(microsecond=0) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"DurationSeconds": 43201}, "ValidationError", "durationSeconds"),
        ({"DurationSeconds": 3601}, "ValidationError", "exceeds the MaxSessionDuration set for this role"),
        ({"RoleSessionName": "a b"}, "ValidationError", "roleSessionName"),
        ({"RoleSessionName": "a" * 65}, "ValidationError", "roleSessionName"),
        ({"ExternalId": "a b"}, "ValidationError", "externalId"),
        ({"Policy": "{"}, "MalformedPolicyDocument", "invalid Json"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/None"}]}, "ValidationError", "does not exist"),
        ({"Policy": policy(allow("s3:" + "a" * 2048))}, "PackedPolicyTooLarge", "105%"),
    ],
)
def test_bad_input(account: Account, params: dict[str, Any], code: str, words: str) -> None:
    make(account, "r", trust({"AWS": ACCOUNT}))
    with refused(code, words):
        assume(account, "r", **params)


def test_a_role_that_is_not_there_is_denied(account: Account) -> None:
    with refused("AccessDenied", f"is not authorized to perform: sts:AssumeRole on resource: {arn('x')}", status=403):
        assume(account, "x")
    with refused("ValidationError", "is invalid"):
        account.call("sts", "AssumeRole", RoleArn="arn:aws:iam::role/malformed", RoleSessionName="session")
    make(account, "x", trust({"AWS": ACCOUNT}), Path="/jobs/")
    with refused("AccessDenied"):
        assume(account, "x")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (trust("*"), True),
        (trust({"AWS": ACCOUNT}), True),
        (trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}), True),
        (trust({"AWS": "999999999999"}), False),
        (EC2_TRUST, False),
        (trust("*", Action="sts:TagSession"), False),
        (trust("*", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.1"}}), True),
        (trust("*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), False),
        (trust("*", Condition={"StringLike": {"sts:RoleSessionName": "sess*"}}), True),
        (trust("*", Condition={"StringEquals": {"sts:RoleSessionName": "other"}}), False),
    ],
)
def test_the_trust_policy_decides(account: Account, document: str, expected: bool) -> None:
    make(account, "r", document)
    if expected:
        assume(account, "r")
    else:
        with refused("AccessDenied", "because the role trust policy does not allow it"):
            assume(account, "r")


def test_a_deny_in_the_trust_policy_wins(account: Account) -> None:
    document = policy(
        {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"},
        {"Effect": "Deny", "Principal": {"AWS": ACCOUNT}, "Action": "sts:*"},
    )
    make(account, "r", document)
    with refused("AccessDenied", "explicit deny in the role trust policy"):
        assume(account, "r")


def test_external_id(account: Account) -> None:
    make(account, "r", trust("*", Condition={"StringEquals": {"sts:ExternalId": "secret"}}))
    with refused("AccessDenied"):
        assume(account, "r")
    assume(account, "r", ExternalId="secret")


def test_trust_in_the_account_leaves_it_to_the_callers_policies(account: Account) -> None:
    make(account, "target", trust({"AWS": ACCOUNT}))
    without = account.role("without")
    with refused("AccessDenied", "because no identity-based policy allows the sts:AssumeRole action"):
        assume(account, "target", without)
    assume(account, "target", account.role("with", allow("sts:AssumeRole", arn("target"))))


def test_trust_in_a_role_is_enough_unless_its_policies_deny(account: Account) -> None:
    named = account.role("named")
    forbidden = account.role("forbidden", deny("sts:AssumeRole"))
    other = account.role("other", allow("sts:*"))
    make(account, "target", trust({"AWS": [arn("named"), arn("forbidden")]}))
    assume(account, "target", named)
    with refused("AccessDenied", "explicit deny in an identity-based policy"):
        assume(account, "target", forbidden)
    with refused("AccessDenied", "role trust policy does not allow"):
        assume(account, "target", other)


def test_everybody_but(account: Account) -> None:
    named = account.role("named")
    other = account.role("other")
    document = policy(
        {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"},
        {
            "Effect": "Deny",
            "NotPrincipal": {"AWS": [arn("named"), f"arn:aws:sts::{ACCOUNT}:assumed-role/named/test"]},
            "Action": "sts:AssumeRole",
        },
    )
    make(account, "target", document)
    assume(account, "target", named)
    with refused("AccessDenied", "explicit deny"):
        assume(account, "target", other)


@pytest.mark.parametrize("spared", [[arn("named")], [f"arn:aws:iam::{ACCOUNT}:root"]])
def test_everybody_but_a_role_denies_its_sessions(account: Account, spared: list[str]) -> None:
    named = account.role("named", allow("*"))
    document = policy(
        {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"},
        {"Effect": "Deny", "NotPrincipal": {"AWS": spared}, "Action": "sts:AssumeRole"},
    )
    make(account, "target", document)
    with refused("AccessDenied", "explicit deny"):
        assume(account, "target", named)


def test_trust_in_a_role_does_not_reach_beyond_what_limits_its_session(account: Account) -> None:
    account.role("named", allow("*"))
    make(account, "target", trust({"AWS": arn("named")}))
    with refused("AccessDenied", "no session policy allows the sts:AssumeRole action"):
        assume(account, "target", account.assume("named", Policy=policy(allow("s3:*"))))
    # A session that is trusted by its own name is not limited by what its session policy leaves out.
    make(account, "other", trust({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/named/test"}))
    assume(account, "other", account.assume("named", Policy=policy(allow("s3:*"))))


def source_trust(principal: str) -> str:
    actions = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    return policy({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": actions})


def test_the_source_identity_stays_for_a_chain_of_roles(account: Account) -> None:
    account.iam("CreateRole", RoleName="first", AssumeRolePolicyDocument=source_trust(ACCOUNT))
    account.iam("PutRolePolicy", RoleName="first", PolicyName="p", PolicyDocument=policy(allow("sts:*")))
    account.iam("CreateRole", RoleName="second", AssumeRolePolicyDocument=source_trust(ACCOUNT))
    condition = {"StringEquals": {"aws:SourceIdentity": "ann"}}
    allowed = policy(allow("iam:GetRole", Condition=condition))
    account.iam("PutRolePolicy", RoleName="second", PolicyName="p", PolicyDocument=allowed)
    first = account.assume("first", SourceIdentity="ann")
    assert assume(account, "second", first)["SourceIdentity"] == "ann"
    with refused("AccessDenied", "cannot be changed"):
        assume(account, "second", first, SourceIdentity="bob")
    made = assume(account, "second", first)["Credentials"]
    second = account.caller(made["AccessKeyId"], made["SessionToken"])
    account.iam("GetRole", RoleName="second", caller=second)
    with refused("AccessDenied"):
        account.iam("GetRole", RoleName="second", caller=account.assume("second"))
    with refused("ValidationError", "sourceIdentity"):
        account.assume("first", SourceIdentity="a b")


def test_a_source_identity_needs_the_roles_trust_as_well(account: Account) -> None:
    make(account, "r", trust({"AWS": ACCOUNT}))
    with refused("AccessDenied", "sts:SetSourceIdentity", "the role trust policy does not allow it"):
        assume(account, "r", SourceIdentity="ann")
    caller = account.user("ann", allow("sts:AssumeRole"))
    account.iam("CreateRole", RoleName="s", AssumeRolePolicyDocument=source_trust(ACCOUNT))
    with refused("AccessDenied", "no identity-based policy allows the sts:SetSourceIdentity action"):
        assume(account, "s", caller, SourceIdentity="ann")


def test_policies_can_ask_for_the_tags_of_the_role(account: Account) -> None:
    make(account, "target", trust({"AWS": ACCOUNT}), Tags=[{"Key": "team", "Value": "red"}])
    red, blue = (
        account.user(team, allow("sts:AssumeRole", Condition={"StringEquals": {"iam:ResourceTag/team": team}}))
        for team in ("red", "blue")
    )
    assume(account, "target", red)
    with refused("AccessDenied"):
        assume(account, "target", blue)


def test_chained_roles_last_an_hour_at_most(account: Account) -> None:
    caller = account.role("first", allow("sts:AssumeRole"))
    make(account, "second", trust({"AWS": ACCOUNT}), MaxSessionDuration=43200)
    with refused("ValidationError", "1 hour session limit for roles assumed by role chaining"):
        assume(account, "second", caller, DurationSeconds=3601)
    assume(account, "second", caller, DurationSeconds=3600)


def test_managed_session_policies(account: Account) -> None:
    account.role("wide", allow("*"))
    arns = [{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}]
    caller = account.assume("wide", PolicyArns=arns, Policy=policy(allow("iam:ListRoles")))
    account.iam("ListRoles", caller=caller)
    account.s3("ListBuckets", caller=caller)
    with refused("AccessDenied", "no session policy allows the iam:ListPolicies action"):
        account.iam("ListPolicies", caller=caller)
    assert assume(account, "wide", PolicyArns=arns)["PackedPolicySize"] > 0
