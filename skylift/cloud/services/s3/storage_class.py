"""Storage classes: kept and shown as S3 has them, and archived objects are read only once they are restored.

What was recorded on AWS: `test_put_object_storage_class` and `test_s3_get_deep_archive_object_restore` in LocalStack's
tests/aws/services/s3/test_s3.snapshot.json. The times of a restored copy: "Restoring an archived object" in S3's guide,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, NotRequired, TypedDict

from skylift.cloud.domain.bucket import STANDARD, ObjectVersion
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.s3 import object_version as version
from skylift.cloud.services.s3.error import invalid_argument, malformed_xml
from skylift.cloud.services.s3.expiration import midnight_after
from skylift.cloud.services.s3.object_tag import existing_context
from skylift.cloud.services.s3.operation import PAYER, on_object
from skylift.cloud.services.s3.rules import bucket_arn, bucket_of, object_arn
from skylift.cloud.store.bucket import named
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import s3

TIERS: dict[str, tuple[str, ...]] = {"GLACIER": ("Standard", "Bulk", "Expedited"), "DEEP_ARCHIVE": ("Standard", "Bulk")}
"""The classes of objects that have to be restored, with the speeds at which AWS does so."""
MOST_DAYS = 36_500


class Classed(TypedDict):
    Restore: NotRequired[str]
    StorageClass: NotRequired[str]


def described(found: ObjectVersion, now: datetime) -> Classed:
    """What GetObject and HeadObject say of it: of the usual class nothing."""
    answer: Classed = {}
    if found.storage_class != STANDARD:
        answer["StorageClass"] = found.storage_class
    if is_restored(found.restored_until, now):
        assert found.restored_until is not None
        date = format_datetime(found.restored_until.astimezone(UTC), usegmt=True)
        answer["Restore"] = f'ongoing-request="false", expiry-date="{date}"'
    return answer


class ListedRestore(TypedDict):
    RestoreStatus: NotRequired[s3.RestoreStatus]


def listed(until: datetime | None, asked: Sequence[str], now: datetime) -> ListedRestore:
    """What listings say of a restored copy, to those that ask for it."""
    if until is None or "RestoreStatus" not in asked or not is_restored(until, now):
        return {}
    return {"RestoreStatus": {"IsRestoreInProgress": False, "RestoreExpiryDate": until}}


def is_restored(until: datetime | None, now: datetime) -> bool:
    """A restored copy is there for the days that were asked for; then only the archive is left."""
    return until is not None and now < until


def check_read(found: ObjectVersion, now: datetime) -> None:
    if _is_archived(found, now):
        raise _invalid_state("The operation is not valid for the object's storage class", found)


def check_source(found: ObjectVersion, now: datetime) -> None:
    if _is_archived(found, now):
        raise _invalid_state("Operation is not valid for the source object's storage class", found)


def restore(tx: Tx, caller: Caller, params: s3.RestoreObjectRequest) -> s3.RestoreObjectOutput:
    """The copy is there at once: there is no tape to fetch. A later request moves its end."""
    found = version.find(tx, ObjectVersion, bucket_of(tx, caller, params), params)
    asked = params.get("RestoreRequest")
    if asked is None or "Days" not in asked:
        raise malformed_xml()
    if found.storage_class not in TIERS:
        raise _invalid_state("Restore is not allowed for the object's current storage class", found)
    days, tier = asked["Days"], asked.get("GlacierJobParameters", {}).get("Tier") or asked.get("Tier", "Standard")
    if not 1 <= days <= MOST_DAYS:
        raise invalid_argument("Days", days, f"Days has to be between 1 and {MOST_DAYS}")
    if tier not in TIERS[found.storage_class]:
        raise invalid_argument("Tier", tier, f"{tier} is no retrieval option of {found.storage_class}")
    tx.save(replace(found, restored_until=midnight_after(tx.now, days)))
    return {}


def check_restore(tx: Tx, _caller: Caller, params: s3.RestoreObjectRequest) -> Iterable[Check]:
    bucket, key = params["Bucket"], params["Key"]
    found = named(tx, bucket, key, params.get("VersionId"))
    yield Check("s3:RestoreObject", object_arn(bucket, key), existing_context(found))
    if found is None:
        yield Check("s3:ListBucket", bucket_arn(bucket))


def _is_archived(found: ObjectVersion, now: datetime) -> bool:
    return found.storage_class in TIERS and not is_restored(found.restored_until, now)


def _invalid_state(message: str, found: ObjectVersion) -> ServiceError:
    return ServiceError("InvalidObjectState", message, status=403, StorageClass=found.storage_class)


OPERATIONS = (
    on_object(
        "RestoreObject",
        restore,
        check_restore,
        "VersionId RestoreRequest.Days RestoreRequest.GlacierJobParameters RestoreRequest.Tier "
        f"RestoreRequest.Description ChecksumAlgorithm {PAYER}",
        writes=True,
    ),
)
