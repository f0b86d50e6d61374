"""A file that goes to S3 in parts: beside each other, whole all the same, never whole when one of them is refused."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from typing import Any

import pytest

from skylift.runner.supervisor import prefix
from skylift.runner.supervisor.aws import Refused
from skylift.runner.supervisor.prefix import Prefix

BODY = bytes(range(256)) * 40
PART = 1000


class Parts:
    """An S3 that takes a file in parts, and refuses one of them where that is asked for."""

    def __init__(self, refused: int = 0) -> None:
        self.taken: dict[int, bytes] = {}
        self.named: list[tuple[int, str]] = []
        self._refused = refused
        self._two = threading.Barrier(2)

    def url(self, service: str, bucket: str) -> str:
        return f"http://{service}/{bucket}"

    def send(
        self, service: str, method: str, url: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        if url.endswith("uploads="):
            return 200, {}, b"<UploadId>u</UploadId>"
        number = re.search(r"partNumber=(\d+)", url)
        if number is None:
            tags = re.findall(r"<PartNumber>(\d+)</PartNumber><ETag>(\w+)</ETag>", body.decode())
            self.named = [(int(each), tag) for each, tag in tags]
            return 200, {}, b""
        part = int(number[1])
        if part == self._refused:
            raise Refused(400, "not this one")
        if part <= 2 and not self._refused:
            # Neither is taken before the other is on its way.
            self._two.wait(timeout=30)
        self.taken[part] = body
        return 200, {"etag": f"tag{part}"}, b""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "PIECE", PART)
    monkeypatch.setattr(prefix, "PART", PART)


def put(aws: Any) -> str:
    return Prefix(aws, "bucket", "jobs/x").put_file("server/results/r", io.BytesIO(BODY), len(BODY), 0)


def test_parts_go_beside_each_other_and_are_whole() -> None:
    aws = Parts()
    assert put(aws) == hashlib.sha256(BODY).hexdigest()
    assert b"".join(aws.taken[number] for number in sorted(aws.taken)) == BODY
    assert aws.named == [(number, f"tag{number}") for number in range(1, 12)]


def test_when_a_part_is_refused_the_file_is_not_completed() -> None:
    aws = Parts(refused=3)
    with pytest.raises(Refused, match="not this one"):
        put(aws)
    assert aws.named == []
