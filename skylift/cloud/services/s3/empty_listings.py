"""Configurations that no bucket has here. Clients that describe a bucket whole ask for each of them, and some remove
what may be there.

The answers are S3's for a bucket without such a configuration. Putting one is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Answer, Nothing
from skylift.cloud.services.s3.operation import PAYER, check_bucket, on_bucket, sets
from skylift.cloud.services.s3.rules import OfBucket, bucket_of
from skylift.cloud.store.database import Tx


@dataclass(frozen=True)
class AbsentSetting:
    """One such question: the operation, the action that it needs, and what S3 says where there is nothing, which is
    `answer` or an error of status 404."""

    operation: str
    action: str
    answer: Answer = field(default_factory=dict)
    code: str = ""
    message: str = ""
    takes: str = ""

    def get(self, tx: Tx, caller: Caller, params: OfBucket) -> Answer:
        bucket = bucket_of(tx, caller, params)
        if self.code:
            raise ServiceError(self.code, self.message, status=404, BucketName=bucket.name)
        return self.answer


_NO_MORE = {"IsTruncated": False}
_KINDS = ("Analytics", "IntelligentTiering", "Inventory", "Metrics")
"""A bucket may have several of each, which are told apart by `Id`."""

ABSENT = (
    AbsentSetting("GetBucketAccelerateConfiguration", "GetAccelerateConfiguration", takes=PAYER),
    AbsentSetting("GetBucketLogging", "GetBucketLogging"),
    AbsentSetting("GetBucketNotificationConfiguration", "GetBucketNotification"),
    AbsentSetting(
        "GetBucketReplication",
        "GetReplicationConfiguration",
        code="ReplicationConfigurationNotFoundError",
        message="The replication configuration was not found",
    ),
    AbsentSetting("GetBucketRequestPayment", "GetBucketRequestPayment", {"Payer": "BucketOwner"}),
    AbsentSetting(
        "GetBucketWebsite",
        "GetBucketWebsite",
        code="NoSuchWebsiteConfiguration",
        message="The specified bucket does not have a website configuration",
    ),
    AbsentSetting(
        "GetObjectLockConfiguration",
        "GetBucketObjectLockConfiguration",
        code="ObjectLockConfigurationNotFoundError",
        message="Object Lock configuration does not exist for this bucket",
    ),
    *(
        AbsentSetting(f"ListBucket{kind}Configurations", f"Get{kind}Configuration", _NO_MORE, takes="ContinuationToken")
        for kind in _KINDS
    ),
    *(
        AbsentSetting(
            f"GetBucket{kind}Configuration",
            f"Get{kind}Configuration",
            code="NoSuchConfiguration",
            message="The specified configuration does not exist.",
            takes="Id",
        )
        for kind in _KINDS
    ),
)


def delete(tx: Tx, caller: Caller, params: OfBucket) -> Nothing:
    """What is not there is removed already."""
    bucket_of(tx, caller, params)
    return {}


OPERATIONS = (
    *(on_bucket(one.operation, one.get, check_bucket(one.action), one.takes) for one in ABSENT),
    sets("DeleteBucketReplication", delete, "", "PutReplicationConfiguration"),
    sets("DeleteBucketWebsite", delete, ""),
)
