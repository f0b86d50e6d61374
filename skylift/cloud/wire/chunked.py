"""The aws-chunked coding: an upload in chunks, each perhaps signed, with checksums in trailers.

    400;chunk-signature=SIGNATURE\r\n DATA \r\n ... 0;chunk-signature=SIGNATURE\r\n [name:value\r\n ...] \r\n

Source: "Signature calculations: transferring a payload in multiple chunks" and "... with trailing headers" (S3 API
reference).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.signature import SigningKey

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
WORDS = frozenset({SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER})
"""The values of x-amz-content-sha256 that announce this coding."""

_LONGEST_LINE = 8192
_SIGNATURE = b"chunk-signature="
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


@dataclass
class ChunkSignatures:
    """The chain of signatures: each covers the one before, so that no chunk can be dropped, repeated or moved."""

    key: SigningKey
    previous: str

    def check_chunk(self, signature: str, data_sha256: str) -> None:
        empty = hashlib.sha256(b"").hexdigest()
        self._check(signature, f"AWS4-HMAC-SHA256-PAYLOAD\n{{}}\n{{}}\n{{}}\n{empty}\n{data_sha256}")

    def check_trailer(self, signature: str, trailers: bytes) -> None:
        self._check(signature, f"AWS4-HMAC-SHA256-TRAILER\n{{}}\n{{}}\n{{}}\n{hashlib.sha256(trailers).hexdigest()}")

    def _check(self, signature: str, to_sign: str) -> None:
        expected = self.key.sign(to_sign.format(self.key.stamp, self.key.scope, self.previous))
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise ServiceError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
                "Access Key and signing method.",
                SignatureProvided=signature,
            )
        self.previous = expected


class ChunkDecoder:
    """Takes the coded body in pieces of any size and hands the payload on to `sink`, holding no more than one line.

    `trailers` fills up with what follows the last chunk, by lower-case name.
    """

    def __init__(
        self, sink: Callable[[memoryview], None], signatures: ChunkSignatures | None, *, signed_trailers: bool = False
    ) -> None:
        self.trailers: dict[str, str] = {}
        self._sink = sink
        self._signatures = signatures
        self._signed_trailers = signed_trailers
        self._line = bytearray()
        self._left = 0
        self._chunk_signature = ""
        self._chunk_hash = hashlib.sha256()
        self._step = self._read_size

    def feed(self, data: memoryview) -> None:
        """ServiceError when the coding or a signature is wrong, or when anything follows the end."""
        while data:
            data = self._step(data)

    def finish(self) -> None:
        """ServiceError when the body ended early."""
        if self._step != self._refuse_more:
            raise ServiceError("IncompleteBody", "The request body terminated unexpectedly", status=400)

    def _read_size(self, data: memoryview) -> memoryview:
        line, data = self._take_line(data)
        if line is None:
            return data
        size, _, extension = line.partition(b";")
        try:
            self._left = int(size, 16) if size.strip() else -1
        except ValueError:
            self._left = -1
        if self._left < 0 or len(size) > 16:
            raise _malformed(f"the chunk size {bytes(size)!r} is not a hexadecimal number")
        if self._signatures is not None:
            self._chunk_signature = _signature(extension)
            self._chunk_hash = hashlib.sha256()
        if self._left:
            self._step = self._read_data
        else:
            self._end_chunk()
            self._step = self._read_trailer
        return data

    def _read_data(self, data: memoryview) -> memoryview:
        piece = data[: self._left]
        if self._signatures is not None:
            self._chunk_hash.update(piece)
        self._sink(piece)
        self._left -= len(piece)
        if not self._left:
            self._end_chunk()
            self._step = self._read_data_end
        return data[len(piece) :]

    def _read_data_end(self, data: memoryview) -> memoryview:
        line, data = self._take_line(data)
        if line is None:
            return data
        if line:
            raise _malformed("a chunk is longer than its size")
        self._step = self._read_size
        return data

    def _read_trailer(self, data: memoryview) -> memoryview:
        line, data = self._take_line(data)
        if line is None:
            return data
        if line:
            name, separator, value = line.decode("latin-1").partition(":")
            if not separator or len(self.trailers) > 20:
                raise _malformed(f"the trailer {line.decode('latin-1')!r} is not a header")
            self.trailers[name.strip().lower()] = value.strip()
            return data
        self._end_trailers()
        self._step = self._refuse_more
        return data

    def _refuse_more(self, data: memoryview) -> memoryview:
        raise _malformed("bytes follow the last chunk")

    def _end_chunk(self) -> None:
        if self._signatures is not None:
            self._signatures.check_chunk(self._chunk_signature, self._chunk_hash.hexdigest())

    def _end_trailers(self) -> None:
        signature = self.trailers.pop(_TRAILER_SIGNATURE, "")
        if self._signed_trailers and self._signatures is not None:
            covered = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
            self._signatures.check_trailer(signature, covered.encode("latin-1"))

    def _take_line(self, data: memoryview) -> tuple[bytes | None, memoryview]:
        """The next line without its end, if it is complete, and the rest of `data`."""
        end = bytes(data[: _LONGEST_LINE + 2]).find(b"\n")
        taken = len(data) if end < 0 else end + 1
        if len(self._line) + taken > _LONGEST_LINE:
            raise _malformed("a line of the aws-chunked coding is too long")
        self._line += data[:taken]
        if end < 0:
            return None, data[taken:]
        if not self._line.endswith(b"\r\n"):
            raise _malformed("a line does not end in CR LF")
        line = bytes(self._line[:-2])
        self._line.clear()
        return line, data[taken:]


def _signature(extension: bytes) -> str:
    extension = extension.strip()
    if not extension.startswith(_SIGNATURE):
        raise _malformed("a chunk has no signature")
    return extension.removeprefix(_SIGNATURE).decode("latin-1")


def _malformed(reason: str) -> ServiceError:
    return ServiceError("InvalidRequest", f"The aws-chunked body is malformed: {reason}")
