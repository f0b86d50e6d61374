"""Finding the files in a job's folder while processes may still change it. A file that disappears meanwhile is left
out, and one that cannot be read is reported. In names that are not UTF-8, each wrong byte is one character from U+DC80
to U+DCFF (PEP 383), here and in the manifest."""

from __future__ import annotations

import functools
import os
import stat
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from skylift.runner.server.outputs import asked_for, has_wildcard, stands_for

Stamp = Tuple[int, int]
"""Size in bytes and modification time in nanoseconds. A different stamp means that the file has changed."""
Tell = Callable[[str, OSError], Any]
Inner = Tuple[str, "Optional[os.DirEntry[str]]"]
"""A path relative to the folder that is searched, and what its folder's listing says of it."""


class Found(NamedTuple):
    """A regular file, by its path relative to the folder that was searched."""

    inner: str
    stamp: Stamp


def stamp_of(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns


def spelled(path: str) -> str:
    """The name independent of this system's encoding."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def files_below(top: str, tell: Tell) -> Iterator[Found]:
    """All regular files below a folder, without links."""
    for inner, entry in _entries_below(top, tell):
        try:
            if entry.is_file(follow_symlinks=False):
                yield Found(inner, stamp_of(entry.stat(follow_symlinks=False)))
        except FileNotFoundError:
            continue
        except OSError as error:
            tell(inner, error)


def files_named(cwd: str, pattern: str, tell: Tell) -> Iterator[Found]:
    """The files that match a pattern, each once. A link counts as the file that it points to. A link that the pattern
    names counts as its folder, if that is in `cwd`."""
    home, seen = os.path.realpath(cwd) + os.sep, set()

    def is_file(inner: str, entry: "Optional[os.DirEntry[str]]") -> Iterator[Found]:
        full = os.path.join(cwd, inner)
        try:
            if entry is not None and not entry.is_symlink():
                # One look, where a file that may be a link needs two: there may be thousands.
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield Found(inner, stamp_of(found))
                return
            found = os.stat(full)
            if stat.S_ISREG(found.st_mode) and (not os.path.islink(full) or os.path.realpath(full).startswith(home)):
                yield Found(inner, stamp_of(found))
        except FileNotFoundError:
            return
        except OSError as error:
            tell(inner, error)

    @functools.lru_cache(maxsize=256)
    def is_inside(folder: str) -> bool:
        return (os.path.realpath(folder) + os.sep).startswith(home)

    for top in _tops(cwd, pattern, tell):
        full = os.path.join(cwd, top)
        if not os.path.isdir(full):
            alone: List[Inner] = [(top, None)] if is_inside(os.path.dirname(full)) else []
            inners: Iterator[Inner] = iter(alone)
        elif is_inside(full):
            below = _entries_below(full, lambda inner, error: tell(os.path.join(top, inner), error))  # noqa: B023
            inners = ((os.path.join(top, inner), entry) for inner, entry in below)
        else:
            continue
        for inner, entry in inners:
            if inner not in seen and asked_for(inner, [pattern]):
                seen.add(inner)
                yield from is_file(inner, entry)


def _entries_below(top: str, tell: Tell) -> Iterator[Tuple[str, "os.DirEntry[str]"]]:
    """All entries but folders. Folders are searched, links to folders are not."""
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in _list(os.path.join(top, folder), folder, tell):
            inner = os.path.join(folder, entry.name)
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError as error:
                tell(inner, error)
                continue
            if is_folder:
                folders.append(inner)
            else:
                yield inner, entry


def _list(folder: str, inner: str, tell: Tell) -> "List[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        tell(inner or ".", error)
    return []


def _tops(cwd: str, pattern: str, tell: Tell) -> List[str]:
    """The paths that the words of a pattern match. A `**` at the end adds nothing: all files below match anyway."""
    words = [] if pattern == "." else pattern.rstrip("/").split("/")
    if ".." in words or words[:1] == [""]:
        return []
    while words and words[-1] == "**":
        words.pop()
    found = [""]
    for word in words:
        following: Dict[str, None] = {}
        for each in found:
            following.update(dict.fromkeys(_step(cwd, each, word, tell)))
        found = list(following)
    return found


def _step(cwd: str, each: str, word: str, tell: Tell) -> Iterator[str]:
    if not has_wildcard(word):
        if os.path.lexists(os.path.join(cwd, each, word)):
            yield os.path.join(each, word)
        return
    folders = [each]
    if word == "**":
        yield each
    while folders:
        folder = folders.pop()
        for entry in _list(os.path.join(cwd, folder), folder, tell):
            inner = os.path.join(folder, entry.name)
            if word != "**":
                if stands_for(word, entry.name):
                    yield inner
            elif entry.is_dir(follow_symlinks=False):
                folders.append(inner)
                yield inner
