"""Inputs on a real server: from S3 the objects that were named and no others, and large files sent once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator

import pytest
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real

# Prints what has come, then tries with the job's own credentials what it may read of the bucket.
PROGRAM = """
import json, os
import awscli
from botocore.exceptions import ClientError
from botocore.session import Session

s3, answers = Session().create_client("s3"), {}
for key in ("logs/a.csv", "logs-private/b.csv", "other.csv"):
    try:
        answers[key] = s3.get_object(Bucket="lake", Key=key)["Body"].read().decode()
    except ClientError as error:
        answers[key] = error.response["Error"]["Code"]
found = {os.path.join(top, name) for top, _, names in os.walk("logs") for name in names}
print(json.dumps([sorted(found), answers]))
"""


@pytest.fixture
def lake(cloud: RealCloud) -> Iterator[None]:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="lake")
    keys = ["logs/a.csv", "logs/deep/c.csv", "logs-private/b.csv", "other.csv"]
    for key in keys:
        s3.put_object(Bucket="lake", Key=key, Body=key.encode())
    yield
    for key in keys:
        s3.delete_object(Bucket="lake", Key=key)
    s3.delete_bucket(Bucket="lake")


def test_the_server_may_read_just_what_was_named(lake: None, cloud: RealCloud) -> None:
    folder = cloud.work / "lake"
    folder.mkdir()
    (folder / "job.py").write_text(PROGRAM)
    done = cloud.skylift("run", "--in", "s3://lake/logs/", "job.py", cwd=folder)
    assert "; 2 objects of S3, 25 B" in done.stderr
    assert json.loads(done.stdout) == [
        ["logs/a.csv", "logs/deep/c.csv"],
        {"logs/a.csv": "logs/a.csv", "logs-private/b.csv": "AccessDenied", "other.csv": "AccessDenied"},
    ]


def test_a_large_file_is_sent_once(cloud: RealCloud) -> None:
    folder = cloud.work / "large"
    folder.mkdir()
    (folder / "big.bin").write_bytes(os.urandom(20 << 20))
    (folder / "job.py").write_text("import hashlib\nprint(hashlib.sha256(open('big.bin', 'rb').read()).hexdigest())\n")
    digest = hashlib.sha256((folder / "big.bin").read_bytes()).hexdigest()
    first, second = (cloud.skylift("run", "--in", "big.bin", "job.py", cwd=folder) for _ in range(2))
    assert first.stdout == second.stdout == f"{digest}\n"
    assert "2 files, 20.0 MiB (" in first.stderr
    assert "2 files, 20.0 MiB, nothing of it new (" in second.stderr
