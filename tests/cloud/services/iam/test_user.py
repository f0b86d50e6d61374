from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from identity_fixtures import ACCOUNT, START, Account, allow, deny, policy, refused, trust

from skylift.cloud.domain.identity import AccessKey, Caller
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.iam import user
from skylift.cloud.services.iam.identity import note_use, secret_for, use_is_news

S3_READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
EC2_FULL = "arn:aws:iam::aws:policy/AmazonEC2FullAccess"
OBJECT = "arn:aws:s3:::bucket/key"


def make(account: Account, name: str, **params: Any) -> dict[str, Any]:
    made: dict[str, Any] = account.iam("CreateUser", UserName=name, **params)["User"]
    return made


def ask(account: Account, caller: Caller, resource: str = OBJECT) -> None:
    account.ask(caller, Check("s3:GetObject", resource))


def names(answer: dict[str, Any]) -> list[str]:
    return [user["UserName"] for user in answer["Users"]]


def test_a_user_comes_back_as_it_was_made(account: Account) -> None:
    made = make(account, "Ann", Path="/dev/", PermissionsBoundary=S3_READ, Tags=[{"Key": "team", "Value": "red"}])
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/dev/Ann"
    assert made["UserId"].startswith("AIDA") and len(made["UserId"]) == 21
    assert made["CreateDate"] == START
    assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == S3_READ
    assert account.iam("GetUser", UserName="Ann")["User"] == made
    assert account.iam("ListUserTags", UserName="Ann")["Tags"] == [{"Key": "team", "Value": "red"}]
    (listed,) = account.iam("ListUsers")["Users"]
    assert "Tags" not in listed and "PermissionsBoundary" not in listed


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"UserName": "a b"}, "ValidationError", "'userName' failed to satisfy constraint"),
        ({"UserName": "a" * 65}, "ValidationError", "less than or equal to 64"),
        ({"Path": "dev"}, "ValidationError", "path is invalid"),
        ({"PermissionsBoundary": "arn:aws:iam::aws:policy/Nothing"}, "NoSuchEntity", "is not attachable"),
        ({"Tags": [{"Key": "aws:x", "Value": ""}]}, "InvalidInput", "reserved"),
        ({"UserName": "TAKEN"}, "EntityAlreadyExists", "User with name TAKEN already exists."),
    ],
)
def test_bad_input_makes_nothing(account: Account, params: dict[str, Any], code: str, words: str) -> None:
    make(account, "taken")
    with refused(code, words):
        account.iam("CreateUser", **{"UserName": "x", **params})
    assert names(account.iam("ListUsers")) == ["taken"]


def test_pages_and_paths(account: Account) -> None:
    for number in range(7):
        make(account, f"u{number}", Path="/odd/" if number % 2 else "/")
    seen, marker = [], {}
    while True:
        answer = account.iam("ListUsers", MaxItems=3, **marker)
        seen += names(answer)
        if not answer["IsTruncated"]:
            break
        marker = {"Marker": answer["Marker"]}
    assert seen == [f"u{number}" for number in range(7)]
    assert names(account.iam("ListUsers", PathPrefix="/odd/")) == ["u1", "u3", "u5"]


def test_a_user_calls(account: Account) -> None:
    caller = account.user("ann", Path="/dev/")
    assert (caller.kind, caller.user, caller.arn) == ("user", "ann", f"arn:aws:iam::{ACCOUNT}:user/dev/ann")
    answer = account.call("sts", "GetCallerIdentity", caller=caller)
    assert answer["UserId"] == account.iam("GetUser", UserName="ann")["User"]["UserId"]
    with refused("AccessDenied", f"User: {caller.arn} is not authorized to perform: s3:GetObject on resource"):
        ask(account, caller)


def test_who_am_i_without_a_name(account: Account) -> None:
    own = f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"
    caller = account.user("ann", allow(["iam:GetUser", "iam:*AccessKey*"], own))
    assert account.iam("GetUser", caller=caller)["User"]["UserName"] == "ann"
    make(account, "bob")
    with refused("AccessDenied", "iam:GetUser", "user/bob"):
        account.iam("GetUser", caller=caller, UserName="bob")
    role = account.role("r", allow("iam:*"))
    with refused("ValidationError", "Must specify userName when calling with non-User credentials"):
        account.iam("GetUser", caller=role)
    made = account.iam("CreateAccessKey", caller=caller)["AccessKey"]
    assert made["UserName"] == "ann"
    assert len(account.iam("ListAccessKeys", caller=caller)["AccessKeyMetadata"]) == 2
    account.iam("DeleteAccessKey", caller=caller, AccessKeyId=made["AccessKeyId"])


def test_root_is_nobodys_name_and_its_keys_stay(account: Account) -> None:
    with account.database.read() as tx:
        # The model requires a name and a path; AWS answers neither, so that the answer is not held against it.
        answer = user.get(tx, account.root, {})
    assert answer["User"] == {"UserId": ACCOUNT, "Arn": account.root.arn, "CreateDate": START}
    (key,) = account.iam("ListAccessKeys")["AccessKeyMetadata"]
    assert key["AccessKeyId"] == account.root_key.access_key_id and "UserName" not in key
    for operation, params in (
        ("CreateAccessKey", {}),
        ("DeleteAccessKey", {"AccessKeyId": key["AccessKeyId"]}),
        ("UpdateAccessKey", {"AccessKeyId": key["AccessKeyId"], "Status": "Inactive"}),
    ):
        with refused("InvalidInput", "cannot be changed"):
            account.iam(operation, **params)
    make(account, "ann")
    with refused("NoSuchEntity"):
        account.iam("DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])


def test_own_and_managed_policies_count_at_once(account: Account) -> None:
    caller = account.user("ann", allow("s3:GetObject"))
    ask(account, caller)
    account.iam("DeleteUserPolicy", UserName="ann", PolicyName="own")
    with refused("AccessDenied", "no identity-based policy allows"):
        ask(account, caller)
    account.iam("AttachUserPolicy", UserName="ann", PolicyArn=S3_READ)
    ask(account, caller)
    account.iam("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=EC2_FULL)
    with refused("AccessDenied", "no permissions boundary allows"):
        ask(account, caller)
    account.iam("DeleteUserPermissionsBoundary", UserName="ann")
    ask(account, caller)
    account.iam("DetachUserPolicy", UserName="ann", PolicyArn=S3_READ)
    with refused("AccessDenied"):
        ask(account, caller)


def test_policies_come_back(account: Account) -> None:
    make(account, "ann")
    document = policy(allow("s3:*"))
    account.iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
    answer = account.iam("GetUserPolicy", UserName="ann", PolicyName="p")
    assert json.loads(unquote(answer["PolicyDocument"])) == json.loads(document)
    assert account.iam("ListUserPolicies", UserName="ann")["PolicyNames"] == ["p"]
    account.iam("AttachUserPolicy", UserName="ann", PolicyArn=S3_READ)
    attached = account.iam("ListAttachedUserPolicies", UserName="ann")["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonS3ReadOnlyAccess", "PolicyArn": S3_READ}]
    with refused("NoSuchEntity", "user policy with name q"):
        account.iam("GetUserPolicy", UserName="ann", PolicyName="q")
    with refused("LimitExceeded", "2048 bytes exceeded for user ann"):
        large = policy(allow([f"s3:Get{'x' * 60}{number}" for number in range(40)]))
        account.iam("PutUserPolicy", UserName="ann", PolicyName="large", PolicyDocument=large)


def test_group_policies_are_the_users(account: Account) -> None:
    caller = account.user("ann")
    account.iam("CreateGroup", GroupName="readers")
    account.iam("PutGroupPolicy", GroupName="readers", PolicyName="p", PolicyDocument=policy(allow("s3:GetObject")))
    account.iam("AddUserToGroup", GroupName="readers", UserName="ann")
    ask(account, caller)
    account.iam("PutGroupPolicy", GroupName="readers", PolicyName="never", PolicyDocument=policy(deny("s3:*")))
    with refused("AccessDenied", "explicit deny in an identity-based policy"):
        ask(account, caller)
    account.iam("DeleteGroupPolicy", GroupName="readers", PolicyName="never")
    account.iam("RemoveUserFromGroup", GroupName="readers", UserName="ann")
    with refused("AccessDenied"):
        ask(account, caller)
    account.iam("AttachGroupPolicy", GroupName="readers", PolicyArn=S3_READ)
    account.iam("AddUserToGroup", GroupName="readers", UserName="ann")
    ask(account, caller)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"aws:username": "ann"}}, True),
        ({"StringEquals": {"aws:PrincipalType": "User"}}, True),
        ({"StringEquals": {"aws:PrincipalTag/team": "red"}}, True),
        ({"StringEquals": {"aws:PrincipalTag/team": "${aws:username}"}}, False),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:user/*"}}, True),
        ({"StringLike": {"aws:userid": "AIDA*"}}, True),
        ({"Null": {"aws:TokenIssueTime": "true"}}, True),
        ({"Null": {"aws:MultiFactorAuthPresent": "true"}}, True),
        ({"Bool": {"aws:MultiFactorAuthPresent": "false"}}, False),
        ({"StringLike": {"aws:UserAgent": "Boto3/*"}}, True),
        ({"StringLike": {"aws:Referer": "http://example.com/*"}}, False),
    ],
)
def test_condition_keys_of_a_user(account: Account, condition: dict[str, Any], expected: bool) -> None:
    caller = account.user("ann", allow("*", Condition=condition), Tags=[{"Key": "team", "Value": "red"}])
    caller = replace(caller, user_agent="Boto3/1.40")
    if expected:
        ask(account, caller)
    else:
        with refused("AccessDenied"):
            ask(account, caller)


def test_the_users_own_prefix(account: Account) -> None:
    home = "arn:aws:s3:::bucket/home/${aws:username}/*"
    caller = account.user("ann", allow("s3:GetObject", home))
    ask(account, caller, "arn:aws:s3:::bucket/home/ann/x")
    with refused("AccessDenied"):
        ask(account, caller, "arn:aws:s3:::bucket/home/bob/x")


def test_keys_go_on_and_off(account: Account) -> None:
    make(account, "ann")
    key = account.iam("CreateAccessKey", UserName="ann")["AccessKey"]
    assert key["AccessKeyId"].startswith("AKIA") and len(key["SecretAccessKey"]) == 40
    with account.database.read() as tx:
        assert secret_for(tx, key["AccessKeyId"], None) == key["SecretAccessKey"]
    account.iam("UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with refused("InvalidAccessKeyId"):
        account.caller(key["AccessKeyId"])
    (listed,) = account.iam("ListAccessKeys", UserName="ann")["AccessKeyMetadata"]
    assert listed["Status"] == "Inactive" and "SecretAccessKey" not in listed
    account.iam("UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Active")
    assert account.caller(key["AccessKeyId"]).user == "ann"
    account.iam("CreateAccessKey", UserName="ann")
    with refused("LimitExceeded", "AccessKeysPerUser: 2"):
        account.iam("CreateAccessKey", UserName="ann")
    account.iam("DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])
    with refused("InvalidAccessKeyId"):
        account.caller(key["AccessKeyId"])


def test_when_a_key_was_used_last(account: Account) -> None:
    caller = account.user("ann")
    key = caller.access_key_id
    never = account.iam("GetAccessKeyLastUsed", AccessKeyId=key)
    assert never == {"UserName": "ann", "AccessKeyLastUsed": {"ServiceName": "N/A", "Region": "N/A"}}

    def use(service: str) -> bool:
        with account.database.write() as tx:
            news = use_is_news(tx, caller)
            if news:
                note_use(tx, caller, service)
            return news

    assert use("s3")
    used = account.iam("GetAccessKeyLastUsed", AccessKeyId=key)["AccessKeyLastUsed"]
    assert used == {"LastUsedDate": START, "ServiceName": "s3", "Region": "us-east-1"}
    assert not use("ec2")
    account.pass_time(minutes=1)
    assert use("ec2")
    assert account.iam("GetAccessKeyLastUsed", AccessKeyId=key)["AccessKeyLastUsed"]["ServiceName"] == "ec2"
    with account.database.read() as tx:
        assert not use_is_news(tx, account.root)
    with refused("NoSuchEntity"):
        account.iam("GetAccessKeyLastUsed", AccessKeyId="AKIAAAAAAAAAAAAAAAAA")


def test_what_a_user_has_keeps_it_from_going(account: Account) -> None:
    caller = account.user("ann", allow("s3:*"))
    account.iam("CreateGroup", GroupName="g")
    account.iam("AddUserToGroup", GroupName="g", UserName="ann")
    account.iam("AttachUserPolicy", UserName="ann", PolicyArn=S3_READ)
    undo = (
        ("delete access keys", "DeleteAccessKey", {"UserName": "ann", "AccessKeyId": caller.access_key_id}),
        ("remove users from group", "RemoveUserFromGroup", {"UserName": "ann", "GroupName": "g"}),
        ("detach all policies", "DetachUserPolicy", {"UserName": "ann", "PolicyArn": S3_READ}),
        ("delete policies", "DeleteUserPolicy", {"UserName": "ann", "PolicyName": "own"}),
    )
    for words, operation, params in undo:
        with refused("DeleteConflict", words, status=409):
            account.iam("DeleteUser", UserName="ann")
        account.iam(operation, **params)
    account.iam("DeleteUser", UserName="ann")
    with refused("NoSuchEntity", "user with name ann"):
        account.iam("GetUser", UserName="ann")


def test_a_renamed_user_keeps_what_it_has(account: Account) -> None:
    caller = account.user("ann", allow("s3:*"), Tags=[{"Key": "team", "Value": "red"}])
    before = account.iam("GetUser", UserName="ann")["User"]
    make(account, "taken")
    with refused("EntityAlreadyExists"):
        account.iam("UpdateUser", UserName="ann", NewUserName="Taken")
    account.iam("UpdateUser", UserName="ann", NewUserName="Anna", NewPath="/dev/")
    after = account.iam("GetUser", UserName="Anna")["User"]
    assert after == {**before, "UserName": "Anna", "Path": "/dev/", "Arn": f"arn:aws:iam::{ACCOUNT}:user/dev/Anna"}
    caller = account.caller(caller.access_key_id)
    assert caller.user == "Anna"
    ask(account, caller)
    with refused("NoSuchEntity"):
        account.iam("GetUser", UserName="ann")


def test_a_rename_needs_permission_on_both_names(account: Account) -> None:
    make(account, "a")
    caller = account.user("admin", allow("iam:UpdateUser", f"arn:aws:iam::{ACCOUNT}:user/a"))
    with refused("AccessDenied", "user/b"):
        account.iam("UpdateUser", caller=caller, UserName="a", NewUserName="b")


def test_tags_decide_who_may_change_whom(account: Account) -> None:
    make(account, "mine", Tags=[{"Key": "team", "Value": "red"}])
    make(account, "other", Tags=[{"Key": "team", "Value": "blue"}])
    condition = {"StringEquals": {"iam:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    caller = account.user("lead", allow("iam:*", Condition=condition), Tags=[{"Key": "team", "Value": "red"}])
    account.iam("TagUser", caller=caller, UserName="mine", Tags=[{"Key": "x", "Value": "y"}])
    account.iam("UntagUser", caller=caller, UserName="mine", TagKeys=["x"])
    with refused("AccessDenied", "iam:DeleteUser"):
        account.iam("DeleteUser", caller=caller, UserName="other")
    requested = {"StringEquals": {"aws:RequestTag/team": "red"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    maker = account.user("maker", allow(["iam:CreateUser", "iam:TagUser"], Condition=requested))
    account.iam("CreateUser", caller=maker, UserName="n", Tags=[{"Key": "team", "Value": "red"}])
    for tags in ([{"Key": "team", "Value": "blue"}], [], [{"Key": "team", "Value": "red"}, {"Key": "x", "Value": ""}]):
        with refused("AccessDenied", "iam:CreateUser"):
            account.iam("CreateUser", caller=maker, UserName="m", Tags=tags)


def test_a_policy_in_use_by_users_and_groups(account: Account) -> None:
    arn = account.iam("CreatePolicy", PolicyName="p", PolicyDocument=policy(allow("s3:*")))["Policy"]["Arn"]
    user = make(account, "ann", PermissionsBoundary=arn)
    make(account, "bob")
    account.iam("AttachUserPolicy", UserName="bob", PolicyArn=arn)
    group = account.iam("CreateGroup", GroupName="g")["Group"]
    account.iam("AttachGroupPolicy", GroupName="g", PolicyArn=arn)
    found = account.iam("GetPolicy", PolicyArn=arn)["Policy"]
    assert (found["AttachmentCount"], found["PermissionsBoundaryUsageCount"]) == (2, 1)
    entities = account.iam("ListEntitiesForPolicy", PolicyArn=arn)
    assert [one["UserName"] for one in entities["PolicyUsers"]] == ["ann", "bob"]
    assert entities["PolicyGroups"] == [{"GroupName": "g", "GroupId": group["GroupId"]}]
    bounded = account.iam("ListEntitiesForPolicy", PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")
    assert bounded["PolicyUsers"] == [{"UserName": "ann", "UserId": user["UserId"]}]
    assert bounded["PolicyGroups"] == []
    pages = account.iam("ListEntitiesForPolicy", PolicyArn=arn, MaxItems=1)
    assert pages["IsTruncated"] and len(pages["PolicyGroups"]) == 1
    for operation, params in (
        ("DetachUserPolicy", {"UserName": "bob", "PolicyArn": arn}),
        ("DetachGroupPolicy", {"GroupName": "g", "PolicyArn": arn}),
        ("DeleteUserPermissionsBoundary", {"UserName": "ann"}),
    ):
        with refused("DeleteConflict"):
            account.iam("DeletePolicy", PolicyArn=arn)
        account.iam(operation, **params)
    account.iam("DeletePolicy", PolicyArn=arn)


def test_a_trust_policy_may_name_a_user(account: Account) -> None:
    caller = account.user("ann")
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust({"AWS": caller.arn}))
    arn = account.iam("GetRole", RoleName="r")["Role"]["Arn"]
    answer = account.call("sts", "AssumeRole", caller=caller, RoleArn=arn, RoleSessionName="session")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/r/session"
    other = account.user("bob", allow("sts:AssumeRole"))
    with refused("AccessDenied", "role trust policy does not allow"):
        account.call("sts", "AssumeRole", caller=other, RoleArn=arn, RoleSessionName="session")


def test_a_key_whose_user_is_gone_is_nobodys(account: Account) -> None:
    caller = account.user("ann")
    account.iam("DeleteAccessKey", UserName="ann", AccessKeyId=caller.access_key_id)
    account.iam("DeleteUser", UserName="ann")
    with account.database.write() as tx:
        tx.add(AccessKey(caller.access_key_id, "secret", "ann", START))
    with refused("InvalidAccessKeyId"):
        account.caller(caller.access_key_id)


def test_passing_a_role_needs_permission(account: Account) -> None:
    account.role("server")
    account.iam("CreateInstanceProfile", InstanceProfileName="p")
    caller = account.user("ann", allow("iam:AddRoleToInstanceProfile"))
    with refused("AccessDenied", "iam:PassRole", "role/server"):
        account.iam("AddRoleToInstanceProfile", caller=caller, InstanceProfileName="p", RoleName="server")
    passing = allow(
        "iam:PassRole",
        f"arn:aws:iam::{ACCOUNT}:role/server",
        Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    )
    account.iam("PutUserPolicy", UserName="ann", PolicyName="pass", PolicyDocument=policy(passing))
    account.iam("AddRoleToInstanceProfile", caller=caller, InstanceProfileName="p", RoleName="server")
