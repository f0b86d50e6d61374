"""A file that goes to S3 in parts: beside each other, whole all the same, never whole when one of them is refused; and
what S3 and the way there may do to it."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from typing import Any

import pytest

from skylift.agent.remote import upload
from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.prefix import Prefix
from skylift.agent.results.send_deadline import OutOfTime, SendDeadline

BODY = bytes(range(256)) * 40
PART = 1000
DONE = b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
NO_UPLOAD = b"<Error><Code>NoSuchUpload</Code></Error>"
PATIENT = 30.0


class Parts:
    """An S3 that takes a file in parts, and refuses one of them where that is asked for. `at_the_end` is what it says
    when they are to be put together, in turn: an answer, `lost` for one that does not come although it is done, and
    `dropped` for an upload that somebody has aborted."""

    def __init__(self, refused: int = 0, at_the_end: tuple[object, ...] = ()) -> None:
        self.taken: dict[int, bytes] = {}
        self.named: list[tuple[int, str]] = []
        self.begun = 0
        self.whole: bytes | None = None
        self._mark = self._its_mark = ""
        self._refused, self._at_the_end = refused, list(at_the_end)
        self._two = threading.Barrier(2)

    def url(self, service: str, bucket: str) -> str:
        return f"http://{service}/{bucket}"

    def send(
        self, service: str, method: str, url: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        if url.endswith("uploads="):
            self.begun += 1
            self.taken, self._mark = {}, headers.get("x-amz-meta-skylift-upload", "")
            return 200, {}, b"<UploadId>u</UploadId>"
        if method == "HEAD":
            # As for a role that may not list.
            if self.whole is None:
                raise Unreachable("HTTP 403")
            return 200, {"x-amz-meta-skylift-upload": self._its_mark}, b""
        number = re.search(r"partNumber=(\d+)", url)
        if number is None:
            return self._complete(body)
        part = int(number[1])
        if part == self._refused:
            raise Refused(400, "not this one")
        if part <= 2 and not self._refused and self.begun == 1:
            # Neither is taken before the other is on its way.
            self._two.wait(timeout=30)
        self.taken[part] = body
        return 200, {"etag": f"tag{part}"}, b""

    def _complete(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        tags = re.findall(r"<PartNumber>(\d+)</PartNumber><ETag>(\w+)</ETag>", body.decode())
        self.named = [(int(each), tag) for each, tag in tags]
        turn = self._at_the_end.pop(0) if self._at_the_end else DONE
        if turn in (DONE, "lost"):
            self.whole = b"".join(self.taken[number] for number in sorted(self.taken))
            self._its_mark = self._mark
        if turn == "lost":
            raise Unreachable("the connection was reset")
        if turn == "dropped":
            return 404, {}, NO_UPLOAD
        assert isinstance(turn, tuple) or turn == DONE
        return turn if isinstance(turn, tuple) else (200, {}, DONE)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PIECE", PART)
    monkeypatch.setattr(upload, "PART", PART)


def put(aws: Any, until: Any = 0) -> str:
    return Prefix(aws, "bucket", "jobs/x").put_file("server/results/r", io.BytesIO(BODY), len(BODY), until)


def test_parts_go_beside_each_other_and_are_whole() -> None:
    aws = Parts()
    assert put(aws) == hashlib.sha256(BODY).hexdigest()
    assert aws.whole == BODY
    assert aws.named == [(number, f"tag{number}") for number in range(1, 12)]


@pytest.mark.parametrize(("grown", "begun"), [(500, 0), (PART, 0), (len(BODY), 1)])
def test_a_small_file_that_grows_meanwhile_is_not_taken_into_memory_whole(grown: int, begun: int) -> None:
    class Whole(Parts):
        def _complete(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            if not self.begun:
                self.whole = body
                return 200, {}, b""
            return super()._complete(body)

    aws, body = Whole(), BODY[:grown]
    told = Prefix(aws, "bucket", "jobs/x").put_file("server/results/r", io.BytesIO(body), 10, 0)  # type: ignore[arg-type]
    assert told == hashlib.sha256(body).hexdigest()
    assert (aws.whole, aws.begun) == (body, begun)


def test_when_a_part_is_refused_the_file_is_not_completed() -> None:
    aws = Parts(refused=3)
    with pytest.raises(Refused, match="not this one"):
        put(aws)
    assert aws.named == []


@pytest.mark.parametrize(
    ("at_the_end", "begun"),
    [
        ([(200, {}, b"\n\n<Error><Code>InternalError</Code></Error>")], 1),
        ([(200, {}, b"\n\n")], 1),
        (["lost", (404, {}, NO_UPLOAD)], 1),
        (["lost", (200, {}, NO_UPLOAD)], 1),
        (["dropped"], 2),
        ([(409, {}, b"<Error><Code>OperationAborted</Code></Error>")], 1),
    ],
    ids=["error in a 200", "cut-off 200", "lost answer", "lost answer, 200", "aborted", "conflict"],
)
def test_what_is_said_at_the_end_and_passes(at_the_end: list[object], begun: int) -> None:
    aws = Parts(at_the_end=tuple(at_the_end))
    assert put(aws, time.time() + PATIENT) == hashlib.sha256(BODY).hexdigest()
    assert (aws.whole, aws.begun) == (BODY, begun)


def test_an_older_object_of_that_name_is_not_taken_for_ours() -> None:
    aws = Parts()
    put(aws)
    aws._at_the_end.append("dropped")
    assert put(aws, time.time() + PATIENT) == hashlib.sha256(BODY).hexdigest()
    assert aws.begun == 3


def test_patience_ends_with_an_upload_that_is_gone_each_time() -> None:
    aws = Parts(at_the_end=("dropped",) * 100)
    with pytest.raises(Unreachable, match="NoSuchUpload"):
        put(aws, time.time() + 0.5)


class Flaky(Parts):
    """The first answer to each part is not a good one."""

    def __init__(self, first: tuple[int, dict[str, str], bytes]) -> None:
        super().__init__()
        self._first, self._seen = first, set[str]()

    def send(
        self, service: str, method: str, url: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        if "partNumber=3" in url and url not in self._seen:
            self._seen.add(url)
            return self._first
        return super().send(service, method, url, headers, body)


@pytest.mark.parametrize("first", [(404, {}, NO_UPLOAD), (200, {}, b""), (409, {}, b"")])
def test_a_part_that_has_no_good_answer(first: tuple[int, dict[str, str], bytes]) -> None:
    aws = Flaky(first)
    assert put(aws, time.time() + PATIENT) == hashlib.sha256(BODY).hexdigest()
    assert aws.whole == BODY


def test_nothing_new_is_begun_when_there_is_no_time_left() -> None:
    """However well it goes; and nobody tries that again."""
    aws = Parts()
    now = time.time()
    with pytest.raises(OutOfTime):
        put(aws, SendDeadline(PATIENT, now + PATIENT, now - 1))
    assert aws.begun == 0
