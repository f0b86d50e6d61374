"""Bodies on their way in: aws-chunked in every variant, checksums, limits, and the spool's files."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st

from skylift.cloud.domain.bucket import LARGEST_IN_ROW, Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.state import durable
from skylift.cloud.wire import body as bodies
from skylift.cloud.wire import checksum
from skylift.cloud.wire.body import MemoryBody, Receiver, SmallBody, SpoolFile, announced, sink_for
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.chunked import SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER, ChunkSignatures
from skylift.cloud.wire.models import load
from skylift.cloud.wire.signature import SigningKey

PUT = load("s3").operation("PutObject")
KEY = SigningKey(b"key", "20261125T083000Z", "20261125/us-east-1/s3/aws4_request")
SEED = "5" * 64


def put(headers: dict[str, str], *, declared: str | None = None, operation: Any = PUT) -> bodies.Announced:
    return announced(Request("PUT", "/abc/k", tuple(headers.items()), "127.0.0.1"), declared, operation)


def part(headers: dict[str, str], upload: str) -> bodies.Announced:
    request = Request("PUT", f"/abc/k?partNumber=1&uploadId={upload}", tuple(headers.items()), "127.0.0.1")
    return announced(request, None, load("s3").operation("UploadPart"))


def receive(directory: Path, wanted: bodies.Announced, *pieces: bytes) -> Spool:
    receiver = Receiver(wanted, SpoolFile(directory), ChunkSignatures(KEY, SEED))
    try:
        for piece in pieces:
            receiver.feed(piece)
        spool = receiver.finish()
        assert isinstance(spool, Spool)
        assert (directory / spool.file).stat().st_size == spool.size
        return spool
    finally:
        receiver.discard()
        assert list(directory.iterdir()) == []


def code_of(directory: Path, wanted: bodies.Announced, *pieces: bytes) -> str:
    with pytest.raises(ServiceError) as refused:
        receive(directory, wanted, *pieces)
    return refused.value.code


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    return [*pieces, data[position:]]


def signed_chunks(chunks: list[bytes], trailer: bytes = b"") -> bytes:
    """What a client sends for these chunks; written from S3's documents, apart from the decoder."""
    out, previous = b"", SEED
    empty = hashlib.sha256(b"").hexdigest()
    for chunk in [*chunks, b""]:
        text = "\n".join(
            ("AWS4-HMAC-SHA256-PAYLOAD", KEY.stamp, KEY.scope, previous, empty, hashlib.sha256(chunk).hexdigest())
        )
        previous = hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest()
        out += b"%x;chunk-signature=%s\r\n" % (len(chunk), previous.encode())
        if chunk:
            out += chunk + b"\r\n"
    if trailer:
        text = "\n".join(
            ("AWS4-HMAC-SHA256-TRAILER", KEY.stamp, KEY.scope, previous, hashlib.sha256(trailer + b"\n").hexdigest())
        )
        signature = hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest()
        out += trailer + b"\r\nx-amz-trailer-signature:" + signature.encode() + b"\r\n"
    return out + b"\r\n"


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


CONTENT = bytes(range(256)) * 40
SIZES = st.lists(st.integers(1, 3000), max_size=8)


@settings(max_examples=40)
@given(content=st.binary(max_size=4000), chunk=st.integers(1, 2000), sizes=SIZES)
def test_what_botocore_codes_we_decode(tmp_path_factory: Any, content: bytes, chunk: int, sizes: list[int]) -> None:
    coded = AwsChunkedWrapper(
        io.BytesIO(content), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32", chunk_size=chunk
    ).read()
    headers = {
        "x-amz-decoded-content-length": str(len(content)),
        "x-amz-trailer": "x-amz-checksum-crc32",
        "content-encoding": "aws-chunked",
    }
    spool = receive(tmp_path_factory.mktemp("spool"), put(headers, declared=UNSIGNED_TRAILER), *split(coded, sizes))
    assert spool.size == len(content)
    assert spool.md5 == hashlib.md5(content).hexdigest()
    assert spool.checksums == {"CRC32": crc32(content)}


@settings(max_examples=40)
@given(chunks=st.lists(st.binary(min_size=1, max_size=500), max_size=4), sizes=SIZES, with_trailer=st.booleans())
def test_signed_chunks(tmp_path_factory: Any, chunks: list[bytes], sizes: list[int], with_trailer: bool) -> None:
    content = b"".join(chunks)
    headers = {"x-amz-decoded-content-length": str(len(content))}
    trailer, declared = b"", SIGNED
    if with_trailer:
        trailer, declared = b"x-amz-checksum-crc32:" + crc32(content).encode(), SIGNED_TRAILER
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    coded = signed_chunks(chunks, trailer)
    spool = receive(tmp_path_factory.mktemp("spool"), put(headers, declared=declared), *split(coded, sizes))
    assert (spool.size, spool.md5) == (len(content), hashlib.md5(content).hexdigest())


@pytest.mark.parametrize("at", [0, 5, 40, 95, 120, 300, -90, -3])
def test_one_changed_byte_of_signed_chunks_is_noticed(tmp_path: Path, at: int) -> None:
    trailer = b"x-amz-checksum-crc32:" + crc32(b"a" * 100 + b"b" * 100).encode()
    coded = bytearray(signed_chunks([b"a" * 100, b"b" * 100], trailer))
    coded[at] ^= 1
    wanted = put(
        {"x-amz-decoded-content-length": "200", "x-amz-trailer": "x-amz-checksum-crc32"}, declared=SIGNED_TRAILER
    )
    assert code_of(tmp_path, wanted, bytes(coded)) in ("SignatureDoesNotMatch", "InvalidRequest", "IncompleteBody")


def test_signed_chunks_cannot_be_swapped_dropped_or_cut(tmp_path: Path) -> None:
    wanted = put({"x-amz-decoded-content-length": "200"}, declared=SIGNED)
    whole = signed_chunks([b"a" * 100, b"b" * 100])
    size = len(whole.split(b"b" * 100)[0].split(b"a" * 100)[0]) + 102
    first, second, end = whole[:size], whole[size : 2 * size], whole[2 * size :]
    assert receive(tmp_path, wanted, first + second + end).size == 200
    assert code_of(tmp_path, wanted, second + first + end) == "SignatureDoesNotMatch"
    assert code_of(tmp_path, wanted, first + end) == "SignatureDoesNotMatch"
    assert code_of(tmp_path, wanted, first + second) == "IncompleteBody"
    assert code_of(tmp_path, wanted, first + second + end + b"x") == "InvalidRequest"


@pytest.mark.parametrize(
    "coded",
    [b"zz\r\n", b"\r\n", b"-5\r\n", b"5\nhello", b"5\r\nhello!\r\n0\r\n\r\n", b"1" * 9000, b"0\r\nno header\r\n\r\n"],
)
def test_malformed_chunks(tmp_path: Path, coded: bytes) -> None:
    wanted = put({"x-amz-decoded-content-length": "5"}, declared=UNSIGNED_TRAILER)
    assert code_of(tmp_path, wanted, coded) == "InvalidRequest"


def test_a_trailer_must_come_and_be_right(tmp_path: Path) -> None:
    headers = {"x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32"}
    wanted = put(headers, declared=UNSIGNED_TRAILER)
    assert code_of(tmp_path, wanted, b"5\r\nhello\r\n0\r\n\r\n") == "MalformedTrailerError"
    assert code_of(tmp_path, wanted, b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n") == "BadDigest"
    right = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + crc32(b"hello").encode() + b"\r\n\r\n"
    assert receive(tmp_path, wanted, right).checksums == {"CRC32": crc32(b"hello")}


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5"])
def test_every_checksum(tmp_path: Path, algorithm: str) -> None:
    running = checksum.start(algorithm)
    running.update(CONTENT)
    header = f"x-amz-checksum-{algorithm.lower()}"
    right = checksum.encoded(running)
    headers = {"content-length": str(len(CONTENT)), header: right}
    assert receive(tmp_path, put(headers), CONTENT[:100], CONTENT[100:]).checksums == {algorithm: right}
    assert code_of(tmp_path, put(headers), CONTENT[:-1] + b"x") == "BadDigest"


# The check values of the CRC catalogues: over the nine digits.
@pytest.mark.parametrize(
    ("algorithm", "check"), [("CRC32", "cbf43926"), ("CRC32C", "e3069283"), ("CRC64NVME", "ae8b14860a799888")]
)
def test_crcs_have_their_catalogued_values(algorithm: str, check: str) -> None:
    running = checksum.start(algorithm)
    for piece in (b"1234", b"", memoryview(b"56789")):
        running.update(piece)
    assert running.digest().hex() == check


def test_without_a_checksum_one_is_computed(tmp_path: Path) -> None:
    assert list(receive(tmp_path, put({"content-length": "5"}), b"hello").checksums) == ["CRC64NVME"]


def test_digests_of_the_whole(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    wanted = put({"content-length": str(len(CONTENT)), "content-md5": md5}, declared=sha256)
    assert receive(tmp_path, wanted, CONTENT).md5 == hashlib.md5(CONTENT).hexdigest()
    wrong = CONTENT[:-1] + b"x"
    assert code_of(tmp_path, wanted, wrong) == "XAmzContentSHA256Mismatch"
    assert code_of(tmp_path, put({"content-length": str(len(CONTENT)), "content-md5": md5}), wrong) == "BadDigest"
    assert code_of(tmp_path, wanted, CONTENT[:-1]) == "IncompleteBody"
    assert code_of(tmp_path, wanted, CONTENT + b"x") == "IncompleteBody"


def test_a_refused_md5_is_repeated(tmp_path: Path) -> None:
    """`test_s3_invalid_content_md5`, recorded on AWS in LocalStack's test_s3.snapshot.json."""
    stated = hashlib.md5(b"something1")
    headers = {"content-length": "9", "content-md5": base64.b64encode(stated.digest()).decode()}
    for operation, expected in (("PutObject", stated.hexdigest()), ("UploadPart", headers["content-md5"])):
        wanted = put(headers, operation=load("s3").operation(operation))
        with pytest.raises(ServiceError) as refused:
            receive(tmp_path, wanted, b"something")
        assert refused.value.code == "BadDigest"
        assert refused.value.detail == {"ExpectedDigest": expected, "CalculatedDigest": "Q3uTDbhLgHnC3YBKcZNrXw=="}
    for text in ("__invalid__", "000", "not base64 encoded checksum", "MTIz", "dGVzdC1zdHJpbmc="):
        with pytest.raises(ServiceError) as refused:
            put({"content-length": "9", "content-md5": text})
        assert (refused.value.code, refused.value.detail) == ("InvalidDigest", {"Content-MD5": text})


def test_a_large_body_is_hashed_in_threads_and_written_out_meanwhile(tmp_path: Path) -> None:
    content = os.urandom(2 * bodies.WRITTEN_OUT + bodies.WORTH_A_THREAD)
    sha256, crc = hashlib.sha256(content).hexdigest(), crc32(content)
    wanted = put({"content-length": str(len(content)), "x-amz-checksum-crc32": crc}, declared=sha256)
    pieces = split(content, [3, 1 << 20, bodies.WORTH_A_THREAD - 1, bodies.WRITTEN_OUT + 1])
    receiver = Receiver(wanted, SpoolFile(tmp_path), None)
    for piece in pieces:
        receiver.feed(piece)
    spool = receiver.finish()
    assert isinstance(spool, Spool)
    assert (spool.md5, spool.checksums) == (hashlib.md5(content).hexdigest(), {"CRC32": crc})
    assert (tmp_path / spool.file).read_bytes() == content
    receiver.discard()
    assert code_of(tmp_path, wanted, *pieces[:-1], pieces[-1][:-1] + b"x") == "XAmzContentSHA256Mismatch"


def test_a_digest_is_the_signatures_and_a_checksum(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(CONTENT)
    stated = base64.b64encode(sha256.digest()).decode()
    headers = {"content-length": str(len(CONTENT)), "x-amz-checksum-sha256": stated}
    pieces = split(CONTENT, [1, 70_000])
    assert receive(tmp_path, put(headers, declared=sha256.hexdigest()), *pieces).checksums == {"SHA256": stated}
    headers["x-amz-checksum-sha256"] = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    assert code_of(tmp_path, put(headers, declared=sha256.hexdigest()), *pieces) == "BadDigest"


@pytest.mark.parametrize(
    ("headers", "declared", "code"),
    [
        ({}, None, "MissingContentLength"),
        ({"content-length": "5"}, UNSIGNED_TRAILER, "MissingContentLength"),
        ({"content-length": str(5 * 1024**3 + 1)}, None, "EntityTooLarge"),
        ({"content-length": "5"}, "not-a-hash", "InvalidArgument"),
        ({"content-length": "5", "content-md5": "AAAA"}, None, "InvalidDigest"),
        ({"content-length": "5", "x-amz-checksum-crc32": "AAAA"}, None, "InvalidRequest"),
        ({"content-length": "5", "x-amz-checksum-xxhash64": "AAAA"}, None, "InvalidRequest"),
        ({"content-length": "5", "x-amz-sdk-checksum-algorithm": "CRC32"}, None, "InvalidRequest"),
        (
            {"content-length": "5", "x-amz-checksum-crc32": "AAAAAA==", "x-amz-trailer": "x-amz-checksum-sha1"},
            None,
            "InvalidRequest",
        ),
    ],
)
def test_headers_that_make_no_sense_are_refused_before_the_body(
    headers: dict[str, str], declared: str | None, code: str
) -> None:
    with pytest.raises(ServiceError) as refused:
        put(headers, declared=declared)
    assert refused.value.code == code


def test_a_checksum_that_speaks_of_the_object_is_not_compared_with_the_request() -> None:
    complete = load("s3").operation("CompleteMultipartUpload")
    assert put({"content-length": "5", "x-amz-checksum-crc32": "AAAAAA=="}, operation=complete).checksums == {}


def test_deleting_many_needs_a_digest() -> None:
    with pytest.raises(ServiceError, match="Content-MD5"):
        put({"content-length": "5"}, operation=load("s3").operation("DeleteObjects"))


@pytest.mark.parametrize("operation", ["PutBucketAcl", "PutBucketPolicy", "PutBucketVersioning", "PutObjectAcl"])
def test_some_need_none_though_the_model_says_so(operation: str) -> None:
    """s3cmd and MinIO's client send none, and S3 takes what they send."""
    assert put({"content-length": "5"}, operation=load("s3").operation(operation)).checksums == {}


def test_other_bodies_stay_small() -> None:
    with pytest.raises(ServiceError, match="too big"):
        put({"content-length": str(bodies.LARGEST_IN_MEMORY + 1)}, operation=None)
    receiver = Receiver(put({}, operation=None), MemoryBody(), None)
    with pytest.raises(ServiceError, match="too big"):
        for _ in range(5):
            receiver.feed(bytes(1024 * 1024))


def test_a_file_stays_when_it_was_taken(tmp_path: Path) -> None:
    for take in (False, True):
        sink = SpoolFile(tmp_path)
        sink.write(memoryview(b"x"))
        body = sink.keep(1, "", {}, "")
        assert isinstance(body, Spool)
        if take:
            body.take()
        sink.discard()
        assert (tmp_path / body.file).exists() is take


def test_spooled_files_are_private(tmp_path: Path) -> None:
    sink = SpoolFile(tmp_path)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sink.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_plainly() -> None:
    class FullDisk(SpoolFile):
        def __init__(self) -> None:
            self._path = Path("/dev/full")
            self._file = os.open("/dev/full", os.O_WRONLY)
            self._directory = os.open("/dev", os.O_RDONLY)
            self._size = 0

    sink = FullDisk()
    with pytest.raises(ServiceError) as refused:
        sink.write(memoryview(b"x"))
    assert (refused.value.code, refused.value.status) == ("InsufficientStorage", 507)
    sink._close()


@pytest.mark.parametrize(
    ("length", "sink"), [(0, SmallBody), (LARGEST_IN_ROW, SmallBody), (LARGEST_IN_ROW + 1, SpoolFile)]
)
def test_a_small_body_is_no_file(length: int, sink: type[SmallBody | SpoolFile], tmp_path: Path) -> None:
    wanted = put({"content-length": str(length)})
    chosen = sink_for(wanted, load("s3").operation("PutObject"), tmp_path)
    assert type(chosen) is sink
    receiver = Receiver(wanted, chosen, None)
    receiver.feed(bytes(length))
    spool = receiver.finish()
    assert isinstance(spool, Spool)
    assert spool.data == (bytes(length) if sink is SmallBody else None)
    assert (spool.size, spool.md5) == (length, hashlib.md5(bytes(length)).hexdigest())
    assert spool.checksums.keys() == {"CRC64NVME"}
    receiver.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_small_body_leaves_room_for_deletions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database, where it goes, needs some of the disk to forget anything."""
    monkeypatch.setattr(durable, "KEPT_FREE", 1 << 60)
    receiver = Receiver(put({"content-length": "1"}), SmallBody(tmp_path), None)
    receiver.feed(b"x")
    with pytest.raises(ServiceError) as refused:
        receiver.finish()
    assert (refused.value.code, refused.value.status) == ("InsufficientStorage", 507)


def test_operations_without_an_object_keep_their_body_in_memory(tmp_path: Path) -> None:
    wanted = put({"content-length": "5", "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
    assert isinstance(sink_for(wanted, load("s3").operation("DeleteObjects"), tmp_path), MemoryBody)
