"""What is mounted where, by the kernel's own table: a bind mount shows in no attribute of its directory.

Users who may mount choose the names. proc_pid_mountinfo(5) escapes blanks, line feeds and backslashes in octal, and
nothing else: a name may hold any other byte.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A file system (`device` is `MAJOR:MINOR`), or what of it is below its directory `root`, at `place`."""

    device: str
    root: Path
    place: Path


def mounts(pid: int | str = "self") -> list[Mount]:
    """The mounts of a process's namespace. Raises OSError if there is no such process."""
    lines = Path(f"/proc/{pid}/mountinfo").read_bytes().split(b"\n")[:-1]
    return [_mount(*line.split(b" ", 5)[2:5]) for line in lines]


def mounted_in(directory: Path) -> list[Path]:
    """Mount points at a directory and anywhere below."""
    return [mount.place for mount in mounts() if mount.place.is_relative_to(directory)]


def mounts_below(directory: Path) -> list[Path]:
    """Mount points right below a directory."""
    return [mount.place for mount in mounts() if mount.place.parent == directory]


def _mount(device: bytes, root: bytes, place: bytes) -> Mount:
    return Mount(device.decode(), _path(root), _path(place))


def _path(escaped: bytes) -> Path:
    return Path(os.fsdecode(_ESCAPE.sub(lambda octal: bytes([int(octal[1], 8)]), escaped)))
