"""Response bodies that are files: opened before the answer starts, so that a missing one can still be an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from skylift.cloud.bucket import Extent, FileBody

IN_ONE_WRITE = 256 * 1024
"""Bodies up to this size are read at once and leave together with the headers."""
MOST_OPEN = 32
"""Files opened ahead; an object of many parts has one each, and the process has a limit."""


@dataclass(frozen=True)
class Slice:
    """`length` bytes of an open file, from `offset`."""

    file: BinaryIO
    offset: int
    length: int


class OpenBody:
    """The files of a FileBody. Close it, whatever happened."""

    def __init__(self, directory: Path, body: FileBody) -> None:
        """FileNotFoundError when a file is gone: the object was replaced after the answer was made."""
        self.size = body.size
        self._directory = directory
        self._stack = ExitStack()
        self._ahead: list[Slice] = []
        self._rest = body.extents[MOST_OPEN:]
        try:
            for extent in body.extents[:MOST_OPEN]:
                self._ahead.append(self._stack.enter_context(_Opened(directory, extent)).slice)
        except OSError:
            self._stack.close()
            raise

    def slices(self) -> Iterator[Slice]:
        """All slices in order; those beyond the first few are opened when it is their turn."""
        yield from self._ahead
        for extent in self._rest:
            with _Opened(self._directory, extent) as opened:
                yield opened.slice

    def read(self) -> bytes:
        """All of it, for a body that is small."""
        return b"".join(os.pread(each.file.fileno(), each.length, each.offset) for each in self.slices())

    def close(self) -> None:
        self._stack.close()


def opened(directory: Path, body: FileBody) -> bytes | OpenBody:
    """A small body whole, a large one to be streamed. FileNotFoundError: see OpenBody."""
    files = OpenBody(directory, body)
    if body.size > IN_ONE_WRITE:
        return files
    try:
        return files.read()
    finally:
        files.close()


class _Opened:
    def __init__(self, directory: Path, extent: Extent) -> None:
        self._file = (directory / extent.file).open("rb", buffering=0)
        self.slice = Slice(self._file, extent.offset, extent.length)

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
