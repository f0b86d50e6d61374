"""Whom a policy names is one user or role, not whoever has the name later."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from ec2_fixtures import Cloud
from identity_fixtures import ACCOUNT, Account, allow, deny, policy, refused, trust

from skylift.cloud.domain.bucket import BucketPolicy
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, InstanceProfile, Role
from skylift.cloud.services.api.instance_role import instance_role
from skylift.cloud.services.iam import role as roles
from skylift.cloud.services.iam import user as users

OBJECTS = "arn:aws:s3:::bucket/*"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def user_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def session_arn(role: str, name: str = "test") -> str:
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}"


@pytest.fixture(autouse=True)
def bucket_fixture(account: Account) -> None:
    account.s3("CreateBucket", Bucket="bucket")
    account.put("bucket", "key", b"data")


def put(account: Account, text: str) -> None:
    account.s3("PutBucketPolicy", Bucket="bucket", Policy=text)


def shown(account: Account) -> str:
    text: str = account.s3("GetBucketPolicy", Bucket="bucket")["Policy"]
    return text


def principal_in(text: str) -> Any:
    (statement,) = json.loads(text)["Statement"]
    return statement.get("Principal", statement.get("NotPrincipal"))["AWS"]


def trusted_by(account: Account, role: str) -> Any:
    return principal_in(unquote(account.iam("GetRole", RoleName=role)["Role"]["AssumeRolePolicyDocument"]))


def may_read(account: Account, caller: Caller) -> bool:
    try:
        return account.get("bucket", "key", caller=caller) == b"data"
    except ServiceError as error:
        assert error.code == "AccessDenied", error
        return False


def may_assume(account: Account, caller: Caller, role: str) -> bool:
    try:
        account.call("sts", "AssumeRole", RoleArn=role_arn(role), RoleSessionName="test", caller=caller)
    except ServiceError as error:
        assert error.code == "AccessDenied", error
        return False
    return True


def end_user(account: Account, name: str) -> str:
    """Deletes a user; its id."""
    found: str = account.iam("GetUser", UserName=name)["User"]["UserId"]
    for key in account.iam("ListAccessKeys", UserName=name)["AccessKeyMetadata"]:
        account.iam("DeleteAccessKey", UserName=name, AccessKeyId=key["AccessKeyId"])
    account.iam("DeleteUser", UserName=name)
    return found


def end_role(account: Account, name: str) -> str:
    found: str = account.iam("GetRole", RoleName=name)["Role"]["RoleId"]
    account.iam("DeleteRole", RoleName=name)
    return found


@pytest.mark.parametrize("spelled", ["ann", "\\u0061nn"])
def test_a_user_made_again_inherits_no_bucket_policy(account: Account, spelled: str) -> None:
    assert may_read(account, account.user("ann")) is False
    text = policy(allow("s3:GetObject", OBJECTS, Principal={"AWS": user_arn("ann")})).replace("ann", spelled)
    put(account, text)
    assert shown(account) == text
    unique = end_user(account, "ann")
    assert principal_in(shown(account)) == unique
    again = account.user("ann")
    assert not may_read(account, again)
    assert principal_in(shown(account)) == unique
    put(account, text)
    assert shown(account) == text
    assert may_read(account, again)


def test_nor_is_it_spared_by_a_deny(account: Account) -> None:
    account.user("ann")
    spared = {"AWS": [user_arn("ann"), ROOT]}
    put(account, policy(deny("s3:GetObject", OBJECTS, NotPrincipal=spared)))
    unique = end_user(account, "ann")
    assert principal_in(shown(account)) == [unique, ROOT]
    assert not may_read(account, account.user("ann", allow("s3:*")))


def test_nor_is_it_trusted_by_a_role(account: Account) -> None:
    account.user("ann")
    account.role("target", trusted=trust({"AWS": [user_arn("ann"), ROOT]}))
    unique = end_user(account, "ann")
    assert trusted_by(account, "target") == [unique, ROOT]
    listed = {item["RoleName"]: item for item in account.iam("ListRoles")["Roles"]}
    assert unique in listed["target"]["AssumeRolePolicyDocument"]
    assert not may_assume(account, account.user("ann"), "target")
    account.iam("UpdateAssumeRolePolicy", RoleName="target", PolicyDocument=trust({"AWS": user_arn("ann")}))
    assert may_assume(account, account.caller(key_of(account, "ann")), "target")


def key_of(account: Account, name: str) -> str:
    found: str = account.iam("ListAccessKeys", UserName=name)["AccessKeyMetadata"][0]["AccessKeyId"]
    return found


def test_a_role_made_again_is_another(account: Account) -> None:
    account.role("worker")
    account.iam("CreateRole", RoleName="target", AssumeRolePolicyDocument=trust({"AWS": role_arn("worker")}))
    put(account, policy(allow("s3:GetObject", OBJECTS, Principal={"AWS": [session_arn("worker"), role_arn("worker")]})))
    assert may_read(account, account.assume("worker"))
    unique = end_role(account, "worker")
    assert trusted_by(account, "target") == unique
    assert principal_in(shown(account)) == [f"{unique}:test", unique]
    again = account.role("worker")
    assert not may_assume(account, again, "target")
    assert not may_read(account, again)


def test_a_role_that_trusts_itself_can_go(account: Account) -> None:
    account.role("worker")
    account.iam("UpdateAssumeRolePolicy", RoleName="worker", PolicyDocument=trust({"AWS": role_arn("worker")}))
    end_role(account, "worker")
    with refused("NoSuchEntity"):
        account.iam("GetRole", RoleName="worker")


def test_other_policies_stay_to_the_letter(account: Account) -> None:
    """Names that only begin alike, other elements than Principal, and everything that is not a principal."""
    account.user("ann")
    account.user("anna")
    account.role("ann")
    condition = {"NumericLessThan": {"s3:max-keys": 10.50}, "ArnLike": {"aws:PrincipalArn": user_arn("ann")}}
    named = {"AWS": [user_arn("anna"), role_arn("ann")]}
    text = policy(allow("s3:GetObject", OBJECTS, Principal=named, Condition=condition)).replace(":", " :  ", 1)
    put(account, text)
    end_user(account, "ann")
    account.user("ann")
    assert shown(account) == text


def test_what_follows_a_user_that_is_renamed(account: Account) -> None:
    ann = account.user("ann")
    put(account, policy(allow("s3:GetObject", OBJECTS, Principal={"AWS": ann.arn})))
    account.iam("UpdateUser", UserName="ann", NewUserName="bea", NewPath="/staff/")
    assert principal_in(shown(account)) == user_arn("staff/bea")
    assert may_read(account, account.caller(ann.access_key_id))
    assert not may_read(account, account.user("ann"))


def test_a_state_that_names_somebody_who_is_long_gone(account: Account) -> None:
    """Written by a version that left policies as they were: they mean nobody who comes later."""
    for name, kind in (("ann", "user"), ("worker", "role")):
        arn = user_arn(name) if kind == "user" else role_arn(name)
        with account.database.write() as tx:
            text = policy(allow("s3:GetObject", OBJECTS, Principal={"AWS": [arn, session_arn(name)]}))
            tx.add(BucketPolicy("bucket", text)) if kind == "user" else tx.save(BucketPolicy("bucket", text))
        caller = account.user(name) if kind == "user" else account.role(name)
        assert not may_read(account, caller)
        assert principal_in(shown(account))[0].startswith("AIDA" if kind == "user" else "AROA")


@pytest.mark.parametrize(
    "principal", ["AIDAABCDEFGHIJKLMNOPQ", "AROAABCDEFGHIJKLMNOPQ:test", session_arn("nobody"), role_arn("nobody")]
)
def test_nobody_can_be_named_who_is_not_there(account: Account, principal: str) -> None:
    with refused("MalformedPolicy", "Invalid principal in policy", principal):
        put(account, policy(allow("s3:GetObject", OBJECTS, Principal={"AWS": principal})))
    with refused("MalformedPolicyDocument", "Invalid principal in policy", principal):
        account.iam("CreateRole", RoleName="target", AssumeRolePolicyDocument=trust({"AWS": principal}))


def test_an_instance_takes_no_profile_that_was_made_again(cloud: Cloud) -> None:
    now, arn = cloud.clock.now, f"arn:aws:iam::{ACCOUNT}:instance-profile/web"
    trusted = trust({"Service": "ec2.amazonaws.com"})
    with cloud.database.write() as tx:
        for name in ("web", "admin"):
            tx.add(Role(name, f"AROA{name}", role_arn(name), "/", trusted, now))
        tx.add(InstanceProfile("web", "AIPA1", arn, "/", now, role="web"))
    instance_id = cloud.run(IamInstanceProfile={"Name": "web"})["InstanceId"]
    with cloud.database.write() as tx:
        found = instance_role(tx, instance_id)
        assert found is not None and found.name == "web"
        profile = tx.get(InstanceProfile, name="web")
        assert profile is not None
        tx.remove(profile)
        tx.add(InstanceProfile("web", "AIPA2", arn, "/", now, role="admin"))
        assert instance_role(tx, instance_id) is None


def test_endpoint_policies_name_who_is_there(cloud: Cloud) -> None:
    vpc = cloud.call("DescribeVpcs")["Vpcs"][0]["VpcId"]
    text = policy(allow("s3:*", Principal={"AWS": role_arn("worker")}))
    asked: dict[str, Any] = {"VpcId": vpc, "ServiceName": "com.amazonaws.us-east-1.s3", "PolicyDocument": text}
    assert cloud.code("CreateVpcEndpoint", **asked) == "InvalidPolicyDocument"
    made = {"RoleName": "worker", "AssumeRolePolicyDocument": trust({"AWS": ACCOUNT})}
    with cloud.database.write() as tx:
        unique = roles.create(tx, cloud.caller, made)["Role"]["RoleId"]
    endpoint = cloud.call("CreateVpcEndpoint", **asked)["VpcEndpoint"]
    assert endpoint["PolicyDocument"] == text
    with cloud.database.write() as tx:
        users.create(tx, cloud.caller, {"UserName": "worker"})
        roles.delete(tx, cloud.caller, {"RoleName": "worker"})
        roles.create(tx, cloud.caller, made)
    (found,) = cloud.call("DescribeVpcEndpoints")["VpcEndpoints"]
    assert principal_in(found["PolicyDocument"]) == unique
