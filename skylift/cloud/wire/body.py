"""Request bodies on their way in: decoded, hashed and compared with what the client announced, in bounded memory.

A body that is an object's content goes to a file as it arrives, unless it is small; that, and any other, stays
in memory. Source for checksums: "Checking object integrity" (S3 user guide).
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from skylift.cloud.domain.bucket import LARGEST_IN_ROW, RunningChecksum, Spool
from skylift.cloud.domain.error import ServiceError, no_room
from skylift.cloud.state.durable import begin_write_out, leave_room
from skylift.cloud.wire import checksum
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.chunked import SIGNED, SIGNED_TRAILER, WORDS, ChunkDecoder, ChunkSignatures
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.models import OperationModel
from skylift.cloud.wire.signature import UNSIGNED_PAYLOAD

LARGEST_IN_MEMORY = 4 * 1024 * 1024
LARGEST_SPOOLED = 5 * 1024**3
"""S3's limit for one PutObject or UploadPart."""
WORTH_A_THREAD = 256 * 1024
WRITTEN_OUT = 8 * 1024 * 1024
"""Each time this many bytes have come in, the disk begins to write them."""
WITHOUT_CHECKSUM = frozenset(("PutBucketAcl", "PutBucketPolicy", "PutBucketVersioning", "PutObjectAcl"))
"""The model requires a checksum here and S3 itself does not: s3cmd sends none, and gets an answer."""
DEFAULT_CHECKSUM = "CRC64NVME"
"""S3 computes this itself for an upload without a checksum."""


@dataclass(frozen=True)
class Announced:
    """The facts about a request's body in its headers.

    `length` counts the payload, without the aws-chunked coding around it. `md5` is as the header has it. `checksums`
    are base64 by algorithm, None for a checksum in a trailer. `coding` is the word in x-amz-content-sha256 that
    announces aws-chunked, or "" if such a body is not announced there. `repeats_hex` is whether a refusal repeats the
    MD5 in hex.
    """

    length: int | None = None
    sha256: str | None = None
    md5: str | None = None
    checksums: Mapping[str, str | None] = field(default_factory=dict)
    coding: str | None = None
    repeats_hex: bool = False


def announced(request: Request, declared: str | None, operation: OperationModel | None) -> Announced:
    """Read the headers. `declared` is x-amz-content-sha256's value, where there is one. ServiceError when they make no
    sense together, so that the body need not be sent."""
    coding = declared if declared in WORDS else None
    uploads = operation is not None and operation.streamed_input
    if declared in (None, UNSIGNED_PAYLOAD) and uploads and "aws-chunked" in _codings(request):
        # Anonymous clients say so in this header alone. It may not be signed: what a body was signed as, it stays.
        coding = ""
    found = Announced(
        _length(request, coding is not None),
        declared if coding is None and declared != UNSIGNED_PAYLOAD else None,
        _md5(request.header("content-md5")),
        _checksums(request) if operation is not None and operation.checksummed else {},
        coding,
        repeats_hex=operation is not None and operation.name == "PutObject",
    )
    required = operation is not None and operation.checksum_required and operation.name not in WITHOUT_CHECKSUM
    if required and not found.md5 and not found.checksums:
        raise ServiceError(
            "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        )
    if uploads:
        _check_upload(found)
    elif (found.length or 0) > LARGEST_IN_MEMORY:
        raise too_big()
    if found.sha256 is not None and not _is_hex_sha256(found.sha256):
        raise ServiceError(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
            ArgumentName="x-amz-content-sha256",
            ArgumentValue=found.sha256,
        )
    return found


def announced_in_form(request: Request) -> Announced:
    """What a form's fields announce about its file. They never announce its length."""
    return Announced(md5=_md5(request.header("content-md5")), checksums=_checksums(request))


def sink_for(found: Announced, operation: OperationModel | None, directory: Path) -> Sink:
    """The sink of such a body; `directory` is for those that become files."""
    if operation is None or not operation.streamed_input:
        return MemoryBody()
    small = found.length is not None and found.length <= LARGEST_IN_ROW
    return SmallBody(directory) if small else SpoolFile(directory)


def too_big() -> ServiceError:
    return ServiceError(
        "MaxMessageLengthExceeded", "Your request was too big.", MaxMessageLengthBytes=str(LARGEST_IN_MEMORY)
    )


def inflated(body: bytes) -> bytes:
    """The decompressed body of a gzip request, up to the limit of bodies."""
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        data = stream.decompress(body, LARGEST_IN_MEMORY + 1)
    except zlib.error as error:
        raise ServiceError("SerializationException", f"The body is not gzip: {error}.") from None
    if len(data) > LARGEST_IN_MEMORY:
        raise too_big()
    if not stream.eof:
        raise ServiceError("SerializationException", "The gzip body ends early.")
    if stream.unused_data:
        raise ServiceError("SerializationException", "Bytes follow the end of the gzip body.")
    return data


# Hashing and writing a large piece take about as long as each other, and neither holds the interpreter's lock.
_hashers = ThreadPoolExecutor(thread_name_prefix="wire-hash")


class MemoryBody:
    """A body in memory, up to LARGEST_IN_MEMORY bytes."""

    stored = False

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: memoryview) -> None:
        if len(self._data) + len(data) > LARGEST_IN_MEMORY:
            raise too_big()
        self._data += data

    def keep(self, size: int, md5: str, checksums: dict[str, str], crc64nvme: str) -> Payload:
        return bytes(self._data)

    def discard(self) -> None:
        self._data.clear()


class SmallBody(MemoryBody):
    """The content of an object that will be in a row, which is when it is durable. Never longer than was announced."""

    stored = True

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def keep(self, size: int, md5: str, checksums: dict[str, str], crc64nvme: str) -> Payload:
        leave_room(self._directory, size)
        return Spool("", size, md5, checksums, bytes(self._data), crc64nvme)


class SpoolFile:
    """A body on disk, readable by the owner only; durable when `keep` returns."""

    stored = True

    def __init__(self, directory: Path) -> None:
        self._path = directory / secrets.token_hex(16)
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._file: int | None = self._create()
        self._kept: Spool | None = None
        self._size = 0
        self._written_out = 0

    def write(self, data: memoryview) -> None:
        assert self._file is not None, "nothing follows keep() or discard()"
        self._size += len(data)
        if self._size > LARGEST_SPOOLED:
            raise too_large(self._size)
        leave_room(self._directory, len(data))
        while data:
            try:
                data = data[os.write(self._file, data) :]
            except OSError as error:
                raise _disk_full(error) from error
        if self._size - self._written_out >= WRITTEN_OUT:
            # The disk works while the next bytes come in.
            begin_write_out(self._file, self._written_out, self._size - self._written_out)
            self._written_out = self._size

    def keep(self, size: int, md5: str, checksums: dict[str, str], crc64nvme: str) -> Payload:
        assert self._file is not None, "a body is kept once"
        try:
            os.fsync(self._file)
            # The name is durable once its directory is. The file's own sync has usually written it along.
            os.fsync(self._directory)
        except OSError as error:
            raise _disk_full(error) from error
        self._close()
        self._kept = Spool(self._path.name, size, md5, checksums, None, crc64nvme)
        return self._kept

    def discard(self) -> None:
        """Remove the file, unless a service took it."""
        self._close()
        if self._kept is not None and self._kept.taken:
            return
        with suppress(FileNotFoundError):
            self._path.unlink()

    def _create(self) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            os.close(self._directory)
            raise _disk_full(error) from error

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            os.close(self._directory)
            self._file = None


Sink = MemoryBody | SpoolFile


class Receiver:
    """Takes a body in pieces, checks it, and hands it out whole. `discard` must follow, whatever happened."""

    def __init__(self, announced: Announced, sink: Sink, signatures: ChunkSignatures | None) -> None:
        self._announced = announced
        self._sink = sink
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        own = [DEFAULT_CHECKSUM] if sink.stored else []
        # A digest may be wanted twice: the signature's is a checksum, too.
        shared: dict[str, RunningChecksum] = {"SHA256": self._sha256, "MD5": self._md5}
        names = dict.fromkeys([*self._algorithms(), *own])
        self._checksums = {name: shared.get(name) or checksum.start(name) for name in names}
        if announced.sha256 is not None or not sink.stored:
            names["SHA256"] = None
        if announced.md5 is not None or sink.stored:
            names["MD5"] = None
        digests = {name: shared.get(name) or self._checksums[name] for name in names}
        # MD5 takes as long as all the others together.
        others = [running for name, running in digests.items() if name != "MD5"]
        self._lanes = [lane for lane in ([self._md5] if "MD5" in digests else [], others) if lane]
        self._decoder = self._make_decoder(signatures)

    @property
    def in_memory(self) -> bool:
        return isinstance(self._sink, MemoryBody)

    @property
    def sha256(self) -> str:
        """The received bytes' hash in hex. Only meaningful for a body in memory or with an announced hash."""
        return self._sha256.hexdigest()

    def feed(self, data: bytes | memoryview) -> None:
        if self._decoder is not None:
            self._decoder.feed(memoryview(data))
        else:
            self._take(memoryview(data))

    def finish(self) -> Payload:
        """The body, when all of it came and is what was announced."""
        trailers = {}
        if self._decoder is not None:
            self._decoder.finish()
            trailers = self._decoder.trailers
        wanted = self._announced
        if wanted.length is not None and wanted.length != self._size:
            raise ServiceError(
                "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"
            )
        if wanted.sha256 is not None and wanted.sha256 != self.sha256:
            raise ServiceError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                ClientComputedContentSHA256=wanted.sha256,
                S3ComputedContentSHA256=self.sha256,
            )
        if wanted.md5 is not None and base64.b64decode(wanted.md5) != self._md5.digest():
            raise _wrong_md5(wanted.md5, checksum.encoded(self._md5), in_hex=wanted.repeats_hex)
        computed = {name: checksum.encoded(running) for name, running in self._checksums.items()}
        self._compare(computed, trailers)
        kept = {name: computed[name] for name in self._algorithms()}
        return self._sink.keep(self._size, self._md5.hexdigest(), kept, computed.get(DEFAULT_CHECKSUM, ""))

    def discard(self) -> None:
        self._sink.discard()

    def _take(self, data: memoryview) -> None:
        self._size += len(data)
        if self._announced.length is not None and self._size > self._announced.length:
            raise ServiceError("IncompleteBody", "The request body is longer than announced")
        if len(data) < WORTH_A_THREAD:
            self._sink.write(data)
            for lane in self._lanes:
                _hash(lane, data)
            return
        hashing = [_hashers.submit(_hash, lane, data) for lane in self._lanes]
        try:
            self._sink.write(data)
        finally:
            # The digests must not change behind our back, not even when the disk is full.
            wait(hashing)
        for each in hashing:
            each.result()

    def _algorithms(self) -> list[str]:
        stated = list(self._announced.checksums)
        return stated or ([DEFAULT_CHECKSUM] if self._sink.stored else [])

    def _make_decoder(self, signatures: ChunkSignatures | None) -> ChunkDecoder | None:
        coding = self._announced.coding
        if coding is None:
            return None
        if coding in (SIGNED, SIGNED_TRAILER):
            if signatures is None:
                raise ServiceError("InvalidRequest", f"{coding} needs a signed request")
            return ChunkDecoder(self._take, signatures, signed_trailers=coding == SIGNED_TRAILER)
        return ChunkDecoder(self._take, None)

    def _compare(self, computed: Mapping[str, str], trailers: Mapping[str, str]) -> None:
        for algorithm, stated in self._announced.checksums.items():
            name = checksum.HEADER + algorithm.lower()
            value = stated if stated is not None else trailers.get(name)
            if value is None:
                raise ServiceError(
                    "MalformedTrailerError",
                    f"The request contained trailing data that was not well-formed: {name} is missing.",
                )
            if value != computed[algorithm]:
                raise ServiceError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def _hash(lane: Iterable[RunningChecksum], data: memoryview) -> None:
    for running in lane:
        running.update(data)


def _codings(request: Request) -> list[str]:
    return [word.strip() for word in request.header("content-encoding").lower().split(",")]


def _length(request: Request, coded: bool) -> int | None:
    """The payload's length as announced; None when the body is sent in HTTP chunks without it."""
    name = "x-amz-decoded-content-length" if coded else "content-length"
    text = request.header(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 15:
        raise ServiceError(
            "InvalidArgument", f"{name} must be a number of bytes", ArgumentName=name, ArgumentValue=text
        )
    return int(text)


def _check_upload(found: Announced) -> None:
    if found.length is None:
        raise ServiceError("MissingContentLength", "You must provide the Content-Length HTTP header.")
    if found.length > LARGEST_SPOOLED:
        raise too_large(found.length)


def _md5(text: str) -> str | None:
    """Content-MD5, if it is one. A refusal repeats it, as recorded on AWS: `test_s3_invalid_content_md5` in
    LocalStack's test_s3.snapshot.json."""
    if not text:
        return None
    digest = _base64(text)
    if digest is None or len(digest) != 16:
        detail = {"Content-MD5": text}
        raise ServiceError(
            "InvalidDigest", "The Content-MD5 you specified was invalid.", status=None, headers=None, **detail
        )
    return text


def _wrong_md5(stated: str, computed: str, *, in_hex: bool) -> ServiceError:
    """What was computed is told in base64; what was stated is told in hex to PutObject, and as it was to others."""
    return ServiceError(
        "BadDigest",
        "The Content-MD5 you specified did not match what we received.",
        ExpectedDigest=base64.b64decode(stated).hex() if in_hex else stated,
        CalculatedDigest=computed,
    )


def _checksums(request: Request) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    stated: list[tuple[str, str, str]] = []
    for name, values in request.headers_by_name.items():
        short = checksum.algorithm_in(name)
        if short is not None:
            stated.append((name, _algorithm(short), values[0]))
            found[_algorithm(short)] = None
    for name in request.header("x-amz-trailer").split(","):
        short = name.strip().lower().removeprefix(checksum.HEADER)
        if short != name.strip().lower():
            found.setdefault(_algorithm(short), None)
    if len(found) > 1:
        raise ServiceError(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    # Then only: `test_s3_checksum_no_algorithm`, recorded on AWS in LocalStack's test_s3.snapshot.json.
    found |= {algorithm: _valid(name, algorithm, value) for name, algorithm, value in stated}
    announced = request.header("x-amz-sdk-checksum-algorithm").upper()
    if announced and not found and not request.header("content-md5"):
        raise ServiceError(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found.",
        )
    return found


def _algorithm(short: str) -> str:
    name = short.upper()
    if not checksum.known(name):
        raise ServiceError("InvalidRequest", f"The checksum algorithm {name} is not supported here.")
    return name


def _valid(header: str, algorithm: str, value: str) -> str:
    digest = _base64(value)
    running: RunningChecksum = checksum.start(algorithm)
    if digest is None or len(digest) != len(running.digest()):
        raise ServiceError("InvalidRequest", f"Value for {header} header is invalid.")
    return value


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_hex_sha256(text: str) -> bool:
    return len(text) == 64 and not text.strip("0123456789abcdef")


def too_large(size: int, most: int = LARGEST_SPOOLED) -> ServiceError:
    return ServiceError(
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size",
        ProposedSize=str(size),
        MaxSizeAllowed=str(most),
    )


def _disk_full(error: OSError) -> Exception:
    """The user has to solve a full disk, so clients must not retry. Other errors are our own faults, or the disk's."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return no_room()
