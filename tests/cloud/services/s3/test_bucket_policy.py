from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from identity_fixtures import ACCOUNT, Account, allow, deny, policy, refused

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.policy_document import parse_policy
from skylift.cloud.services.api.public_policy import is_public

BUCKET = "arn:aws:s3:::bucket"
OBJECTS = f"{BUCKET}/*"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


@pytest.fixture(autouse=True)
def bucket_fixture(account: Account) -> None:
    """A bucket that may be made public, which a new one may not."""
    account.s3("CreateBucket", Bucket="bucket")
    account.s3("DeletePublicAccessBlock", Bucket="bucket")
    account.put("bucket", "key", b"data")


def let(principal: Any, action: Any = "s3:GetObject", resource: Any = OBJECTS, **more: Any) -> dict[str, Any]:
    return allow(action, resource, Principal=principal, **more)


def forbid(principal: Any, action: Any = "s3:GetObject", resource: Any = OBJECTS, **more: Any) -> dict[str, Any]:
    return deny(action, resource, Principal=principal, **more)


def put(account: Account, *statements: dict[str, Any], caller: Caller | None = None) -> None:
    account.s3("PutBucketPolicy", Bucket="bucket", Policy=policy(*statements), caller=caller)


def may_read(account: Account, caller: Caller) -> bool:
    try:
        return account.get("bucket", "key", caller=caller) == b"data"
    except ServiceError as error:
        assert error.code == "AccessDenied", error
        return False


def test_a_policy_comes_back_to_the_letter(account: Account) -> None:
    with refused("NoSuchBucketPolicy", "The bucket policy does not exist", status=404):
        account.s3("GetBucketPolicy", Bucket="bucket")
    text = policy(let("*")).replace(":", " : ", 1)
    account.s3("PutBucketPolicy", Bucket="bucket", Policy=text)
    assert account.s3("GetBucketPolicy", Bucket="bucket") == {"Policy": text}
    put(account, let({"AWS": ACCOUNT}))
    assert json.loads(account.s3("GetBucketPolicy", Bucket="bucket")["Policy"])["Statement"][0]["Principal"] == {
        "AWS": ACCOUNT
    }
    account.s3("DeleteBucketPolicy", Bucket="bucket")
    account.s3("DeleteBucketPolicy", Bucket="bucket")
    with refused("NoSuchBucketPolicy"):
        account.s3("GetBucketPolicy", Bucket="bucket")
    with refused("NoSuchBucket"):
        account.s3("PutBucketPolicy", Bucket="other", Policy=text)


def test_a_policy_goes_with_its_bucket(account: Account) -> None:
    account.s3("CreateBucket", Bucket="second")
    account.s3(
        "PutBucketPolicy", Bucket="second", Policy=policy(let({"AWS": ACCOUNT}, resource="arn:aws:s3:::second/*"))
    )
    account.s3("DeleteBucket", Bucket="second")
    account.s3("CreateBucket", Bucket="second")
    with refused("NoSuchBucketPolicy"):
        account.s3("GetBucketPolicy", Bucket="second")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first byte must be '{'"),
        ("[]", "first byte must be '{'"),
        ("{", "invalid Json"),
        ("{}", "Missing required field Statement"),
        (policy(allow("s3:GetObject", OBJECTS)), "Missing required field Principal"),
        (policy(let({"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody"})), "Invalid principal in policy"),
        (policy(let({"AWS": "ann"})), "Invalid principal in policy"),
        (policy(let({"CanonicalUser": "0" * 64})), "Invalid principal in policy"),
        (policy(let("*", "ec2:RunInstances")), "Policy has invalid action: ec2:runinstances"),
        (policy(let("*", resource="arn:aws:s3:::other/*")), "Policy has invalid resource: arn:aws:s3:::other/*"),
        (policy(let("*", resource="arn:aws:s3:::buckets/*")), "Policy has invalid resource"),
        (policy(let("*", Condition={"StringIs": {"aws:username": "a"}})), "unknown condition operator"),
        (policy(let("*", resource=[f"{OBJECTS}{number:05d}" for number in range(1000)])), "maximum size of 20480"),
    ],
)
def test_what_is_no_bucket_policy(account: Account, text: str, words: str) -> None:
    with refused("MalformedPolicy", words, status=400):
        account.s3("PutBucketPolicy", Bucket="bucket", Policy=text)
    with refused("NoSuchBucketPolicy"):
        account.s3("GetBucketPolicy", Bucket="bucket")


def test_anybody_may_read_what_the_policy_opens(account: Account) -> None:
    anonymous = account.anonymous
    assert not may_read(account, anonymous)
    put(account, let("*"))
    assert may_read(account, anonymous)
    with refused("InvalidRequest", "anonymous"):
        account.s3("GetObject", Bucket="bucket", Key="key", ResponseContentType="text/html", caller=anonymous)
    assert may_read(account, account.user("ann"))
    with refused("AccessDenied", "Access Denied"):
        account.put("bucket", "other", caller=anonymous)
    with refused("AccessDenied"):
        account.s3("ListObjectsV2", Bucket="bucket", caller=anonymous)
    account.s3("DeleteBucketPolicy", Bucket="bucket")
    assert not may_read(account, anonymous)


def test_an_anonymous_writer(account: Account) -> None:
    put(account, let("*", ["s3:PutObject", "s3:DeleteObject"]))
    anonymous = account.anonymous
    account.put("bucket", "drop", b"box", caller=anonymous)
    assert account.get("bucket", "drop") == b"box"
    answer = account.s3("DeleteObjects", Bucket="bucket", Delete={"Objects": [{"Key": "drop"}]}, caller=anonymous)
    assert [item["Key"] for item in answer["Deleted"]] == ["drop"]


def test_conditions_see_the_request(account: Account) -> None:
    put(account, let("*", Condition={"StringLike": {"aws:Referer": "https://example.com/*"}}))
    anonymous = account.anonymous
    assert not may_read(account, anonymous)
    assert may_read(account, replace(anonymous, referer="https://example.com/page"))
    put(account, let("*", Condition={"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}))
    assert not may_read(account, anonymous)
    assert may_read(account, account.user("ann"))
    put(account, let("*", Condition={"StringEquals": {"aws:PrincipalType": "Anonymous"}}))
    assert may_read(account, anonymous)
    assert not may_read(account, account.user("bob"))


def test_who_is_named(account: Account) -> None:
    ann, bob = account.user("ann"), account.user("bob")
    role = account.role("worker")
    role_arn = f"arn:aws:iam::{ACCOUNT}:role/worker"
    for principal, allowed in (
        ({"AWS": ann.arn}, [ann]),
        ({"AWS": [ann.arn, bob.arn]}, [ann, bob]),
        ({"AWS": role_arn}, [role]),
        ({"AWS": role.arn}, [role]),
        # The account as a whole leaves it to each one's own policies.
        ({"AWS": ACCOUNT}, []),
        ({"AWS": ROOT}, []),
        ({"Service": "logging.s3.amazonaws.com"}, []),
        ({"AWS": "*"}, [ann, bob, role]),
    ):
        put(account, let(principal))
        assert [caller for caller in (ann, bob, role) if may_read(account, caller)] == allowed, principal


def test_an_explicit_deny_wins_over_everything(account: Account) -> None:
    ann, bob = account.user("ann", allow("s3:*")), account.user("bob", allow("s3:*"))
    put(account, forbid({"AWS": ann.arn}), let("*"))
    assert not may_read(account, ann)
    with refused("AccessDenied", "with an explicit deny in a resource-based policy"):
        account.get("bucket", "key", caller=ann)
    assert may_read(account, bob)
    put(account, forbid({"AWS": ACCOUNT}))
    assert not may_read(account, ann) and not may_read(account, bob) and not may_read(account, account.root)
    account.iam("PutUserPolicy", UserName="bob", PolicyName="never", PolicyDocument=policy(deny("s3:GetObject")))
    put(account, let("*"))
    assert not may_read(account, bob)


def test_not_principal_excepts_by_name(account: Account) -> None:
    ann, bob = account.user("ann", allow("s3:*")), account.user("bob", allow("s3:*"))
    put(account, deny("s3:GetObject", OBJECTS, NotPrincipal={"AWS": [ann.arn, ROOT]}))
    assert may_read(account, ann)
    assert not may_read(account, bob)
    assert may_read(account, account.root)


def test_not_principal_spares_nobody_who_has_a_permissions_boundary(account: Account) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html ("Key points")"""
    ann = account.user("ann", allow("s3:*"))
    put(account, deny("s3:GetObject", OBJECTS, NotPrincipal={"AWS": [ann.arn, ROOT]}))
    assert may_read(account, ann)
    boundary = "arn:aws:iam::aws:policy/AdministratorAccess"
    account.iam("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=boundary)
    assert not may_read(account, ann)


def test_not_principal_that_names_only_the_role_denies_its_sessions(account: Account) -> None:
    """As on AWS: whom a Deny spares has to be named as session and as role."""
    worker = account.role("worker", allow("s3:*"))
    role = f"arn:aws:iam::{ACCOUNT}:role/worker"
    put(account, deny("s3:GetObject", OBJECTS, NotPrincipal={"AWS": [role, ROOT]}))
    assert not may_read(account, worker)
    put(account, deny("s3:GetObject", OBJECTS, NotPrincipal={"AWS": [worker.arn, ROOT]}))
    assert not may_read(account, worker)
    put(account, deny("s3:GetObject", OBJECTS, NotPrincipal={"AWS": [worker.arn, role, ROOT]}))
    assert may_read(account, worker)
    assert not may_read(account, account.assume("worker", session="other"))
    assert not may_read(account, account.anonymous)


def test_root_can_always_take_the_policy_away(account: Account) -> None:
    put(account, forbid("*", "s3:*", [BUCKET, OBJECTS]))
    with refused("AccessDenied", "explicit deny"):
        account.put("bucket", "other")
    account.s3("GetBucketPolicy", Bucket="bucket")
    account.s3("DeleteBucketPolicy", Bucket="bucket")
    account.put("bucket", "other")


def test_boundaries_and_sessions_limit_what_is_granted_to_a_role(account: Account) -> None:
    account.role("worker")
    narrowed = account.assume("worker", Policy=policy(allow("s3:ListBucket", BUCKET)))
    put(account, let({"AWS": f"arn:aws:iam::{ACCOUNT}:role/worker"}))
    assert may_read(account, account.assume("worker"))
    assert not may_read(account, narrowed)
    # Granted to the session itself, only an explicit deny takes it away.
    put(account, let({"AWS": narrowed.arn}))
    assert may_read(account, narrowed)
    put(account, let({"AWS": f"arn:aws:iam::{ACCOUNT}:role/worker"}))
    account.iam(
        "PutRolePermissionsBoundary",
        RoleName="worker",
        PermissionsBoundary="arn:aws:iam::aws:policy/AmazonEC2FullAccess",
    )
    assert not may_read(account, account.assume("worker"))


def test_a_boundary_does_not_limit_what_is_granted_to_a_user_by_name(account: Account) -> None:
    ann = account.user("ann", PermissionsBoundary="arn:aws:iam::aws:policy/AmazonEC2FullAccess")
    put(account, let({"AWS": ann.arn}))
    assert may_read(account, ann)
    put(account, let("*"))
    assert not may_read(account, ann)


def test_a_bucket_speaks_for_itself_only(account: Account) -> None:
    account.s3("CreateBucket", Bucket="bucket-2")
    account.put("bucket-2", "key", b"data")
    put(account, let("*"))
    with refused("AccessDenied"):
        account.get("bucket-2", "key", caller=account.anonymous)


def test_encryption_and_copies_can_be_asked_for(account: Account) -> None:
    unencrypted = forbid(
        "*", "s3:PutObject", Condition={"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}
    )
    put(account, unencrypted)
    with refused("AccessDenied"):
        account.put("bucket", "a")
    account.put("bucket", "a", ServerSideEncryption="AES256")
    account.s3("DeleteBucketPolicy", Bucket="bucket")
    account.put("bucket", "public/a")
    put(account, forbid("*", "s3:PutObject", Condition={"StringNotLike": {"s3:x-amz-copy-source": "bucket/public/*"}}))
    account.s3("CopyObject", Bucket="bucket", Key="b", CopySource="/bucket/public/a")
    with refused("AccessDenied"):
        account.s3("CopyObject", Bucket="bucket", Key="b", CopySource="bucket/key")


def test_changing_the_policy_is_a_permission(account: Account) -> None:
    ann = account.user("ann", allow("s3:GetBucketPolicy", BUCKET))
    put(account, let("*"))
    account.s3("GetBucketPolicy", Bucket="bucket", caller=ann)
    with refused("AccessDenied", "s3:PutBucketPolicy"):
        put(account, let({"AWS": ann.arn}), caller=ann)
    with refused("AccessDenied", "s3:DeleteBucketPolicy"):
        account.s3("DeleteBucketPolicy", Bucket="bucket", caller=ann)


@pytest.mark.parametrize(
    ("statement", "public"),
    [
        (let("*"), True),
        (let({"AWS": "*"}), True),
        (let({"AWS": ACCOUNT}), False),
        (forbid("*"), False),
        (allow("s3:GetObject", OBJECTS, NotPrincipal={"AWS": ACCOUNT}), True),
        (let("*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), False),
        (let("*", Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}), True),
        (let("*", Condition={"IpAddress": {"aws:SourceIp": "${aws:username, '0.0.0.0/0'}"}}), True),
        (let("*", Condition={"StringEquals": {"aws:userid": ["AIDAEXAMPLE", "anonymous"]}}), True),
        (let("*", Condition={"StringEqualsIgnoreCase": {"aws:userid": "Anonymous"}}), True),
        (let("*", Condition={"StringEquals": {"aws:userid": "AIDAEXAMPLE"}}), False),
        (let("*", Condition={"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), True),
        (let("*", Condition={"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}), False),
        (let("*", Condition={"StringLike": {"aws:PrincipalArn": "*"}}), True),
        (let("*", Condition={"StringEqualsIfExists": {"aws:PrincipalAccount": ACCOUNT}}), True),
        (let("*", Condition={"StringLike": {"aws:Referer": "https://example.com/*"}}), True),
    ],
)
def test_what_is_public(account: Account, statement: dict[str, Any], public: bool) -> None:
    assert is_public(parse_policy(policy(statement), "resource")) is public
    put(account, statement)
    status = account.s3("GetBucketPolicyStatus", Bucket="bucket")["PolicyStatus"]
    assert status == {"IsPublic": public}


def block(account: Account, **settings: bool) -> None:
    account.s3("PutPublicAccessBlock", Bucket="bucket", PublicAccessBlockConfiguration=settings)


@pytest.mark.parametrize(
    "condition",
    [{"IpAddress": {"aws:SourceIp": "${aws:username, '0.0.0.0/0'}"}}, {"StringEquals": {"aws:userid": "anonymous"}}],
)
def test_no_condition_that_anybody_fulfils_makes_a_policy_less_public(
    account: Account, condition: dict[str, Any]
) -> None:
    put(account, let("*", Condition=condition))
    assert may_read(account, account.anonymous)
    block(account, RestrictPublicBuckets=True)
    assert not may_read(account, account.anonymous)


def test_a_new_bucket_takes_no_public_policy(account: Account) -> None:
    account.s3("CreateBucket", Bucket="fresh")
    public = policy(let("*", resource="arn:aws:s3:::fresh/*"))
    with refused("AccessDenied", "prevented by the BlockPublicPolicy setting in S3 Block Public Access", status=403):
        account.s3("PutBucketPolicy", Bucket="fresh", Policy=public)
    account.s3("PutBucketPolicy", Bucket="fresh", Policy=policy(let({"AWS": ACCOUNT}, resource="arn:aws:s3:::fresh/*")))


def test_a_restricted_public_bucket_is_the_accounts_only(account: Account) -> None:
    put(account, let("*"))
    ann = account.user("ann")
    assert may_read(account, account.anonymous)
    block(account, RestrictPublicBuckets=True)
    assert not may_read(account, account.anonymous)
    assert may_read(account, ann)
    # A policy that was there before stays when new public ones are blocked.
    block(account, BlockPublicPolicy=True)
    assert may_read(account, account.anonymous)
    with refused("AccessDenied", "BlockPublicPolicy"):
        put(account, let("*"))
