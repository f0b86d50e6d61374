"""Mounts by the kernel's newer calls: a mount is made nowhere, gets its attributes there, and is then put at its place.

Calls the kernel itself instead of mount(8): starting a program takes longer, and every boot needs it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skylift.cloud.compute.disk.mount_flags import MountAttr

# The numbers are the same on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_FROM_DESCRIPTOR, _MOVE_TO_DESCRIPTOR = 0x4, 0x40

_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def copied_mount(source: Path) -> Iterator[int]:
    """The descriptor of a mount of its own of what is at this path, without what is mounted below it. It ends with the
    block, unless it has been put somewhere."""
    tree = _call("open_tree", _OPEN_TREE, _AT_FDCWD, bytes(source), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    try:
        yield tree
    finally:
        os.close(tree)


def set_attributes(tree: int, attr: MountAttr) -> None:
    size = ctypes.sizeof(attr)
    _call("mount_setattr", _MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attr), size)


def put(tree: int, place: int) -> None:
    """Mount it at an open directory or file. The thread's mount namespace has to be that of the place."""
    to = _MOVE_FROM_DESCRIPTOR | _MOVE_TO_DESCRIPTOR
    _call("move_mount", _MOVE_MOUNT, tree, b"", place, b"", to)


def _call(name: str, number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
