"""What archives became when they were compressed: a client that packs the same bytes again need not compress them.

Compressing takes most of the time of packing. The files are read each time: the time of a file does not say whether its
content has changed.
"""

from __future__ import annotations

import hashlib
import re
import threading
import zlib
from pathlib import Path
from typing import NamedTuple

from skylift.client.job.cache import NOWHERE, Cache

_NAME = "packs"
_MOST = 512
"""Archives; a job has twelve at most."""
_MADE_BY = ("bundle.py", "sent_file.py", "archiver.py")
"""The modules that decide how an archive is compressed: which files there are, what is in them, and by what."""
_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64}) ([0-9]{1,15})")


class Packed(NamedTuple):
    """The SHA-256 and the size in bytes of a compressed archive."""

    sha256: str
    size: int


def digest_of_code(folder: Path) -> str:
    """The SHA-256 of the modules that make archives."""
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _MADE_BY)).hexdigest()


class KnownPacks:
    """Compressed archives by the SHA-256 of what was compressed. Nothing is kept before `save`."""

    def __init__(self, cache: Cache = NOWHERE) -> None:
        self._cache = cache
        # Other code, or another zlib, may compress the same bytes to others.
        self._made_from = f"zlib-{zlib.ZLIB_RUNTIME_VERSION} {digest_of_code(Path(__file__).parent)}"
        lines = (cache.read(_NAME, self._made_from) or b"").splitlines()
        found = (_LINE.fullmatch(line) for line in lines)
        self._packs = {each[1].decode(): Packed(each[2].decode(), int(each[3])) for each in found if each is not None}
        self._changed = False
        self._lock = threading.Lock()

    @property
    def is_empty(self) -> bool:
        return not self._packs

    def find(self, content: str) -> Packed | None:
        with self._lock:
            found = self._packs.pop(content, None)
            if found is not None:
                # The last one is the one that was used last.
                self._packs[content] = found
            return found

    def note(self, content: str, packed: Packed) -> None:
        with self._lock:
            self._changed = self._changed or self._packs.get(content) != packed
            self._packs.pop(content, None)
            self._packs[content] = packed

    def save(self) -> None:
        """Of two clients that save at once, one is remembered. What the other one has made is compressed again."""
        with self._lock:
            if self._changed:
                kept = list(self._packs.items())[-_MOST:]
                text = "".join(f"{content} {packed.sha256} {packed.size}\n" for content, packed in kept)
                self._cache.write(_NAME, self._made_from, text.encode())
                self._changed = False
