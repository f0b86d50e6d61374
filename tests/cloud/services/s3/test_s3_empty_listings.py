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
