"""Finds the files in a job's folder while processes may still change it. A file that disappears is left out, and an
unreadable file is reported. In names that are not UTF-8, each wrong byte is one character from U+DC80 to U+DCFF
(PEP 383), here and in the manifest."""

from __future__ import annotations

import functools
import os
import stat
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Set, Tuple

from skylift.agent.results.open_result import WorkingFolder
from skylift.agent.results.outputs import asked_for, has_wildcard, stands_for

Stamp = Tuple[int, int]
"""Size in bytes and modification time in nanoseconds. A different stamp means that the file has changed."""
Tell = Callable[[str, OSError], Any]


class FoundFile(NamedTuple):
    """A regular file, by its path relative to the folder that was searched."""

    inner: str
    stamp: Stamp


def stamp_of(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns


def spelled(path: str) -> str:
    """The name independent of this system's encoding."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def files_below(top: WorkingFolder, tell: Tell) -> Iterator[FoundFile]:
    """All regular files below a folder, without links."""
    for inner, is_link in _files_of(top, "", tell):
        if not is_link:
            yield from _regular(top, inner, tell)


def files_named(top: WorkingFolder, pattern: str, tell: Tell) -> Iterator[FoundFile]:
    """The files that match a pattern, each once. A link counts as the file that it points to. A link that the pattern
    names counts as its folder. Both must be in `top`."""
    seen: Set[str] = set()
    is_inside = functools.lru_cache(maxsize=256)(top.has_folder)

    def files_at(place: str) -> Iterator[Tuple[str, bool]]:
        try:
            mode = top.look(place).st_mode
        except OSError:
            return iter([(place, True)])
        is_link = stat.S_ISLNK(mode)
        if stat.S_ISDIR(mode) or (is_link and top.is_folder(place)):
            return _files_of(top, place, tell)
        return iter([(place, is_link)] if is_inside(os.path.dirname(place)) else [])

    for place in _tops(top, pattern, tell):
        for inner, is_link in files_at(place):
            if inner not in seen and asked_for(inner, [pattern]):
                seen.add(inner)
                yield from _regular(top, inner, tell, is_link=is_link)


def _regular(top: WorkingFolder, inner: str, tell: Tell, *, is_link: bool = False) -> Iterator[FoundFile]:
    """The file at a path, or behind a link; nothing if there is no file."""
    try:
        # A link costs more: it has to be opened to be judged.
        found = top.find(inner) if is_link else top.look(inner)
    except FileNotFoundError:
        return
    except OSError as error:
        tell(inner, error)
        return
    if found is not None and stat.S_ISREG(found.st_mode):
        yield FoundFile(inner, stamp_of(found))


class _Entry(NamedTuple):
    name: str
    is_folder: bool
    is_link: bool


def _files_of(top: WorkingFolder, start: str, tell: Tell) -> Iterator[Tuple[str, bool]]:
    """The paths of all entries but folders, and which are links. Folders are searched, links to folders are not."""
    folders = [start]
    while folders:
        folder = folders.pop()
        for entry in _list(top, folder, tell):
            inner = os.path.join(folder, entry.name)
            if entry.is_folder:
                folders.append(inner)
            else:
                yield inner, entry.is_link


def _list(top: WorkingFolder, folder: str, tell: Tell) -> List[_Entry]:
    """Nothing of a folder that is not in `top`."""
    try:
        descriptor = top.open_folder(folder)
        if descriptor is None:
            return []
        try:
            with os.scandir(descriptor) as found:
                return sorted(
                    _Entry(each.name, each.is_dir(follow_symlinks=False), each.is_symlink()) for each in found
                )
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        tell(folder or ".", error)
    return []


def _tops(top: WorkingFolder, pattern: str, tell: Tell) -> List[str]:
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
            following.update(dict.fromkeys(_step(top, each, word, tell)))
        found = list(following)
    return found


def _step(top: WorkingFolder, each: str, word: str, tell: Tell) -> Iterator[str]:
    if not has_wildcard(word):
        inner = os.path.join(each, word)
        if top.has(inner):
            yield inner
        return
    folders = [each]
    if word == "**":
        yield each
    while folders:
        folder = folders.pop()
        for entry in _list(top, folder, tell):
            inner = os.path.join(folder, entry.name)
            if word != "**":
                if stands_for(word, entry.name):
                    yield inner
            elif entry.is_folder:
                folders.append(inner)
                yield inner
