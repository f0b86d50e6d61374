"""A job's prefix in S3."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import BinaryIO, Callable, Dict, Optional, Tuple

from skylift.agent.remote.aws import Aws, Refused, Unreachable, Until

Answer = Tuple[int, Dict[str, str], bytes]


class Prefix:
    """A job's prefix in S3, or another prefix, or a whole bucket (an empty prefix)."""

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
        """Download the bytes [start, end) of the object with this ETag."""
        headers = {"range": "bytes=%d-%d" % (start, end - 1)}
        if etag:
            headers["if-match"] = etag
        status, _, _ = self._aws.send("s3", "GET", self._url(key), headers, sink=sink)
        if status == 404:
            raise Refused(404, "it no longer exists")
        if status == 412:
            raise Refused(412, "it was changed since the job was submitted")

    def put(self, key: str, body: bytes, first: bool = False, times: str = "") -> bool:
        """Writes an object. With `first`, only if it is missing; otherwise returns False. `times` is its metadata."""
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

    def request(
        self, method: str, key: str, query: str = "", body: bytes = b"", headers: Optional[Dict[str, str]] = None
    ) -> Answer:
        """Send any request for an object. Returns what Aws.send returns."""
        return self._aws.send("s3", method, self._url(key, query), headers or {}, body)

    def put_file(
        self, key: str, file: BinaryIO, size: int, until: Until, sent: Callable[[int], None] = lambda size: None
    ) -> str:
        """Upload a file. Returns the SHA-256 of what was sent. See upload.py."""
        from skylift.agent.remote.upload import put_file  # noqa: PLC0415 (not there before the rest has come)

        return put_file(self, key, file, size, until, sent)
