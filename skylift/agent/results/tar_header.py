"""Headers of regular files in tar archives."""

from __future__ import annotations

import functools
import os
import tarfile
from typing import Literal

_LARGEST = (8 << 30) - 1
"""The largest size and time that a header says in plain digits."""


def file_header(name: str, size: int, mode: int, changed: int = 0, form: Literal[1, 2] = 2) -> bytes:
    """The header that tarfile makes; `changed` is in seconds since the epoch, and `form` GNU_FORMAT or PAX_FORMAT. Most
    differ in a few fields only, and making all of them anew takes as long as reading a small file."""
    plain = os.fsencode(name)
    if len(plain) > tarfile.LENGTH_NAME or not plain.isascii() or size > _LARGEST or not 0 <= changed <= _LARGEST:
        return _made(name, size, mode, changed, form)
    header = bytearray(_blank(mode, form))
    header[: len(plain)] = plain
    header[124:148] = b"%011o\0%011o\0" % (size, changed)
    # In the sum, its own field counts as eight spaces.
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * ord(" ") + sum(header[156:]))
    return bytes(header)


@functools.lru_cache(maxsize=16)
def _blank(mode: int, form: Literal[1, 2]) -> bytes:
    return _made("", 0, mode, 0, form)


def _made(name: str, size: int, mode: int, changed: int, form: Literal[1, 2]) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, mode, changed
    return entry.tobuf(form, "utf-8", "surrogateescape")
