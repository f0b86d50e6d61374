"""GetFederationToken: credentials for somebody on whose behalf a user acts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from identity_fixtures import ACCOUNT, START, Account, allow, deny, policy, refused

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.authorize import authorize, caller_context
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.sts import session

FEDERATES = allow("sts:GetFederationToken")
ARN = f"arn:aws:sts::{ACCOUNT}:federated-user/bob"


def federated(account: Account, caller: Caller, **params: Any) -> tuple[Caller, dict[str, Any]]:
    made = account.call("sts", "GetFederationToken", caller=caller, Name="bob", **params)
    key = made["Credentials"]
    return account.caller(key["AccessKeyId"], key["SessionToken"]), made


def may(
    account: Account, caller: Caller, action: str = "s3:GetObject", resource: str = "arn:aws:s3:::bucket/k"
) -> bool:
    with account.database.read() as tx:
        try:
            authorize(tx, caller, [Check(action, resource)], service="s3")
        except ServiceError as error:
            assert error.code == "AccessDenied", error
            return False
    return True


def test_who_it_is(account: Account) -> None:
    ann = account.user("ann", allow("*"))
    bob, made = federated(account, ann, Policy=policy(allow("s3:GetObject")))
    assert made["FederatedUser"] == {"FederatedUserId": f"{ACCOUNT}:bob", "Arn": ARN}
    assert made["Credentials"]["Expiration"] == START.replace(microsecond=0) + timedelta(hours=12)
    assert 0 < made["PackedPolicySize"] < 100
    who = account.call("sts", "GetCallerIdentity", caller=bob)
    assert who == {"UserId": f"{ACCOUNT}:bob", "Account": ACCOUNT, "Arn": ARN}
    with account.database.read() as tx:
        context = caller_context(tx, bob, tx.now)
    assert (context["aws:PrincipalType"], context["aws:PrincipalArn"]) == ("FederatedUser", ARN)
    assert "aws:username" not in context


def test_it_may_what_both_policies_allow(account: Account) -> None:
    ann = account.user("ann", FEDERATES, allow(["s3:GetObject", "s3:PutObject"]))
    bob, _ = federated(account, ann, Policy=policy(allow(["s3:GetObject", "s3:DeleteObject"])))
    assert may(account, bob)
    assert not may(account, bob, "s3:PutObject")
    assert not may(account, bob, "s3:DeleteObject")
    account.iam("PutUserPolicy", UserName="ann", PolicyName="no", PolicyDocument=policy(deny("s3:GetObject")))
    assert not may(account, bob)


def test_without_a_policy_it_may_what_a_resource_allows_it_by_name(account: Account) -> None:
    ann = account.user("ann", FEDERATES, allow("s3:*"))
    bob, _ = federated(account, ann)
    assert not may(account, bob)
    account.s3("CreateBucket", Bucket="bucket")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ARN},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    account.s3("PutBucketPolicy", Bucket="bucket", Policy=json.dumps({"Statement": [statement]}))
    assert may(account, bob) and not may(account, bob, "s3:PutObject")


def test_a_resource_means_it_by_the_name_of_its_user_too(account: Account) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html (federated users)"""
    ann = account.user("ann", FEDERATES, allow("s3:*"))
    bob, _ = federated(account, ann, Policy=policy(allow("*")))
    carl, _ = federated(account, account.user("carl", FEDERATES), Policy=policy(allow("s3:PutObject")))
    account.s3("CreateBucket", Bucket="bucket")

    def put(effect: str, **principal: Any) -> None:
        statement = {"Effect": effect, **principal, "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/*"}
        account.s3("PutBucketPolicy", Bucket="bucket", Policy=json.dumps({"Statement": [statement]}))

    put("Deny", Principal={"AWS": ann.arn})
    assert not may(account, ann) and not may(account, bob)
    put("Deny", NotPrincipal={"AWS": ARN})
    assert not may(account, bob)
    put("Deny", NotPrincipal={"AWS": [ARN, ann.arn]})
    assert may(account, bob)
    # What the user is allowed it may as far as its own policies go.
    put("Allow", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/carl"})
    assert may(account, carl, "s3:PutObject") and not may(account, carl)


def test_for_root_an_hour_at_most(account: Account) -> None:
    bob, made = federated(account, account.root, DurationSeconds=7200, Policy=policy(allow("s3:GetObject")))
    assert made["Credentials"]["Expiration"] == START.replace(microsecond=0) + timedelta(hours=1)
    assert may(account, bob) and not may(account, bob, "s3:PutObject")


def test_managed_policies_and_tags(account: Account) -> None:
    tagged = allow("s3:GetObject", Condition={"StringEquals": {"aws:PrincipalTag/team": "red"}})
    ann = account.user("ann", FEDERATES, allow("sts:TagSession"), tagged, Tags=[{"Key": "team", "Value": "blue"}])
    arns = [{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}]
    blue, _ = federated(account, ann, PolicyArns=arns)
    red, _ = federated(account, ann, PolicyArns=arns, Tags=[{"Key": "team", "Value": "red"}])
    assert may(account, red) and not may(account, blue)
    with refused("AccessDenied", "sts:TagSession"):
        federated(account, account.user("eve", FEDERATES), Tags=[{"Key": "team", "Value": "red"}])


def test_what_it_cannot(account: Account) -> None:
    ann = account.user("ann", allow("*"))
    bob, made = federated(account, ann, Policy=policy(allow("*")))
    key = made["Credentials"]
    with refused("InvalidToken"):
        account.caller(key["AccessKeyId"], key["SessionToken"], service="iam")
    for operation, params in (("GetSessionToken", {}), ("GetFederationToken", {"Name": "carl"})):
        with refused("AccessDenied", "with session credentials"):
            account.call("sts", operation, caller=bob, **params)
    with refused("AccessDenied", "federated user"):
        role = f"arn:aws:iam::{ACCOUNT}:role/r"
        account.call("sts", "AssumeRole", caller=bob, RoleArn=role, RoleSessionName="name")
    account.iam("DeleteAccessKey", UserName="ann", AccessKeyId=ann.access_key_id)
    account.iam("DeleteUserPolicy", UserName="ann", PolicyName="own")
    account.iam("DeleteUser", UserName="ann")
    with refused("InvalidAccessKeyId"):
        account.caller(key["AccessKeyId"], key["SessionToken"])


def test_a_user_who_is_renamed_meanwhile_does_not_act_for_root(account: Account) -> None:
    ann = account.user("ann", FEDERATES)
    account.iam("UpdateUser", UserName="ann", NewUserName="anna")
    with account.database.write() as tx, refused("AccessDenied", "does not exist"):
        session.get_federation_token(tx, ann, {"Name": "bob", "Policy": policy(allow("*"))})


def test_what_it_takes(account: Account) -> None:
    with refused("AccessDenied", "sts:GetFederationToken", ARN):
        federated(account, account.user("eve", allow("s3:*")))
    ann = account.user("ann", FEDERATES)
    for params in ({"Name": "b" * 33}, {"Name": "b b"}, {"Name": "bob", "DurationSeconds": 129601}):
        with refused("ValidationError"):
            account.call("sts", "GetFederationToken", caller=ann, **params)
