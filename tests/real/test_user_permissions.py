"""An IAM user with few permissions, through boto3 against a running cloud: what it may, what it may not."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real

USER = "minimal"
GROUP = "of-minimal-users"
BUCKET = "of-a-test-of-users"
OBJECTS = f"arn:aws:s3:::{BUCKET}"


def document(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: object, resource: object = "*", **more: object) -> dict[str, object]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


@contextmanager
def denied(code: str, *words: str) -> Iterator[None]:
    with pytest.raises(ClientError) as raised:
        yield
    error = raised.value.response["Error"]
    assert error["Code"] == code, error
    assert all(word in error["Message"] for word in words), error["Message"]


@pytest.fixture(scope="module")
def iam(own_cloud: RealCloud) -> Any:
    return own_cloud.client("iam")


@pytest.fixture(scope="module")
def key(own_cloud: RealCloud, iam: Any) -> Iterator[tuple[str, str]]:
    """A user's key: its own prefix of a bucket by the user's policy, small servers by the group's."""
    s3 = own_cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for name in (f"home/{USER}/word", "home/other/word", "public/word"):
        s3.put_object(Bucket=BUCKET, Key=name, Body=name.encode())
    iam.create_user(UserName=USER, Tags=[{"Key": "team", "Value": "red"}])
    listing = allow("s3:ListBucket", OBJECTS, Condition={"StringLike": {"s3:prefix": "home/${aws:username}/*"}})
    own = allow("s3:GetObject", f"{OBJECTS}/home/${{aws:username}}/*")
    iam.put_user_policy(UserName=USER, PolicyName="home", PolicyDocument=document(own, listing))
    iam.create_group(GroupName=GROUP)
    small = {"StringEquals": {"ec2:InstanceType": "t3.micro"}}
    iam.put_group_policy(
        GroupName=GROUP,
        PolicyName="small",
        PolicyDocument=document(
            allow("ec2:Describe*"),
            allow("ec2:RunInstances", "arn:aws:ec2:*:*:instance/*", Condition=small),
            {"Effect": "Allow", "Action": "ec2:RunInstances", "NotResource": "arn:aws:ec2:*:*:instance/*"},
        ),
    )
    iam.add_user_to_group(GroupName=GROUP, UserName=USER)
    made = iam.create_access_key(UserName=USER)["AccessKey"]
    yield made["AccessKeyId"], made["SecretAccessKey"]
    for one in iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=USER, AccessKeyId=one["AccessKeyId"])
    iam.remove_user_from_group(GroupName=GROUP, UserName=USER)
    iam.delete_group_policy(GroupName=GROUP, PolicyName="small")
    iam.delete_group(GroupName=GROUP)
    iam.delete_user_policy(UserName=USER, PolicyName="home")
    iam.delete_user(UserName=USER)
    s3.delete_bucket_policy(Bucket=BUCKET)
    for found in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=found["Key"])
    s3.delete_bucket(Bucket=BUCKET)


def test_a_user_reads_its_own_prefix_and_no_other(own_cloud: RealCloud, key: tuple[str, str]) -> None:
    s3 = own_cloud.client("s3", key)
    who = own_cloud.client("sts", key).get_caller_identity()
    assert who["Arn"] == f"arn:aws:iam::{own_cloud.endpoint.account}:user/{USER}"
    assert s3.get_object(Bucket=BUCKET, Key=f"home/{USER}/word")["Body"].read() == f"home/{USER}/word".encode()
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix=f"home/{USER}/")["KeyCount"] == 1
    with denied("AccessDenied", who["Arn"], "s3:GetObject", f"{OBJECTS}/home/other/word"):
        s3.get_object(Bucket=BUCKET, Key="home/other/word")
    with denied("AccessDenied", "s3:ListBucket"):
        s3.list_objects_v2(Bucket=BUCKET, Prefix="home/")
    with denied("AccessDenied", "s3:PutObject"):
        s3.put_object(Bucket=BUCKET, Key=f"home/{USER}/more", Body=b"")
    with denied("AccessDenied", "iam:ListUsers"):
        own_cloud.client("iam", key).list_users()


def test_the_group_lets_it_run_small_servers_only(own_cloud: RealCloud, key: tuple[str, str]) -> None:
    ec2 = own_cloud.client("ec2", key)
    assert ec2.describe_instances()["Reservations"] is not None
    wanted = {"ImageId": own_cloud.image, "MinCount": 1, "MaxCount": 1, "DryRun": True}
    with denied("DryRunOperation"):
        ec2.run_instances(InstanceType="t3.micro", **wanted)
    with denied("UnauthorizedOperation", "ec2:RunInstances", ":instance/*"):
        ec2.run_instances(InstanceType="t3.large", **wanted)
    with denied("UnauthorizedOperation", "ec2:CreateVpc"):
        ec2.create_vpc(CidrBlock="10.9.0.0/16")


def test_root_asks_who_it_is_and_what_there_is(own_cloud: RealCloud, iam: Any, key: tuple[str, str]) -> None:
    root = iam.get_user()["User"]
    assert root["Arn"] == f"arn:aws:iam::{own_cloud.endpoint.account}:root" and "UserName" not in root
    assert iam.get_account_summary()["SummaryMap"]["Users"] == 1
    pages = iam.get_paginator("get_account_authorization_details").paginate(Filter=["User", "Group"])
    found = pages.build_full_result()
    assert [user["GroupList"] for user in found["UserDetailList"]] == [[GROUP]]
    asked = iam.simulate_principal_policy(
        PolicySourceArn=found["UserDetailList"][0]["Arn"],
        ActionNames=["s3:GetObject"],
        ResourceArns=[f"{OBJECTS}/home/{USER}/word", f"{OBJECTS}/home/other/word"],
    )
    decisions = [result["EvalDecision"] for result in asked["EvaluationResults"]]
    assert decisions == ["allowed", "implicitDeny"]


def test_the_use_of_its_key_is_known(own_cloud: RealCloud, iam: Any, key: tuple[str, str]) -> None:
    own_cloud.client("sts", key).get_caller_identity()
    used = iam.get_access_key_last_used(AccessKeyId=key[0])
    assert used["UserName"] == USER
    assert used["AccessKeyLastUsed"]["ServiceName"] in ("s3", "ec2", "sts", "iam")


def test_temporary_credentials_of_a_user(own_cloud: RealCloud, key: tuple[str, str]) -> None:
    made = own_cloud.client("sts", key).get_session_token(DurationSeconds=900)["Credentials"]
    endpoint = own_cloud.endpoint

    session = boto3.Session(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"], endpoint.region)
    s3 = session.client("s3", endpoint_url=endpoint.url)
    assert s3.get_object(Bucket=BUCKET, Key=f"home/{USER}/word")["Body"].read()
    with denied("AccessDenied", "s3:PutObject"):
        s3.put_object(Bucket=BUCKET, Key="x", Body=b"")
    with denied("InvalidClientTokenId"):
        session.client("iam", endpoint_url=endpoint.url).get_user()


def test_a_bucket_policy_opens_a_prefix_to_anybody(own_cloud: RealCloud, key: tuple[str, str]) -> None:
    root = own_cloud.client("s3")

    def fetch(name: str) -> bytes | int:
        """With no signature at all."""
        try:
            with urllib.request.urlopen(f"{own_cloud.endpoint.url}/{BUCKET}/{name}") as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            return error.code

    assert fetch("public/word") == 403
    root.delete_public_access_block(Bucket=BUCKET)
    opened = document({**allow("s3:GetObject", f"{OBJECTS}/public/*"), "Principal": "*"})
    root.put_bucket_policy(Bucket=BUCKET, Policy=opened)
    assert root.get_bucket_policy(Bucket=BUCKET)["Policy"] == opened
    assert root.get_bucket_policy_status(Bucket=BUCKET)["PolicyStatus"]["IsPublic"] is True
    assert fetch("public/word") == b"public/word"
    assert fetch("home/other/word") == 403
    closed = document(
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{OBJECTS}/home/{USER}/*"}
    )
    root.put_bucket_policy(Bucket=BUCKET, Policy=closed)
    with denied("AccessDenied", "with an explicit deny in a resource-based policy"):
        own_cloud.client("s3", key).get_object(Bucket=BUCKET, Key=f"home/{USER}/word")
    root.delete_bucket_policy(Bucket=BUCKET)
    assert fetch("public/word") == 403
    with denied("NoSuchBucketPolicy"):
        root.get_bucket_policy(Bucket=BUCKET)


def test_users_and_their_keys_outlive_the_cloud(own_cloud: RealCloud, iam: Any, key: tuple[str, str]) -> None:
    own_cloud.kill()
    own_cloud.up()
    assert own_cloud.client("sts", key).get_caller_identity()["Arn"].endswith(f":user/{USER}")
    iam.update_access_key(UserName=USER, AccessKeyId=key[0], Status="Inactive")
    with denied("InvalidClientTokenId"):
        own_cloud.client("sts", key).get_caller_identity()
    with denied("AuthFailure"):
        own_cloud.client("ec2", key).describe_vpcs()
    iam.update_access_key(UserName=USER, AccessKeyId=key[0], Status="Active")
    assert own_cloud.client("ec2", key).describe_vpcs()["Vpcs"]
