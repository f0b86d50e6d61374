"""Files that survive a power cut: a file's content does once the file was synced, its name once its directory was."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from skylift.cloud.domain.error import no_room

_SYNC_FILE_RANGE_WRITE = 2


KEPT_FREE = 8 * 1024 * 1024
"""Bytes that objects leave to the database, so that deleting some of them is still possible."""


def leave_room(directory: Path | int, size: int) -> None:
    """Raises ServiceError if a file of `size` bytes would leave too little."""
    found = os.statvfs(directory)
    if found.f_bfree * found.f_frsize < size + KEPT_FREE:
        raise no_room()


def sync_directory(directory: Path) -> None:
    """Make durable what was made, linked, renamed or removed in a directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def begin_write_out(file: int, offset: int, length: int) -> None:
    """Have the kernel begin to write these bytes of a file to the disk, so that a later fsync has less to wait for. It
    promises nothing: what goes wrong, fsync says."""
    _sync_file_range()(file, offset, length, _SYNC_FILE_RANGE_WRITE)


@cache
def _sync_file_range() -> Any:
    function = ctypes.CDLL(None).sync_file_range
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


def make_directory(directory: Path, mode: int = 0o700) -> list[Path]:
    """Make a directory and its missing parents, all of the same mode, so that they last. Returns those made, outermost
    first."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=mode, exist_ok=True)
        sync_directory(each.parent)
    return missing[::-1]


def replace_file(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replaces a file atomically: after a crash it has the old content or the new. One writer at a time.

    Its mode is `mode`, whatever the umask is. A file that a kill leaves behind is replaced by the next call.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if owner is not None:
            os.fchown(file.fileno(), *owner)
        # The umask must not apply: sudo keeps the user's, which may be strict, and clients read some of root's files.
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_directory(path.parent)
