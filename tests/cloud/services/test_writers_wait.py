"""How long a writer waits beside the largest request of another: to S3 or CloudWatch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from identity_fixtures import Account, policy
from write_watch import MOST, Watch

from skylift.cloud.domain.bucket import Extent, Object, ObjectPart, Part, Upload
from skylift.cloud.loops.s3.lifecycle import LifecycleLoop
from skylift.cloud.services.s3 import lifecycle_upkeep
from skylift.cloud.store.database import Database

PARTS = 10_000
MD5 = "0" * 32
CRC = "AAAAAAAAAAA="


@pytest.fixture(name="watch")
def watch_fixture(account: Account, monkeypatch: pytest.MonkeyPatch) -> Watch:
    account.s3("CreateBucket", Bucket="bucket")
    return Watch(account.database, monkeypatch)


def extents(name: str, count: int = PARTS) -> tuple[Extent, ...]:
    return tuple(Extent(f"{name}-{number}", 0, 5 << 20) for number in range(count))


def add(account: Account, *nouns: Any) -> None:
    """Unwatched."""
    with Database.write(account.database) as tx:
        for noun in nouns:
            tx.add(noun)


def large_object(account: Account, key: str) -> Object:
    """As one of 10,000 parts."""
    parts = tuple(ObjectPart(number, 5 << 20, {"CRC64NVME": CRC}) for number in range(1, PARTS + 1))
    return Object("bucket", key, PARTS * (5 << 20), "etag-10000", account.now, extents=extents(key), parts=parts)


def upload(account: Account, name: str) -> list[dict[str, Any]]:
    """One of 10,000 parts, each of another size; the parts as a request lists them."""
    made = Upload(name, "bucket", "key", account.now, account.root.arn)
    where = enumerate(extents(name), 1)
    parts = [
        Part(name, number, (5 << 20) + number, MD5, account.now, (extent,), {"CRC64NVME": CRC})
        for number, extent in where
    ]
    add(account, made, *parts)
    return [{"PartNumber": part.number, "ETag": part.md5} for part in parts]


def complete(account: Account) -> None:
    listed = upload(account, "upload")
    place = {"Bucket": "bucket", "Key": "key", "UploadId": "upload"}
    account.s3("CompleteMultipartUpload", **place, MultipartUpload={"Parts": listed})


def complete_without_most(account: Account) -> None:
    listed = upload(account, "upload")
    place = {"Bucket": "bucket", "Key": "key", "UploadId": "upload"}
    account.s3("CompleteMultipartUpload", **place, MultipartUpload={"Parts": listed[-1:]})


def abort(account: Account) -> None:
    upload(account, "upload")
    account.s3("AbortMultipartUpload", Bucket="bucket", Key="key", UploadId="upload")


def put_metrics(account: Account) -> None:
    values = [float(number) for number in range(150)]
    data = [{"MetricName": f"m{number}", "Values": values} for number in range(1000)]
    account.cloudwatch("PutMetricData", Namespace="Shop", MetricData=data)


def delete_large_objects(account: Account) -> None:
    keys = [f"key-{number}" for number in range(8)]
    add(account, *(large_object(account, key) for key in keys))
    account.s3("DeleteObjects", Bucket="bucket", Delete={"Objects": [{"Key": key} for key in keys]})


def delete_a_thousand(account: Account) -> None:
    add(account, *(Object("bucket", str(number), 0, "etag", account.now) for number in range(1000)))
    account.s3("PutBucketPolicy", Bucket="bucket", Policy=LONG_POLICY)
    objects = [{"Key": str(number)} for number in range(1000)]
    account.s3("DeleteObjects", Bucket="bucket", Delete={"Objects": objects})


def delete_a_thousand_versions(account: Account) -> None:
    """Of one key."""
    with account.database.write() as tx:
        tx.execute("UPDATE buckets SET versioning = 'Enabled'")
    for _ in range(1000):
        account.put("bucket", "key")
    listed = account.s3("ListObjectVersions", Bucket="bucket", MaxKeys=1000)["Versions"]
    objects = [{"Key": "key", "VersionId": one["VersionId"]} for one in listed]
    account.s3("DeleteObjects", Bucket="bucket", Delete={"Objects": objects})


def delete_large_versions(account: Account) -> None:
    """By their ids, below a small one."""
    account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    ids = [account.put("bucket", "key")["VersionId"] for _ in range(17)][:-1]
    large = large_object(account, "key")
    with Database.write(account.database) as tx:
        for version in tx.find(Object):
            if version.version in ids:
                tx.save(replace(version, extents=extents(version.version), parts=large.parts))
    objects = [{"Key": "key", "VersionId": version} for version in ids]
    assert len(account.s3("DeleteObjects", Bucket="bucket", Delete={"Objects": objects})["Deleted"]) == 16


def put_over_a_large_one(account: Account) -> None:
    add(account, large_object(account, "key"))
    account.put("bucket", "key", b"small")


def put_a_version_on_a_large_one(account: Account) -> None:
    add(account, large_object(account, "key"))
    account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    account.put("bucket", "key", b"small")


def tag_a_large_one(account: Account) -> None:
    add(account, large_object(account, "key"))
    tags = [{"Key": "a", "Value": "b"}]
    account.s3("PutObjectTagging", Bucket="bucket", Key="key", Tagging={"TagSet": tags})


def delete_beside_many_uploads(account: Account) -> None:
    account.put("bucket", "key")
    add(account, *(Upload(f"u{number}", "bucket", "key", account.now, account.root.arn) for number in range(11_000)))
    account.s3("DeleteObject", Bucket="bucket", Key="key")


def expire_large_objects(account: Account) -> None:
    add(account, *(large_object(account, f"key-{number}") for number in range(5)))
    add(account, *(Object("bucket", f"old-{number}", 0, "etag", account.now) for number in range(400)))
    expire(account, {"Expiration": {"Days": 1}})


def expire_versions_of_one_key(account: Account) -> None:
    versions = [
        Object("bucket", "key", 0, "etag", account.now, sequence=number, version=f"{number:032}", latest=number == 1999)
        for number in range(2000)
    ]
    add(account, *versions)
    expire(account, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    with account.database.read() as tx:
        assert tx.execute("SELECT count(*) FROM objects").fetchone() == (1,)


def expire(account: Account, what: dict[str, Any]) -> None:
    rule = {"ID": "rule", "Status": "Enabled", "Filter": {"Prefix": ""}, **what}
    account.s3("PutBucketLifecycleConfiguration", Bucket="bucket", LifecycleConfiguration={"Rules": [rule]})
    account.pass_time(days=3)
    again: list[float] = []
    loop = LifecycleLoop(account.database, lifecycle_upkeep, again.append)
    loop.step()
    while again:
        again.pop()
        loop.step()


def delete_a_bucket_of_uploads(account: Account) -> None:
    """One of 10,000 parts, and 2,000 without any."""
    upload(account, "one")
    add(account, *(Upload(f"u{number}", "bucket", "key", account.now, account.root.arn) for number in range(2000)))
    account.s3("DeleteBucket", Bucket="bucket")


def copy_a_large_one(account: Account) -> None:
    """As many parts as an object may have that is copied by one request."""
    whole = written_object(account, "source", 1024)
    add(account, whole)
    account.s3("CopyObject", Bucket="bucket", Key="copy", CopySource="bucket/source")


def copy_a_part_of_a_large_one(account: Account) -> None:
    add(
        account,
        written_object(account, "source", PARTS),
        Upload("upload", "bucket", "key", account.now, account.root.arn),
    )
    asked = {"Bucket": "bucket", "Key": "key", "UploadId": "upload", "PartNumber": 1, "CopySource": "bucket/source"}
    account.s3("UploadPartCopy", **asked)


def written_object(account: Account, key: str, count: int) -> Object:
    """As of so many parts, each of one byte."""
    where = tuple(Extent(f"{key}-{number}", 0, 1) for number in range(count))
    for extent in where:
        (account.directory / "objects" / extent.file).write_bytes(b"x")
    parts = tuple(ObjectPart(number, 1, {"CRC64NVME": CRC}) for number in range(1, count + 1))
    return Object("bucket", key, count, f"etag-{count}", account.now, extents=where, parts=parts)


LONG_POLICY = policy(
    *(
        {
            "Effect": "Allow",
            "Principal": {"AWS": "123456789012"},
            "Action": "s3:DeleteObject",
            "Resource": f"arn:aws:s3:::bucket/{number:080}*",
        }
        for number in range(90)
    )
)

LARGEST: tuple[Callable[[Account], None], ...] = (
    complete,
    complete_without_most,
    abort,
    put_metrics,
    delete_large_objects,
    delete_a_thousand,
    delete_a_thousand_versions,
    delete_large_versions,
    put_over_a_large_one,
    put_a_version_on_a_large_one,
    tag_a_large_one,
    delete_beside_many_uploads,
    expire_large_objects,
    expire_versions_of_one_key,
    delete_a_bucket_of_uploads,
    copy_a_large_one,
    copy_a_part_of_a_large_one,
)


@pytest.mark.parametrize("ask", LARGEST, ids=lambda ask: ask.__name__)
def test_the_largest_request_keeps_other_writers_for_a_moment(
    account: Account, watch: Watch, ask: Callable[[Account], None]
) -> None:
    ask(account)
    assert watch.transactions and watch.most.within(MOST), watch.most
