from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import Account, allow, deny, refused

from skylift.cloud.services.s3.cors import allowed


@pytest.fixture(autouse=True, name="bucket")
def bucket_fixture(account: Account) -> str:
    account.s3("CreateBucket", Bucket="bucket")
    return "bucket"


def ask(account: Account, operation: str, **params: Any) -> dict[str, Any]:
    return account.s3(operation, Bucket="bucket", **params)


def blocked(account: Account) -> dict[str, bool]:
    found: dict[str, bool] = ask(account, "GetPublicAccessBlock")["PublicAccessBlockConfiguration"]
    return found


def test_public_access_block(account: Account) -> None:
    assert blocked(account) == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    ask(account, "PutPublicAccessBlock", PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    assert [name for name, on in blocked(account).items() if on] == ["BlockPublicAcls"]
    ask(account, "DeletePublicAccessBlock")
    with refused("NoSuchPublicAccessBlockConfiguration", status=404):
        blocked(account)


def test_ownership(account: Account) -> None:
    def controls() -> Any:
        return ask(account, "GetBucketOwnershipControls")["OwnershipControls"]["Rules"]

    assert controls() == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    with refused("AccessControlListNotSupported", status=400):
        account.put("bucket", "key", b"", ACL="private")
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    ask(account, "PutBucketOwnershipControls", OwnershipControls=rules)
    assert controls() == rules["Rules"]
    account.put("bucket", "key", b"", ACL="private")
    ask(account, "DeleteBucketOwnershipControls")
    with refused("OwnershipControlsNotFoundError", status=404):
        controls()
    account.s3("CreateBucket", Bucket="other", ObjectOwnership="BucketOwnerPreferred", ACL="private")


def test_an_ownership_that_there_is_not(account: Account) -> None:
    """Recorded on AWS: `test_bucket_ownership_controls_exc` in LocalStack's test_s3_api.snapshot.json."""
    with refused("MalformedXML", status=400):
        ask(account, "PutBucketOwnershipControls", OwnershipControls={"Rules": [{"ObjectOwnership": "RandomValue"}]})
    with refused("InvalidArgument", "Invalid x-amz-object-ownership header: RandomValue", status=400):
        account.s3("CreateBucket", Bucket="other", ObjectOwnership="RandomValue")


def encryption(algorithm: str, **rule: Any) -> dict[str, Any]:
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}
    return {"ServerSideEncryptionConfiguration": {"Rules": [{**default, **rule}]}}


def test_encryption(account: Account) -> None:
    assert ask(account, "GetBucketEncryption") == encryption("AES256", BucketKeyEnabled=False)
    ask(account, "PutBucketEncryption", **encryption("AES256", BucketKeyEnabled=True))
    assert ask(account, "GetBucketEncryption") == encryption("AES256", BucketKeyEnabled=True)
    for other in ("aws:kms", "aws:kms:dsse"):
        with refused("NotImplemented", "SSEAlgorithm", other, status=501):
            ask(account, "PutBucketEncryption", **encryption(other))
    with refused("MalformedXML"):
        ask(account, "PutBucketEncryption", ServerSideEncryptionConfiguration={"Rules": []})
    ask(account, "DeleteBucketEncryption")
    assert ask(account, "GetBucketEncryption") == encryption("AES256", BucketKeyEnabled=False)


def test_access_control_lists_say_that_all_is_the_owners(account: Account) -> None:
    account.put("bucket", "key", b"")
    answer = ask(account, "GetBucketAcl")
    owner = account.s3("ListBuckets")["Owner"]
    assert answer["Owner"] == owner
    assert answer["Grants"] == [{"Grantee": {"ID": owner["ID"], "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}]
    assert ask(account, "GetObjectAcl", Key="key") == answer
    with refused("NoSuchKey", status=404):
        ask(account, "GetObjectAcl", Key="missing")


def test_a_new_bucket_has_its_acls_disabled(account: Account) -> None:
    account.put("bucket", "key", b"")
    with refused("AccessControlListNotSupported", status=400):
        ask(account, "PutBucketAcl", ACL="private")
    ask(account, "PutBucketOwnershipControls", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    ask(account, "PutBucketAcl", ACL="private")
    with refused("NoSuchKey", status=404):
        ask(account, "PutObjectAcl", Key="missing", ACL="private")


RULES = [
    {
        "ID": "first",
        "AllowedMethods": ["GET", "PUT"],
        "AllowedOrigins": ["http://*.example.com", "https://one.example"],
        "AllowedHeaders": ["x-amz-*", "Content-Type"],
        "ExposeHeaders": ["ETag", "x-amz-request-id"],
        "MaxAgeSeconds": 300,
    },
    {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]},
]


def test_cors(account: Account) -> None:
    with refused("NoSuchCORSConfiguration", status=404):
        ask(account, "GetBucketCors")
    ask(account, "PutBucketCors", CORSConfiguration={"CORSRules": RULES})
    assert ask(account, "GetBucketCors") == {"CORSRules": RULES}
    with account.database.read() as tx:
        assert allowed(tx, "bucket", "http://a.example.com", "PUT", ["X-Amz-Date", "content-type"]) == {
            "Access-Control-Allow-Origin": "http://a.example.com",
            "Access-Control-Allow-Methods": "GET, PUT",
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Headers": "x-amz-date, content-type",
            "Access-Control-Expose-Headers": "ETag, x-amz-request-id",
            "Access-Control-Max-Age": "300",
            "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        }
        anybody = allowed(tx, "bucket", "http://elsewhere", "GET", [])
        assert anybody is not None and anybody["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in anybody
        for origin, method, headers in (
            ("http://elsewhere", "PUT", []),
            ("http://example.com", "PUT", []),
            ("https://one.example", "DELETE", []),
            ("https://one.example", "PUT", ["Authorization"]),
        ):
            assert allowed(tx, "bucket", origin, method, headers) is None
        with refused("AccessForbidden", "Bucket not found", status=403):
            allowed(tx, "missing", "http://elsewhere", "GET", [])
    ask(account, "DeleteBucketCors")
    with refused("NoSuchCORSConfiguration", status=404):
        ask(account, "GetBucketCors")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([{"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]}], "Unsupported method is PATCH"),
        ([{"AllowedMethods": ["GET"], "AllowedOrigins": ["http://*.*"]}], "more than one wildcard"),
        ([{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "ExposeHeaders": ["x-*"]}], "contains wildcard"),
        ([{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}] * 101, "100 rules"),
    ],
)
def test_bad_cors_rules(account: Account, rules: list[dict[str, Any]], words: str) -> None:
    with refused("InvalidRequest", words, status=400):
        ask(account, "PutBucketCors", CORSConfiguration={"CORSRules": rules})


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("GetBucketVersioning", "GetBucketVersioning"),
        ("GetBucketOwnershipControls", "GetBucketOwnershipControls"),
        ("DeleteBucketOwnershipControls", "PutBucketOwnershipControls"),
        ("GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
        ("DeletePublicAccessBlock", "PutBucketPublicAccessBlock"),
        ("GetBucketEncryption", "GetEncryptionConfiguration"),
        ("DeleteBucketEncryption", "PutEncryptionConfiguration"),
        ("GetBucketCors", "GetBucketCORS"),
        ("DeleteBucketCors", "PutBucketCORS"),
        ("GetBucketAcl", "GetBucketAcl"),
    ],
)
def test_each_setting_needs_its_own_permission(account: Account, operation: str, action: str) -> None:
    caller = account.role("none", allow("s3:ListBucket"))
    with refused("AccessDenied", f"s3:{action} on resource: arn:aws:s3:::bucket"):
        account.s3(operation, caller=caller, Bucket="bucket")


def test_an_acl_that_comes_with_an_object_takes_a_permission_of_its_own(account: Account) -> None:
    """Whoever may not put ACLs cannot put them by way of a header of another request."""
    ask(account, "PutBucketOwnershipControls", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    account.put("bucket", "source", b"data")
    writer = account.role("writer", allow(["s3:PutObject", "s3:GetObject"]))
    for operation, more in (
        ("PutObject", {"Body": account.spool(b"data")}),
        ("CopyObject", {"CopySource": "bucket/source"}),
        ("CreateMultipartUpload", {}),
    ):
        for acl in ("private", "bucket-owner-full-control", "public-read"):
            with refused("AccessDenied", "s3:PutObjectAcl"):
                ask(account, operation, Key="key", ACL=acl, caller=writer, **more)
        ask(account, operation, Key="key", caller=writer, **more)
    careful = account.role(
        "careful", allow("s3:*"), deny("s3:PutObjectAcl", Condition={"StringLike": {"s3:x-amz-acl": "public-*"}})
    )
    account.put("bucket", "key", b"", ACL="private", caller=careful)
    with refused("AccessDenied", "explicit deny"):
        account.put("bucket", "key", b"", ACL="public-read", caller=careful)
