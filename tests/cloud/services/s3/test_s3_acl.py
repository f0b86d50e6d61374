"""Access control lists, as each kind of object ownership has them.

By https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html and
https://github.com/localstack/localstack/blob/main/tests/aws/services/s3/test_s3.snapshot.json (test_s3_bucket_acl,
test_s3_object_acl, their exceptions).
"""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import Account, allow, deny, policy, refused

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
SIGNED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOGS = "http://acs.amazonaws.com/groups/s3/LogDelivery"
TARGETS = [("PutBucketAcl", "GetBucketAcl", {}), ("PutObjectAcl", "GetObjectAcl", {"Key": "key"})]


@pytest.fixture(autouse=True)
def bucket_fixture(account: Account) -> None:
    """A bucket that takes ACLs, also public ones, which a new one does not."""
    account.s3("CreateBucket", Bucket="bucket", ObjectOwnership="ObjectWriter")
    account.s3("DeletePublicAccessBlock", Bucket="bucket")
    account.put("bucket", "key", b"data")


def ask(account: Account, operation: str, caller: Caller | None = None, **params: Any) -> Any:
    return account.s3(operation, caller=caller, Bucket="bucket", **params)


def own(account: Account) -> str:
    found: str = ask(account, "GetBucketAcl")["Owner"]["ID"]
    return found


def grants(account: Account, operation: str, **target: Any) -> list[tuple[str, str]]:
    mine, listed = own(account), ask(account, operation, **target)["Grants"]
    pairs = [(one["Grantee"].get("URI") or one["Grantee"]["ID"], one["Permission"]) for one in listed]
    return [("owner" if grantee == mine else grantee, permission) for grantee, permission in pairs]


def may(account: Account, caller: Caller, operation: str, **params: Any) -> bool:
    try:
        ask(account, operation, caller, **params)
    except ServiceError as error:
        assert error.code == "AccessDenied", error
        return False
    return True


@pytest.mark.parametrize(("put", "get", "target"), TARGETS)
@pytest.mark.parametrize(
    ("canned", "others"),
    [
        ("private", []),
        ("public-read", [(ALL, "READ")]),
        ("public-read-write", [(ALL, "READ"), (ALL, "WRITE")]),
        ("authenticated-read", [(SIGNED, "READ")]),
        ("bucket-owner-full-control", []),
        ("log-delivery-write", [(LOGS, "WRITE"), (LOGS, "READ_ACP")]),
    ],
)
def test_a_canned_acl(
    account: Account, put: str, get: str, target: dict[str, str], canned: str, others: list[tuple[str, str]]
) -> None:
    ask(account, put, ACL=canned, **target)
    assert grants(account, get, **target) == [("owner", "FULL_CONTROL"), *others]
    whole = ask(account, get, **target)
    ask(account, put, ACL="private", **target)
    ask(account, put, AccessControlPolicy=whole, **target)
    assert ask(account, get, **target) == whole


@pytest.mark.parametrize(("put", "get", "target"), TARGETS)
def test_grants_in_headers(account: Account, put: str, get: str, target: dict[str, str]) -> None:
    mine = own(account)
    ask(account, put, GrantRead=f'uri="{LOGS}"', **target)
    assert grants(account, get, **target) == [(LOGS, "READ")]
    ask(account, put, GrantFullControl=f"id={mine}", GrantReadACP=f'uri={ALL}, id="{mine}"', **target)
    assert grants(account, get, **target) == [("owner", "FULL_CONTROL"), (ALL, "READ_ACP"), ("owner", "READ_ACP")]


@pytest.mark.parametrize(("put", "get", "target"), TARGETS)
@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"ACL": "fake-acl"}, "InvalidArgument", ""),
        ({"GrantWrite": 'uri="http://acs.amazonaws.com/groups/s3/FakeGroup"'}, "InvalidArgument", "Invalid group uri"),
        ({"GrantWrite": 'fakekey="1234"'}, "InvalidArgument", "Argument format not recognized"),
        ({"GrantWrite": "x" * 9000}, "InvalidArgument", "Argument format not recognized"),
        ({"GrantWrite": 'id="wrong-id"'}, "InvalidArgument", "Invalid id"),
        ({"GrantWrite": "emailAddress=a@b.example"}, "UnresolvableGrantByEmailAddress", "does not match any account"),
        ({}, "MissingSecurityHeader", "missing a required header"),
        ({"ACL": "private", "GrantRead": f"uri={ALL}"}, "InvalidRequest", "both Canned ACLs and Header Grants"),
        ({"AccessControlPolicy": {}}, "MalformedACLError", "not well-formed"),
        ({"AccessControlPolicy": {"Owner": {}, "Grants": []}}, "MalformedACLError", "not well-formed"),
        ({"AccessControlPolicy": {"Owner": {"ID": "wrong"}, "Grants": []}}, "InvalidArgument", "Invalid id"),
        ({"ACL": "private", "AccessControlPolicy": {"Grants": []}}, "UnexpectedContent", "does not support content"),
    ],
)
def test_what_no_acl_is(
    account: Account, put: str, get: str, target: dict[str, str], params: dict[str, Any], code: str, words: str
) -> None:
    with refused(code, words, status=400):
        ask(account, put, **params, **target)
    assert grants(account, get, **target) == [("owner", "FULL_CONTROL")]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"ACL": "fake-acl"}, "InvalidArgument"),
        ({"GrantWrite": 'fakekey="1234"'}, "InvalidArgument"),
        ({"AccessControlPolicy": {}}, "MalformedACLError"),
        ({}, "MissingSecurityHeader"),
        ({"ACL": "private", "GrantRead": f"uri={ALL}"}, "InvalidRequest"),
        ({"ACL": "private"}, "AccessControlListNotSupported"),
        ({"ACL": "aws-exec-read"}, "AccessControlListNotSupported"),
    ],
)
def test_what_no_acl_is_where_there_are_none(account: Account, params: dict[str, Any], code: str) -> None:
    """Recorded on AWS: `test_s3_bucket_acl_exceptions`, of a bucket as a new one is, in LocalStack's
    test_s3.snapshot.json."""
    ask(
        account, "PutBucketOwnershipControls", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    for put, target in (("PutBucketAcl", {}), ("PutObjectAcl", {"Key": "key"})):
        with refused(code, status=400):
            ask(account, put, **params, **target)


def test_a_delete_marker_takes_no_acl(account: Account) -> None:
    """Recorded on AWS: `test_put_object_acl_on_delete_marker` in LocalStack's test_s3.snapshot.json."""
    ask(account, "PutBucketVersioning", VersioningConfiguration={"Status": "Enabled"})
    marker = ask(account, "DeleteObject", Key="key")["VersionId"]
    with refused("MethodNotAllowed", status=405):
        ask(account, "PutObjectAcl", Key="key", ACL="public-read")
    with refused("MethodNotAllowed", status=405):
        ask(account, "PutObjectAcl", Key="key", VersionId=marker, ACL="public-read")
    with refused("NoSuchKey", status=404):
        ask(account, "GetObjectAcl", Key="key")
    with refused("NoSuchKey", status=404):
        ask(account, "PutObjectAcl", Key="missing", ACL="public-read")


@pytest.mark.parametrize(
    "grant",
    [
        {"Permission": "READ"},
        {"Grantee": {"Type": "Group", "URI": ALL}, "Permission": "EVERYTHING"},
        {"Grantee": {"Type": "CanonicalUser", "URI": ALL}, "Permission": "READ"},
        {"Grantee": {"Type": "Nobody"}, "Permission": "READ"},
    ],
)
def test_a_grant_that_is_none(account: Account, grant: dict[str, Any]) -> None:
    document = {"Owner": {"ID": own(account)}, "Grants": [grant]}
    with refused("MalformedACLError", status=400):
        ask(account, "PutBucketAcl", AccessControlPolicy=document)


def test_one_acl_is_refused_by_name(account: Account) -> None:
    """It names an account of AWS's own."""
    with refused("NotImplemented", "x-amz-acl", "aws-exec-read", status=501):
        ask(account, "PutBucketAcl", ACL="aws-exec-read")


def test_everybody_reads_a_public_object_and_lists_a_public_bucket(account: Account) -> None:
    nobody, stranger = account.anonymous, account.user("stranger")
    assert not any(may(account, one, "GetObject", Key="key") for one in (nobody, stranger))
    ask(account, "PutObjectAcl", Key="key", ACL="public-read")
    assert all(may(account, one, "GetObject", Key="key") for one in (nobody, stranger))
    assert not any(may(account, one, "ListObjectsV2") for one in (nobody, stranger))
    ask(account, "PutBucketAcl", ACL="public-read")
    assert all(may(account, one, "ListObjectsV2") for one in (nobody, stranger))
    assert not may(account, nobody, "GetBucketAcl")
    ask(account, "PutObjectAcl", Key="key", ACL="authenticated-read")
    assert [may(account, one, "GetObject", Key="key") for one in (nobody, stranger)] == [False, True]
    account.put("bucket", "key", b"new")
    assert not may(account, stranger, "GetObject", Key="key"), "an object that is written anew has an ACL of its own"


def test_everybody_writes_to_a_bucket_that_says_so(account: Account) -> None:
    nobody = account.anonymous
    ask(account, "PutBucketAcl", GrantWrite=f"uri={ALL}")
    account.put("bucket", "other", b"theirs", caller=nobody)
    assert not may(account, nobody, "GetObject", Key="other")
    assert not may(account, nobody, "DeleteObject", Key="other")


def test_a_deny_of_a_policy_comes_before_an_acl(account: Account) -> None:
    ask(account, "PutObjectAcl", Key="key", ACL="public-read")
    statement = deny("s3:GetObject", "arn:aws:s3:::bucket/*", Principal="*")
    ask(account, "PutBucketPolicy", Policy=policy(statement))
    assert not may(account, account.anonymous, "GetObject", Key="key")


def test_objects_are_made_with_an_acl(account: Account) -> None:
    account.put("bucket", "put", b"", ACL="public-read")
    ask(account, "CopyObject", Key="copy", CopySource="bucket/put", GrantRead=f"uri={LOGS}")
    upload = ask(account, "CreateMultipartUpload", Key="parts", ACL="authenticated-read")["UploadId"]
    part = ask(account, "UploadPart", Key="parts", UploadId=upload, PartNumber=1, Body=account.spool(b"x"))
    parts = [{"ETag": part["ETag"], "PartNumber": 1}]
    ask(account, "CompleteMultipartUpload", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    ask(account, "CopyObject", Key="plain", CopySource="bucket/put")
    found = {key: grants(account, "GetObjectAcl", Key=key) for key in ("put", "copy", "parts", "plain")}
    assert found == {
        "put": [("owner", "FULL_CONTROL"), (ALL, "READ")],
        "copy": [(LOGS, "READ")],
        "parts": [("owner", "FULL_CONTROL"), (SIGNED, "READ")],
        "plain": [("owner", "FULL_CONTROL")],
    }


def test_a_bucket_that_blocks_public_acls(account: Account) -> None:
    ask(account, "PutPublicAccessBlock", PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    for operation, target in (("PutBucketAcl", {}), ("PutObjectAcl", {"Key": "key"})):
        with refused("AccessDenied", "BlockPublicAcls", status=403):
            ask(account, operation, ACL="public-read", **target)
        ask(account, operation, ACL="log-delivery-write", **target)
    with refused("AccessDenied", "BlockPublicAcls", status=403):
        account.put("bucket", "other", b"", ACL="authenticated-read")


def test_a_bucket_that_ignores_public_acls(account: Account) -> None:
    ask(account, "PutObjectAcl", Key="key", ACL="public-read")
    ask(account, "PutPublicAccessBlock", PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert not may(account, account.anonymous, "GetObject", Key="key")
    assert grants(account, "GetObjectAcl", Key="key") == [("owner", "FULL_CONTROL"), (ALL, "READ")]


def test_a_bucket_without_acls(account: Account) -> None:
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    ask(account, "PutBucketAcl", ACL="public-read")
    with refused("InvalidBucketAclWithObjectOwnership", status=400):
        ask(account, "PutBucketOwnershipControls", OwnershipControls=rules)
    ask(account, "PutBucketAcl", ACL="private")
    ask(account, "PutObjectAcl", Key="key", ACL="public-read")
    ask(account, "PutBucketOwnershipControls", OwnershipControls=rules)
    assert not may(account, account.anonymous, "GetObject", Key="key"), "what an object had before counts no more"
    for get, target in (("GetObjectAcl", {"Key": "key"}), ("GetBucketAcl", {})):
        assert grants(account, get, **target) == [("owner", "FULL_CONTROL")]
    for params in ({"ACL": "private"}, {"GrantRead": f"uri={ALL}"}):
        with refused("AccessControlListNotSupported", status=400):
            account.put("bucket", "other", b"", **params)
        with refused("AccessControlListNotSupported", status=400):
            ask(account, "PutBucketAcl", **params)
    account.put("bucket", "other", b"", ACL="bucket-owner-full-control")


def test_a_new_bucket_has_no_public_acl(account: Account) -> None:
    def make(**params: str) -> None:
        account.s3("CreateBucket", Bucket="another", **params)

    with refused("InvalidBucketAclWithObjectOwnership", status=400):
        make(GrantRead=f"uri={LOGS}")
    with refused("InvalidBucketAclWithBlockPublicAccessError", status=400):
        make(ACL="public-read", ObjectOwnership="ObjectWriter")
    make(ACL="log-delivery-write", ObjectOwnership="ObjectWriter")
    assert [one["Permission"] for one in account.s3("GetBucketAcl", Bucket="another")["Grants"]] == [
        "FULL_CONTROL",
        "WRITE",
        "READ_ACP",
    ]


def test_grants_take_the_permission_to_put_acls_and_are_keys_of_conditions(account: Account) -> None:
    writer = account.role("writer", allow("s3:PutObject"))
    with refused("AccessDenied", "s3:PutObjectAcl"):
        account.put("bucket", "other", b"", GrantRead=f"uri={LOGS}", caller=writer)
    only = {"StringEquals": {"s3:x-amz-grant-read": f"uri={LOGS}"}}
    careful = account.role("careful", allow("s3:PutObject"), allow("s3:PutObjectAcl", Condition=only))
    account.put("bucket", "other", b"", GrantRead=f"uri={LOGS}", caller=careful)
    with refused("AccessDenied", "s3:PutObjectAcl"):
        account.put("bucket", "other", b"", GrantRead=f"uri={ALL}", caller=careful)
