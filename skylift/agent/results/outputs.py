"""Which files are results: the one rule for --out. The server sends what matches, and the client writes only what
matches, whatever was sent.

A pattern is a path or a glob relative to the working directory. A pattern that matches a folder includes all files
below it. As in a shell, `*`, `?`, `[...]` and `**` do not match names that begin with a dot, and `.` means all other
files of the working directory: asking for everything does not ask for `.bashrc`.
"""

from __future__ import annotations

import fnmatch
import functools
import re
import unicodedata
from typing import Pattern, Sequence, Tuple

_GLOB = re.compile(r"[*?[]")
_REPOSITORIES = frozenset({".git", "git~1", ".hg", ".svn", ".bzr", ".jj"})
"""Folders with hooks and settings that tools run as commands. They are never results. `git~1` is the short name of
`.git` on Windows."""


def asked_for(place: str, outputs: Sequence[str]) -> bool:
    """Whether a file is a result, by its path relative to the working directory."""
    parts = tuple(place.split("/"))
    return not any(map(is_repository, parts)) and any(_names(_words(each), parts) for each in outputs)


def named_outright(place: str, outputs: Sequence[str]) -> bool:
    """Whether a pattern without wildcards names the file, or a folder that it is in."""
    parts = tuple(place.split("/"))
    plain = [_words(each) for each in outputs if each != "." and not _GLOB.search(each)]
    return any(parts[: len(words)] == words for words in plain)


@functools.lru_cache(maxsize=4096)
def is_repository(name: str) -> bool:
    """Whether a name is one of these folders, on any operating system."""
    return folded(name).partition(":")[0].rstrip(" .") in _REPOSITORIES


def folded(name: str) -> str:
    """The same text for all names that may be one file, on file systems that ignore case or invisible characters, or
    spell letters in one way only."""
    if name.isascii():
        return name.casefold()
    seen = "".join(each for each in name if unicodedata.category(each) != "Cf")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())


def _words(pattern: str) -> Tuple[str, ...]:
    return ("*",) if pattern == "." else tuple(pattern.rstrip("/").split("/"))


def _names(words: Tuple[str, ...], parts: Tuple[str, ...]) -> bool:
    """Whether the words of a pattern match all parts of a path, or the parts of a folder above. `ends` has the numbers
    of parts that the words so far can match."""
    ends = {0}
    for word in words:
        if word == "**":
            # Any number of folders, or none.
            for end, part in enumerate(parts):
                if end in ends and not part.startswith("."):
                    ends.add(end + 1)
        else:
            ends = {end + 1 for end in ends if end < len(parts) and stands_for(word, parts[end])}
        if not ends:
            return False
    return max(ends) > 0


def has_wildcard(word: str) -> bool:
    return _GLOB.search(word) is not None


def stands_for(word: str, part: str) -> bool:
    """Whether a word of a pattern, other than `**`, matches a name."""
    if not has_wildcard(word):
        return word == part
    return not (part.startswith(".") and not word.startswith(".")) and bool(_compiled(word).match(part))


@functools.lru_cache(maxsize=256)
def _compiled(word: str) -> Pattern[str]:
    return re.compile(fnmatch.translate(word))
