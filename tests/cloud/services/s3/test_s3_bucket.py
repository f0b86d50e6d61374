from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from identity_fixtures import ACCOUNT, START, Account, allow, deny, refused


@pytest.fixture(name="elsewhere")
def elsewhere_fixture(tmp_path: Path) -> Iterator[Account]:
    account = Account(tmp_path, region="eu-west-1")
    yield account
    account.database.close()


def make(account: Account, name: str = "bucket", **params: Any) -> dict[str, Any]:
    return account.s3("CreateBucket", Bucket=name, **params)


def names(answer: dict[str, Any]) -> list[str]:
    return [bucket["Name"] for bucket in answer["Buckets"]]


def test_a_bucket(account: Account) -> None:
    assert make(account) == {"Location": "/bucket", "BucketArn": "arn:aws:s3:::bucket"}
    assert account.s3("HeadBucket", Bucket="bucket")["BucketRegion"] == "us-east-1"
    assert account.s3("GetBucketLocation", Bucket="bucket") == {}
    answer = account.s3("ListBuckets")
    assert answer["Buckets"] == [
        {"Name": "bucket", "CreationDate": START, "BucketRegion": "us-east-1", "BucketArn": "arn:aws:s3:::bucket"}
    ]
    assert len(answer["Owner"]["ID"]) == 64
    account.s3("DeleteBucket", Bucket="bucket")
    with refused("NoSuchBucket", status=404):
        account.s3("HeadBucket", Bucket="bucket")


def test_a_bucket_without_object_lock_may_say_so(account: Account) -> None:
    """rclone and Terraform's provider send `false` with every bucket."""
    make(account, "without", ObjectLockEnabledForBucket=False)
    with refused("NotImplemented", "ObjectLockEnabledForBucket=true", status=501):
        make(account, "locked", ObjectLockEnabledForBucket=True)
    assert names(account.s3("ListBuckets")) == ["without"]


@pytest.mark.parametrize("name", ["abc", "a" * 63, "a.b-c.9", "0-1"])
def test_good_names(account: Account, name: str) -> None:
    make(account, name)


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "Abc",
        "a_b",
        "-abc",
        "abc-",
        ".abc",
        "abc.",
        "a..b",
        "192.168.5.4",
        "xn--abc",
        "sthree-abc",
        "amzn-s3-demo-abc",
        "abc-s3alias",
        "abc--ol-s3",
        "abc.mrap",
        "abc--x-s3",
        "abc--table-s3",
        "äbc",
    ],
)
def test_bad_names(account: Account, name: str) -> None:
    with refused("InvalidBucketName", status=400):
        make(account, name)


def test_the_first_region_takes_no_constraint(account: Account) -> None:
    for constraint in ("us-east-1", "eu-west-1"):
        with refused("InvalidLocationConstraint", status=400):
            make(account, CreateBucketConfiguration={"LocationConstraint": constraint})
    make(account)
    make(account)


def test_a_repeated_request_must_not_have_tags(account: Account) -> None:
    """Recorded on AWS: `test_create_bucket_with_tags_us_east_1_idempotency` in LocalStack's
    test_s3_api.snapshot.json."""
    tags = {"Tags": [{"Key": "job", "Value": "1"}]}
    make(account, CreateBucketConfiguration=tags)
    make(account)
    for listed in (tags, {"Tags": [{"Key": "job", "Value": "2"}]}):
        with refused("BucketAlreadyOwnedByYou", status=409):
            make(account, CreateBucketConfiguration=listed)
    assert account.s3("GetBucketTagging", Bucket="bucket")["TagSet"] == tags["Tags"]


def test_other_regions_want_theirs(elsewhere: Account) -> None:
    with refused("IllegalLocationConstraintException", "The unspecified location constraint", status=400):
        make(elsewhere)
    with refused("IllegalLocationConstraintException", "The eu-central-1 location constraint"):
        make(elsewhere, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    make(elsewhere, CreateBucketConfiguration={"LocationConstraint": "EU"})
    assert elsewhere.s3("GetBucketLocation", Bucket="bucket") == {"LocationConstraint": "eu-west-1"}
    with refused("BucketAlreadyOwnedByYou", status=409):
        make(elsewhere, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def test_what_is_not_carried_out_is_refused(account: Account) -> None:
    make(account, "plain", ACL="private", ObjectOwnership="BucketOwnerEnforced")
    with refused("InvalidBucketAclWithObjectOwnership", status=400):
        make(account, "public", ACL="public-read")
    with refused("InvalidBucketAclWithBlockPublicAccessError", status=400):
        make(account, "public", ObjectOwnership="ObjectWriter", ACL="public-read")
    assert names(account.s3("ListBuckets")) == ["plain"]


@pytest.mark.parametrize(
    ("params", "permission"),
    [
        ({"ACL": "public-read", "ObjectOwnership": "ObjectWriter"}, "s3:PutBucketAcl"),
        ({"ACL": "private", "ObjectOwnership": "ObjectWriter"}, "s3:PutBucketOwnershipControls"),
        ({"ObjectOwnership": "BucketOwnerEnforced"}, "s3:PutBucketOwnershipControls"),
    ],
)
def test_what_a_bucket_is_made_with_takes_its_own_permission(
    account: Account, params: dict[str, str], permission: str
) -> None:
    others = {"s3:PutBucketAcl", "s3:PutBucketOwnershipControls"} - {permission}
    maker = account.role("maker", allow(["s3:CreateBucket", *others]))
    with refused("AccessDenied", permission):
        make(account, caller=maker, **params)
    make(account, ACL="private", caller=maker)
    guarded = account.role(
        "guarded", allow("s3:*"), deny("s3:PutBucketAcl", Condition={"StringEquals": {"s3:x-amz-acl": "public-read"}})
    )
    if permission == "s3:PutBucketAcl":
        with refused("AccessDenied", "explicit deny"):
            make(account, "second", caller=guarded, **params)


def test_lists_in_pages(account: Account) -> None:
    for name in ("b-2", "a-1", "b-1", "b-3", "c-1"):
        make(account, name)
    first = account.s3("ListBuckets", MaxBuckets=2, Prefix="b-")
    assert names(first) == ["b-1", "b-2"] and first["Prefix"] == "b-"
    second = account.s3("ListBuckets", MaxBuckets=2, Prefix="b-", ContinuationToken=first["ContinuationToken"])
    assert names(second) == ["b-3"] and "ContinuationToken" not in second
    assert names(account.s3("ListBuckets")) == ["a-1", "b-1", "b-2", "b-3", "c-1"]
    assert names(account.s3("ListBuckets", BucketRegion="eu-west-1")) == []
    # `test_list_buckets_region_validation`, recorded on AWS in LocalStack's test_s3_list_operations.snapshot.json.
    for none in ("eu-east-1", "eu-west", "eu-west-"):
        with refused("InvalidArgument", f"Argument value {none} is not a valid AWS Region", status=400):
            account.s3("ListBuckets", BucketRegion=none)
    # `test_list_buckets_when_continuation_token_is_empty` in LocalStack's test_s3_list_operations.snapshot.json.
    assert names(account.s3("ListBuckets", MaxBuckets=1, ContinuationToken="")) == ["a-1"]
    with refused("InvalidArgument", "max-buckets"):
        account.s3("ListBuckets", MaxBuckets=10_001)
    with refused("InvalidArgument", "continuation token"):
        account.s3("ListBuckets", ContinuationToken="nonsense")


def test_a_full_bucket_stays(account: Account) -> None:
    make(account)
    account.put("bucket", "key", b"data")
    with refused("BucketNotEmpty", status=409):
        account.s3("DeleteBucket", Bucket="bucket")
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    account.s3("DeleteBucket", Bucket="bucket")


def test_uploads_in_progress_go_with_their_bucket(account: Account) -> None:
    make(account)
    upload = account.s3("CreateMultipartUpload", Bucket="bucket", Key="key")["UploadId"]
    account.s3("UploadPart", Bucket="bucket", Key="key", UploadId=upload, PartNumber=1, Body=account.spool(b"part"))
    account.s3("DeleteBucket", Bucket="bucket")
    assert account.bodies() == set()


def test_another_owner_is_expected(account: Account) -> None:
    make(account)
    account.s3("HeadBucket", Bucket="bucket", ExpectedBucketOwner=ACCOUNT)
    with refused("AccessDenied", status=403):
        account.s3("HeadBucket", Bucket="bucket", ExpectedBucketOwner="999999999999")


@pytest.mark.parametrize("owner", ["0000", "0000000000020", "abcd", "aa000000000$", "\u0661" * 12])
def test_an_expected_owner_that_is_no_account(account: Account, owner: str) -> None:
    """`put-bucket-policy-invalid-bucket-owner`, as recorded on AWS in LocalStack's test_s3.snapshot.json."""
    make(account)
    with refused("InvalidBucketOwnerAWSAccountID", f"must be an AWS Account ID... [{owner}]", status=400):
        account.s3("HeadBucket", Bucket="bucket", ExpectedBucketOwner=owner)


def test_tags(account: Account) -> None:
    make(account, CreateBucketConfiguration={"Tags": [{"Key": "job", "Value": "1"}]})
    assert account.s3("GetBucketTagging", Bucket="bucket")["TagSet"] == [{"Key": "job", "Value": "1"}]
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
    account.s3("PutBucketTagging", Bucket="bucket", Tagging={"TagSet": tags})
    assert account.s3("GetBucketTagging", Bucket="bucket")["TagSet"] == tags
    account.s3("DeleteBucketTagging", Bucket="bucket")
    with refused("NoSuchTagSet", status=404):
        account.s3("GetBucketTagging", Bucket="bucket")


def test_each_operation_refuses_reserved_tags_in_its_words(account: Account) -> None:
    """Recorded on AWS: `test_tagging_validation`, `test_create_bucket_with_tags_exc` in LocalStack's
    test_s3_api.snapshot.json; `test_tag_resource_validation` in its test_s3control.snapshot.json."""
    tags = [{"Key": "aws:prefixed", "Value": "1"}]
    with refused("InvalidTag", 'User-defined tag keys can\'t start with "aws:".'):
        make(account, CreateBucketConfiguration={"Tags": tags})
    make(account)
    with refused("InvalidTag", "System tags cannot be added/updated by requester"):
        account.s3("PutBucketTagging", Bucket="bucket", Tagging={"TagSet": tags})
    account.put("bucket", "key", b"")
    with refused("InvalidTag", "Your TagKey cannot be prefixed with aws:"):
        account.s3("PutObjectTagging", Bucket="bucket", Key="key", Tagging={"TagSet": tags})


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ([{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}], "InvalidTag"),
        ([{"Key": "aws:a", "Value": "1"}], "InvalidTag"),
        ([{"Key": "a" * 129, "Value": "1"}], "InvalidTag"),
        ([{"Key": "a", "Value": "v" * 257}], "InvalidTag"),
        ([{"Key": "a&", "Value": "1"}], "InvalidTag"),
        ([{"Key": f"k{n}", "Value": ""} for n in range(51)], "BadRequest"),
    ],
)
def test_bad_tags(account: Account, tags: list[dict[str, str]], code: str) -> None:
    make(account)
    with refused(code, status=400):
        account.s3("PutBucketTagging", Bucket="bucket", Tagging={"TagSet": tags})


def test_each_operation_needs_its_own_permission(account: Account) -> None:
    make(account)
    caller = account.role("one", allow("s3:ListBucket", "arn:aws:s3:::bucket"))
    account.s3("HeadBucket", caller=caller, Bucket="bucket")
    for operation, action in (
        ("GetBucketLocation", "s3:GetBucketLocation"),
        ("DeleteBucket", "s3:DeleteBucket"),
        ("GetBucketTagging", "s3:GetBucketTagging"),
        ("DeleteBucketTagging", "s3:PutBucketTagging"),
    ):
        with refused("AccessDenied", f"{action} on resource: arn:aws:s3:::bucket"):
            account.s3(operation, caller=caller, Bucket="bucket")
    with refused("AccessDenied", "s3:ListAllMyBuckets"):
        account.s3("ListBuckets", caller=caller)
    with refused("AccessDenied", "s3:CreateBucket"):
        account.s3("CreateBucket", caller=caller, Bucket="other")
