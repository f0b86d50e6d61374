"""Uploads a file to S3: a large one in parts, which are retried separately.

The answer to CompleteMultipartUpload needs care. A status of 200 may come with an error, and when the answer was lost,
a retry gets NoSuchUpload. Then this looks for the object, which has a random word in its metadata. If the object is not
there, the file is sent again from its start.

A part's signature covers a CRC32 of its bytes, which S3 compares, and not their SHA-256: the file's own SHA-256 is in
the manifest, which is signed whole. So each byte goes through SHA-256 once, and not at all in S3.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import threading
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Callable, Dict, Optional, Protocol, Tuple

from skylift.agent.remote.aws import Refused, Unreachable, Until, code_of, retry_until

PIECE = 8 << 20
"""Bytes in one part, and the size up to which a file is sent in one request."""
PART = 16 << 20
_MOST_PARTS = 10000
AT_A_TIME = 4
IN_HAND = threading.BoundedSemaphore(AT_A_TIME)
"""Limits the parts of all files that are in memory: the program may need the memory."""
_MARK = "x-amz-meta-skylift-upload"


class Store(Protocol):
    """The part of a Prefix that an upload needs."""

    def put(self, key: str, body: bytes) -> bool: ...

    def request(
        self, method: str, key: str, query: str = "", body: bytes = b"", headers: Optional[Dict[str, str]] = None
    ) -> Tuple[int, Dict[str, str], bytes]: ...


class _Gone(Exception):
    """S3 does not know the upload any more."""


def put_file(
    prefix: Store, key: str, file: BinaryIO, size: int, until: Until, sent: Callable[[int], None] = lambda size: None
) -> str:
    """The SHA-256 of the bytes that were sent, from where the file stands to its end. An OSError is the file's own
    fault. `sent` is called with the size of each piece that S3 has, in bytes.
    """
    start = file.tell()
    if size <= PIECE:
        with IN_HAND:
            body = file.read(size + 1)
            if len(body) > size:
                # It has grown, perhaps beyond what there is memory for.
                body += file.read(PIECE - size)
            if len(body) <= PIECE:
                retry_until(key, lambda: prefix.put(key, body), until)
                sent(len(body))
                return hashlib.sha256(body).hexdigest()

    def send() -> str:
        file.seek(start)
        try:
            return _Upload(prefix, key, file, max(PART, -(-size // 9999)), until, sent).run()
        except _Gone as error:
            raise Unreachable(str(error)) from None

    return retry_until(key, send, until)


class _Upload:
    """One multipart upload."""

    def __init__(
        self, prefix: Store, key: str, file: BinaryIO, part: int, until: Until, on_sent: Callable[[int], None]
    ) -> None:
        self._prefix, self._key, self._until, self._on_sent = prefix, key, until, on_sent
        self._file, self._part, self._digest = file, part, hashlib.sha256()
        self._mark = secrets.token_hex(16)
        self._reading = threading.Lock()
        self._read = 0
        self._failed = False
        self._sent: Dict[int, Tuple[str, str]] = {}
        """Each part's ETag and CRC32."""

    def run(self) -> str:
        self._id = retry_until(self._key, self._begin, self._until)
        try:
            with ThreadPoolExecutor(AT_A_TIME) as pool:
                list(pool.map(lambda _: self._send_parts(), range(AT_A_TIME)))
        except OSError:
            # The file cannot be read. Parts that are left would cost money.
            with contextlib.suppress(Unreachable, Refused):
                self._prefix.request("DELETE", self._key, "uploadId=" + self._id)
            raise
        retry_until(self._key, self._complete, self._until)
        return self._digest.hexdigest()

    def _begin(self) -> str:
        headers = {_MARK: self._mark, "x-amz-checksum-algorithm": "CRC32"}
        status, _, answer = self._prefix.request("POST", self._key, "uploads=", headers=headers)
        text = answer.decode(errors="replace")
        found = text.partition("<UploadId>")[2].partition("</UploadId>")[0]
        if status >= 300:
            raise Refused(status, text)
        if not found:
            raise Unreachable("%s: no upload in %s" % (self._key, text[:300]))
        return urllib.parse.quote(found, safe="")

    def _send_parts(self) -> None:
        """Sends parts until all are sent. If one thread fails, the others begin no further part."""
        try:
            while self._send_next():
                continue
        except BaseException:
            self._failed = True
            raise

    def _send_next(self) -> bool:
        with IN_HAND:
            number, body = self._next()
            if body:
                self._sent[number] = retry_until(self._key, lambda: self._send_part(number, body), self._until)
                self._on_sent(len(body))
            return bool(body)

    def _next(self) -> Tuple[int, bytes]:
        """The next part. Parts are read and hashed in order."""
        with self._reading:
            if self._failed or self._read >= _MOST_PARTS:
                return 0, b""
            body = self._file.read(self._part)
            self._digest.update(body)
            self._read += 1
            return self._read, body

    def _send_part(self, number: int, body: bytes) -> Tuple[str, str]:
        query = "partNumber=%d&uploadId=%s" % (number, self._id)
        crc32 = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        covered = {"x-amz-checksum-crc32": crc32, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        status, headers, answer = self._prefix.request("PUT", self._key, query, body, covered)
        if status == 404:
            raise _Gone("%s: %s" % (self._key, answer[:300].decode(errors="replace")))
        if status >= 300 or "etag" not in headers:
            raise Unreachable("%s: HTTP %d to part %d" % (self._key, status, number))
        return headers["etag"], crc32

    def _complete(self) -> None:
        tags = [
            "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag><ChecksumCRC32>%s</ChecksumCRC32></Part>" % (number, *sent)
            for number, sent in sorted(self._sent.items())
        ]
        whole = ("<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % "".join(tags)).encode()
        try:
            status, _, answer = self._prefix.request("POST", self._key, "uploadId=" + self._id, whole)
        except Refused as error:
            if error.code != "InvalidPart":
                raise
            raise _Gone("%s: %s" % (self._key, error)) from None
        text = answer.decode(errors="replace")
        if status < 300 and "<CompleteMultipartUploadResult" in text:
            return
        trouble = "%s: HTTP %d %s" % (self._key, status, text[:300])
        if status != 404 and code_of(text) != "NoSuchUpload":
            raise Unreachable(trouble)
        if not self._is_there():
            raise _Gone(trouble)

    def _is_there(self) -> bool:
        """Whether the object is from this upload. False if that is not known: the file is sent again."""
        try:
            status, headers, _ = self._prefix.request("HEAD", self._key)
        except (Unreachable, Refused):
            return False
        return status < 300 and headers.get(_MARK) == self._mark
