from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import pytest
from identity_fixtures import ACCOUNT, EC2_TRUST, START, Account, allow, policy, refused, trust

from skylift.cloud.domain.error import ServiceError

S3_READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def make(account: Account, name: str, **params: Any) -> dict[str, Any]:
    params = {"AssumeRolePolicyDocument": EC2_TRUST, **params}
    return account.iam("CreateRole", RoleName=name, **params)["Role"]


def names(answer: dict[str, Any]) -> list[str]:
    return [role["RoleName"] for role in answer["Roles"]]


def test_a_role_comes_back_as_it_was_made(account: Account) -> None:
    made = make(
        account,
        "reader",
        Path="/jobs/",
        Description="reads",
        MaxSessionDuration=7200,
        PermissionsBoundary=S3_READ,
        Tags=[{"Key": "job", "Value": "1"}],
    )
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/jobs/reader"
    assert made["RoleId"].startswith("AROA") and len(made["RoleId"]) == 21
    assert made["CreateDate"] == START
    assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == S3_READ
    # https://github.com/localstack/localstack/blob/main/tests/aws/services/iam/test_iam.snapshot.json
    # (test_create_describe_role): CreateRole does not answer the longest session, GetRole says when it was last used.
    found = account.iam("GetRole", RoleName="reader")["Role"]
    assert found == {**made, "MaxSessionDuration": 7200, "RoleLastUsed": {}}
    assert json.loads(unquote(made["AssumeRolePolicyDocument"])) == json.loads(EC2_TRUST)
    assert " " not in made["AssumeRolePolicyDocument"]


def test_lists_leave_out_tags_and_boundary(account: Account) -> None:
    make(account, "a", PermissionsBoundary=S3_READ, Tags=[{"Key": "k", "Value": "v"}])
    (listed,) = account.iam("ListRoles")["Roles"]
    assert "Tags" not in listed and "PermissionsBoundary" not in listed


def test_names_are_taken_whatever_their_case(account: Account) -> None:
    make(account, "Role")
    with refused("EntityAlreadyExists", "Role with name rOLE already exists.", status=409):
        make(account, "rOLE")


def test_one_of_many_makers_wins(account: Account) -> None:
    def attempt(_: int) -> str:
        try:
            make(account, "one")
        except ServiceError as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(attempt, range(16)))
    assert outcomes == ["EntityAlreadyExists"] * 15 + ["made"]


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"RoleName": "a b"}, "ValidationError", "'roleName' failed to satisfy constraint"),
        ({"RoleName": "a" * 65}, "ValidationError", "less than or equal to 64"),
        ({"RoleName": "é"}, "ValidationError", "roleName"),
        ({"Path": "jobs"}, "ValidationError", "path is invalid"),
        ({"Path": "/jobs"}, "ValidationError", "path is invalid"),
        ({"Path": "/a b/"}, "ValidationError", "path is invalid"),
        ({"MaxSessionDuration": 43201}, "ValidationError", "maxSessionDuration"),
        ({"Description": "d" * 1001}, "ValidationError", "description"),
        ({"AssumeRolePolicyDocument": "{}"}, "MalformedPolicyDocument", "Statement"),
        ({"AssumeRolePolicyDocument": policy(allow("s3:*"))}, "MalformedPolicyDocument", "prohibited field Resource"),
        ({"PermissionsBoundary": "arn:aws:iam::aws:policy/Nothing"}, "NoSuchEntity", "is not attachable"),
        ({"PermissionsBoundary": "not-an-arn-of-any-policy"}, "ValidationError", "Could not be parsed!"),
        ({"Tags": [{"Key": "aws:x", "Value": ""}]}, "InvalidInput", "reserved"),
        ({"Tags": [{"Key": "x", "Value": ""}, {"Key": "X", "Value": ""}]}, "InvalidInput", "Duplicate tag keys"),
        ({"Tags": [{"Key": "x" * 129, "Value": ""}]}, "ValidationError", "tags.1.member.key"),
        ({"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}, "ValidationError", "50"),
    ],
)
def test_bad_input_is_refused_and_makes_nothing(
    account: Account, params: dict[str, Any], code: str, words: str
) -> None:
    with refused(code, words):
        make(account, **{"name": "x", **{"name" if key == "RoleName" else key: item for key, item in params.items()}})
    assert account.iam("ListRoles")["Roles"] == []


def test_a_trust_policy_may_name_only_roles_that_exist(account: Account) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/other"
    with refused("MalformedPolicyDocument", "Invalid principal in policy"):
        make(account, "a", AssumeRolePolicyDocument=trust({"AWS": arn}))
    make(account, "other")
    make(account, "a", AssumeRolePolicyDocument=trust({"AWS": arn}))
    with refused("MalformedPolicyDocument", "Invalid principal in policy"):
        make(account, "b", AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody"}))


def test_a_trust_policy_may_name_only_services_that_aws_has(account: Account) -> None:
    """AWS's words: https://github.com/hashicorp/terraform/issues/35086"""
    known = ["lambda.amazonaws.com", "logs.eu-west-1.amazonaws.com", "api-service.dnssec.route53.aws.internal"]
    make(account, "a", AssumeRolePolicyDocument=trust({"Service": known}))
    unknown = trust({"Service": ["ec2.amazonaws.com", "tagging.amazonaws.com"]})
    with refused("MalformedPolicyDocument", 'Invalid principal in policy: "SERVICE":"tagging.amazonaws.com"'):
        make(account, "b", AssumeRolePolicyDocument=unknown)
    with refused("MalformedPolicyDocument", 'Invalid principal in policy: "SERVICE":"tagging.amazonaws.com"'):
        account.iam("UpdateAssumeRolePolicy", RoleName="a", PolicyDocument=unknown)
    assert names(account.iam("ListRoles")) == ["a"]


def test_pages_hold_every_role_once(account: Account) -> None:
    made = sorted(f"role-{number}" for number in range(23))
    for name in reversed(made):
        make(account, name, Path="/p/" if name.endswith("1") else "/")
    found: list[str] = []
    marker: dict[str, str] = {}
    for _ in range(5):
        answer = account.iam("ListRoles", MaxItems=5, **marker)
        found += names(answer)
        marker = {"Marker": answer["Marker"]} if answer["IsTruncated"] else {}
    assert found == made and not marker
    assert names(account.iam("ListRoles", PathPrefix="/p/")) == ["role-1", "role-11", "role-21"]
    assert names(account.iam("ListRoles", PathPrefix="/p")) == ["role-1", "role-11", "role-21"]
    assert account.iam("ListRoles", PathPrefix="/q/")["Roles"] == []


def test_a_page_goes_on_after_its_last_role_was_deleted(account: Account) -> None:
    for name in "abcd":
        make(account, name)
    first = account.iam("ListRoles", MaxItems=2)
    account.iam("DeleteRole", RoleName="b")
    make(account, "a2")
    assert names(account.iam("ListRoles", Marker=first["Marker"])) == ["c", "d"]


@pytest.mark.parametrize("marker", ["nonsense", "!!!", "YWZ0ZXI"])
def test_markers_that_are_none(account: Account, marker: str) -> None:
    with refused("ValidationError", "Invalid Marker"):
        account.iam("ListRoles", Marker=marker)


def test_page_sizes_have_bounds(account: Account) -> None:
    with refused("ValidationError", "maxItems"):
        account.iam("ListRoles", MaxItems=1001)


def test_what_is_missing_is_said(account: Account) -> None:
    for operation, more in [
        ("GetRole", {}),
        ("DeleteRole", {}),
        ("UpdateRole", {}),
        ("ListRolePolicies", {}),
        ("TagRole", {"Tags": []}),
        ("GetRolePolicy", {"PolicyName": "p"}),
        ("ListInstanceProfilesForRole", {}),
    ]:
        with refused("NoSuchEntity", "The role with name gone cannot be found.", status=404):
            account.iam(operation, RoleName="gone", **more)


def test_a_role_in_use_is_not_deleted(account: Account) -> None:
    make(account, "busy")
    account.iam("CreateInstanceProfile", InstanceProfileName="p")
    account.iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="busy")
    account.iam("PutRolePolicy", RoleName="busy", PolicyName="own", PolicyDocument=policy(allow("s3:*")))
    account.iam("AttachRolePolicy", RoleName="busy", PolicyArn=S3_READ)
    with refused("DeleteConflict", "must remove roles from instance profile first", status=409):
        account.iam("DeleteRole", RoleName="busy")
    account.iam("RemoveRoleFromInstanceProfile", InstanceProfileName="p", RoleName="busy")
    with refused("DeleteConflict", "must detach all policies first"):
        account.iam("DeleteRole", RoleName="busy")
    account.iam("DetachRolePolicy", RoleName="busy", PolicyArn=S3_READ)
    with refused("DeleteConflict", "must delete policies first"):
        account.iam("DeleteRole", RoleName="busy")
    account.iam("DeleteRolePolicy", RoleName="busy", PolicyName="own")
    account.iam("DeleteRole", RoleName="busy")
    with refused("NoSuchEntity"):
        account.iam("GetRole", RoleName="busy")


def test_update(account: Account) -> None:
    make(account, "a", Description="old", MaxSessionDuration=7200)
    account.iam("UpdateRole", RoleName="a", MaxSessionDuration=4000)
    role = account.iam("GetRole", RoleName="a")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("old", 4000)
    account.iam("UpdateRole", RoleName="a", Description="new")
    role = account.iam("GetRole", RoleName="a")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("new", 3600)
    account.iam("UpdateAssumeRolePolicy", RoleName="a", PolicyDocument=trust("*"))
    role = account.iam("GetRole", RoleName="a")["Role"]
    assert json.loads(unquote(role["AssumeRolePolicyDocument"])) == json.loads(trust("*"))


def test_tags(account: Account) -> None:
    make(account, "a", Tags=[{"Key": "One", "Value": "1"}])
    account.iam("TagRole", RoleName="a", Tags=[{"Key": "one", "Value": "2"}, {"Key": "two", "Value": ""}])
    answer = account.iam("ListRoleTags", RoleName="a", MaxItems=1)
    assert answer["Tags"] == [{"Key": "one", "Value": "2"}] and answer["IsTruncated"]
    assert account.iam("ListRoleTags", RoleName="a", Marker=answer["Marker"])["Tags"] == [{"Key": "two", "Value": ""}]
    account.iam("UntagRole", RoleName="a", TagKeys=["ONE", "missing"])
    assert account.iam("GetRole", RoleName="a")["Role"]["Tags"] == [{"Key": "two", "Value": ""}]
    with refused("LimitExceeded", "TagsPerRole: 50", status=409):
        account.iam("TagRole", RoleName="a", Tags=[{"Key": f"k{n}", "Value": ""} for n in range(50)])


def test_inline_policies(account: Account) -> None:
    make(account, "a")
    document = policy(allow("s3:*", "arn:aws:s3:::b/é* ?"))
    account.iam("PutRolePolicy", RoleName="a", PolicyName="two", PolicyDocument=document)
    account.iam("PutRolePolicy", RoleName="a", PolicyName="one", PolicyDocument=policy(allow("ec2:*")))
    answer = account.iam("GetRolePolicy", RoleName="a", PolicyName="two")
    assert unquote(answer["PolicyDocument"]) == document
    assert account.iam("ListRolePolicies", RoleName="a")["PolicyNames"] == ["one", "two"]
    account.iam("DeleteRolePolicy", RoleName="a", PolicyName="two")
    with refused("NoSuchEntity", "role policy with name two cannot be found", status=404):
        account.iam("GetRolePolicy", RoleName="a", PolicyName="two")
    with refused("NoSuchEntity"):
        account.iam("DeleteRolePolicy", RoleName="a", PolicyName="two")
    with refused("MalformedPolicyDocument"):
        account.iam("PutRolePolicy", RoleName="a", PolicyName="bad", PolicyDocument="{")
    assert account.iam("ListRolePolicies", RoleName="a")["PolicyNames"] == ["one"]


def test_inline_policies_share_one_quota(account: Account) -> None:
    make(account, "a")
    large = policy(*[allow("s3:GetObject", "arn:aws:s3:::" + "b" * 1000)] * 6)
    account.iam("PutRolePolicy", RoleName="a", PolicyName="one", PolicyDocument=large)
    account.iam("PutRolePolicy", RoleName="a", PolicyName="one", PolicyDocument=large)
    with refused("LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role a", status=409):
        account.iam("PutRolePolicy", RoleName="a", PolicyName="two", PolicyDocument=large)


def test_attached_policies(account: Account) -> None:
    make(account, "a")
    account.iam("AttachRolePolicy", RoleName="a", PolicyArn=S3_READ)
    account.iam("AttachRolePolicy", RoleName="a", PolicyArn=S3_READ)
    own = account.iam("CreatePolicy", PolicyName="own", Path="/p/", PolicyDocument=policy(allow("s3:*")))["Policy"][
        "Arn"
    ]
    account.iam("AttachRolePolicy", RoleName="a", PolicyArn=own)
    assert account.iam("ListAttachedRolePolicies", RoleName="a")["AttachedPolicies"] == [
        {"PolicyName": "AmazonS3ReadOnlyAccess", "PolicyArn": S3_READ},
        {"PolicyName": "own", "PolicyArn": own},
    ]
    listed = account.iam("ListAttachedRolePolicies", RoleName="a", PathPrefix="/p/")["AttachedPolicies"]
    assert [item["PolicyArn"] for item in listed] == [own]
    account.iam("DetachRolePolicy", RoleName="a", PolicyArn=S3_READ)
    with refused("NoSuchEntity", "was not found", status=404):
        account.iam("DetachRolePolicy", RoleName="a", PolicyArn=S3_READ)
    with refused("NoSuchEntity", "does not exist or is not attachable"):
        account.iam("AttachRolePolicy", RoleName="a", PolicyArn="arn:aws:iam::aws:policy/AmazonNothing")


def test_ten_policies_a_role(account: Account) -> None:
    make(account, "a")
    arns = [
        account.iam("CreatePolicy", PolicyName=f"p{n}", PolicyDocument=policy(allow("s3:*")))["Policy"]["Arn"]
        for n in range(11)
    ]
    for arn in arns[:10]:
        account.iam("AttachRolePolicy", RoleName="a", PolicyArn=arn)
    with refused("LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10", status=409):
        account.iam("AttachRolePolicy", RoleName="a", PolicyArn=arns[10])


def test_boundary(account: Account) -> None:
    make(account, "a")
    account.iam("PutRolePermissionsBoundary", RoleName="a", PermissionsBoundary=S3_READ)
    boundary = account.iam("GetRole", RoleName="a")["Role"]["PermissionsBoundary"]
    assert boundary == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": S3_READ}
    account.iam("DeleteRolePermissionsBoundary", RoleName="a")
    assert "PermissionsBoundary" not in account.iam("GetRole", RoleName="a")["Role"]


def test_making_a_role_can_be_bound_to_a_path_and_a_boundary(account: Account) -> None:
    """What the client's users need: roles under one path, never without the boundary."""
    condition = {"StringEquals": {"iam:PermissionsBoundary": S3_READ}}
    maker = account.role(
        "maker", allow("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/skylift/*", Condition=condition)
    )

    def attempt(**params: Any) -> None:
        account.iam("CreateRole", caller=maker, RoleName="x", AssumeRolePolicyDocument=EC2_TRUST, **params)

    with refused("AccessDenied", "iam:CreateRole on resource: arn:aws:iam::123456789012:role/skylift/x"):
        attempt(Path="/skylift/")
    with refused("AccessDenied"):
        attempt(PermissionsBoundary=S3_READ)
    with refused("AccessDenied", "iam:TagRole"):
        attempt(Path="/skylift/", PermissionsBoundary=S3_READ, Tags=[{"Key": "k", "Value": "v"}])
    attempt(Path="/skylift/", PermissionsBoundary=S3_READ)


def test_checks_see_the_policy_and_the_tags(account: Account) -> None:
    make(account, "target", Tags=[{"Key": "team", "Value": "red"}])
    condition = {
        "ArnEquals": {"iam:PolicyARN": S3_READ},
        "StringEquals": {"aws:ResourceTag/team": "red", "iam:ResourceTag/team": "red"},
    }
    caller = account.role("attacher", allow("iam:AttachRolePolicy", Condition=condition))
    account.iam("AttachRolePolicy", caller=caller, RoleName="target", PolicyArn=S3_READ)
    with refused("AccessDenied"):
        account.iam(
            "AttachRolePolicy",
            caller=caller,
            RoleName="target",
            PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess",
        )


def test_a_description_alone_is_changed(account: Account) -> None:
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=EC2_TRUST, MaxSessionDuration=7200)
    role = account.iam("UpdateRoleDescription", RoleName="r", Description="new")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("new", 7200)
    assert account.iam("GetRole", RoleName="r")["Role"]["Description"] == "new"
