"""s3cmd, as scripts use it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from serverless_cloud import Cloud


@pytest.fixture(scope="module", name="process")
def process_fixture(clients: Path) -> Iterator[subprocess.Popen[str]]:
    command = [clients / "python", Path(__file__).with_name("s3cmd_process.py"), clients / "s3cmd"]
    # It sees nothing of whoever runs the tests, as each command has an environment of its own.
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    with started:
        yield started
        assert started.stdin is not None
        started.stdin.close()


class S3cmd:
    def __init__(self, cloud: Cloud, process: subprocess.Popen[str], program: Path, home: Path) -> None:
        self._process = process
        self._program = str(program)
        self._environment = cloud.environment(home)
        self.home = home
        host = cloud.url.removeprefix("http://")
        (home / ".s3cfg").write_text(
            f"[default]\naccess_key = {cloud.key}\nsecret_key = {cloud.secret}\nhost_base = {host}\n"
            f"host_bucket = {host}\nuse_https = False\nmultipart_chunk_size_mb = 5\n"
        )

    def __call__(self, *arguments: str) -> str:
        out, err = self.home / ".out", self.home / ".err"
        asked = {"words": [self._program, *arguments], "folder": str(self.home), "environment": self._environment}
        assert self._process.stdin is not None and self._process.stdout is not None
        err.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps({**asked, "out": str(out), "err": str(err)}) + "\n")
        self._process.stdin.flush()
        code = self._process.stdout.readline()
        assert code == "0\n", err.read_text() if err.exists() else "the process that runs s3cmd has ended"
        return out.read_text()

    def start(self, *arguments: str) -> str:
        """As its user starts it."""
        command, environment = [self._program, *arguments], self._environment
        done = subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(name="s3cmd")
def s3cmd_fixture(cloud: Cloud, process: subprocess.Popen[str], clients: Path, tmp_path: Path) -> S3cmd:
    return S3cmd(cloud, process, clients / "s3cmd", tmp_path)


def test_objects(s3cmd: S3cmd) -> None:
    s3cmd("mb", "s3://bucket")
    (s3cmd.home / "small file.txt").write_text("small\n")
    s3cmd("put", "--add-header=x-amz-meta-job:1", "small file.txt", "s3://bucket/dir/")
    assert "s3://bucket/dir/small file.txt" in s3cmd("ls", "-r", "s3://bucket")
    assert "DIR" in s3cmd("ls", "s3://bucket")
    assert "job" in s3cmd("info", "s3://bucket/dir/small file.txt")
    s3cmd("cp", "--acl-private", "s3://bucket/dir/small file.txt", "s3://bucket/copy")
    s3cmd("mv", "--acl-private", "s3://bucket/copy", "s3://bucket/moved")
    s3cmd("get", "s3://bucket/moved", "back")
    assert (s3cmd.home / "back").read_text() == "small\n"
    assert s3cmd("du", "s3://bucket").split()[0] == "12"
    s3cmd("modify", "--acl-private", "--add-header=Cache-Control:no-store", "s3://bucket/moved")
    s3cmd("del", "--recursive", "--force", "s3://bucket")
    assert s3cmd("ls", "-r", "s3://bucket") == ""
    s3cmd("rb", "s3://bucket")


def test_it_needs_nothing_that_these_tests_have_imported_for_it(s3cmd: S3cmd) -> None:
    """All other commands are run by a process that has read the program already."""
    s3cmd.start("mb", "s3://bucket")
    assert s3cmd.start("ls").endswith("  s3://bucket\n")


def test_copying_lists_takes_a_bucket_that_allows_them(s3cmd: S3cmd) -> None:
    """As on AWS: without --acl-private a copy puts the source's ACL, which new buckets do not allow."""
    s3cmd("mb", "s3://bucket")
    (s3cmd.home / "f").write_text("x")
    s3cmd("put", "f", "s3://bucket/f")
    with pytest.raises(AssertionError, match="AccessControlListNotSupported"):
        s3cmd("cp", "s3://bucket/f", "s3://bucket/g")
    s3cmd("setownership", "s3://bucket", "ObjectWriter")
    s3cmd("cp", "s3://bucket/f", "s3://bucket/g")
    s3cmd("setversioning", "s3://bucket", "enable")


def test_a_large_file_goes_in_parts(s3cmd: S3cmd, cloud: Cloud) -> None:
    data = os.urandom(12 << 20)
    (s3cmd.home / "big").write_bytes(data)
    s3cmd("mb", "s3://bucket")
    s3cmd("put", "big", "s3://bucket/big")
    assert cloud.client().head_object(Bucket="bucket", Key="big")["ETag"].endswith('-3"')
    s3cmd("get", "s3://bucket/big", "back")
    assert hashlib.md5((s3cmd.home / "back").read_bytes()).digest() == hashlib.md5(data).digest()
    assert "multipart" not in s3cmd("multipart", "s3://bucket").lower().replace("initiated\tpath\tid", "")


def test_a_directory_is_kept_in_step(s3cmd: S3cmd, cloud: Cloud) -> None:
    (s3cmd.home / "tree/sub").mkdir(parents=True)
    for number in range(5):
        (s3cmd.home / f"tree/sub/{number}").write_text(f"{number}")
    s3cmd("mb", "s3://bucket")
    s3cmd("sync", "tree/", "s3://bucket/tree/")
    (s3cmd.home / "tree/sub/0").unlink()
    (s3cmd.home / "tree/sub/1").write_text("changed")
    said = s3cmd("sync", "--delete-removed", "tree/", "s3://bucket/tree/")
    assert "sub/2" not in said
    listed = cloud.client().list_objects_v2(Bucket="bucket")["Contents"]
    assert [item["Key"] for item in listed] == [f"tree/sub/{number}" for number in range(1, 5)]
    s3cmd("sync", "s3://bucket/tree/", "copy/")
    assert (s3cmd.home / "copy/sub/1").read_text() == "changed"


def test_what_is_told_of_a_bucket(s3cmd: S3cmd, cloud: Cloud) -> None:
    s3cmd("mb", "s3://bucket")
    said = s3cmd("info", "s3://bucket")
    assert "us-east-1" in said
    (s3cmd.home / "f").write_text("x")
    s3cmd("put", "f", "s3://bucket/f")
    s3cmd("settagging", "s3://bucket/f", "job=1&name=two")
    assert "job" in s3cmd("gettagging", "s3://bucket/f")
    s3cmd("deltagging", "s3://bucket/f")
    assert "job" not in s3cmd("gettagging", "s3://bucket/f")
    (s3cmd.home / "cors.xml").write_text(
        "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>"
        "</CORSConfiguration>"
    )
    s3cmd("setcors", "cors.xml", "s3://bucket")
    assert cloud.client().get_bucket_cors(Bucket="bucket")["CORSRules"][0]["AllowedMethods"] == ["GET"]
    s3cmd("delcors", "s3://bucket")
    s3cmd("setownership", "s3://bucket", "ObjectWriter")
    s3cmd("setblockpublicaccess", "s3://bucket", "BlockPublicAcls")
    url = s3cmd("signurl", "s3://bucket/f", "+60").strip()
    assert url.startswith("http://127.0.0.1")


def test_an_object_is_opened_to_everybody(s3cmd: S3cmd, cloud: Cloud) -> None:
    """`setacl` reads the list, changes it and puts all of it."""
    s3 = cloud.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="key", Body=b"data")
    opens = ("setacl", "--acl-public", "s3://bucket/key")
    with pytest.raises(AssertionError, match="AccessControlListNotSupported"):
        s3cmd(*opens)
    s3cmd("setownership", "s3://bucket", "ObjectWriter")
    with pytest.raises(AssertionError, match="AccessDenied"):
        s3cmd(*opens)
    s3.delete_public_access_block(Bucket="bucket")
    s3cmd(*opens)
    assert "*anon*: READ" in s3cmd("info", "s3://bucket/key")
    with urllib.request.urlopen(f"{cloud.url}/bucket/key") as answer:
        assert answer.read() == b"data"
    s3cmd("cp", "s3://bucket/key", "s3://bucket/copy")
    assert "*anon*: READ" in s3cmd("info", "s3://bucket/copy"), "a copy has its source's list"
    s3cmd("setacl", "--acl-private", "s3://bucket/key")
    assert "*anon*" not in s3cmd("info", "s3://bucket/key")


def test_rules_of_lifecycle(s3cmd: S3cmd, cloud: Cloud) -> None:
    s3 = cloud.client()
    s3.create_bucket(Bucket="bucket")
    with pytest.raises(AssertionError, match="NoSuchLifecycleConfiguration"):
        s3cmd("getlifecycle", "s3://bucket")
    s3cmd("expire", "--expiry-days=30", "--expiry-prefix=logs/", "s3://bucket")
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]
    assert (rule["Expiration"], rule["Status"]) == ({"Days": 30}, "Enabled")
    (s3cmd.home / "rules.xml").write_text(
        "<LifecycleConfiguration><Rule><ID>old</ID><Prefix>tmp/</Prefix><Status>Enabled</Status>"
        "<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
    )
    s3cmd("setlifecycle", "rules.xml", "s3://bucket")
    assert "tmp/" in s3cmd("getlifecycle", "s3://bucket")
    s3cmd("dellifecycle", "s3://bucket")
    with pytest.raises(AssertionError, match="NoSuchLifecycleConfiguration"):
        s3cmd("getlifecycle", "s3://bucket")
