"""Which results are not written, because of what is here in their place."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, takewhile
from pathlib import Path

from skylift.agent.results.outputs import folded
from skylift.client.job.outcome import Missing, Result
from skylift.client.ship.bundle import is_environment
from skylift.client.ship.git import list_within, repository_of

_NOT_HERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.ENAMETOOLONG)


def spared(results: Sequence[Result], home: Path, *, tracked: bool) -> dict[str, Missing]:
    """By path, what does not come to `home`: what would be in a virtual environment there and, of `tracked` files, what
    git tracks. Where git cannot tell, it may track all that is there."""
    home = home.resolve()
    repository, index, found = cache(repository_of), cache(_index), dict[str, str]()
    is_marked = cache(lambda inner: is_environment(home / inner))
    # A server may name results in any number of folders, as deep as a path can be: what is not here costs nothing.
    is_there = cache(lambda inner: os.access(home / inner, os.F_OK))
    for each in results:
        place = home / each.path
        if any(map(is_marked, takewhile(is_there, accumulate(each.path.split("/")[:-1], posixpath.join)))):
            found[each.path] = "it would be in a virtual environment here"
        elif tracked and os.path.lexists(place) and (top := repository(place.parent)) is not None:
            names = index(top)
            if names is None or folded(str(place.relative_to(top))) in names:
                found[each.path] = "git tracks another one here, and no --out asked for it"
    same = {each.path for each in results if each.path in found and is_here(None, os.fsencode(home / each.path), each)}
    return {path: Missing(path, why) for path, why in found.items() if path not in same}


def _index(top: Path) -> frozenset[str] | None:
    names = list_within(top, tracked=True)
    return None if names is None else frozenset(map(folded, names))


def is_here(folder: int | None, name: bytes, result: Result) -> bool:
    """Whether the result is here already: a regular file with its digest, not a link to one."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return False
        raise
    with os.fdopen(file, "rb") as content:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size != result.size:
            return False
        return hashlib.file_digest(content, "sha256").hexdigest() == result.sha256
