"""What S3 says of a bucket that was never told anything."""

from __future__ import annotations

from typing import Any

import pytest
from identity_fixtures import Account, allow, refused

NONE = {
    "GetBucketReplication": "ReplicationConfigurationNotFoundError",
    "GetBucketWebsite": "NoSuchWebsiteConfiguration",
    "GetObjectLockConfiguration": "ObjectLockConfigurationNotFoundError",
}
KINDS = ("Analytics", "IntelligentTiering", "Inventory", "Metrics")
EMPTY: dict[str, dict[str, Any]] = {
    "GetBucketAccelerateConfiguration": {},
    "GetBucketLogging": {},
    "GetBucketNotificationConfiguration": {},
    "GetBucketRequestPayment": {"Payer": "BucketOwner"},
    "ListBucketAnalyticsConfigurations": {"IsTruncated": False},
    "ListBucketIntelligentTieringConfigurations": {"IsTruncated": False},
    "ListBucketInventoryConfigurations": {"IsTruncated": False},
    "ListBucketMetricsConfigurations": {"IsTruncated": False},
}


@pytest.mark.parametrize("operation", [*NONE, *EMPTY])
def test_a_bucket_has_none_of_it(account: Account, operation: str) -> None:
    with refused("NoSuchBucket"):
        account.s3(operation, Bucket="bucket")
    account.s3("CreateBucket", Bucket="bucket")
    if operation in NONE:
        with refused(NONE[operation]):
            account.s3(operation, Bucket="bucket")
    else:
        assert account.s3(operation, Bucket="bucket") == EMPTY[operation]
    with refused("AccessDenied"):
        account.s3(operation, caller=account.user("ann", allow("s3:GetObject")), Bucket="bucket")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_has_no_configuration_of_any_id(account: Account, kind: str) -> None:
    """Recorded on AWS for two of them, in LocalStack's test_s3.snapshot.json."""
    account.s3("CreateBucket", Bucket="bucket")
    with refused("NoSuchConfiguration", "The specified configuration does not exist.", status=404):
        account.s3(f"GetBucket{kind}Configuration", Bucket="bucket", Id="any")
    with refused("AccessDenied", f"s3:Get{kind}Configuration"):
        nobody = account.user("ann", allow("s3:GetObject"))
        account.s3(f"GetBucket{kind}Configuration", caller=nobody, Bucket="bucket", Id="any")


@pytest.mark.parametrize(
    ("operation", "action"),
    [("DeleteBucketWebsite", "DeleteBucketWebsite"), ("DeleteBucketReplication", "PutReplicationConfiguration")],
)
def test_what_is_not_there_can_be_removed(account: Account, operation: str, action: str) -> None:
    with refused("NoSuchBucket"):
        account.s3(operation, Bucket="bucket")
    account.s3("CreateBucket", Bucket="bucket")
    assert account.s3(operation, Bucket="bucket") == {}
    with refused("AccessDenied", f"s3:{action}"):
        account.s3(operation, caller=account.user("ann", allow("s3:GetObject")), Bucket="bucket")
