"""apache-libcloud's storage driver, as people who want to leave the cloud open use it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from serverless_cloud import Cloud

WORK = """
import io, os
from urllib.parse import urlsplit
from libcloud.storage.providers import get_driver
from libcloud.storage.types import ContainerIsNotEmptyError, ObjectDoesNotExistError, Provider

place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
s3 = get_driver(Provider.S3)(
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"],
    region="us-east-1", host=place.hostname, port=place.port, secure=False,
)
data = s3.create_container("data")
assert [container.name for container in s3.list_containers()] == ["data"]
said = {"meta_data": {"job": "1"}, "content_type": "text/plain"}
made = s3.upload_object("local.txt", data, "in/a b.txt", extra=said)
assert made.size == 5
found = s3.get_object("data", "in/a b.txt")
assert (found.size, found.meta_data) == (5, {"job": "1"}), (found.size, found.meta_data)
assert found.download("back.txt") and open("back.txt").read() == "text\\n"
assert b"".join(found.as_stream()) == b"text\\n"

block = os.urandom(1 << 20)
s3.upload_object_via_stream(iter([block] * 12), data, "big")
assert b"".join(s3.get_object("data", "big").as_stream()) == block * 12
assert b"".join(s3.get_object("data", "big").range_as_stream(1 << 20, (1 << 20) + 4)) == block[:4]
assert [thing.name for thing in s3.list_container_objects(data, prefix="in/")] == ["in/a b.txt"]
assert list(s3.ex_iterate_multipart_uploads(data)) == []
try:
    data.delete()
except ContainerIsNotEmptyError:
    pass
for thing in data.list_objects():
    assert thing.delete()
try:
    s3.get_object("data", "big")
except ObjectDoesNotExistError:
    print("done" if data.delete() else "left")
"""


def test_a_container(cloud: Cloud, clients: Path, tmp_path: Path) -> None:
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
