"""An object of S3 as a file that is read from its start: by ranges, all of the same version."""

from __future__ import annotations

import io
from typing import IO, Any

from skylift.client.errors import Refused, SkyliftError
from skylift.client.remote.api import Api
from skylift.client.ship.s3_input import S3Object

_PIECE = 8 << 20
"""Bytes of one request."""


def open_object(api: Api, bucket: str, found: S3Object) -> IO[bytes]:
    """Reading raises OSError."""
    return io.BufferedReader(_ObjectFile(api, bucket, found), _PIECE)


class _ObjectFile(io.RawIOBase):
    def __init__(self, api: Api, bucket: str, found: S3Object) -> None:
        self._api, self._bucket, self._found, self._at = api, bucket, found, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._found.size)
        if end <= self._at:
            return 0
        try:
            data = self._api.span(self._bucket, self._found.key, self._at, end, self._found.etag)
        except Refused as error:
            if error.code in {"PreconditionFailed", "412", "NoSuchKey", "404", "InvalidRange"}:
                raise OSError("it was changed meanwhile.") from None
            raise OSError(error.message) from None
        except SkyliftError as error:
            raise OSError(error.message) from None
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
