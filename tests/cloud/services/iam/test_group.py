from __future__ import annotations

from typing import Any

from identity_fixtures import ACCOUNT, START, Account, allow, policy, refused


def names(answer: dict[str, Any]) -> list[str]:
    return [group["GroupName"] for group in answer["Groups"]]


def test_a_group_and_its_users(account: Account) -> None:
    made = account.iam("CreateGroup", GroupName="Admins", Path="/staff/")["Group"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/staff/Admins"
    assert made["GroupId"].startswith("AGPA") and made["CreateDate"] == START
    with refused("EntityAlreadyExists", "Group with name admins"):
        account.iam("CreateGroup", GroupName="admins")
    for name in ("c", "a", "b"):
        account.iam("CreateUser", UserName=name)
        account.iam("AddUserToGroup", GroupName="Admins", UserName=name)
    # Once more changes nothing.
    account.iam("AddUserToGroup", GroupName="Admins", UserName="a")
    answer = account.iam("GetGroup", GroupName="Admins", MaxItems=2)
    assert answer["Group"] == made
    assert [user["UserName"] for user in answer["Users"]] == ["a", "b"]
    rest = account.iam("GetGroup", GroupName="Admins", Marker=answer["Marker"])
    assert [user["UserName"] for user in rest["Users"]] == ["c"]
    assert names(account.iam("ListGroupsForUser", UserName="a")) == ["Admins"]
    account.iam("RemoveUserFromGroup", GroupName="Admins", UserName="a")
    assert names(account.iam("ListGroupsForUser", UserName="a")) == []
    with refused("NoSuchEntity", "user with name a in the group"):
        account.iam("RemoveUserFromGroup", GroupName="Admins", UserName="a")


def test_what_does_not_exist(account: Account) -> None:
    account.iam("CreateGroup", GroupName="g")
    account.iam("CreateUser", UserName="u")
    with refused("NoSuchEntity", "group with name x", status=404):
        account.iam("AddUserToGroup", GroupName="x", UserName="u")
    with refused("NoSuchEntity", "user with name x", status=404):
        account.iam("AddUserToGroup", GroupName="g", UserName="x")
    with refused("NoSuchEntity", "group policy with name p"):
        account.iam("DeleteGroupPolicy", GroupName="g", PolicyName="p")


def test_lists(account: Account) -> None:
    for name, path in (("b", "/x/"), ("a", "/"), ("c", "/x/y/")):
        account.iam("CreateGroup", GroupName=name, Path=path)
    assert names(account.iam("ListGroups")) == ["a", "b", "c"]
    assert names(account.iam("ListGroups", PathPrefix="/x/")) == ["b", "c"]
    first = account.iam("ListGroups", MaxItems=2)
    assert first["IsTruncated"] and names(account.iam("ListGroups", Marker=first["Marker"])) == ["c"]


def test_what_a_group_has_keeps_it_from_going(account: Account) -> None:
    arn = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
    account.iam("CreateUser", UserName="u")
    account.iam("CreateGroup", GroupName="g")
    account.iam("AddUserToGroup", GroupName="g", UserName="u")
    account.iam("AttachGroupPolicy", GroupName="g", PolicyArn=arn)
    account.iam("PutGroupPolicy", GroupName="g", PolicyName="p", PolicyDocument=policy(allow("s3:*")))
    assert account.iam("ListGroupPolicies", GroupName="g")["PolicyNames"] == ["p"]
    assert account.iam("ListAttachedGroupPolicies", GroupName="g")["AttachedPolicies"][0]["PolicyArn"] == arn
    for words, operation, params in (
        ("remove users from group", "RemoveUserFromGroup", {"UserName": "u"}),
        ("detach all policies", "DetachGroupPolicy", {"PolicyArn": arn}),
        ("delete policies", "DeleteGroupPolicy", {"PolicyName": "p"}),
    ):
        with refused("DeleteConflict", words, status=409):
            account.iam("DeleteGroup", GroupName="g")
        account.iam(operation, GroupName="g", **params)
    account.iam("DeleteGroup", GroupName="g")
    assert names(account.iam("ListGroups")) == []


def test_a_renamed_group_keeps_its_users_and_policies(account: Account) -> None:
    caller = account.user("u")
    account.iam("CreateGroup", GroupName="g")
    account.iam("AddUserToGroup", GroupName="g", UserName="u")
    account.iam("PutGroupPolicy", GroupName="g", PolicyName="p", PolicyDocument=policy(allow("iam:ListGroups")))
    account.iam("UpdateGroup", GroupName="g", NewGroupName="h", NewPath="/n/")
    assert names(account.iam("ListGroupsForUser", UserName="u")) == ["h"]
    assert names(account.iam("ListGroups", caller=caller)) == ["h"]
    with refused("NoSuchEntity"):
        account.iam("GetGroup", GroupName="g")


def test_a_user_is_in_ten_groups_at_most(account: Account) -> None:
    account.iam("CreateUser", UserName="u")
    for number in range(11):
        account.iam("CreateGroup", GroupName=f"g{number}")
    for number in range(10):
        account.iam("AddUserToGroup", GroupName=f"g{number}", UserName="u")
    with refused("LimitExceeded", "GroupsPerUser: 10"):
        account.iam("AddUserToGroup", GroupName="g10", UserName="u")


def test_permission_is_asked_on_the_group(account: Account) -> None:
    account.iam("CreateGroup", GroupName="mine", Path="/p/")
    account.iam("CreateGroup", GroupName="other")
    account.iam("CreateUser", UserName="u")
    caller = account.user("lead", allow("iam:AddUserToGroup", f"arn:aws:iam::{ACCOUNT}:group/p/*"))
    account.iam("AddUserToGroup", caller=caller, GroupName="mine", UserName="u")
    with refused("AccessDenied", "iam:AddUserToGroup", "group/other"):
        account.iam("AddUserToGroup", caller=caller, GroupName="other", UserName="u")
