"""Roles of services: made for them, changed by nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import (
    ACCOUNT,
    EC2_TRUST,
    Account,
    allow,
    policy,
    refused,
    trust,
)

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
    assert account.iam("GetRole", RoleName=NAME)["Role"] == role
    (attached,) = account.iam("ListAttachedRolePolicies", RoleName=NAME)["AttachedPolicies"]
    assert attached["PolicyArn"] == SPOT_POLICY
    with refused("InvalidInput", f"Service role name {NAME} has been taken in this account"):
        make(account)


def test_every_service_has_the_policy_that_it_names(account: Account) -> None:
    for service, known in SERVICES.items():
        assert f"arn:aws:iam::aws:policy/aws-service-role/{known.policy}" in AWS_POLICIES
        make(account, service)
    with refused("InvalidInput", "rds.amazonaws.com"):
        make(account, "rds.amazonaws.com")


def test_suffixes_where_the_service_knows_them(account: Account) -> None:
    assert make(account, "autoscaling.amazonaws.com", CustomSuffix="web")["RoleName"].endswith("AutoScaling_web")
    with refused("InvalidInput", "suffix"):
        make(account, CustomSuffix="web")


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
