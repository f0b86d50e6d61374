"""Restricts what programs on a mount may do in the host's own view; other mount namespaces' views do not change."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# The numbers are the same on every architecture.
_MOUNT_SETATTR = 442
_AT_FDCWD = -100
RDONLY, NOSUID, NODEV, NOEXEC = 0x1, 0x2, 0x4, 0x8
IDMAP = 0x00100000

_LIBC = ctypes.CDLL(None, use_errno=True)


class MountAttr(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def set_flags(mount: Path, flags: int) -> None:
    """Add flags to the mount at this path."""
    _change(mount, MountAttr(attr_set=flags))


def clear_flags(mount: Path, flags: int) -> None:
    """Take flags off the mount at this path."""
    _change(mount, MountAttr(attr_clr=flags))


def _change(mount: Path, attr: MountAttr) -> None:
    """Calls the kernel itself instead of mount(8): it takes microseconds, and every boot needs it."""
    arguments = (_AT_FDCWD, bytes(mount), 0, ctypes.byref(attr), ctypes.sizeof(attr))
    if _LIBC.syscall(_MOUNT_SETATTR, *arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(mount))
