"""The archives of a bundle's files.

The same content gives the same bytes. When a file is sent, it must still be the one that was chosen (see sent_file.py).
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

from skylift.agent.results.tar_header import file_header
from skylift.client.errors import UsageError
from skylift.client.job.job import Bundle, SentFile
from skylift.client.ship.sent_file import Opener, mode_of, open_sent
from skylift.client.text.visible import shown

_WORTH_A_LOOK = 4 << 20
_SAMPLE = 1 << 18
_LITTLE = 0.9
"""The part of its size that data must get below by compressing, for that to be worth the time."""
_PIECE = 1 << 20


class Archived(NamedTuple):
    """How many entries an archive has, how many bytes its files have, and the SHA-256 of the archive before it is
    compressed."""

    entries: int
    size: int
    sha256: str


class Archiver:
    """Writes files of a bundle as tar.gz. The same content gives the same bytes: times and owners are left out.

    A link stays a link if it points to a file that is sent too. Any other link is replaced by the file that it points
    to.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    @cached_property
    def _sent(self) -> set[str]:
        """All places, with the folders that they are in."""
        places = {each.place for each in self._bundle.files}
        return places | {each.as_posix() for place in places for each in Path(place).parents if each != Path()}

    def write(self, files: Sequence[SentFile], target: IO[bytes] | io.RawIOBase) -> Archived:
        """Raises UsageError for a file that is another one by now, or changed its size while it was being read."""
        packed = _Gzip(target, _level(files))
        archived = self._archive(files, packed.write)
        packed.finish()
        return archived

    def read(self, files: Sequence[SentFile]) -> Archived:
        """The same, without compressing anything, which takes most of the time."""
        return self._archive(files, lambda _: None)

    def _archive(self, files: Sequence[SentFile], write: Callable[[bytes], object]) -> Archived:
        entries = size = 0
        digest = hashlib.sha256()

        def add(data: bytes) -> None:
            digest.update(data)
            write(data)

        with Opener() as opener:
            for each in files:
                if each.link and _link_is_sent(each, self._sent):
                    add(_link_entry(each.place, each.link))
                elif each.is_folder:
                    continue
                else:
                    size += _add_file(add, opener, each)
                entries += 1
            add(bytes(2 * tarfile.BLOCKSIZE))
        return Archived(entries, size, digest.hexdigest())


class _Gzip:
    """Compresses what is written, in few calls: there may be thousands of small files."""

    def __init__(self, target: IO[bytes] | io.RawIOBase, level: int) -> None:
        self._target, self._level = target, level
        self._waiting = bytearray()
        self._packer: zlib._Compress | None = None

    def write(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) >= _SAMPLE:
            self._pass_on()

    def finish(self) -> None:
        self._pass_on()
        assert self._packer is not None
        self._target.write(self._packer.flush())

    def _pass_on(self) -> None:
        if self._packer is None:
            # zlib's own header has no time and no name.
            self._packer = zlib.compressobj(self._level, zlib.DEFLATED, 31, zlib.DEF_MEM_LEVEL, self._strategy())
        self._target.write(self._packer.compress(self._waiting))
        self._waiting.clear()

    def _strategy(self) -> int:
        """Looking for runs of a byte only, which tar's headers are full of, takes less than half of the time. It is
        done where looking for more gains little, as in images and archives."""
        start = self._waiting[:_SAMPLE]
        runs = zlib.compressobj(self._level, zlib.DEFLATED, strategy=zlib.Z_RLE)
        size = len(runs.compress(start)) + len(runs.flush())
        return zlib.Z_RLE if _LITTLE * size < len(zlib.compress(start, self._level)) else zlib.Z_DEFAULT_STRATEGY


def _level(files: Sequence[SentFile]) -> int:
    """The compression level: 0 when the start of the largest file does not compress, because compressing is slower than
    sending."""
    largest = max(files, key=lambda each: each.size, default=None)
    if largest is None or largest.size < _WORTH_A_LOOK:
        return 1
    try:
        with open_sent(largest) as file:
            start = file.read(_SAMPLE)
    except OSError as error:
        raise _unreadable(largest, error) from None
    return 0 if len(zlib.compress(start, 1)) > _LITTLE * len(start) else 1


def _link_is_sent(file: SentFile, sent: set[str]) -> bool:
    return not file.link.startswith("/") and os.path.normpath(Path(file.place).parent / file.link) in sent


def _link_entry(place: str, link: str) -> bytes:
    entry = tarfile.TarInfo(place)
    entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, link
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _add_file(add: Callable[[bytes], None], opener: Opener, sent: SentFile) -> int:
    """Add a file; return its size."""
    try:
        file = opener.open(sent)
        try:
            status = os.fstat(file)
            add(file_header(sent.place, status.st_size, mode_of(status)))
            left = status.st_size
            while left:
                data = os.read(file, min(left, _PIECE))
                if not data:
                    raise UsageError(
                        f"{shown(sent.path)} became shorter while it was being sent.",
                        "Send it when nothing writes to it.",
                    )
                add(data)
                left -= len(data)
        finally:
            os.close(file)
    except OSError as error:
        raise _unreadable(sent, error) from None
    add(bytes(-status.st_size % tarfile.BLOCKSIZE))
    return status.st_size


def _unreadable(sent: SentFile, error: OSError) -> UsageError:
    return UsageError(f"{shown(sent.path)} cannot be read: {error.strerror}.")
