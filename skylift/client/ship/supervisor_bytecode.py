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
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

SERVERS_PYTHON = (3, 13)
"""The Python of Debian 13, the default image here and on AWS."""
_PATIENCE = 10.0
"""Seconds that all other Pythons together may take."""
_UNCHECKED = 0b01
"""The flag of a hash-based .pyc whose hash Python does not check."""


def compiled(sources: Mapping[str, str]) -> tuple[dict[str, bytes], bool]:
    """A .pyc for each module; `sources` are by place in the archive. And whether this would be made again: False when
    another Python took too long, which it may not do the next time."""
    until = time.monotonic() + _PATIENCE
    if sys.version_info[:2] != SERVERS_PYTHON:
        for python in _others():
            try:
                return _made_by(python, sources, until - time.monotonic()), True
            except subprocess.TimeoutExpired:
                return compile_all(sources), False
            except (OSError, subprocess.SubprocessError, ValueError):
                # What is called so may be a stand-in that does not work here.
                continue
    return compile_all(sources), True


def compile_all(sources: Mapping[str, str]) -> dict[str, bytes]:
    head = b"".join([importlib.util.MAGIC_NUMBER, _UNCHECKED.to_bytes(4, "little"), bytes(8)])
    return {
        place: head + marshal.dumps(compile(text, place, "exec", dont_inherit=True)) for place, text in sources.items()
    }


def _others() -> Iterator[str]:
    """The programs of that name. A relative folder of the PATH is one of the project, whose programs are not asked."""
    name = "python{}.{}".format(*SERVERS_PYTHON)
    seen = set()
    for folder in filter(os.path.isabs, os.get_exec_path()):
        found = shutil.which(name, path=folder)
        if found is not None and os.path.realpath(found) not in seen:
            seen.add(os.path.realpath(found))
            yield found


def _made_by(python: str, sources: Mapping[str, str], seconds: float) -> dict[str, bytes]:
    """Raises OSError, SubprocessError, ValueError. Nothing of the user's own settings is imported there."""
    command = [python, "-I", "-S", __file__]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(json.dumps(dict(sources)).encode(), max(seconds, 0))
        except BaseException:
            # It has not been waited for, so its group is its own still. A stand-in may have started others.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    made = [base64.b64decode(line, validate=True) for line in output.split()]
    return dict(zip(sources, made, strict=True))


def main() -> None:
    for data in compile_all(json.load(sys.stdin)).values():
        sys.stdout.write(base64.b64encode(data).decode() + "\n")


if __name__ == "__main__":
    main()
