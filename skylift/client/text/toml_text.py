"""Reading and parsing a project's own files, which somebody else may have made."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from skylift.client.errors import UsageError
from skylift.client.text.visible import shown

SCRIPT_LIMIT = 64 << 20
SETTINGS_LIMIT = 4 << 20
"""Bytes. A uv.lock of 4 MiB has some two thousand packages."""


def read_text(path: Path, most: int = SETTINGS_LIMIT, errors: str = "strict") -> str:
    """The text of a regular UTF-8 file. Raises OSError, UnicodeDecodeError, and UsageError for a pipe, a device or a
    file that is too large: reading it might never end."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"{shown(path)} is not a regular file.")
        content = file.read(most + 1)
    if len(content) > most:
        raise UsageError(f"{shown(path)} has more than {most >> 20} MiB, which is not read.")
    return content.decode(errors=errors).replace("\r\n", "\n")


def parse_toml(text: str, source: str, advice: str = "") -> dict[str, Any]:
    """Parse TOML. Raises UsageError, also for deep nesting and for numbers with thousands of digits, which tomllib does
    not report as TOMLDecodeError."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{source} is not valid TOML: it is nested too deeply.", advice) from None
    except ValueError as error:
        raise UsageError(f"{source} is not valid TOML: {shown(str(error))}.", advice) from None


def table_of(content: object, *names: str) -> dict[str, Any]:
    """An inner table; an empty one when there is none, or something else."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}
