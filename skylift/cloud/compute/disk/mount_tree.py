"""Mounts by the kernel's newer calls: a mount is made nowhere, gets its attributes there, and is then put at its place.

Calls the kernel itself instead of mount(8): starting a program takes longer, and every boot needs it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The numbers are the same on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_FROM_DESCRIPTOR, _MOVE_TO_DESCRIPTOR = 0x4, 0x40
RDONLY, NOSUID, NODEV, NOEXEC = 0x1, 0x2, 0x4, 0x8
IDMAP = 0x00100000

_LIBC = ctypes.CDLL(None, use_errno=True)


class MountAttr(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


@contextmanager
def copied_mount(source: Path) -> Iterator[int]:
    """The descriptor of a detached copy of the mount at this path, without the mounts below it. The copy ends with the
    block, unless `put` has attached it."""
    tree = _call("open_tree", _OPEN_TREE, _AT_FDCWD, bytes(source), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    try:
        yield tree
    finally:
        os.close(tree)


def set_attributes(mount: int | Path, attr: MountAttr) -> None:
    """Of the mount of this descriptor, or the one at this path. Other mount namespaces' views of it do not change."""
    place = (_AT_FDCWD, bytes(mount), 0) if isinstance(mount, Path) else (mount, b"", _AT_EMPTY_PATH)
    _call("mount_setattr", _MOUNT_SETATTR, *place, ctypes.byref(attr), ctypes.sizeof(attr))


def put(tree: int, place: int) -> None:
    """Attaches it at an open directory or file, which must be in the thread's mount namespace."""
    to = _MOVE_FROM_DESCRIPTOR | _MOVE_TO_DESCRIPTOR
    _call("move_mount", _MOVE_MOUNT, tree, b"", place, b"", to)


def _call(name: str, number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
