"""What was written to a file of the user's, of which the last may be taken back."""

from __future__ import annotations

import os
from typing import IO


class Written:
    """`note` is called after each write. Only bytes that nobody else has written between, or behind, are taken back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._own, self._end = file, 0, -1

    def note(self, size: int) -> None:
        try:
            here = self._file.tell() if self._file.seekable() else -1
        except (AttributeError, OSError, ValueError):
            # Something that has nothing but `write`.
            return
        if here >= 0:
            self._own = (self._own if here - size == self._end else 0) + size
            self._end = here

    def take_back(self, size: int) -> bool:
        """Whether that was possible: not for a pipe, or a terminal, nor for a file that is compressed as it is written.
        Where it was not, the file goes on where it was."""
        if size > self._own:
            return False
        try:
            here = self._file.tell()
            if here != self._end or self._file.seek(0, os.SEEK_END) != here:
                self._file.seek(here)
                return False
            self._file.truncate(here - size)
            self._file.seek(here - size)
        except (OSError, ValueError):
            return False
        self._own, self._end = self._own - size, here - size
        return True
