"""The job's own place in S3."""

from __future__ import annotations

import hashlib
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Callable, Dict, Optional, Tuple

from skylift.runner.supervisor.aws import Aws, Refused, Unreachable, patiently

PIECE = 8 << 20
"""Bytes in one piece of a stream, and the size up to which a result is sent in one request."""
PART = 16 << 20
_MOST_PARTS = 10000
_AT_A_TIME = 4
_IN_HAND = threading.BoundedSemaphore(_AT_A_TIME)
"""Parts that are in memory, of all files that are being sent: the program may be in need of it."""


class Prefix:
    """The job's own place in S3; or another one, down to a whole bucket."""

    def __init__(self, aws: Aws, bucket: str, prefix: str = "") -> None:
        self._aws = aws
        self._base = "/".join(filter(None, [aws.url("s3", bucket), prefix.strip("/")])) + "/"

    def _url(self, key: str, query: str = "") -> str:
        return self._base + urllib.parse.quote(key, safe="/-_.~") + ("?" + query if query else "")

    def get(self, key: str) -> Optional[bytes]:
        status, _, body = self._aws.send("s3", "GET", self._url(key), {})
        return None if status == 404 else body

    def fetch(self, key: str, path: Path) -> None:
        with path.open("wb") as file:
            status, _, _ = self._aws.send("s3", "GET", self._url(key), {}, sink=file)
        if status == 404:
            raise Refused(404, "%s is not in the job's prefix" % key)

    def fetch_span(self, key: str, start: int, end: int, sink: BinaryIO, etag: str = "") -> None:
        """The bytes from `start` up to `end`, which is not among them, of the object that has this tag."""
        headers = {"range": "bytes=%d-%d" % (start, end - 1)}
        if etag:
            headers["if-match"] = etag
        status, _, _ = self._aws.send("s3", "GET", self._url(key), headers, sink=sink)
        if status == 404:
            raise Refused(404, "it is not there any more")
        if status == 412:
            raise Refused(412, "it was changed since the job was submitted")

    def put(self, key: str, body: bytes, first: bool = False, times: str = "") -> bool:
        """False when `first` was asked for and the object is there already. `times` goes with it as metadata."""
        headers = {"if-none-match": "*"} if first else {}
        if times:
            headers["x-amz-meta-times"] = times
        status, _, answer = self._aws.send("s3", "PUT", self._url(key), headers, body)
        if status == 409:
            raise Unreachable("%s: a conditional write was in the way" % key)
        if status == 404:
            raise Refused(status, answer.decode(errors="replace"))
        return status < 300

    def delete(self, key: str) -> None:
        self._aws.send("s3", "DELETE", self._url(key), {})

    def put_file(self, key: str, file: BinaryIO, size: int, until: float) -> str:
        """Send a file, large ones in parts; each part is tried again on its own. The SHA-256 of what was sent."""
        digest = hashlib.sha256()
        if size <= PIECE:
            body = file.read()
            digest.update(body)
            patiently(key, lambda: self.put(key, body), until)
            return digest.hexdigest()
        part = max(PART, -(-size // 9999))
        _, _, answer = patiently(key, lambda: self._aws.send("s3", "POST", self._url(key, "uploads="), {}), until)
        upload = urllib.parse.quote(_between(answer.decode(), "<UploadId>", "</UploadId>"), safe="")
        parts = _Parts(file, part, digest)

        def send(number: int, body: bytes) -> str:
            url = self._url(key, "partNumber=%d&uploadId=%s" % (number, upload))
            _, headers, _ = patiently(key, lambda: self._aws.send("s3", "PUT", url, {}, body), until)
            return headers["etag"]

        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(parts.send_all, [send] * _AT_A_TIME))
        tags = ["<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % sent for sent in sorted(parts.sent.items())]
        whole = ("<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % "".join(tags)).encode()
        url = self._url(key, "uploadId=" + upload)
        _, _, answer = patiently(key, lambda: self._aws.send("s3", "POST", url, {}, whole), until)
        if b"<Error>" in answer:
            raise Unreachable("%s: %s" % (key, answer[:300].decode(errors="replace")))
        return digest.hexdigest()


class _Parts:
    """A file's parts: read and hashed in their order, sent beside each other. `sent` are their tags by number."""

    def __init__(self, file: BinaryIO, size: int, digest: "hashlib._Hash") -> None:
        self._file, self._size, self._digest = file, size, digest
        self._reading = threading.Lock()
        self._read = 0
        self._failed = False
        self.sent: Dict[int, str] = {}

    def send_all(self, send: Callable[[int, bytes], str]) -> None:
        """As long as there are any, by as many threads as call this; when one of them fails, no other begins a part."""
        try:
            while self._send_next(send):
                continue
        except BaseException:
            self._failed = True
            raise

    def _send_next(self, send: Callable[[int, bytes], str]) -> bool:
        with _IN_HAND:
            number, body = self._next()
            if body:
                self.sent[number] = send(number, body)
            return bool(body)

    def _next(self) -> Tuple[int, bytes]:
        with self._reading:
            if self._failed or self._read >= _MOST_PARTS:
                return 0, b""
            body = self._file.read(self._size)
            self._digest.update(body)
            self._read += 1
            return self._read, body


def _between(text: str, start: str, end: str) -> str:
    if start not in text:
        raise Refused(200, text)
    return text.split(start, 1)[1].split(end, 1)[0]
