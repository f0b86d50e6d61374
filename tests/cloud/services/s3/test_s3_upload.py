from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from identity_fixtures import (
    OPERATIONS,
    START,
    Account,
    allow,
    policy,
    refused,
    storing_account_fixture,  # noqa: F401
)

from skylift.cloud.services.api.operation import Outdated
from skylift.cloud.services.s3.checksum import ALGORITHMS, digest
from skylift.cloud.wire.checksum import encoded, start

LARGE = b"0123456789abcdef" * (5 << 16)
"""5 MiB, the least that a part may have unless it is the last."""


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class Sender:
    """One upload to `bucket`/`key`."""

    def __init__(self, account: Account, **params: Any) -> None:
        self.account = account
        self.place = {"Bucket": "bucket", "Key": params.pop("Key", "key")}
        self.made = account.s3("CreateMultipartUpload", **self.place, **params)
        self.place["UploadId"] = self.made["UploadId"]

    def part(self, number: int, data: bytes, **checksums: str) -> dict[str, Any]:
        body = self.account.spool(data, **checksums)
        answer = self.account.s3("UploadPart", **self.place, PartNumber=number, Body=body)
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        return {"PartNumber": number, "ETag": answer["ETag"], **sums}

    def complete(self, *parts: dict[str, Any], **params: Any) -> dict[str, Any]:
        return self.account.s3(
            "CompleteMultipartUpload", **self.place, MultipartUpload={"Parts": list(parts)}, **params
        )


@pytest.fixture(autouse=True, name="bucket")
def bucket_fixture(account: Account) -> str:
    account.s3("CreateBucket", Bucket="bucket")
    return "bucket"


def head(account: Account, **params: Any) -> dict[str, Any]:
    return account.s3("HeadObject", Bucket="bucket", Key="key", **params)


def test_parts_become_one_object(account: Account) -> None:
    sender = Sender(account, ContentType="text/csv", Metadata={"a": "b"}, CacheControl="no-store")
    last = sender.part(7, b"end")
    first = sender.part(2, LARGE)
    with refused("NoSuchKey"):
        head(account)
    account.pass_time(seconds=9)
    answer = sender.complete(first, last)
    md5s = b"".join(hashlib.md5(data).digest() for data in (LARGE, b"end"))
    assert answer["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-2"'
    assert (answer["Bucket"], answer["Key"], answer["Location"]) == ("bucket", "key", "/bucket/key")
    found = head(account)
    assert (found["ContentLength"], found["ContentType"]) == (len(LARGE) + 3, "text/csv")
    assert (found["Metadata"], found["CacheControl"]) == ({"a": "b"}, "no-store")
    assert account.get("bucket", "key") == LARGE + b"end"
    assert len(account.bodies()) == 2


def test_completing_again_answers_the_same(account: Account) -> None:
    sender = Sender(account)
    part = sender.part(1, b"data")
    answer = sender.complete(part, IfNoneMatch="*")
    account.pass_time(seconds=9)
    assert sender.complete(part, IfNoneMatch="*") == answer, "S3 does not ask about conditions again"
    assert head(account)["LastModified"] == START
    with refused("NoSuchUpload", status=404):
        sender.complete({"PartNumber": 1, "ETag": hashlib.md5(b"other").hexdigest()})
    with refused("NoSuchUpload", status=404):
        sender.part(2, b"late")
    account.put("bucket", "key", b"replaced")
    with refused("NoSuchUpload", status=404):
        sender.complete(part)
    assert account.get("bucket", "key") == b"replaced"


def test_one_of_two_completions_that_must_be_first_wins(account: Account) -> None:
    one, two = Sender(account), Sender(account)
    first, second = one.part(1, b"one"), two.part(1, b"two")
    two.complete(second, IfNoneMatch="*")
    with refused("PreconditionFailed", status=412):
        one.complete(first, IfNoneMatch="*")
    other = Sender(account, Key="missing")
    with refused("NoSuchKey", status=404):
        other.complete(other.part(1, b"x"), IfMatch='"etag"')


def test_a_condition_is_in_conflict_with_what_was_written_during_the_upload(account: Account) -> None:
    """`test_multipart_if_match_with_put` and `..._put_identical`, as recorded on AWS in LocalStack's
    test_s3_api.snapshot.json."""
    before = account.put("bucket", "key", b"before")
    account.pass_time(seconds=1)
    sender = Sender(account)
    part = sender.part(1, b"after")
    account.pass_time(seconds=1)
    during = account.put("bucket", "key", b"during")
    with refused("PreconditionFailed", status=412):
        sender.complete(part, IfMatch=before["ETag"])
    with refused("ConditionalRequestConflict", "conflicting operation", status=409):
        sender.complete(part, IfMatch=during["ETag"])
    account.put("bucket", "key", b"before")
    with refused("ConditionalRequestConflict", status=409):
        sender.complete(part, IfMatch=before["ETag"])
    account.pass_time(seconds=1)
    again = Sender(account)
    again.complete(again.part(1, b"after"), IfMatch=before["ETag"])
    assert account.get("bucket", "key") == b"after"


@pytest.mark.parametrize("versioning", [None, "Enabled"])
def test_a_condition_is_in_conflict_with_a_deletion_during_the_upload(account: Account, versioning: str | None) -> None:
    """`test_multipart_if_none_match_with_delete` of the same."""
    if versioning:
        account.s3("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": versioning})
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    untouched = Sender(account, Key="other")
    account.put("bucket", "key", b"before")
    sender = Sender(account)
    part = sender.part(1, b"after")
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    with refused("ConditionalRequestConflict", status=409):
        sender.complete(part, IfNoneMatch="*")
    again = Sender(account)
    again.complete(again.part(1, b"after"), IfNoneMatch="*")
    untouched.complete(untouched.part(1, b"other"), IfNoneMatch="*")
    assert account.get("bucket", "key") == b"after"


def test_a_deletion_is_remembered_as_long_as_an_upload_of_its_key_is_under_way(account: Account) -> None:
    before = Sender(account)
    account.put("bucket", "key", b"one")
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    between = Sender(account)
    account.s3("AbortMultipartUpload", **before.place)
    account.put("bucket", "key", b"two")
    account.s3("DeleteObject", Bucket="bucket", Key="key")
    after = Sender(account)
    part = between.part(1, b"x")
    with refused("ConditionalRequestConflict", status=409):
        between.complete(part, IfNoneMatch="*")
    between.complete(part)
    account.s3("DeleteObject", Bucket="bucket", Key="key", VersionId="null")
    after.complete(after.part(1, b"x"), IfNoneMatch="*")
    with account.database.read() as tx:
        assert tx.execute("SELECT * FROM key_deletions").fetchall() == []


def crc64nvme(data: bytes) -> str:
    running = start("CRC64NVME")
    running.update(data)
    return encoded(running)


def test_an_upload_without_an_algorithm_has_the_checksum_that_s3_makes(account: Account) -> None:
    """`test_complete_multipart_parts_checksum_default`, as recorded on AWS in LocalStack's test_s3.snapshot.json."""
    account.put("bucket", "source", b"copied")
    sender = Sender(account)
    assert not {"ChecksumAlgorithm", "ChecksumType"} & sender.made.keys()
    first = sender.part(1, LARGE, CRC32="AAAAAA==")
    assert first["ChecksumCRC32"] == "AAAAAA==", "the answer tells what the request did"
    copied = account.s3("UploadPartCopy", **sender.place, PartNumber=2, CopySource="bucket/source")["CopyPartResult"]
    listed = account.s3("ListParts", **sender.place)["Parts"]
    assert [part.keys() for part in [*listed, copied] if any("Checksum" in name for name in part)] == []
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": copied["ETag"]}]
    with refused("InvalidPart", status=400):
        sender.complete(first, parts[1])
    for kind in ("FULL_OBJECT", "COMPOSITE"):
        with refused("InvalidRequest", "created using the null checksum mode", status=400):
            sender.complete(*parts, ChecksumType=kind)
    with refused("BadDigest", status=400):
        sender.complete(*parts, ChecksumCRC64NVME=crc64nvme(b"other"))
    # `complete-multipart-checksum`: one of an algorithm that the upload does not have is ignored.
    whole = sender.complete(*parts, ChecksumCRC64NVME=crc64nvme(LARGE + b"copied"), ChecksumCRC32="AAAAAA==-7")
    assert (whole["ChecksumCRC64NVME"], whole["ChecksumType"]) == (crc64nvme(LARGE + b"copied"), "FULL_OBJECT")
    asked = ["Checksum", "ObjectParts"]
    found = account.s3("GetObjectAttributes", Bucket="bucket", Key="key", ObjectAttributes=asked)
    assert found["ObjectParts"] == {"TotalPartsCount": 2}
    assert found["Checksum"] == {"ChecksumCRC64NVME": crc64nvme(LARGE + b"copied"), "ChecksumType": "FULL_OBJECT"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_copied_parts_have_the_checksum_of_their_upload(account: Account, algorithm: str) -> None:
    account.put("bucket", "source", b"0123456789")
    sender = Sender(account, ChecksumAlgorithm=algorithm)
    answer = account.s3(
        "UploadPartCopy", **sender.place, PartNumber=1, CopySource="bucket/source", CopySourceRange="bytes=2-5"
    )["CopyPartResult"]
    expected = base64.b64encode(digest(algorithm, b"2345")).decode()
    assert answer[f"Checksum{algorithm}"] == expected
    whole = sender.complete({"PartNumber": 1, "ETag": answer["ETag"], f"Checksum{algorithm}": expected})
    assert whole["ChecksumType"] == sender.made["ChecksumType"]
    assert account.get("bucket", "key") == b"2345"


def test_ranges_and_parts_of_a_multipart_object(account: Account) -> None:
    sender = Sender(account)
    sender.complete(sender.part(1, LARGE), sender.part(2, b"end"))
    size = len(LARGE) + 3
    assert account.get("bucket", "key", Range=f"bytes={len(LARGE) - 2}-{len(LARGE)}") == b"efe"
    answer = account.s3("GetObject", Bucket="bucket", Key="key", PartNumber=2)
    assert account.read(answer["Body"]) == b"end"
    assert (answer["PartsCount"], answer["ContentRange"]) == (2, f"bytes {size - 3}-{size - 1}/{size}")
    with refused("InvalidPartNumber", status=416):
        head(account, PartNumber=3)


def test_a_part_that_comes_again_replaces_the_first(account: Account) -> None:
    sender = Sender(account)
    old = sender.part(1, b"old")
    new = sender.part(1, b"new")
    assert len(account.bodies()) == 1
    with refused("InvalidPart", status=400):
        sender.complete(old)
    sender.complete(new)
    assert account.get("bucket", "key") == b"new"


def test_parts_that_are_not_listed_go(account: Account) -> None:
    sender = Sender(account)
    used, _ = sender.part(1, b"used"), sender.part(2, b"unused")
    sender.complete(used)
    assert account.get("bucket", "key") == b"used"
    assert len(account.bodies()) == 1


def test_completing_replaces_what_was_there(account: Account) -> None:
    account.put("bucket", "key", b"before")
    sender = Sender(account)
    part = sender.part(1, b"after")
    with refused("PreconditionFailed", status=412):
        sender.complete(part, IfNoneMatch="*")
    assert account.get("bucket", "key") == b"before"
    sender.complete(part, IfMatch=head(account)["ETag"])
    assert account.get("bucket", "key") == b"after"
    assert len(account.bodies()) == 1


def test_what_cannot_be_completed(account: Account) -> None:
    sender = Sender(account)
    small, large = sender.part(1, b"small"), sender.part(2, LARGE)
    with refused("EntityTooSmall", status=400):
        sender.complete(small, large)
    with refused("InvalidPartOrder", status=400):
        sender.complete(large, small)
    with refused("InvalidPartOrder"):
        sender.complete(small, small)
    with refused("InvalidPart"):
        sender.complete({"PartNumber": 3, "ETag": small["ETag"]})
    with refused("InvalidPart"):
        sender.complete({"PartNumber": 1, "ETag": large["ETag"]})
    # `test_multipart_complete_multipart_too_small`, recorded on AWS in LocalStack's test_s3.snapshot.json.
    with refused("InvalidRequest", "You must specify at least one part", status=400):
        account.s3("CompleteMultipartUpload", **sender.place)
    with refused("MalformedXML"):
        sender.complete()
    with refused("MalformedXML"):
        sender.complete({"PartNumber": 1})
    with refused("InvalidRequest", "x-amz-mp-object-size"):
        sender.complete(large, MpuObjectSize=7)
    sender.complete(large, MpuObjectSize=len(LARGE))


def test_bad_parts(account: Account) -> None:
    sender = Sender(account)
    for number in (0, 10_001):
        with refused("InvalidArgument", "between 1 and 10000", status=400):
            sender.part(number, b"x")
    with refused("NoSuchUpload", status=404):
        account.s3("UploadPart", Bucket="bucket", Key="other", UploadId=sender.place["UploadId"], PartNumber=1)
    assert account.bodies() == set()


def test_aborting(account: Account) -> None:
    sender = Sender(account)
    sender.part(1, b"x")
    account.s3("AbortMultipartUpload", **sender.place)
    assert account.bodies() == set()
    with refused("NoSuchUpload", status=404):
        account.s3("AbortMultipartUpload", **sender.place)
    with refused("NoSuchUpload", status=404):
        sender.part(2, b"x")
    assert account.bodies() == set()


def test_a_composite_checksum(account: Account) -> None:
    sender = Sender(account, ChecksumAlgorithm="SHA256")
    assert (sender.made["ChecksumAlgorithm"], sender.made["ChecksumType"]) == ("SHA256", "COMPOSITE")
    with refused("InvalidRequest", "expected checksum Type: sha256, actual checksum Type: crc32"):
        sender.part(1, LARGE, CRC32=crc32(LARGE))
    one = sender.part(1, LARGE, SHA256=sha256(LARGE))
    two = sender.part(2, b"end", SHA256=sha256(b"end"))
    without = {"PartNumber": 2, "ETag": two["ETag"]}
    with refused("InvalidRequest", "It was missing for part 2 in the request"):
        sender.complete(one, without)
    with refused("InvalidRequest", "created using the COMPOSITE checksum mode"):
        sender.complete(one, without, ChecksumType="FULL_OBJECT")
    with refused("InvalidPart"):
        sender.complete(one, {**two, "ChecksumSHA256": one["ChecksumSHA256"]})
    digests = hashlib.sha256(LARGE).digest() + hashlib.sha256(b"end").digest()
    expected = sha256(digests) + "-2"
    with refused("BadDigest", "The crc32 you specified for part 2 did not match what we received.", status=400):
        sender.complete(one, {"PartNumber": 2, "ETag": two["ETag"], "ChecksumCRC32": crc32(b"end")})
    with refused("BadDigest", "The sha256 you specified did not match the calculated checksum."):
        sender.complete(one, two, ChecksumSHA256=sha256(b""))
    answer = sender.complete(one, two, ChecksumSHA256=expected)
    assert (answer["ChecksumSHA256"], answer["ChecksumType"]) == (expected, "COMPOSITE")
    assert head(account, ChecksumMode="ENABLED")["ChecksumSHA256"] == expected
    assert head(account, ChecksumMode="ENABLED", PartNumber=2)["ChecksumSHA256"] == sha256(b"end")


def test_a_checksum_of_the_full_object(account: Account) -> None:
    sender = Sender(account, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    one, two = sender.part(1, LARGE, CRC32=crc32(LARGE)), sender.part(2, b"end", CRC32=crc32(b"end"))
    # The refusals of `test_multipart_parts_checksum_exceptions_full_object`, recorded on AWS in LocalStack's
    # test_s3.snapshot.json: without its type even the right one is taken for that of a composite.
    whole = crc32(LARGE + b"end")
    for stated in (
        {"ChecksumCRC32": whole},
        {"ChecksumCRC32": crc32(b""), "ChecksumType": "FULL_OBJECT"},
        {"ChecksumSHA256": sha256(b"")},
        {"ChecksumSHA256": sha256(b""), "ChecksumType": "FULL_OBJECT"},
    ):
        with refused("BadDigest", "The crc32 you specified did not match the calculated checksum."):
            sender.complete(one, two, **stated)
    with refused("InvalidRequest", "FULL_OBJECT checksum mode"):
        sender.complete(one, two, ChecksumType="COMPOSITE")
    answer = sender.complete(
        {"PartNumber": 1, "ETag": one["ETag"]}, two, ChecksumCRC32=whole, ChecksumType="FULL_OBJECT"
    )
    assert (answer["ChecksumCRC32"], answer["ChecksumType"]) == (whole, "FULL_OBJECT")
    # `get-object-part-checksum` of `test_complete_multipart_parts_checksum_full_object`; a part that is all of the
    # object: `test_get_object_part_checksum`.
    assert "ChecksumCRC32" not in head(account, ChecksumMode="ENABLED", PartNumber=2)
    sender = Sender(account, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    sender.complete(sender.part(1, b"end", CRC32=crc32(b"end")))
    assert head(account, ChecksumMode="ENABLED", PartNumber=1)["ChecksumCRC32"] == crc32(b"end")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"ChecksumType": "COMPOSITE"}, "can only be used with the x-amz-checksum-algorithm"),
        ({"ChecksumAlgorithm": "XXHASH64"}, "unsupported. Please try again with any of the valid types: [CRC32, "),
        ({"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}, "FULL_OBJECT checksum type cannot be used"),
        ({"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"}, "COMPOSITE checksum type cannot be used"),
    ],
)
def test_checksums_that_there_are_not(account: Account, params: dict[str, str], words: str) -> None:
    with refused("InvalidRequest", words, status=400):
        Sender(account, **params)


def test_listing_parts(account: Account) -> None:
    sender = Sender(account, ChecksumAlgorithm="CRC32")
    for number in (3, 1, 2):
        sender.part(number, b"x" * number, CRC32=crc32(b"x" * number))
    first = account.s3("ListParts", **sender.place, MaxParts=2)
    assert [part["PartNumber"] for part in first["Parts"]] == [1, 2]
    assert (first["IsTruncated"], first["NextPartNumberMarker"]) == (True, 2)
    assert (first["ChecksumAlgorithm"], first["ChecksumType"]) == ("CRC32", "COMPOSITE")
    second = account.s3("ListParts", **sender.place, PartNumberMarker=2)
    assert second["Parts"] == [
        {
            "PartNumber": 3,
            "LastModified": START,
            "ETag": f'"{hashlib.md5(b"xxx").hexdigest()}"',
            "Size": 3,
            "ChecksumCRC32": crc32(b"xxx"),
        }
    ]
    assert second["IsTruncated"] is False


def test_who_began_an_upload(account: Account) -> None:
    """As in the API reference's examples of ListParts: a user by its ARN and name, the account's own as the owner."""
    writer = account.role("writer", allow("s3:*", "*"))
    for caller, named in ((None, "123456789012"), (writer, "writer/test")):
        params = {} if caller is None else {"caller": caller}
        account.s3("CreateMultipartUpload", Bucket="bucket", Key=named, **params)
    listed = account.s3("ListMultipartUploads", Bucket="bucket")["Uploads"]
    told = {each["Key"]: each["Initiator"] for each in listed}
    assert {key: each["DisplayName"] for key, each in told.items()} == {key: key for key in told}
    assert told["123456789012"]["ID"] == listed[0]["Owner"]["ID"]
    assert told["writer/test"]["ID"].endswith(":assumed-role/writer/test")


def uploads(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["Key"], item["UploadId"]) for item in answer.get("Uploads", [])]


def test_listing_uploads(account: Account) -> None:
    made = []
    for key in ("b", "a/1", "a/1", "c", "a/2"):
        account.pass_time(seconds=1)
        made.append((key, Sender(account, Key=key).place["UploadId"]))
    expected = sorted(made)
    assert [key for key, _ in expected] == ["a/1", "a/1", "a/2", "b", "c"]
    assert expected[:2] == [made[1], made[2]], "uploads of one key are listed in the order they were started"
    found: list[tuple[str, str]] = []
    place: dict[str, str] = {}
    for _ in range(5):
        answer = account.s3("ListMultipartUploads", Bucket="bucket", MaxUploads=1, **place)
        found += uploads(answer)
        if answer["IsTruncated"]:
            place = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}
    assert found == expected and not answer["IsTruncated"]
    assert uploads(account.s3("ListMultipartUploads", Bucket="bucket", KeyMarker="a/1")) == expected[2:]
    rolled = account.s3("ListMultipartUploads", Bucket="bucket", Delimiter="/")
    assert rolled["CommonPrefixes"] == [{"Prefix": "a/"}]
    assert [key for key, _ in uploads(rolled)] == ["b", "c"]
    # `list-multiparts-manual-first-file`, as recorded on AWS in LocalStack's test_s3_list_operations.snapshot.json.
    within = account.s3("ListMultipartUploads", Bucket="bucket", Delimiter="/", KeyMarker="a/1")
    assert "CommonPrefixes" not in within and [key for key, _ in uploads(within)] == ["b", "c"]
    assert uploads(account.s3("ListMultipartUploads", Bucket="bucket", Prefix="a/")) == expected[:3]


def test_markers_of_listed_uploads(account: Account) -> None:
    """Recorded on AWS: `test_list_multiparts_next_marker` and `test_list_multiparts_with_prefix_and_delimiter` in
    LocalStack's test_s3_list_operations.snapshot.json."""

    def markers(**params: Any) -> tuple[str, str]:
        answer = account.s3("ListMultipartUploads", Bucket="bucket", **params)
        return answer["NextKeyMarker"], answer["NextUploadIdMarker"]

    assert markers() == ("", "")
    assert "Prefix" not in account.s3("ListMultipartUploads", Bucket="bucket")
    first, second = (Sender(account, Key=key).place["UploadId"] for key in ("a/1", "b"))
    assert markers() == ("b", second)
    assert markers(MaxUploads=1) == ("a/1", first)
    assert markers(KeyMarker="b") == ("", "")
    assert markers(Delimiter="/", Prefix="a") == ("", "")
    # Here AWS's are empty, and nobody can go on.
    assert markers(Delimiter="/", MaxUploads=1) == ("a/", "")
    with refused("InvalidArgument", "Invalid uploadId marker", status=400):
        markers(KeyMarker="b", UploadIdMarker=first)


def test_attributes_of_a_multipart_object(account: Account) -> None:
    sender = Sender(account, ChecksumAlgorithm="CRC32")
    sender.complete(sender.part(1, LARGE, CRC32=crc32(LARGE)), sender.part(2, b"end", CRC32=crc32(b"end")))
    answer = account.s3(
        "GetObjectAttributes",
        Bucket="bucket",
        Key="key",
        ObjectAttributes=["ObjectParts", "Checksum"],
        PartNumberMarker=1,
    )
    assert answer["ObjectParts"] == {
        "TotalPartsCount": 2,
        "PartNumberMarker": 1,
        "NextPartNumberMarker": 2,
        "MaxParts": 1000,
        "IsTruncated": False,
        "Parts": [{"PartNumber": 2, "Size": 3, "ChecksumCRC32": crc32(b"end")}],
    }
    assert answer["Checksum"]["ChecksumType"] == "COMPOSITE"
    assert head(account, ChecksumMode="ENABLED")["ChecksumCRC32"] == f"{answer['Checksum']['ChecksumCRC32']}-2"


def test_permissions(account: Account) -> None:
    caller = account.role("sender", allow("s3:PutObject", "arn:aws:s3:::bucket/key"))
    place = {"Bucket": "bucket", "Key": "key"}
    upload = account.s3("CreateMultipartUpload", caller=caller, **place)["UploadId"]
    account.s3("UploadPart", caller=caller, **place, UploadId=upload, PartNumber=1, Body=account.spool(b"x"))
    for operation, action in (
        ("ListParts", "s3:ListMultipartUploadParts"),
        ("AbortMultipartUpload", "s3:AbortMultipartUpload"),
    ):
        with refused("AccessDenied", action):
            account.s3(operation, caller=caller, **place, UploadId=upload)
    with refused("AccessDenied", "s3:ListBucketMultipartUploads on resource: arn:aws:s3:::bucket"):
        account.s3("ListMultipartUploads", caller=caller, Bucket="bucket")
    with refused("AccessDenied", "s3:PutObject on resource: arn:aws:s3:::bucket/other"):
        account.s3("CreateMultipartUpload", caller=caller, Bucket="bucket", Key="other")


def test_copying_parts(account: Account) -> None:
    account.put("bucket", "source é", b"0123456789")
    sender = Sender(account, ChecksumAlgorithm="CRC32")

    def copy(number: int, **params: Any) -> dict[str, Any]:
        source = {"CopySource": "/bucket/source%20%C3%A9"}
        answer = account.s3("UploadPartCopy", **sender.place, PartNumber=number, **source, **params)
        result: dict[str, Any] = answer["CopyPartResult"]
        del result["LastModified"]
        return {"PartNumber": number, **result}

    part = copy(1, CopySourceRange="bytes=2-5")
    assert part["ETag"] == f'"{hashlib.md5(b"2345").hexdigest()}"'
    assert part["ChecksumCRC32"] == crc32(b"2345")
    for asked in ("0-8", "2-5x", "bytes=1-0", "bytes=-1-", "bytes=0-1,3-4,7-9", "bytes=-", "bytes=-2", "bytes=1-"):
        with refused("InvalidArgument", "must be of the form bytes=first-last", status=400):
            copy(2, CopySourceRange=asked)
    with refused("InvalidArgument", "not valid for source object of size: 10", status=400):
        copy(2, CopySourceRange="bytes=2-10")
    with refused("InvalidRequest", "The specified copy range is invalid for the source object size", status=400):
        copy(2, CopySourceRange="bytes=10-200")
    sender.complete(part)
    account.s3("DeleteObject", Bucket="bucket", Key="source é")
    assert account.get("bucket", "key") == b"2345"
    assert len(account.bodies()) == 1


def everybody_may(account: Account) -> None:
    account.s3("DeletePublicAccessBlock", Bucket="bucket")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/*"}
    account.s3("PutBucketPolicy", Bucket="bucket", Policy=policy(statement))


def test_nobody_begins_an_upload_without_credentials(account: Account) -> None:
    """The sentence is S3's; clients tell of it, as in issue 10433 of apache/pulsar."""
    everybody_may(account)
    account.s3("PutObject", caller=account.anonymous, Bucket="bucket", Key="a", Body=account.spool(b"a"))
    with refused("AccessDenied", "Anonymous users cannot initiate multipart uploads", status=403):
        account.s3("CreateMultipartUpload", caller=account.anonymous, Bucket="bucket", Key="key")


def test_what_an_earlier_version_let_them_begin_is_listed(account: Account) -> None:
    sender = Sender(account)
    with account.database.write() as tx:
        tx.execute("UPDATE uploads SET initiator = ''")
    (listed,) = account.s3("ListMultipartUploads", Bucket="bucket")["Uploads"]
    assert listed["Initiator"] == {"ID": "65a011a29cdf8ec533ec3d1ccaae921c", "DisplayName": ""}
    assert account.s3("ListParts", **sender.place)["Initiator"] == listed["Initiator"]


def overtaken(account: Account, sender: Sender, change: Callable[[], object], *parts: dict[str, Any]) -> dict[str, Any]:
    """Completes it, with a change that is committed after the parts were looked at."""
    operation = OPERATIONS["s3", "CompleteMultipartUpload"]
    asked = {**sender.place, "MultipartUpload": {"Parts": list(parts)}}
    with account.database.read() as tx:
        (handler,) = operation.prepared(tx, account.root, asked)
    change()
    with account.database.write() as tx:
        return dict(handler(tx, account.root, asked))


def test_what_changes_while_parts_are_looked_at_is_looked_at_anew(account: Account) -> None:
    sender = Sender(account)
    part = sender.part(1, b"data")
    for change in (lambda: sender.part(1, b"data"), lambda: sender.part(2, b"more"), lambda: sender.complete(part)):
        with pytest.raises(Outdated):
            overtaken(account, sender, change, part)
    assert overtaken(account, sender, lambda: None, part)["ETag"] == head(account)["ETag"]


def test_a_source_that_is_replaced_while_it_is_read_is_read_anew(account: Account) -> None:
    sender = Sender(account, Key="copy")
    account.put("bucket", "source", b"old")
    asked = {**sender.place, "PartNumber": 1, "CopySource": "bucket/source"}
    operation = OPERATIONS["s3", "UploadPartCopy"]
    with account.database.read() as tx:
        (handler,) = operation.prepared(tx, account.root, asked)
    account.put("bucket", "source", b"new")
    with pytest.raises(Outdated), account.database.write() as tx:
        handler(tx, account.root, asked)
