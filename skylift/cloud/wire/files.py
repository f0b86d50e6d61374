"""Response bodies from files: opened before the answer starts, so that a missing one can still be an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from skylift.cloud.domain.bucket import Extent, FileBody

IN_ONE_WRITE = 256 * 1024
"""Bodies up to this size are read at once and sent together with the headers."""
MOST_OPEN = 32
"""The most files that are opened ahead. An object of many parts has one each, and the process has a limit."""


@dataclass(frozen=True)
class FileSlice:
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
        # Files that are not open yet stay on disk for as long as somebody has the body.
        self._body = body
        self._stack = ExitStack()
        self._ahead: list[FileSlice | bytes] = []
        try:
            for piece in body.pieces[:MOST_OPEN]:
                self._ahead.append(self._stack.enter_context(_opened(directory, piece)))
        except OSError:
            self._stack.close()
            raise

    def pieces(self) -> Iterator[FileSlice | bytes]:
        """The content in order; files beyond the first few are opened when they are read."""
        yield from self._ahead
        for piece in self._body.pieces[MOST_OPEN:]:
            with _opened(self._directory, piece) as ready:
                yield ready

    def read(self) -> bytes:
        """The whole content, for a small body."""
        return b"".join(
            each if isinstance(each, bytes) else os.pread(each.file.fileno(), each.length, each.offset)
            for each in self.pieces()
        )

    def close(self) -> None:
        self._stack.close()


def opened(directory: Path, body: FileBody) -> bytes | OpenBody:
    """A small body whole, a large one to be streamed. FileNotFoundError: see OpenBody."""
    if all(isinstance(piece, bytes) for piece in body.pieces):
        # Its bytes came with its row.
        return b"".join(cast("tuple[bytes, ...]", body.pieces))
    files = OpenBody(directory, body)
    if body.size > IN_ONE_WRITE:
        return files
    try:
        return files.read()
    finally:
        files.close()


@contextmanager
def _opened(directory: Path, piece: Extent | bytes) -> Iterator[FileSlice | bytes]:
    if isinstance(piece, bytes):
        yield piece
        return
    with (directory / piece.file).open("rb", buffering=0) as file:
        yield FileSlice(file, piece.offset, piece.length)
