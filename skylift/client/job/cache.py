"""A cache in the user's files, for what takes long to make and is always the same."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class Cache:
    """A folder with one file for each entry. Without a folder, or when it cannot be written, everything is made
    again."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, name: str, made_from: str, make: Callable[[], bytes]) -> bytes:
        """The entry, which `make` makes when it is missing, damaged, or was made from something else."""
        kept = self.read(name, made_from)
        if kept is None:
            kept = make()
            self.write(name, made_from, kept)
        return kept

    def read(self, name: str, made_from: str) -> bytes | None:
        """The entry; None when it is missing, damaged, or was made from something else."""
        if self._folder is None:
            return None
        with suppress(OSError):
            head, _, kept = (self._folder / name).read_bytes().partition(b"\n")
            if head == _head(made_from, kept):
                return kept
        return None

    def write(self, name: str, made_from: str, content: bytes) -> None:
        if self._folder is None:
            return
        with suppress(OSError):
            for each in (*reversed(self._folder.parents), self._folder):
                # Servers run these files as root, so no other user may write here.
                each.mkdir(mode=0o700, exist_ok=True)
            _write(self._folder / name, _head(made_from, content) + b"\n" + content)

    def remove(self, name: str) -> None:
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / name).unlink()


NOWHERE = Cache(None)


def _head(made_from: str, content: bytes) -> bytes:
    return f"{made_from} {hashlib.sha256(content).hexdigest()}".encode()


def _write(path: Path, content: bytes) -> None:
    """Replace the file atomically: other processes may read it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
