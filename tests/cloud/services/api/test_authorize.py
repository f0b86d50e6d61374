from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from identity_fixtures import ACCOUNT, Account, allow, deny, policy, refused

from skylift.cloud.services.api.authorize import Policies, decide
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.policy_document import parse_policy

OBJECT = "arn:aws:s3:::bucket/key"
TAG = "s3:RequestObjectTag/secret"
TAGGED_TRUST = policy(
    {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
)


def allowed(*statements: dict[str, Any], action: str = "s3:GetObject", resource: str = OBJECT, **context: Any) -> bool:
    policies = Policies((parse_policy(policy(*statements)),))
    keys = {name.replace("__", ":"): value for name, value in context.items()}
    return decide(policies, action, resource, keys).allowed


def conditional(operator: str, value: Any, *, key: str = "aws:key", **context: Any) -> bool:
    """Whether an Allow with this one condition allows, in a context of `key` alone."""
    return allowed(allow("*", Condition={operator: {key: value}}), **context)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], False),
        ([allow("*")], True),
        ([allow("s3:*")], True),
        ([allow("s3:Get*")], True),
        ([allow("S3:getobject")], True),
        ([allow("s3:Get?bject")], True),
        ([allow("s3:PutObject")], False),
        ([allow(["s3:PutObject", "s3:GetObject"])], True),
        ([allow("s3:*", "arn:aws:s3:::bucket/*")], True),
        ([allow("s3:*", "arn:aws:s3:::bucket")], False),
        ([allow("s3:*", "arn:aws:s3:::BUCKET/*")], False),
        ([allow("s3:*", ["arn:aws:s3:::other/*", OBJECT])], True),
        ([allow("*"), deny("s3:GetObject")], False),
        ([deny("s3:GetObject"), allow("*")], False),
        ([allow("*"), deny("s3:PutObject")], True),
        ([{"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::bucket/*"}], False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::other/*"}], True),
        ([allow("*"), {"Effect": "Deny", "NotAction": "s3:GetObject", "Resource": "*"}], True),
    ],
)
def test_statements(statements: list[dict[str, Any]], expected: bool) -> None:
    policies = Policies((parse_policy(policy(*statements)),)) if statements else Policies()
    assert decide(policies, "s3:GetObject", OBJECT, {}).allowed is expected


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringEqualsIgnoreCase", "ABC", "abc", True),
        ("StringNotEqualsIgnoreCase", "ABC", "abc", False),
        ("StringLike", "a*c", "abbc", True),
        ("StringLike", "A*c", "abbc", False),
        ("StringNotLike", "a*c", "abbc", False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericNotEquals", "10", "11", True),
        ("NumericEquals", "10", "1_0", False),
        ("NumericEquals", "10", "\u0661\u0660", False),
        ("StringEqualsIgnoreCase", "boss", "bo\u00df", False),
        ("NumericLessThan", 10, "9", True),
        ("NumericLessThan", 10, "10", False),
        ("NumericLessThanEquals", 10, "10", True),
        ("NumericGreaterThan", "9", "10", True),
        ("NumericGreaterThanEquals", "10", "10", True),
        ("NumericLessThan", "10", "many", False),
        ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59+00:00", True),
        ("DateGreaterThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", False),
        ("DateEquals", "2026-01-01", "1767225600", True),
        ("DateNotEquals", "2026-01-01", "1767225601", True),
        ("DateGreaterThanEquals", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", True),
        ("Bool", True, "true", True),
        ("Bool", "false", "true", False),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", "10.0.0.0/8", "11.1.2.3", False),
        ("IpAddress", "10.1.2.3", "10.1.2.3", True),
        ("IpAddress", "2001:db8::/32", "2001:db8::1", True),
        ("IpAddress", "10.0.0.0/8", "2001:db8::1", False),
        ("IpAddress", "10.0.0.0/8", "not an address", False),
        ("NotIpAddress", ["10.0.0.0/8", "11.0.0.0/8"], "11.1.2.3", False),
        ("NotIpAddress", "10.0.0.0/8", "11.1.2.3", True),
        ("ArnEquals", "arn:aws:iam::*:role/x", "arn:aws:iam::1:role/x", True),
        ("ArnLike", "arn:aws:iam::*:role/*", "arn:aws:iam::1:role/a/b", True),
        ("ArnLike", "arn:*:role/x", "arn:aws:iam::1:role/x", False),
        ("ArnNotLike", "arn:aws:iam::*:role/*", "arn:aws:iam::1:user/a", True),
        ("ArnNotEquals", "arn:aws:iam::1:role/a", "arn:aws:iam::1:role/a", False),
        ("ForAnyValue:StringEquals", ["a", "b"], ("x", "b"), True),
        ("ForAnyValue:StringEquals", ["a", "b"], ("x", "y"), False),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "b"), True),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "x"), False),
        ("ForAllValues:StringLike", ["a*"], ("ab", "ac"), True),
        ("ForAnyValue:StringNotEquals", ["a"], ("a", "b"), True),
        ("ForAllValues:StringNotEquals", ["a"], ("a", "b"), False),
        ("ForAllValues:StringEquals", ["a"], (), True),
        ("Null", "true", "there", False),
        ("Null", "false", "there", True),
        ("Null", "true", (), True),
    ],
)
def test_condition_operators(operator: str, wanted: Any, found: Any, expected: bool) -> None:
    assert conditional(operator, wanted, aws__key=found) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringEquals", False),
        ("StringEqualsIfExists", True),
        ("StringNotEquals", True),
        ("StringNotEqualsIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringLikeIfExists", True),
    ],
)
def test_a_key_that_the_request_lacks(operator: str, expected: bool) -> None:
    assert conditional(operator, "a") is expected


def test_keys_compare_without_case_and_all_conditions_have_to_hold() -> None:
    statement = allow("*", Condition={"StringEquals": {"AWS:Key": "a", "aws:other": "b"}})
    assert allowed(statement, aws__key="a", aws__OTHER="b")
    assert not allowed(statement, aws__key="a", aws__other="x")


def test_variables_in_resources_and_conditions() -> None:
    assert allowed(allow("*", "arn:aws:s3:::bucket/${aws:userid}"), aws__userid="key")
    assert not allowed(allow("*", "arn:aws:s3:::bucket/${aws:userid}"))
    condition = {"StringLike": {"s3:prefix": "home/${aws:userid}/*"}}
    assert allowed(allow("*", Condition=condition), aws__userid="u", s3__prefix="home/u/x")
    assert not allowed(allow("*", Condition=condition), aws__userid="u", s3__prefix="home/v/x")


@pytest.mark.parametrize(
    ("identity", "boundary", "session", "expected"),
    [
        (allow("s3:*"), allow("s3:Get*"), allow("*"), True),
        (allow("s3:*"), allow("ec2:*"), None, False),
        (allow("s3:*"), None, allow("ec2:*"), False),
        (allow("ec2:*"), allow("*"), allow("*"), False),
        (allow("*"), deny("s3:*"), None, False),
        (allow("*"), allow("*"), deny("s3:GetObject"), False),
        (allow("*"), None, None, True),
    ],
)
def test_boundary_and_session_policies_only_take_away(
    identity: dict[str, Any], boundary: dict[str, Any] | None, session: dict[str, Any] | None, expected: bool
) -> None:
    policies = Policies(
        (parse_policy(policy(identity)),),
        parse_policy(policy(boundary)) if boundary else None,
        (parse_policy(policy(session)),) if session else None,
    )
    assert decide(policies, "s3:GetObject", OBJECT, {}).allowed is expected


def test_why() -> None:
    everything = parse_policy(policy(allow("*")))
    nothing = parse_policy(policy(deny("*")))
    other = parse_policy(policy(allow("ec2:*")))

    def why(policies: Policies) -> str:
        return decide(policies, "s3:GetObject", OBJECT, {}).why

    assert why(Policies()) == "because no identity-based policy allows the s3:GetObject action"
    assert why(Policies((everything,), other)) == "because no permissions boundary allows the s3:GetObject action"
    assert why(Policies((everything,), None, (other,))) == "because no session policy allows the s3:GetObject action"
    assert why(Policies((everything, nothing))) == "with an explicit deny in an identity-based policy"
    assert why(Policies((everything,), nothing)) == "with an explicit deny in a permissions boundary"


def test_root_may_do_everything(account: Account) -> None:
    account.ask(account.root, Check("iam:Anything", "*"))


def test_each_service_denies_in_its_own_words(account: Account) -> None:
    caller = account.role("plain")
    arn = f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/*"
    with refused(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. User: {caller.arn} is not authorized to perform: "
        f"ec2:RunInstances on resource: {arn} because no identity-based policy allows the ec2:RunInstances action",
        status=403,
    ):
        account.ask(caller, Check("ec2:RunInstances", arn), service="ec2")
    with refused("AccessDenied", f"User: {caller.arn} is not authorized to perform: s3:ListAllMyBuckets because"):
        account.ask(caller, Check("s3:ListAllMyBuckets", "*"))


def test_all_checks_have_to_pass(account: Account) -> None:
    caller = account.role("half", allow("s3:GetObject"))
    account.ask(caller, Check("s3:GetObject", OBJECT))
    with refused("AccessDenied", "s3:PutObject"):
        account.ask(caller, Check("s3:GetObject", OBJECT), Check("s3:PutObject", OBJECT))


def test_policies_count_from_the_next_request_on(account: Account) -> None:
    caller = account.role("changing", allow("s3:GetObject"))
    account.ask(caller, Check("s3:GetObject", OBJECT))
    account.iam("DeleteRolePolicy", RoleName="changing", PolicyName="own")
    with refused("AccessDenied"):
        account.ask(caller, Check("s3:GetObject", OBJECT))
    account.iam("AttachRolePolicy", RoleName="changing", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    account.ask(caller, Check("s3:GetObject", OBJECT))
    account.iam(
        "PutRolePermissionsBoundary",
        RoleName="changing",
        PermissionsBoundary="arn:aws:iam::aws:policy/AmazonEC2FullAccess",
    )
    with refused("AccessDenied", "no permissions boundary allows"):
        account.ask(caller, Check("s3:GetObject", OBJECT))


def test_the_default_version_of_a_managed_policy_counts(account: Account) -> None:
    caller = account.role("versioned")
    arn = account.iam("CreatePolicy", PolicyName="p", PolicyDocument=policy(allow("s3:*")))["Policy"]["Arn"]
    account.iam("AttachRolePolicy", RoleName="versioned", PolicyArn=arn)
    account.ask(caller, Check("s3:GetObject", OBJECT))
    account.iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=policy(allow("ec2:*")), SetAsDefault=True)
    with refused("AccessDenied"):
        account.ask(caller, Check("s3:GetObject", OBJECT))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}, True),
        ({"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/keyed"}}, True),
        ({"StringLike": {"aws:userid": "AROA*:test"}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026-03-01T12:00:00Z"}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026-03-01T12:00:01Z"}}, False),
        ({"NumericLessThan": {"aws:EpochTime": "1772366401"}}, True),
        ({"StringEquals": {"aws:PrincipalTag/team": "red"}}, True),
        ({"StringEquals": {"aws:PrincipalTag/team": "blue"}}, False),
        ({"StringEquals": {"aws:PrincipalType": "AssumedRole"}}, True),
        ({"Null": {"ec2:SourceInstanceARN": "true"}}, True),
        ({"Null": {"aws:SourceIdentity": "true"}}, True),
    ],
)
def test_global_condition_keys(account: Account, condition: dict[str, Any], expected: bool) -> None:
    caller = account.role("keyed", allow("*", Condition=condition))
    account.iam("TagRole", RoleName="keyed", Tags=[{"Key": "team", "Value": "red"}])
    if expected:
        account.ask(caller, Check("s3:GetObject", OBJECT))
    else:
        with refused("AccessDenied"):
            account.ask(caller, Check("s3:GetObject", OBJECT))


def test_a_check_brings_keys_of_its_own(account: Account) -> None:
    own = "arn:aws:ec2:us-east-1:123456789012:instance/i-1"
    condition = {"StringEquals": {"ec2:InstanceType": "t3.micro"}, "ArnEquals": {"ec2:SourceInstanceARN": own}}
    caller = replace(account.role("server", allow("*", Condition=condition)), instance_arn=own)
    account.ask(caller, Check("ec2:RunInstances", "*", {"ec2:InstanceType": "t3.micro"}), service="ec2")
    with refused("UnauthorizedOperation"):
        account.ask(caller, Check("ec2:RunInstances", "*", {"ec2:InstanceType": "t3.large"}), service="ec2")
    with refused("UnauthorizedOperation"):
        account.ask(
            replace(caller, instance_arn=own + "2"),
            Check("ec2:RunInstances", "*", {"ec2:InstanceType": "t3.micro"}),
            service="ec2",
        )


def test_a_session_policy_narrows(account: Account) -> None:
    account.role("wide", allow("s3:*"))
    caller = account.assume("wide", Policy=policy(allow("s3:GetObject", OBJECT)))
    account.ask(caller, Check("s3:GetObject", OBJECT))
    with refused("AccessDenied", "no session policy allows the s3:PutObject action"):
        account.ask(caller, Check("s3:PutObject", OBJECT))


def test_policies_without_a_version_are_evaluated(account: Account) -> None:
    caller = account.role("old")
    document = json.dumps({"Statement": [allow("s3:GetObject", "arn:aws:s3:::bucket/${aws:userid}")]})
    account.iam("PutRolePolicy", RoleName="old", PolicyName="p", PolicyDocument=document)
    account.ask(caller, Check("s3:GetObject", "arn:aws:s3:::bucket/${aws:userid}"))
    with refused("AccessDenied"):
        account.ask(caller, Check("s3:GetObject", f"arn:aws:s3:::bucket/{caller.user_id}"))


TWO = {"aws:ResourceTag/Env": "dev", "aws:ResourceTag/env": "prod"}


def with_tags(*statements: dict[str, Any], context: dict[str, Any], resource: str = OBJECT) -> bool:
    return decide(Policies((parse_policy(policy(*statements)),)), "s3:GetObject", resource, context).allowed


def on_tag(operator: str, value: Any, key: str = "aws:ResourceTag/ENV") -> dict[str, Any]:
    return {"Condition": {operator: {key: value}}}


@pytest.mark.parametrize("context", [TWO, dict(reversed(TWO.items()))], ids=["dev first", "prod first"])
@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("StringEquals", "dev", False),
        ("StringEquals", "prod", False),
        ("StringLike", "d*", False),
        ("StringNotEquals", "prod", False),
        ("StringNotEquals", "other", True),
        ("StringEquals", ["dev", "prod"], True),
        ("StringEqualsIfExists", "dev", False),
        ("ForAnyValue:StringEquals", "dev", False),
        ("ForAllValues:StringEquals", "dev", False),
        ("Null", "false", True),
        ("Null", "true", False),
    ],
)
def test_tags_whose_keys_differ_by_case_satisfy_no_allow_together(
    operator: str, value: Any, expected: bool, context: dict[str, Any]
) -> None:
    """Both values have to be allowed: else a second tag would hide the first."""
    assert with_tags(allow("*", **on_tag(operator, value)), context=context) is expected


@pytest.mark.parametrize("context", [TWO, dict(reversed(TWO.items()))], ids=["dev first", "prod first"])
@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("StringEquals", "dev", False),
        ("StringEquals", "prod", False),
        ("StringNotEquals", "prod", False),
        ("StringNotLike", "d*", False),
        ("StringNotEquals", ["dev", "prod"], True),
        ("StringEquals", "other", True),
        ("Null", "true", True),
    ],
)
def test_nor_do_they_pass_a_deny(operator: str, value: Any, expected: bool, context: dict[str, Any]) -> None:
    assert with_tags(allow("*"), deny("*", **on_tag(operator, value)), context=context) is expected


def test_nor_do_they_make_a_variable_of_a_deny_vanish() -> None:
    resource = "arn:aws:s3:::bucket/${aws:ResourceTag/env}"
    for key in ("dev", "prod"):
        context, asked = TWO, f"arn:aws:s3:::bucket/{key}"
        assert not with_tags(allow("*"), deny("*", resource), context=context, resource=asked)
        assert not with_tags(allow("*", resource), context=context, resource=asked)
    assert with_tags(allow("*"), deny("*", resource), context=TWO, resource="arn:aws:s3:::bucket/other")


def test_so_many_that_nobody_can_try_all_of_them() -> None:
    """A Deny applies and an Allow does not, at once."""
    numbers = range(50)
    context = {f"aws:ResourceTag/{name}{number}": name for number in numbers for name in ("k", "K")}
    condition = {"Condition": {"StringLike": {f"aws:ResourceTag/k{number}": "*" for number in numbers}}}
    assert not with_tags(allow("*", **condition), context=context)
    assert not with_tags(allow("*"), deny("*", **condition), context=context)


def test_a_second_tag_hides_no_tag_of_an_object(account: Account) -> None:
    account.s3("CreateBucket", Bucket="bucket")
    open_ones = {"Condition": {"StringEquals": {"s3:ExistingObjectTag/secret": "no"}}}
    reader = account.role("reader", allow("s3:GetObject", **open_ones))
    tagger = account.role("tagger", allow("*"), deny("s3:PutObject", **on_tag("StringEquals", "no", TAG)))
    account.put("bucket", "open", b"", Tagging="secret=no")
    account.s3("GetObject", Bucket="bucket", Key="open", caller=reader)
    for tagging in ("secret=yes&Secret=no", "Secret=no&secret=yes"):
        account.put("bucket", "key", b"", Tagging=tagging)
        with refused("AccessDenied"):
            account.s3("GetObject", Bucket="bucket", Key="key", caller=reader)
        with refused("AccessDenied", "explicit deny"):
            account.put("bucket", "other", b"", Tagging=tagging, caller=tagger)


def test_a_sessions_tag_stands_in_for_its_roles_in_any_case(account: Account) -> None:
    account.role("worker", allow("s3:GetObject", Condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}}))
    account.iam("UpdateAssumeRolePolicy", RoleName="worker", PolicyDocument=TAGGED_TRUST)
    account.iam("TagRole", RoleName="worker", Tags=[{"Key": "Team", "Value": "red"}])
    assert not account.may(account.assume("worker"))
    assert account.may(account.assume("worker", Tags=[{"Key": "TEAM", "Value": "blue"}]))


def test_an_exception_that_is_not_known_does_not_fall_away() -> None:
    """An Allow for all but what a variable names is none for who has no such key; a Deny for all but that denies."""
    for effect in ("Allow", "Deny"):
        other = {"Effect": effect, "Action": "*", "NotResource": "arn:aws:s3:::bucket/${aws:PrincipalTag/team}/*"}
        assert not with_tags(*([other] if effect == "Allow" else [allow("*"), other]), context={})
    mine = {"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::bucket/${aws:PrincipalTag/team}/*"}
    assert with_tags(mine, context={"aws:PrincipalTag/team": "blue"})
