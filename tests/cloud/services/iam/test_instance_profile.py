from __future__ import annotations

import pytest
from identity_fixtures import ACCOUNT, EC2_TRUST, Account, allow, refused


def profile_with_role(account: Account, profile: str, role: str) -> None:
    account.iam("CreateRole", RoleName=role, AssumeRolePolicyDocument=EC2_TRUST)
    account.iam("CreateInstanceProfile", InstanceProfileName=profile)
    account.iam("AddRoleToInstanceProfile", InstanceProfileName=profile, RoleName=role)


def test_a_profile_carries_its_role(account: Account) -> None:
    made = account.iam(
        "CreateInstanceProfile", InstanceProfileName="p", Path="/jobs/", Tags=[{"Key": "k", "Value": "v"}]
    )["InstanceProfile"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/jobs/p"
    assert made["InstanceProfileId"].startswith("AIPA")
    assert made["Roles"] == [] and made["Tags"] == [{"Key": "k", "Value": "v"}]
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=EC2_TRUST)
    account.iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="r")
    found = account.iam("GetInstanceProfile", InstanceProfileName="p")["InstanceProfile"]
    assert [role["RoleName"] for role in found["Roles"]] == ["r"]
    (listed,) = account.iam("ListInstanceProfilesForRole", RoleName="r")["InstanceProfiles"]
    assert listed["InstanceProfileName"] == "p"
    assert account.iam("ListInstanceProfiles", PathPrefix="/jobs/")["InstanceProfiles"] == [listed]


def test_a_profile_has_one_role(account: Account) -> None:
    profile_with_role(account, "p", "r")
    account.iam("CreateRole", RoleName="other", AssumeRolePolicyDocument=EC2_TRUST)
    for role in ("other", "r"):
        with refused("LimitExceeded", "InstanceSessionsPerInstanceProfile: 1", status=409):
            account.iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName=role)
    with refused("NoSuchEntity", "role with name other in the instance profile with name p", status=404):
        account.iam("RemoveRoleFromInstanceProfile", InstanceProfileName="p", RoleName="other")


def test_a_profile_in_use_is_not_deleted(account: Account) -> None:
    profile_with_role(account, "p", "r")
    with refused("DeleteConflict", "must remove roles from instance profile first", status=409):
        account.iam("DeleteInstanceProfile", InstanceProfileName="p")
    account.iam("RemoveRoleFromInstanceProfile", InstanceProfileName="p", RoleName="r")
    account.iam("DeleteInstanceProfile", InstanceProfileName="p")
    with refused("NoSuchEntity", "instance profile with name p cannot be found", status=404):
        account.iam("GetInstanceProfile", InstanceProfileName="p")


def test_names_are_taken_whatever_their_case(account: Account) -> None:
    account.iam("CreateInstanceProfile", InstanceProfileName="Name")
    with refused("EntityAlreadyExists", "Instance Profile name already exists", status=409):
        account.iam("CreateInstanceProfile", InstanceProfileName="name")


@pytest.mark.parametrize("operation", ["ListInstanceProfiles", "ListInstanceProfilesForRole"])
def test_pages(account: Account, operation: str) -> None:
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=EC2_TRUST)
    for name in "dacb":
        account.iam("CreateInstanceProfile", InstanceProfileName=name)
        account.iam("AddRoleToInstanceProfile", InstanceProfileName=name, RoleName="r")
    params = {"RoleName": "r"} if operation == "ListInstanceProfilesForRole" else {}
    first = account.iam(operation, MaxItems=3, **params)
    assert [item["InstanceProfileName"] for item in first["InstanceProfiles"]] == ["a", "b", "c"]
    second = account.iam(operation, Marker=first["Marker"], **params)
    assert [item["InstanceProfileName"] for item in second["InstanceProfiles"]] == ["d"]
    assert second["IsTruncated"] is False


def test_tags(account: Account) -> None:
    account.iam("CreateInstanceProfile", InstanceProfileName="p")
    account.iam("TagInstanceProfile", InstanceProfileName="p", Tags=[{"Key": "k", "Value": "v"}])
    assert account.iam("ListInstanceProfileTags", InstanceProfileName="p")["Tags"] == [{"Key": "k", "Value": "v"}]
    account.iam("UntagInstanceProfile", InstanceProfileName="p", TagKeys=["k"])
    assert account.iam("ListInstanceProfileTags", InstanceProfileName="p")["Tags"] == []


def test_handing_a_role_to_ec2_needs_pass_role(account: Account) -> None:
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=EC2_TRUST)
    account.iam("CreateInstanceProfile", InstanceProfileName="p")
    without = account.role("without", allow("iam:AddRoleToInstanceProfile"))
    with refused("AccessDenied", f"iam:PassRole on resource: arn:aws:iam::{ACCOUNT}:role/r"):
        account.iam("AddRoleToInstanceProfile", caller=without, InstanceProfileName="p", RoleName="r")
    condition = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    caller = account.role("with", allow("iam:AddRoleToInstanceProfile"), allow("iam:PassRole", Condition=condition))
    account.iam("AddRoleToInstanceProfile", caller=caller, InstanceProfileName="p", RoleName="r")
