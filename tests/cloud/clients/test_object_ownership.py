"""ACLs as each kind of object ownership has them, asked for by boto3 and s3fs; `test_s3cmd.py` has s3cmd.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html and
object-ownership-error-responses.html; that a document with what the owner has anyhow is refused, too, where ACLs are
disabled: https://github.com/s3tools/s3cmd/issues/1304.
"""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from serverless_cloud import Cloud

ENFORCED, PREFERRED, WRITER = "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"
DISABLED, BLOCKED, DONE = "AccessControlListNotSupported", "AccessDenied", ""
EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
OWNERS_OWN = ("private", "bucket-owner-full-control", "bucket-owner-read")
PUBLIC = ("public-read", "public-read-write", "authenticated-read")


def code_of(call: Callable[..., Any], **params: Any) -> str:
    try:
        call(**params)
    except ClientError as error:
        answer: Any = error.response
        code: str = answer["Error"]["Code"]
        return code
    return DONE


class Owned:
    """A bucket of one kind of ownership, which blocks public ACLs as new ones do, or does not."""

    def __init__(self, cloud: Cloud, ownership: str, *, blocks: bool) -> None:
        self.s3 = cloud.client()
        self.s3.create_bucket(Bucket="bucket", ObjectOwnership=ownership)
        if not blocks:
            self.s3.delete_public_access_block(Bucket="bucket")
        self.s3.put_object(Bucket="bucket", Key="key", Body=b"data")
        self.owner = self.s3.get_bucket_acl(Bucket="bucket")["Owner"]["ID"]

    def writes(self, **acl: Any) -> dict[str, str]:
        """How each call that makes an object with an ACL ends."""
        target = {"Bucket": "bucket", "Key": "new", **acl}
        return {
            "put": code_of(self.s3.put_object, **target, Body=b"x"),
            "copy": code_of(self.s3.copy_object, **target, CopySource="bucket/key"),
            "parts": code_of(self.s3.create_multipart_upload, **target),
        }

    def sets(self, **acl: Any) -> dict[str, str]:
        """How each call that sets the ACL of what is there ends."""
        return {
            "object": code_of(self.s3.put_object_acl, Bucket="bucket", Key="key", **acl),
            "bucket": code_of(self.s3.put_bucket_acl, Bucket="bucket", **acl),
        }

    def document(self, *more: dict[str, Any]) -> dict[str, Any]:
        own = {"Grantee": {"Type": "CanonicalUser", "ID": self.owner}, "Permission": "FULL_CONTROL"}
        return {"Owner": {"ID": self.owner}, "Grants": [own, *more]}

    def grants(self) -> int:
        return len(self.s3.get_object_acl(Bucket="bucket", Key="key")["Grants"])


@pytest.mark.parametrize("blocks", [True, False])
def test_a_bucket_without_acls(cloud: Cloud, blocks: bool) -> None:
    bucket = Owned(cloud, ENFORCED, blocks=blocks)
    assert set(bucket.writes().values()) == {DONE}
    assert set(bucket.writes(ACL="bucket-owner-full-control").values()) == {DONE}
    others = [{"ACL": acl} for acl in ("private", "bucket-owner-read", *PUBLIC)]
    others += [{"GrantRead": f'uri="{EVERYBODY}"'}, {"GrantFullControl": f"id={bucket.owner}"}]
    for acl in others:
        assert set(bucket.writes(**acl).values()) == {DISABLED}, acl
    for acl in [*others, {"ACL": "bucket-owner-full-control"}, {"AccessControlPolicy": bucket.document()}]:
        assert set(bucket.sets(**acl).values()) == {DISABLED}, acl
    assert bucket.grants() == 1


@pytest.mark.parametrize("ownership", [PREFERRED, WRITER])
@pytest.mark.parametrize("blocks", [True, False])
def test_a_bucket_with_acls(cloud: Cloud, ownership: str, blocks: bool) -> None:
    bucket = Owned(cloud, ownership, blocks=blocks)
    public = {"Grantee": {"Type": "Group", "URI": EVERYBODY}, "Permission": "READ"}
    for acl in OWNERS_OWN:
        assert {*bucket.writes(ACL=acl).values(), *bucket.sets(ACL=acl).values()} == {DONE}, acl
    assert set(bucket.sets(AccessControlPolicy=bucket.document()).values()) == {DONE}
    expected = BLOCKED if blocks else DONE
    for acl in PUBLIC:
        assert {*bucket.writes(ACL=acl).values(), *bucket.sets(ACL=acl).values()} == {expected}, acl
    assert set(bucket.writes(GrantRead=f'uri="{EVERYBODY}"').values()) == {expected}
    assert set(bucket.sets(AccessControlPolicy=bucket.document(public)).values()) == {expected}
    assert bucket.grants() == (1 if blocks else 2)


def test_a_bucket_that_is_closed_later_keeps_what_it_had_and_shows_none_of_it(cloud: Cloud) -> None:
    bucket = Owned(cloud, WRITER, blocks=False)
    bucket.s3.put_object_acl(Bucket="bucket", Key="key", ACL="public-read")
    where = f"{cloud.url}/bucket/key"
    with urllib.request.urlopen(where) as answer:
        assert answer.read() == b"data"
    rules = {"Rules": [{"ObjectOwnership": ENFORCED}]}
    bucket.s3.put_bucket_ownership_controls(Bucket="bucket", OwnershipControls=rules)
    assert bucket.grants() == 1
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(where)
    rules = {"Rules": [{"ObjectOwnership": WRITER}]}
    bucket.s3.put_bucket_ownership_controls(Bucket="bucket", OwnershipControls=rules)
    assert bucket.grants() == 2


def test_a_new_bucket_and_its_acl(cloud: Cloud) -> None:
    s3 = cloud.client()
    assert code_of(s3.create_bucket, Bucket="one", ACL="private") == DONE
    assert code_of(s3.create_bucket, Bucket="two", ACL="public-read") == "InvalidBucketAclWithObjectOwnership"
    code = code_of(s3.create_bucket, Bucket="two", ACL="public-read", ObjectOwnership=WRITER)
    assert code == "InvalidBucketAclWithBlockPublicAccessError"
    assert code_of(s3.create_bucket, Bucket="two", ACL="private", ObjectOwnership=PREFERRED) == DONE


S3FS = """
import s3fs
fs = s3fs.S3FileSystem()
for bucket in ("enforced", "preferred", "writer"):
    outcome = []
    for path, acl in ((f"{bucket}/key", "public-read"), (f"{bucket}/key", "private"), (bucket, "public-read")):
        try:
            fs.chmod(path, acl)
            outcome.append("done")
        except PermissionError:
            outcome.append("denied")
        except OSError as error:
            outcome.append("disabled" if "does not allow ACLs" in str(error) else repr(error))
    own = s3fs.S3FileSystem(s3_additional_kwargs={"ACL": "bucket-owner-full-control"})
    own.pipe(f"{bucket}/own", b"x")
    own.copy(f"{bucket}/own", f"{bucket}/copied")
    assert fs.cat(f"{bucket}/copied") == b"x"
    print(*outcome)
"""


def test_s3fs(cloud: Cloud, clients: Path, tmp_path: Path) -> None:
    s3 = cloud.client()
    for name, ownership in (("enforced", ENFORCED), ("preferred", PREFERRED), ("writer", WRITER)):
        s3.create_bucket(Bucket=name, ObjectOwnership=ownership)
        s3.put_object(Bucket=name, Key="key", Body=b"data")
    s3.delete_public_access_block(Bucket="writer")
    done = subprocess.run(
        [str(clients / "python"), "-c", S3FS],
        cwd=tmp_path,
        env=cloud.environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = ["disabled disabled disabled", "denied done denied", "done done done"]
    assert (done.returncode, done.stdout.splitlines()) == (0, lines), done.stderr
