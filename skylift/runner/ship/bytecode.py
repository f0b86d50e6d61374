"""Bytecode of the supervisor's modules: of the Python that servers have, where this machine has it, or else of ours.

A server whose Python is of another version ignores it and compiles the sources itself, which takes it longer than all
else before the program starts. Only this machine compiles for others: what a server had made could be a job's work.
This file is also the program that the other Python runs.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress

SERVERS_PYTHON = (3, 13)
"""The Python of Debian 13, the default image here and on AWS."""
_PATIENCE = 30.0
"""Seconds that another Python may take."""
_UNCHECKED = 0b01
"""The flag of a hash-based .pyc whose hash Python does not check."""


def compiled(sources: Mapping[str, str]) -> dict[str, bytes]:
    """A .pyc for each module; `sources` are by place in the archive."""
    if sys.version_info[:2] != SERVERS_PYTHON:
        for python in _others():
            # What is called so may be a stand-in that does not work here.
            with suppress(OSError, subprocess.SubprocessError, ValueError):
                return _made_by(python, sources)
    return compile_all(sources)


def compile_all(sources: Mapping[str, str]) -> dict[str, bytes]:
    head = b"".join([importlib.util.MAGIC_NUMBER, _UNCHECKED.to_bytes(4, "little"), bytes(8)])
    return {
        place: head + marshal.dumps(compile(text, place, "exec", dont_inherit=True)) for place, text in sources.items()
    }


def _others() -> Iterator[str]:
    name = "python{}.{}".format(*SERVERS_PYTHON)
    for folder in os.get_exec_path():
        found = shutil.which(name, path=folder) if folder else None
        if found is not None:
            yield found


def _made_by(python: str, sources: Mapping[str, str]) -> dict[str, bytes]:
    """Raises OSError, SubprocessError, ValueError. Nothing of the user's own settings is imported there."""
    done = subprocess.run(
        [python, "-I", "-S", __file__],
        input=json.dumps(dict(sources)).encode(),
        capture_output=True,
        check=True,
        timeout=_PATIENCE,
    )
    made = [base64.b64decode(line, validate=True) for line in done.stdout.split()]
    return dict(zip(sources, made, strict=True))


def main() -> None:
    for data in compile_all(json.load(sys.stdin)).values():
        sys.stdout.write(base64.b64encode(data).decode() + "\n")


if __name__ == "__main__":
    main()
