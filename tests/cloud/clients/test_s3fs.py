"""s3fs, as people who work with data frames use it: a file system of buckets."""

from __future__ import annotations

import subprocess
from pathlib import Path

from serverless_cloud import Cloud

WORK = """
import os, s3fs

fs = s3fs.S3FileSystem()
fs.mkdir("data")
with fs.open("data/in/a.csv", "wb") as file:
    file.write(b"n,m\\n1,2\\n")
fs.pipe({"data/in/b.csv": b"3,4\\n", "data/in/deep/c.csv": b"5,6\\n"})
assert sorted(fs.ls("data/in")) == ["data/in/a.csv", "data/in/b.csv", "data/in/deep"]
assert fs.glob("data/**/*.csv") == ["data/in/a.csv", "data/in/b.csv", "data/in/deep/c.csv"]
assert fs.cat("data/in/a.csv", start=4, end=7) == b"1,2"
assert fs.info("data/in/a.csv")["size"] == 8 and fs.isdir("data/in/deep") and not fs.exists("data/none")

block = os.urandom(1 << 20)
with fs.open("data/big", "wb", block_size=5 << 20) as file:
    for _ in range(12):
        file.write(block)
with fs.open("data/big", "rb") as file:
    file.seek(11 << 20)
    assert file.read() == block
fs.copy("data/big", "data/copy")
assert fs.du("data/copy") == 12 << 20
fs.mv("data/copy", "data/moved")
assert not fs.exists("data/copy")

fs.put("local.txt", "data/put.txt")
fs.get("data/put.txt", "back.txt")
assert open("back.txt").read() == open("local.txt").read()
fs.put_tags("data/put.txt", {"job": "1"})
assert fs.get_tags("data/put.txt") == {"job": "1"}
fs.setxattr("data/put.txt", colour="blue")
assert fs.getxattr("data/put.txt", "colour") == "blue"

fs.invalidate_cache()
fs.call_s3("put_bucket_versioning", Bucket="data", VersioningConfiguration={"Status": "Enabled"})
kept = s3fs.S3FileSystem(version_aware=True, skip_instance_cache=True)
kept.pipe("data/v", b"one"); kept.pipe("data/v", b"two")
old = [info["VersionId"] for info in kept.object_version_info("data/v") if not info["IsLatest"]]
with kept.open("data/v", version_id=old[0]) as file:
    assert file.read() == b"one"
fs.call_s3("put_bucket_versioning", Bucket="data", VersioningConfiguration={"Status": "Suspended"})

fs.invalidate_cache()
fs.rm("data/in", recursive=True)
assert sorted(fs.ls("data", refresh=True)) == ["data/big", "data/moved", "data/put.txt", "data/v"]
print("done")
"""


def test_a_file_system(cloud: Cloud, clients: Path, tmp_path: Path) -> None:
    (tmp_path / "local.txt").write_text("text\n")
    done = subprocess.run(
        [str(clients / "python"), "-c", WORK],
        cwd=tmp_path,
        env=cloud.environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
