"""What users of boto3 do with IAM and STS: resources, waiters, paginators, and the keys of a role."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError
from serverless_cloud import Cloud

QUICK = {"Delay": 1, "MaxAttempts": 1}
S3_READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def trust(**principal: str) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(name="iam")
def iam_fixture(cloud: Cloud) -> Any:
    return cloud.resource("iam")


def test_roles_and_profiles_by_resources(iam: Any) -> None:
    role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"))
    iam.meta.client.get_waiter("role_exists").wait(RoleName="worker", WaiterConfig=QUICK)
    assert role.assume_role_policy_document["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    role.attach_policy(PolicyArn=S3_READ)
    assert [policy.policy_name for policy in role.attached_policies.all()] == ["AmazonS3ReadOnlyAccess"]
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
    role.Policy("nothing").put(PolicyDocument=json.dumps(document))
    assert role.Policy("nothing").policy_document == document
    profile = iam.create_instance_profile(InstanceProfileName="worker")
    profile.add_role(RoleName="worker")
    iam.meta.client.get_waiter("instance_profile_exists").wait(InstanceProfileName="worker", WaiterConfig=QUICK)
    assert [each.name for each in iam.InstanceProfile("worker").roles] == ["worker"]
    with pytest.raises(ClientError, match="DeleteConflict"):
        role.delete()
    profile.remove_role(RoleName="worker")
    profile.delete()
    role.Policy("nothing").delete()
    role.detach_policy(PolicyArn=S3_READ)
    role.delete()
    assert list(iam.roles.all()) == []
    with pytest.raises(WaiterError):
        iam.meta.client.get_waiter("role_exists").wait(RoleName="worker", WaiterConfig=QUICK)


def test_a_policy_and_its_versions_by_resources(iam: Any) -> None:
    def document(action: str) -> str:
        statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    policy = iam.create_policy(PolicyName="mine", PolicyDocument=document("s3:ListBucket"))
    iam.meta.client.get_waiter("policy_exists").wait(PolicyArn=policy.arn, WaiterConfig=QUICK)
    policy.create_version(PolicyDocument=document("s3:GetObject"), SetAsDefault=True)
    assert policy.default_version.document["Statement"][0]["Action"] == "s3:GetObject"
    assert [version.version_id for version in policy.versions.all()] == ["v2", "v1"]
    for version in policy.versions.all():
        if not version.is_default_version:
            version.delete()
    policy.delete()
    assert list(iam.policies.filter(Scope="Local")) == []


def test_a_user_with_a_key_and_the_keys_of_a_role(cloud: Cloud, iam: Any) -> None:
    user = iam.create_user(UserName="ann")
    iam.meta.client.get_waiter("user_exists").wait(UserName="ann", WaiterConfig=QUICK)
    pair = user.create_access_key_pair()
    iam.Group("staff").create()
    user.add_group(GroupName="staff")
    assert [group.name for group in user.groups.all()] == ["staff"]
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust(AWS=user.arn))
    role.attach_policy(PolicyArn=S3_READ)
    iam.UserPolicy("ann", "may").put(
        PolicyDocument=json.dumps({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role.arn}})
    )
    hers = boto3.Session(pair.id, pair.secret)
    with pytest.raises(ClientError, match="AccessDenied"):
        cloud.client_of(hers, "s3").list_buckets()
    answer = cloud.client_of(hers, "sts").assume_role(RoleArn=role.arn, RoleSessionName="reading")
    keys = answer["Credentials"]
    assert cloud.client("iam").get_role(RoleName="reader")["Role"]["RoleLastUsed"] == {}
    reading = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    s3 = cloud.client_of(reading, "s3")
    assert s3.list_buckets()["Buckets"] == []
    assert cloud.client("iam").get_role(RoleName="reader")["Role"]["RoleLastUsed"]["Region"] == "us-east-1"
    with pytest.raises(ClientError, match=r"AccessDenied.*assumed-role/reader/reading is not authorized"):
        s3.create_bucket(Bucket="bucket")
    arn = cloud.client_of(reading, "sts").get_caller_identity()["Arn"]
    assert arn.endswith("assumed-role/reader/reading")


def test_paginators(iam: Any) -> None:
    client = iam.meta.client
    for number in range(7):
        client.create_user(UserName=f"user-{number}", Path="/staff/")
    pages = list(client.get_paginator("list_users").paginate(PathPrefix="/staff/", PaginationConfig={"PageSize": 3}))
    assert [len(page["Users"]) for page in pages] == [3, 3, 1]
    assert [user.name for user in iam.users.filter(PathPrefix="/staff/").page_size(2)] == [
        f"user-{number}" for number in range(7)
    ]
    managed = client.get_paginator("list_policies").paginate(Scope="AWS", PaginationConfig={"PageSize": 10})
    assert S3_READ in {policy["Arn"] for page in managed for policy in page["Policies"]}
    details = client.get_paginator("get_account_authorization_details").paginate(Filter=["User"])
    assert len(details.build_full_result()["UserDetailList"]) == 7


def test_account_wide_things_through_the_wire(iam: Any) -> None:
    client = iam.meta.client
    client.create_account_alias(AccountAlias="web-shop")
    assert client.list_account_aliases()["AccountAliases"] == ["web-shop"]
    assert client.generate_credential_report()["State"] == "COMPLETE"
    report = client.get_credential_report()
    assert report["Content"].startswith(b"user,arn,") and report["ReportFormat"] == "text/csv"
    with pytest.raises(client.exceptions.NoSuchEntityException):
        client.get_account_password_policy()
    made = client.create_service_linked_role(AWSServiceName="spot.amazonaws.com")["Role"]
    with pytest.raises(client.exceptions.UnmodifiableEntityException):
        client.delete_role(RoleName=made["RoleName"])


def test_a_virtual_mfa_device_through_the_wire(cloud: Cloud, iam: Any) -> None:
    client = iam.meta.client
    made = client.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]
    seed = made["Base32StringSeed"].decode()
    assert len(seed) == 64 and seed.isalnum()
    iam.create_user(UserName="ann")
    with pytest.raises(client.exceptions.InvalidAuthenticationCodeException):
        client.enable_mfa_device(
            UserName="ann",
            SerialNumber=made["SerialNumber"],
            AuthenticationCode1="000000",
            AuthenticationCode2="000000",
        )
    with pytest.raises(ClientError, match="MultiFactorAuthentication failed"):
        cloud.client("sts").get_session_token(SerialNumber=made["SerialNumber"], TokenCode="000000")
    client.delete_virtual_mfa_device(SerialNumber=made["SerialNumber"])
