"""Which files are results: what --out asks for, in one rule for the server, which sends them, and for the client, which
writes only what was asked for, whatever was sent.

A pattern is a path or a glob relative to the working directory. What it names comes, and what lies below a folder that
it names. As in a shell, `*`, `?`, `[...]` and `**` do not stand for a name that begins with a dot, and `.` stands for
what is in the working directory and does not begin with one: who asks for everything does not ask for `.bashrc`.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import re
import unicodedata
from typing import Pattern, Sequence, Tuple

_GLOB = re.compile(r"[*?[]")
_REPOSITORIES = frozenset({".git", "git~1", ".hg", ".svn", ".bzr", ".jj"})
"""Folders whose content tools run (hooks, settings that name commands): they are never results. The second is what
Windows calls the first."""


def asked_for(place: str, outputs: Sequence[str]) -> bool:
    """Whether a file is a result, by its path relative to the working directory."""
    parts = tuple(place.split("/"))
    return not any(map(is_repository, parts)) and any(_names(_words(each), parts) for each in outputs)


def named_outright(place: str, outputs: Sequence[str]) -> bool:
    """Whether a pattern without wildcards asks for it: it itself, or a folder that it is in."""
    parts = tuple(place.split("/"))
    plain = [_words(each) for each in outputs if each != "." and not _GLOB.search(each)]
    return any(parts[: len(words)] == words for words in plain)


@functools.lru_cache(maxsize=4096)
def is_repository(name: str) -> bool:
    """As file systems that ignore case, and characters that are not seen, would have it."""
    seen = "".join(each for each in name if unicodedata.category(each) != "Cf")
    return unicodedata.normalize("NFKC", seen).casefold().partition(":")[0].rstrip(" .") in _REPOSITORIES


def _words(pattern: str) -> Tuple[str, ...]:
    return ("*",) if pattern == "." else tuple(pattern.rstrip("/").split("/"))


def _names(words: Tuple[str, ...], parts: Tuple[str, ...]) -> bool:
    """Whether the words stand for all of the parts, or for a folder above. `ends` are how many parts the words so far
    can stand for."""
    ends = {0}
    for word in words:
        if word == "**":
            # Any number of folders, none among them.
            for end in sorted(ends):
                plain = itertools.takewhile(lambda part: not part.startswith("."), parts[end:])
                ends |= {end + number for number, _ in enumerate(plain, 1)}
        else:
            ends = {end + 1 for end in ends if end < len(parts) and stands_for(word, parts[end])}
        if not ends:
            return False
    return max(ends) > 0


def has_wildcard(word: str) -> bool:
    return _GLOB.search(word) is not None


def stands_for(word: str, part: str) -> bool:
    """Whether a word of a pattern, other than `**`, stands for a name."""
    if not has_wildcard(word):
        return word == part
    return not (part.startswith(".") and not word.startswith(".")) and bool(_compiled(word).match(part))


@functools.lru_cache(maxsize=256)
def _compiled(word: str) -> Pattern[str]:
    return re.compile(fnmatch.translate(word))
