from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from identity_fixtures import ACCOUNT, EC2_TRUST, START, Account, allow, policy, refused

DOCUMENT = policy(allow("s3:GetObject"))
S3_FULL = "arn:aws:iam::aws:policy/AmazonS3FullAccess"


def make(account: Account, name: str = "p", **params: Any) -> str:
    arn: str = account.iam("CreatePolicy", PolicyName=name, PolicyDocument=DOCUMENT, **params)["Policy"]["Arn"]
    return arn


def test_a_policy_comes_back_as_it_was_made(account: Account) -> None:
    arn = make(account, Path="/a/b/", Description="reads", Tags=[{"Key": "k", "Value": "v"}])
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/a/b/p"
    found = account.iam("GetPolicy", PolicyArn=arn)["Policy"]
    assert found["Description"] == "reads" and found["Tags"] == [{"Key": "k", "Value": "v"}]
    assert (found["DefaultVersionId"], found["AttachmentCount"], found["CreateDate"]) == ("v1", 0, START)
    version = account.iam("GetPolicyVersion", PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    assert unquote(version["Document"]) == DOCUMENT and version["IsDefaultVersion"]


def test_the_policies_of_aws_are_there(account: Account) -> None:
    found = account.iam("GetPolicy", PolicyArn=S3_FULL)["Policy"]
    assert (found["PolicyName"], found["Path"], found["DefaultVersionId"]) == ("AmazonS3FullAccess", "/", "v2")
    version = account.iam("GetPolicyVersion", PolicyArn=S3_FULL, VersionId="v2")["PolicyVersion"]
    assert json.loads(unquote(version["Document"]))["Statement"][0]["Action"] == ["s3:*", "s3-object-lambda:*"]


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("DeletePolicy", {}),
        ("CreatePolicyVersion", {"PolicyDocument": DOCUMENT}),
        ("SetDefaultPolicyVersion", {"VersionId": "v2"}),
        ("DeletePolicyVersion", {"VersionId": "v2"}),
        ("TagPolicy", {"Tags": [{"Key": "k", "Value": "v"}]}),
    ],
)
def test_the_policies_of_aws_cannot_be_changed(account: Account, operation: str, params: dict[str, Any]) -> None:
    with refused("AccessDenied", "AWS's own", status=403):
        account.iam(operation, PolicyArn=S3_FULL, **params)


def test_bad_input(account: Account) -> None:
    make(account, "Name")
    with refused("EntityAlreadyExists", "A policy called name already exists", status=409):
        make(account, "name")
    with refused("InvalidInput", "ARN nonsense-but-long-enough is not valid.", status=400):
        account.iam("GetPolicy", PolicyArn="nonsense-but-long-enough")
    with refused("NoSuchEntity", "was not found", status=404):
        account.iam("GetPolicy", PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/none")
    with refused("NoSuchEntity", "version v9 does not exist"):
        account.iam("GetPolicyVersion", PolicyArn=S3_FULL, VersionId="v9")
    with refused("ValidationError", "versionId"):
        account.iam("GetPolicyVersion", PolicyArn=S3_FULL, VersionId="9")
    with refused("LimitExceeded", "PolicySize: 6144", status=409):
        account.iam("CreatePolicy", PolicyName="x", PolicyDocument=policy(*[allow("s3:" + "a" * 1000)] * 6))
    with refused("MalformedPolicyDocument"):
        account.iam("CreatePolicy", PolicyName="x", PolicyDocument="[]")


def test_versions(account: Account) -> None:
    arn = make(account)
    account.pass_time(minutes=1)
    made = account.iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=policy(allow("ec2:*")))["PolicyVersion"]
    assert (made["VersionId"], made["IsDefaultVersion"]) == ("v2", False)
    account.iam("SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v2")
    assert account.iam("GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    with refused("DeleteConflict", "Cannot delete the default version", status=409):
        account.iam("DeletePolicyVersion", PolicyArn=arn, VersionId="v2")
    account.iam("DeletePolicyVersion", PolicyArn=arn, VersionId="v1")
    for _ in range(4):
        account.iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=DOCUMENT, SetAsDefault=True)
    with refused("LimitExceeded", "up to 5 versions", status=409):
        account.iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=DOCUMENT)
    first = account.iam("ListPolicyVersions", PolicyArn=arn, MaxItems=3)
    rest = account.iam("ListPolicyVersions", PolicyArn=arn, Marker=first["Marker"])
    listed = [*first["Versions"], *rest["Versions"]]
    assert [version["VersionId"] for version in listed] == ["v6", "v5", "v4", "v3", "v2"]
    assert [version["IsDefaultVersion"] for version in listed] == [True, False, False, False, False]


def test_a_policy_in_use_is_not_deleted(account: Account) -> None:
    arn = make(account)
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=EC2_TRUST)
    account.iam("AttachRolePolicy", RoleName="r", PolicyArn=arn)
    with refused("DeleteConflict", "attached to entities", status=409):
        account.iam("DeletePolicy", PolicyArn=arn)
    account.iam("DetachRolePolicy", RoleName="r", PolicyArn=arn)
    account.iam("PutRolePermissionsBoundary", RoleName="r", PermissionsBoundary=arn)
    with refused("DeleteConflict", "attached to entities"):
        account.iam("DeletePolicy", PolicyArn=arn)
    account.iam("DeleteRolePermissionsBoundary", RoleName="r")
    account.iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=DOCUMENT)
    with refused("DeleteConflict", "more than one version"):
        account.iam("DeletePolicy", PolicyArn=arn)
    account.iam("DeletePolicyVersion", PolicyArn=arn, VersionId="v2")
    account.iam("DeletePolicy", PolicyArn=arn)
    with refused("NoSuchEntity"):
        account.iam("GetPolicy", PolicyArn=arn)


def names(answer: dict[str, Any], key: str = "Policies", member: str = "PolicyName") -> list[str]:
    return [item[member] for item in answer[key]]


def test_lists_by_scope_and_use(account: Account) -> None:
    attached, bounding = make(account, "attached"), make(account, "bounding", Path="/b/")
    make(account, "unused")
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=EC2_TRUST, PermissionsBoundary=bounding)
    for arn in (attached, S3_FULL):
        account.iam("AttachRolePolicy", RoleName="r", PolicyArn=arn)
    assert names(account.iam("ListPolicies", Scope="Local")) == ["attached", "bounding", "unused"]
    assert "AdministratorAccess" in names(account.iam("ListPolicies", Scope="AWS"))
    used = account.iam("ListPolicies", OnlyAttached=True)
    assert names(used) == ["AmazonS3FullAccess", "attached", "bounding"]
    assert [item["AttachmentCount"] for item in used["Policies"]] == [1, 1, 0]
    assert [item["PermissionsBoundaryUsageCount"] for item in used["Policies"]] == [0, 0, 1]
    by_use = account.iam("ListPolicies", PolicyUsageFilter="PermissionsBoundary")
    assert names(by_use) == ["bounding"]
    assert names(account.iam("ListPolicies", Scope="Local", PathPrefix="/b/")) == ["bounding"]
    with refused("ValidationError", "scope"):
        account.iam("ListPolicies", Scope="Mine")


def test_pages_hold_every_policy_once(account: Account) -> None:
    for number in range(7):
        make(account, f"a{number}")
    everything = names(account.iam("ListPolicies"))
    found: list[str] = []
    marker: dict[str, str] = {}
    while True:
        answer = account.iam("ListPolicies", MaxItems=4, **marker)
        found += names(answer)
        if not answer["IsTruncated"]:
            break
        marker = {"Marker": answer["Marker"]}
    assert found == everything and len(found) == len(set(found))


def test_entities(account: Account) -> None:
    arn = make(account)
    for name in ("one", "two"):
        account.iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=EC2_TRUST, Path=f"/{name}/")
    account.iam("AttachRolePolicy", RoleName="one", PolicyArn=arn)
    account.iam("PutRolePermissionsBoundary", RoleName="two", PermissionsBoundary=arn)

    def roles(**params: Any) -> list[str]:
        return names(account.iam("ListEntitiesForPolicy", PolicyArn=arn, **params), "PolicyRoles", "RoleName")

    assert roles() == ["one", "two"]
    assert roles(EntityFilter="Role", PolicyUsageFilter="PermissionsPolicy") == ["one"]
    assert roles(PolicyUsageFilter="PermissionsBoundary") == ["two"]
    assert roles(PathPrefix="/two/") == ["two"]
    assert roles(EntityFilter="User") == []


def test_tags(account: Account) -> None:
    arn = make(account)
    account.iam("TagPolicy", PolicyArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert account.iam("ListPolicyTags", PolicyArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    account.iam("UntagPolicy", PolicyArn=arn, TagKeys=["K"])
    assert account.iam("ListPolicyTags", PolicyArn=arn)["Tags"] == []


def test_policies_of_service_roles_have_their_path_in_the_arn(account: Account) -> None:
    arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2SpotFleetTaggingRole"
    assert account.iam("GetPolicy", PolicyArn=arn)["Policy"]["Path"] == "/service-role/"
    listed = account.iam("ListPolicies", Scope="AWS", PathPrefix="/service-role/")["Policies"]
    assert arn in {policy["Arn"] for policy in listed}


@pytest.mark.parametrize(
    ("name", "action", "expected"),
    [
        ("ReadOnlyAccess", "ec2:DescribeInstances", True),
        ("ReadOnlyAccess", "s3:GetObject", True),
        ("ReadOnlyAccess", "ec2:RunInstances", False),
        ("job-function/ViewOnlyAccess", "s3:GetObject", False),
        ("job-function/ViewOnlyAccess", "ec2:DescribeInstances", True),
        ("AutoScalingFullAccess", "autoscaling:CreateAutoScalingGroup", True),
        ("AmazonVPCFullAccess", "ec2:CreateVpc", True),
        ("AmazonVPCReadOnlyAccess", "ec2:CreateVpc", False),
        ("AmazonSSMReadOnlyAccess", "ssm:GetParameter", True),
        ("AmazonSSMReadOnlyAccess", "ssm:PutParameter", False),
        ("CloudWatchAgentServerPolicy", "cloudwatch:PutMetricData", True),
    ],
)
def test_policies_of_aws_allow_what_they_say(account: Account, name: str, action: str, expected: bool) -> None:
    account.user("ann")
    account.iam("AttachUserPolicy", UserName="ann", PolicyArn=f"arn:aws:iam::aws:policy/{name}")
    source = f"arn:aws:iam::{ACCOUNT}:user/ann"
    asked = account.iam("SimulatePrincipalPolicy", PolicySourceArn=source, ActionNames=[action])
    assert (asked["EvaluationResults"][0]["EvalDecision"] == "allowed") is expected
