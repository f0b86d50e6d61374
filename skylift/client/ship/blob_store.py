"""Inputs in the account's bucket, named by the hash of their content, so that each content is uploaded once.

A job's role may read only the inputs that its record names, and may write none: no job can change another job's inputs.
The server checks the hash of what it downloads.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import IO, Any

from skylift.client.errors import Refused, RunError, SkyliftError, UsageError
from skylift.client.job.job import Bundle, SentFile
from skylift.client.remote.api import Api
from skylift.client.ship.sent_file import mode_of, open_sent
from skylift.client.text.visible import shown
from skylift.client.waiting import Threads
from skylift.contract.record import LargeInput

BLOBS = "inputs/sha256/"
_PART = 16 << 20
_PARTS = 9999
_AT_A_TIME = 4


@dataclass(frozen=True)
class Blob:
    """Bytes to upload, as they were when they were hashed. `name` is for the user. `open` opens them at their start.
    `files` is how many files of the user's they hold."""

    name: str
    sha256: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    files: int = 1

    @property
    def key(self) -> str:
        return BLOBS + self.sha256


@dataclass(frozen=True)
class LargeFile:
    """A file that is uploaded by itself, and its path and mode in the job's root."""

    place: str
    mode: int
    blob: Blob

    def as_record(self) -> LargeInput:
        return LargeInput(self.place, self.blob.sha256, self.blob.size, self.mode)


def large_files(bundle: Bundle) -> tuple[LargeFile, ...]:
    """The large files of a bundle. Each is read for its hash. Raises UsageError for a file that cannot be read."""
    files = [each for each in bundle.files if each.place in bundle.large]
    with Threads(_AT_A_TIME) as pool:
        return tuple(pool.map(_large_file, files))


def _large_file(sent: SentFile) -> LargeFile:
    try:
        with open_sent(sent) as file:
            mode = mode_of(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            name = shown(sent.path)
            return LargeFile(sent.place, mode, Blob(name, digest, file.tell(), lambda: open_sent(sent)))
    except OSError as error:
        raise UsageError(f"{shown(sent.path)} cannot be read: {error.strerror}.") from None


class BlobStore:
    """The inputs of one bucket; with a `place`, those that stand there and no others' do."""

    def __init__(self, api: Api, bucket: str, place: str = BLOBS) -> None:
        self._api, self._bucket, self._place = api, bucket, place
        self._stop = threading.Event()

    def stop(self) -> None:
        """Stop an upload in another thread, where RunError is raised."""
        self._stop.set()

    def missing(self, blobs: Sequence[Blob]) -> list[Blob]:
        """The blobs that have to be uploaded, each content once."""
        different = list({blob.sha256: blob for blob in blobs}.values())
        with Threads(_AT_A_TIME) as pool:
            found = list(pool.map(self._has, different))
        return [blob for blob, there in zip(different, found, strict=True) if not there]

    def _has(self, blob: Blob) -> bool:
        try:
            found = self._api.call("s3", "head_object", Bucket=self._bucket, Key=self._place + blob.sha256)
        except Refused as error:
            if error.code != "404":
                raise
            return False
        return bool(found["ContentLength"] == blob.size)

    def send_all(self, blobs: Sequence[Blob], progress: Callable[[int], None], sent: Callable[[Blob], None]) -> None:
        """Upload blobs: small ones at the same time, then the large ones, whose parts are uploaded at the same time.
        `sent` is called with each blob that exists. Raises as `send` does."""
        with Threads(_AT_A_TIME) as pool:
            sending = [pool.submit(self.send, each, progress, sent) for each in blobs if each.size <= _PART]
            try:
                for task in sending:
                    task.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for each in blobs:
            if each.size > _PART:
                self.send(each, progress, sent)

    def send(self, blob: Blob, progress: Callable[[int], None], sent: Callable[[Blob], None] = lambda _: None) -> None:
        """Upload a blob. The object exists only when it is complete. Raises RunError for a file that has changed since
        it was hashed."""
        if self._stop.is_set():
            raise RunError("The sending of inputs was interrupted.")
        try:
            content = blob.open()
        except OSError:
            raise _changed(blob) from None
        with content as file:
            if blob.size > _PART:
                _Sending(self._api, self._bucket, self._place, blob, file, self._stop).run(progress)
            else:
                body = file.read()
                if hashlib.sha256(body).hexdigest() != blob.sha256:
                    raise _changed(blob)
                self._api.put(self._bucket, self._place + blob.sha256, body)
                progress(blob.size)
        sent(blob)


class _Sending:
    """One multipart upload. Parts are read and hashed in order, and sent at the same time."""

    def __init__(self, api: Api, bucket: str, place: str, blob: Blob, file: IO[bytes], stop: threading.Event) -> None:
        self._api, self._bucket, self._blob, self._file, self._stop = api, bucket, blob, file, stop
        self._key = place + blob.sha256
        self._part = max(_PART, -(-blob.size // _PARTS))
        self._reading = threading.Lock()
        self._digest = hashlib.sha256()
        self._sent: dict[int, dict[str, Any]] = {}
        self._read = 0
        self._failed = False

    def run(self, progress: Callable[[int], None]) -> None:
        where = {"Bucket": self._bucket, "Key": self._key}
        # Each step names the algorithm: S3 accepts only parts with the upload's algorithm, and wants their checksums
        # again at the end.
        begun = self._api.call("s3", "create_multipart_upload", **where, ChecksumAlgorithm="CRC32")
        upload = {**where, "UploadId": begun["UploadId"]}
        try:
            with Threads(_AT_A_TIME) as pool:
                list(pool.map(lambda _: self._work(upload, progress), range(_AT_A_TIME)))
            if self._stop.is_set():
                raise RunError("The sending of inputs was interrupted.")
            if self._digest.hexdigest() != self._blob.sha256:
                raise _changed(self._blob)
            parts = [{"PartNumber": number, **part} for number, part in sorted(self._sent.items())]
            try:
                self._api.call("s3", "complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
            except Refused as error:
                if not self._api.is_complete(error, self._bucket, self._key, self._blob.size):
                    raise
        except BaseException:
            with suppress(SkyliftError):  # S3 may be out of reach: `skylift sweep` finds the upload
                self._api.call("s3", "abort_multipart_upload", **upload)
            raise

    def _work(self, upload: dict[str, Any], progress: Callable[[int], None]) -> None:
        try:
            while body := self._next():
                number, data = body
                answer = self._api.call(
                    "s3", "upload_part", **upload, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32"
                )
                self._sent[number] = {name: answer[name] for name in ("ETag", "ChecksumCRC32") if name in answer}
                progress(len(data))
        except BaseException:
            self._failed = True
            raise

    def _next(self) -> tuple[int, bytes] | None:
        with self._reading:
            if self._failed or self._stop.is_set() or self._read >= _PARTS:
                return None
            data = self._file.read(self._part)
            self._digest.update(data)
            self._read += 1
            return (self._read, data) if data else None


def _changed(blob: Blob) -> RunError:
    return RunError(f"{blob.name} was changed while it was being sent.", "Send it when nothing writes to it.")
