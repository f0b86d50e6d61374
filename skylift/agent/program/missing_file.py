"""Says how a file gets to the server, after a Python program has failed because the file is not there."""

from __future__ import annotations

import os
import re
import shlex

_LAST_LINE = re.compile(r"FileNotFoundError: \[Errno 2\] No such file or directory: (?:'([^'\\]+)'|\"([^\"\\]+)\")")
_FRAME = re.compile(r"\s*File .+\d, in .+")
_STARTS = re.compile(r"\bsubprocess\.py\W.*, in (?:Popen\.)?_(?:execute_child|posix_spawn)\b")
"""The frame in which Python starts another program. It names a program that is missing as it would name a file."""
_LONGEST = 300


def how_to_have_file(errors: bytes, cwd: str) -> str:
    """A sentence or two for the job's outcome. Empty when the program did not end by this error, when the file is
    there, or when it is a command. `errors` is the end of what the program wrote, `cwd` where it was started."""
    lines = errors.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    found = _LAST_LINE.fullmatch(last)
    name = (found[1] or found[2]) if found is not None else ""
    if not name or len(name) > _LONGEST or not name.isprintable():
        return ""
    whole = os.path.normpath(os.path.join(cwd, name))
    if os.path.lexists(whole):
        return ""
    place = os.path.relpath(whole, cwd)
    frame = next((line for line in reversed(lines) if _FRAME.match(line)), "")
    if _STARTS.search(frame) and ("/" not in name or place.startswith("../")):
        # To be installed, not sent along. The user's own program has a path in the job's folder.
        return ""
    if place.startswith("../"):
        # Also an absolute path in another machine's home directory.
        return (
            "The server has no %s. It has what goes along with --in, at the same paths relative to where you are."
            % name
        )
    folder = _first_missing(cwd, os.path.dirname(place))
    if folder:
        return (
            "The server has no folder %s. One with inputs goes along with --in %s; one for outputs is made by the "
            "program itself." % (folder, shlex.quote(folder))
        )
    return "The server has no file %s. A file of yours goes along with --in %s" % (place, shlex.quote(place))


def _first_missing(cwd: str, folder: str) -> str:
    """The outermost of these nested folders that is not there; empty when all are."""
    place = ""
    for part in filter(None, folder.split("/")):
        place = os.path.join(place, part)
        if not os.path.isdir(os.path.join(cwd, place)):
            return place
    return ""
