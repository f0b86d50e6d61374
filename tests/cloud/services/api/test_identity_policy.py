"""What IAM demands of an identity policy when it is written.

By https://github.com/getmoto/moto/blob/master/tests/test_iam/test_iam_policies.py, which was compared with AWS.
"""

from __future__ import annotations

import pytest
from identity_fixtures import allow, policy, refused

from skylift.cloud.services.api.aws_policy import AWS_POLICIES
from skylift.cloud.services.api.identity_policy import checked_identity_policy, checked_managed_policy
from skylift.cloud.services.api.policy_document import parse_policy


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("arn:aws", "Resource vendor must be fully qualified and cannot contain regexes."),
        ("arn:nowhere:s3:::bucket", 'Partition "nowhere" is not valid for resource "arn:nowhere:s3:*:*:bucket".'),
        ("arn::s3:::bucket", 'Partition "" is not valid'),
        ("arn:nowhere", 'Partition "nowhere" is not valid for resource "arn:nowhere:*:*:*:*".'),
        ("arn:aws::::bucket", "The policy failed legacy parsing"),
        ("arn:aws:s3::bucket", "The policy failed legacy parsing"),
        ("arn:aws:s3:us-east-1::bucket", "Resource arn:aws:s3:us-east-1::bucket can not contain region information."),
        ("arn:aws:iam:us-east-1:123456789012:user/a", "cannot contain region information."),
        ("arn:aws:iam::123456789012:usr/a", 'IAM resource path must either be "*" or start with user/, '),
    ],
)
def test_a_resource_that_no_arn_can_be(resource: str, words: str) -> None:
    with refused("MalformedPolicyDocument", words, status=400):
        checked_identity_policy(policy(allow("s3:*", ["*", resource])))
    with refused("MalformedPolicyDocument", words, status=400):
        checked_identity_policy(policy({"Effect": "Deny", "Action": "s3:*", "NotResource": resource}))


@pytest.mark.parametrize(
    "resource",
    [
        "*",
        "arn:aws:s3:::bucket/a:b:c",
        "arn:aws:s3:us-east-1:123456789012:accesspoint/mine",
        "arn:*:ec2:*:*:instance/*",
        "arn:aws-cn:s3:::bucket",
        "arn:aws:iam::123456789012:*",
        "arn:aws:iam::*:role/aws-service-role/*",
        "arn:aws:iam::123456789012:r*",
        "arn:aws:iam::123456789012:${aws:PrincipalTag/kind}/x",
    ],
)
def test_a_resource_that_may_be(resource: str) -> None:
    checked_identity_policy(policy(allow("s3:*", resource)))


def test_awss_own_policies_pass() -> None:
    for arn, known in AWS_POLICIES.items():
        assert checked_identity_policy(known.versions[known.default_version].document), arn


def test_a_managed_policy_names_its_version() -> None:
    older = '{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}'
    for text in (older, older.replace("{", '{"Version": "2008-10-17", ', 1)):
        checked_identity_policy(text)
        with refused("MalformedPolicyDocument", "Policy document must be version 2012-10-17 or greater.", status=400):
            checked_managed_policy(text)


def test_a_buckets_policy_may_have_names_with_spaces_and_hyphens() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html"""
    statement = {**allow("s3:*", "arn:aws:s3:::b", Sid="My statement-1"), "Principal": "*"}
    assert parse_policy(policy(statement), "resource").statements[0].sid == "My statement-1"
    with refused("MalformedPolicyDocument", "Statement 1 has a Sid that is not a string"):
        parse_policy(policy({**statement, "Sid": ["x"]}), "resource")
