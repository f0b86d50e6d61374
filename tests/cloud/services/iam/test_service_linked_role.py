"""Roles of services: made for them, changed by nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import ACCOUNT, EC2_TRUST, Account, allow, policy, refused, trust

from skylift.cloud.services.api.aws_policy import AWS_POLICIES
from skylift.cloud.services.api.service_role import SERVICES

SPOT, NAME = "spot.amazonaws.com", "AWSServiceRoleForEC2Spot"
S3_READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
SPOT_POLICY = "arn:aws:iam::aws:policy/aws-service-role/AWSEC2SpotServiceRolePolicy"


def make(account: Account, service: str = SPOT, **params: Any) -> dict[str, Any]:
    made: dict[str, Any] = account.iam("CreateServiceLinkedRole", AWSServiceName=service, **params)["Role"]
    return made


def test_a_role_with_the_services_name_path_trust_and_policy(account: Account) -> None:
    role = make(account, Description="for spot")
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{SPOT}/{NAME}"
    assert "MaxSessionDuration" not in role
    found = account.iam("GetRole", RoleName=NAME)["Role"]
    assert found == {**role, "MaxSessionDuration": 3600, "RoleLastUsed": {}}
    (attached,) = account.iam("ListAttachedRolePolicies", RoleName=NAME)["AttachedPolicies"]
    assert attached["PolicyArn"] == SPOT_POLICY
    with refused("InvalidInput", f"Service role name {NAME} has been taken in this account"):
        make(account)


def test_services_that_this_cloud_has_not_have_their_roles_and_policies_too(account: Account) -> None:
    """By https://github.com/localstack/localstack/blob/main/tests/aws/services/iam/test_iam.snapshot.json
    (TestIAMServiceRoles): names, policies, and the three services that allow suffixes. More are named in AWS's managed
    policies: https://github.com/iann0036/iam-dataset/tree/main/aws/managedpolicies"""
    assert len(SERVICES) == len({known.name for known in SERVICES.values()}) > 130
    for service, known in SERVICES.items():
        assert make(account, service)["RoleName"] == known.name
        (attached,) = account.iam("ListAttachedRolePolicies", RoleName=known.name)["AttachedPolicies"]
        assert attached["PolicyName"] == known.policy
        assert attached["PolicyArn"] == f"arn:aws:iam::aws:policy/aws-service-role/{known.policy}"
    assert {service for service, known in SERVICES.items() if known.suffixes} == {
        "autoscaling.amazonaws.com",
        "connect.amazonaws.com",
        "lexv2.amazonaws.com",
    }
    with refused("InvalidInput", "knows no service-linked role of nothing.amazonaws.com"):
        make(account, "nothing.amazonaws.com")


def test_the_policies_of_services_around_ec2_can_be_read(account: Account) -> None:
    for service in ("autoscaling", "ec2fleet", "elasticloadbalancing", "imagebuilder", "spot", "spotfleet", "ssm"):
        name = SERVICES[f"{service}.amazonaws.com"].policy
        assert f"arn:aws:iam::aws:policy/aws-service-role/{name}" in AWS_POLICIES


def test_its_policies_are_listed_by_their_path(account: Account) -> None:
    make(account, "batch.amazonaws.com")
    asked = {"RoleName": "AWSServiceRoleForBatch"}
    assert account.iam("ListAttachedRolePolicies", PathPrefix="/aws-service-role/", **asked)["AttachedPolicies"]
    assert account.iam("ListAttachedRolePolicies", PathPrefix="/other/", **asked)["AttachedPolicies"] == []


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("DeleteRole", {}),
        ("UpdateAssumeRolePolicy", {"PolicyDocument": EC2_TRUST}),
        ("AttachRolePolicy", {"PolicyArn": S3_READ}),
        ("DetachRolePolicy", {"PolicyArn": SPOT_POLICY}),
        ("PutRolePolicy", {"PolicyName": "p", "PolicyDocument": policy(allow("s3:*"))}),
        ("DeleteRolePolicy", {"PolicyName": "p"}),
        ("PutRolePermissionsBoundary", {"PermissionsBoundary": S3_READ}),
        ("UpdateRole", {"MaxSessionDuration": 7200}),
        ("AddRoleToInstanceProfile", {"InstanceProfileName": "profile"}),
    ],
)
def test_nobody_else_changes_it(account: Account, operation: str, params: dict[str, Any]) -> None:
    make(account)
    account.iam("CreateInstanceProfile", InstanceProfileName="profile")
    with refused("UnmodifiableEntity", f"protected role '{NAME}'", status=400):
        account.iam(operation, RoleName=NAME, **params)


def test_its_description_is_the_accounts(account: Account) -> None:
    make(account)
    account.iam("UpdateRole", RoleName=NAME, Description="ours")
    assert account.iam("GetRole", RoleName=NAME)["Role"]["Description"] == "ours"


def test_its_path_and_its_policies_are_for_services_only(account: Account) -> None:
    with refused("InvalidInput", "CreateServiceLinkedRole"):
        account.iam("CreateRole", RoleName="r", Path=f"/aws-service-role/{SPOT}/", AssumeRolePolicyDocument=EC2_TRUST)
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}))
    with refused("PolicyNotAttachable"):
        account.iam("AttachRolePolicy", RoleName="r", PolicyArn=SPOT_POLICY)


def test_deleting_it_is_a_task_to_ask_about(account: Account) -> None:
    make(account)
    task = account.iam("DeleteServiceLinkedRole", RoleName=NAME)["DeletionTaskId"]
    assert task.startswith(f"task/aws-service-role/{SPOT}/{NAME}/")
    assert account.iam("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task) == {"Status": "SUCCEEDED"}
    with refused("NoSuchEntity"):
        account.iam("GetRole", RoleName=NAME)
    with refused("NoSuchEntity"):
        account.iam("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task[:-1] + ("0" if task[-1] != "0" else "1"))
    with refused("InvalidInput"):
        account.iam("GetServiceLinkedRoleDeletionStatus", DeletionTaskId="task/1")
    account.role("own")
    with refused("NoSuchEntity", "service-linked role"):
        account.iam("DeleteServiceLinkedRole", RoleName="own")


def test_permission_is_by_service(account: Account) -> None:
    of_spot = allow("iam:CreateServiceLinkedRole", Condition={"StringEquals": {"iam:AWSServiceName": SPOT}})
    ann = account.user("ann", of_spot)
    account.iam("CreateServiceLinkedRole", caller=ann, AWSServiceName=SPOT)
    with refused("AccessDenied", "iam:CreateServiceLinkedRole"):
        account.iam("CreateServiceLinkedRole", caller=ann, AWSServiceName="autoscaling.amazonaws.com")
