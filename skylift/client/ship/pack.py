"""Small inputs, many in an archive: each archive is known by its content, so that a job sends those that are new.

Which files go together hangs on their names: they are taken in order, and an archive ends behind a file whose name says
so. A file that is changed, added or removed changes the archive that it is in, and seldom a neighbour. There are few
archives, as the job's role has to name each; where there is more to send they are larger.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from skylift.client.errors import UsageError
from skylift.client.job.job import Bundle, SentFile
from skylift.client.ship.archiver import Archiver
from skylift.client.ship.blob_store import Blob
from skylift.client.ship.known_packs import KnownPacks, Packed
from skylift.contract import record

MOST_PACKS = 12
_LEAST = 1 << 20
"""Bytes of files from which on an archive may end; twice as many, and it does."""
_NAME = "The bundle"
_HEADER = 512
"""Bytes that each file has in an archive besides its own."""


@dataclass(frozen=True)
class Pack:
    """An archive of `files` entries, which are files of `size` bytes together, and links."""

    blob: Blob
    files: int
    size: int

    def as_record(self) -> record.Pack:
        return record.Pack(self.blob.sha256, self.files, self.size)


def group(files: Sequence[SentFile]) -> Iterator[list[SentFile]]:
    """In the order of their places; one group at least, and at most MOST_PACKS."""
    whole = sum(each.size + _HEADER for each in files)
    least = _LEAST
    while least * (MOST_PACKS - 1) < whole:
        least *= 2
    # Behind the least, as many bytes again as half of it are to be expected until a name ends an archive.
    each_so_many = 1
    while each_so_many * 4 * whole < least * len(files):
        each_so_many *= 2
    found: list[SentFile] = []
    size = 0
    for each in files:
        found.append(each)
        size += each.size + _HEADER
        ends = zlib.crc32(os.fsencode(each.place)) % each_so_many == 0
        if size >= 2 * least or (size >= least and ends):
            yield found
            found, size = [], 0
    if found or not files:
        yield found


def pack_bundle(bundle: Bundle, target: IO[bytes], known: KnownPacks | None = None) -> tuple[Pack, ...]:
    """All but the large files, one archive behind the other in an open file of this machine, which stays open until
    they are sent. What `known` has is compressed only if it has to be sent. Raises UsageError as Archiver does, and
    where the file, which has no buffer, has no room."""
    archiver, known = Archiver(bundle), KnownPacks() if known is None else known
    small = [each for each in bundle.files if each.place not in bundle.large]
    packs = tuple(_pack(archiver, files, target, known) for files in group(small))
    known.save()
    return packs


def _pack(archiver: Archiver, files: Sequence[SentFile], target: IO[bytes], known: KnownPacks) -> Pack:
    # In a first run everything would be read twice.
    archived = None if known.is_empty else archiver.read(files)
    packed = known.find(archived.sha256) if archived is not None else None
    if archived is not None and packed is not None:
        blob = Blob(_NAME, *packed, partial(_pack_again, archiver, files, known), files=archived.entries)
        return Pack(blob, archived.entries, archived.size)
    begin, counting = target.tell(), _Counting(target)
    archived = archiver.write(files, counting)
    target.flush()
    descriptor, end = target.fileno(), begin + counting.size

    def reopen() -> Any:
        return closing(io.BufferedReader(_Window(descriptor, begin, end), 1 << 20))

    blob = Blob(_NAME, counting.digest.hexdigest(), counting.size, reopen, files=archived.entries)
    known.note(archived.sha256, Packed(blob.sha256, blob.size))
    return Pack(blob, archived.entries, archived.size)


def _pack_again(archiver: Archiver, files: Sequence[SentFile], known: KnownPacks) -> IO[bytes]:
    """A known archive that the bucket does not have. Raises OSError when its files cannot be read as they were: the
    sender says that they have changed."""
    with ExitStack() as stack:
        target = stack.enter_context(tempfile.TemporaryFile(prefix="skylift-", buffering=0))
        counting = _Counting(target)
        try:
            archived = archiver.write(files, counting)
        except UsageError as error:
            raise OSError(errno.ESTALE, error.message) from None
        # A home that machines share may have been written by another one's zlib. What this one makes counts now.
        known.note(archived.sha256, Packed(counting.digest.hexdigest(), counting.size))
        known.save()
        target.seek(0)
        stack.pop_all()
    return target


class _Counting(io.RawIOBase):
    """What is written goes on, counted and hashed."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self.digest, self.size = hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Raises UsageError where there is no room."""
        left = memoryview(data)
        size = left.nbytes
        self.digest.update(left)
        try:
            while left:
                left = left[self._target.write(left) :]
        except OSError as error:
            raise UsageError(
                f"What the job sends cannot be packed in {tempfile.gettempdir()}: {error.strerror}.",
                "Set TMPDIR to a folder with more room, or send less.",
            ) from None
        self.size += size
        return size


class _Window(io.RawIOBase):
    """Bytes [begin, end) of an open file, which others may read at the same time."""

    def __init__(self, file: int, begin: int, end: int) -> None:
        self._file, self._at, self._end = file, begin, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = os.pread(self._file, min(len(view), self._end - self._at), self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
