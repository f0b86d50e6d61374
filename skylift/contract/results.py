"""What of a job's results a server has sent: server/manifest.json, written after the last of them. With --sync-every it
is there, and not final, while the program runs."""

import re
from typing import Annotated, NamedTuple, Optional, Tuple

from skylift.contract.document import ALWAYS, Malformed, Most, Text, shown
from skylift.contract.record import Sha256, Size

MANIFEST_LIMIT = 64 << 20
"""Bytes. They name some 400,000 results."""
_SHARED = re.compile(r"packs/[0-9a-f]{64}\.tar|files/[0-9a-f]{64}")


class SentFile(NamedTuple):
    path: Annotated[str, Text(4096), "relative to cwd; a byte that is not UTF-8 is as in Python's file names (PEP 383)"]
    size: Size
    sha256: Sha256
    at: Annotated[
        Optional[Tuple[Annotated[str, Text(128, _SHARED)], Size]],
        "[KEY, OFFSET]: the object below server/ that has its bytes, and from where on; without it, results/PATH",
    ] = None

    def check(self) -> None:
        if not is_below(self.path):
            raise Malformed("`results` names a place that is not below the working directory: %s" % shown(self.path))


class NotSent(NamedTuple):
    path: Annotated[str, Text(8192)]
    reason: Annotated[str, Text(1024)]


_Names = Annotated[Tuple[Annotated[str, Text(8192)], ...], Most(10_000), ALWAYS]


class SentFiles(NamedTuple):
    results: Annotated[Tuple[SentFile, ...], Most(1_000_000), ALWAYS] = ()
    unmatched: Annotated[_Names, "outputs that named nothing"] = ()
    left_behind: Annotated[_Names, "new files that nobody asked for"] = ()
    not_sent: Annotated[Tuple[NotSent, ...], Most(10_000), ALWAYS, "results that could not be read"] = ()
    changed: Annotated[_Names, "results that changed while they were read: one may not fit the other"] = ()
    final: Annotated[bool, ALWAYS, "whether the job has ended"] = False

    def check(self) -> None:
        if len({each.path for each in self.results}) < len(self.results):
            raise Malformed("`results` names a file twice")


def is_below(path: str) -> bool:
    """A path as the supervisor writes them: relative, in its shortest form, and of names that a file may have. Bytes
    that are not UTF-8 have one spelling each, so that no two paths are the same file."""
    try:
        name = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    if name.decode("utf-8", "surrogateescape") != path:
        return False
    parts = name.split(b"/")
    return "\0" not in path and all(part not in (b"", b".", b"..") and len(part) <= 255 for part in parts)
